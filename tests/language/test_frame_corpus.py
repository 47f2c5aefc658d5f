from collections import Counter

from robot_learning.language.commands import prepared
from robot_learning.language.frame_corpus import FRAMES, examples
from robot_learning.language.intent_mapping import mapped
from robot_learning.language.intents import INTENTS

MADE = list(examples(2000, seed=0))


def test_every_frame_is_said_in_plain_words():
    assert {command.intent for command in MADE} == set(FRAMES)
    for command in MADE:
        assert prepared(command.text) == command.text
        assert not set(command.text) & set('(){}[]<>|')
        assert not command.has_slots


def test_frames_are_as_frequent_as_asked():
    weights = dict.fromkeys(FRAMES, 0.0) | {'Motion': 3.0, 'Taking': 1.0}
    counts = Counter(command.intent for command in examples(1000, 1, weights))
    assert set(counts) == {'Motion', 'Taking'}
    assert 2.3 < counts['Motion'] / counts['Taking'] < 3.9


def test_a_seed_gives_the_same_again_and_few_twice():
    assert list(examples(2000, seed=0)) == MADE
    assert list(examples(2000, seed=1)) != MADE
    assert len({command.text for command in MADE}) > 1500


def test_they_have_intents_of_the_robot_but_for_statements():
    found = mapped(MADE)
    assert {command.intent for command in found} <= set(INTENTS)
    left_out = sum(command.intent == 'Being_located' for command in MADE)
    assert len(found) == len(MADE) - left_out


def test_every_frame_of_huric_is_there(data_directory):
    from robot_learning.language.command_files import read

    found = {command.intent for command in read(data_directory / 'commands' / 'huric.jsonl')}
    assert found <= set(FRAMES)
