import random
from typing import NamedTuple

import pytest
from robot_learning.language import scene_descriptions
from robot_learning.language.scene_descriptions import caption, meant_by, phrases


class Thing(NamedTuple):
    kind: str
    color: str
    x: float
    distance_m: float


THREE = (
    Thing('cube', 'red', -0.4, 1.0),
    Thing('can', 'blue', 0.0, 0.6),
    Thing('cube', 'green', 0.3, 1.6),
)


def all_phrases(things, count=400, seed=0):
    return list(phrases(things, random.Random(seed), count))


def test_a_caption_names_everything_from_left_to_right():
    text = caption(THREE[::-1], random.Random(0))
    places = [text.index(color) for color in ('red', 'blue', 'green')]
    assert places == sorted(places)


def test_captions_say_what_is_near_and_what_is_far():
    texts = {caption(THREE, random.Random(seed)) for seed in range(20)}
    for text in texts:
        assert text.count('near') == 1 and text.count('far') == 1


def test_an_empty_scene_has_a_caption_and_only_phrases_for_nothing():
    assert 'floor' in caption((), random.Random(0))
    assert all(phrase.target is None for phrase in all_phrases((), 20))


def test_the_red_cube_left_of_the_can_is_the_first():
    assert meant_by(THREE, ('cube', 'red'), 'left', 1) == 0
    assert meant_by(THREE, ('cube', None), 'left', 1) == 0
    assert meant_by(THREE, ('cube', None), 'right', 1) == 2
    assert meant_by(THREE, ('cube', 'red'), 'right', 1) is None


def test_behind_is_farther_and_in_front_nearer():
    assert meant_by(THREE, (None, 'blue'), 'front', 0) == 1
    assert meant_by(THREE, (None, 'green'), 'behind', 0) == 2


def test_what_two_could_be_or_nobody_could_tell_is_not_said():
    assert meant_by(THREE, ('cube', None), 'behind', 1) is None
    close = (*THREE[:2], Thing('cube', 'green', 0.03, 1.6))
    assert meant_by(close, ('cube', 'green'), 'right', 1) is None


@pytest.mark.parametrize('sort', ['name', 'relation', 'extreme', 'absent'])
def test_phrases_of_every_sort_are_made(sort):
    made = [phrase for phrase in all_phrases(THREE) if phrase.sort == sort]
    assert len(made) > 20
    assert all((phrase.target is None) == (sort == 'absent') for phrase in made)


def test_names_and_extremes_mean_what_a_reader_would_take_them_for():
    for phrase in all_phrases(THREE):
        words = phrase.text.split()
        if phrase.sort == 'name' and 'red' in words:
            assert phrase.target == 0
        if phrase.sort == 'extreme' and 'leftmost' in words and 'green' not in words:
            assert phrase.target != 2
        if phrase.sort == 'absent':
            assert phrase.text not in ('the red cube', 'the blue can')


def test_relations_hold_when_they_are_read_again():
    words = {
        said: name for name, all_ in scene_descriptions.RELATION_WORDS.items() for said in all_
    }
    for phrase in all_phrases(THREE):
        if phrase.sort != 'relation':
            continue
        said = max((s for s in words if f' {s} the ' in phrase.text), key=len)
        front, back = phrase.text.split(f' {said} the ')
        thing = THREE[phrase.target]
        by = [n for n, t in enumerate(THREE) if _fits(t, back)]
        assert len(by) == 1
        landmark = THREE[by[0]]
        assert _fits(thing, front)
        is_so = {
            'left': thing.x < landmark.x,
            'right': thing.x > landmark.x,
            'front': thing.distance_m < landmark.distance_m,
            'behind': thing.distance_m > landmark.distance_m,
        }
        assert is_so[words[said]]


def test_the_same_seed_says_the_same():
    assert all_phrases(THREE, 30, seed=4) == all_phrases(THREE, 30, seed=4)


def _fits(thing, words):
    said = words.split()
    colors = [word for word in said if word in ('red', 'blue', 'green', 'yellow')]
    kinds = [
        kind
        for kind, names in scene_descriptions.KIND_WORDS.items()
        if any(name in said for name in names)
    ]
    return colors in ([], [thing.color]) and kinds in ([], [thing.kind])
