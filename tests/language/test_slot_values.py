import pytest
from robot_learning.language import corpus
from robot_learning.language.slot_values import value_of


def test_every_way_to_say_a_slot_means_its_value():
    checked = 0
    for example in corpus.examples(3000, seed=5):
        for start, end, slot in example.spans:
            meant = example.slots.get(slot)  # None: words that the schema does not have.
            assert value_of(slot, example.text[start:end]) == pytest.approx(meant)
            checked += 1
    assert checked > 2000


@pytest.mark.parametrize(
    ('slot', 'words', 'value'),
    [
        ('object', 'cubes', 'cube'),
        ('object', 'the  box', 'cube'),
        ('color', 'yelow', 'yellow'),
        ('place', 'kitchne', 'kitchen'),
        ('place', 'your dock', 'home'),
        ('distance', 'two and a half feet', 0.762),
        ('duration', 'half a minute', 30.0),
        ('duration', 'second', 1.0),
        ('distance', 'metre', 1.0),
        ('x', '-1.5', -1.5),
        ('x', 'two', 2.0),
    ],
)
def test_other_words_for_the_same(slot, words, value):
    assert value_of(slot, words) == pytest.approx(value)


@pytest.mark.parametrize(
    ('slot', 'words'),
    [
        ('object', 'unicorn'),
        ('color', ''),
        ('distance', '90 degrees'),
        ('distance', 'far'),
        ('distance', '1 m 2 m'),
        ('x', '1e9'),
        ('x', 'nan'),
        ('y', '9' * 30),
    ],
)
def test_what_means_nothing_is_none(slot, words):
    assert value_of(slot, words) is None
