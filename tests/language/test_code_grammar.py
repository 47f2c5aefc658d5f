import sys

import numpy as np
import pytest
from robot_learning.errors import CommandError, ConfigError, EnvironmentSetupError
from robot_learning.language import skills
from robot_learning.language.code_grammar import CodeGrammar, grammar, numbers_said
from robot_learning.language.program import parse

pytest.importorskip('llguidance')
GRAMMAR = CodeGrammar()
# What a walk may still be refused for: numbers beyond their limits, and totals.
LIMITS = ('expected a number from', 'calls, expected at most', 'repeats', 'out of range')

IN = [
    'pass',
    'robot.move_forward(distance=3.0, speed=1.0)',
    'robot.move_forward(distance=900)',  # Said as it was meant; refused later.
    'robot.turn(angle=-90)',
    'gripper.pick_up(object_type="ball", color="red", size="medium")',
    "robot.gripper.pick_up(object_type='ball', size='medium')",
    'robot.stop()\nrobot.wait(duration=1.5)',
    'sensors.measure_distance()',
    'if sensors.detect(object_type="can"):\n    robot.stop()\nelse:\n    sensors.scan()',
    'if not sensors.detect(object_type="can") and sensors.scan() > 2:\n    robot.stop()',
    'for _ in range(4):\n    robot.move_forward(distance=1)\n    robot.turn(angle=90)',
    'for _ in range(2):\n    if sensors.scan() == 0:\n        robot.turn(angle=30)\nrobot.stop()',
    'measured = sensors.measure_distance()\nif measured < 0.5:\n    robot.stop()',
    'seen = sensors.look_for(object_type="ball")\nif not seen:\n    robot.stop()',
]
OUT = [
    '',
    'import os',
    'robot.fly()',
    'robot.move_forward()',  # Its distance is missing.
    'robot.move_forward(speed=1.0, distance=3.0)',
    'robot.move_forward(distance=-1)',
    'robot.move_forward(distance=007)',
    'robot.move_forward(distance=1e9)',
    'robot.move_forward(distance=seen)',
    'robot.turn(angle=90, angle=90)',
    'gripper.pick_up(object_type="dog")',
    'gripper.pick_up(object_type="ball\')',
    'robot.__class__()',
    'robot.stop();robot.stop()',
    ' robot.stop()',
    'while True:\n    robot.stop()',
    'for _ in range(0):\n    robot.stop()',
    'for i in range(3):\n    robot.stop()',
    'if seen:\n    robot.stop()',  # Not known here.
    'if robot.stop():\n    robot.stop()',
    'if sensors.scan():\n    robot.stop()',  # A number is no truth.
    'if sensors.detect(object_type="can"):\nrobot.stop()',
    'exec("robot.stop()")',
    'robot.stop()  # and more',
]


@pytest.mark.parametrize('code', IN)
def test_what_the_robot_can_do_is_in_the_grammar(code):
    assert GRAMMAR.accepts(code)


@pytest.mark.parametrize('code', OUT)
def test_everything_else_is_not(code):
    assert not GRAMMAR.accepts(code)


def walked(rng, max_bytes=3000):
    """Return a random program: a byte at a time, likelier to end the longer it is."""
    walk, code = GRAMMAR.walk(), bytearray()
    end = GRAMMAR._tokenizer.eos_token
    while not walk.is_over:
        tokens = np.flatnonzero(walk.allowed())
        if end in tokens and (rng.random() < 0.3 or len(tokens) == 1):
            break
        choices = tokens[tokens != end]
        if len(code) > max_bytes / 4 and ord(')') in choices:
            choices = np.array([ord(')')])
        walk.take(int(token := rng.choice(choices)))
        code.append(token)
    return code.decode()


def test_random_walks_give_programs_that_are_accepted_up_to_limits():
    rng = np.random.default_rng(0)
    accepted, refused = 0, 0
    for _ in range(300):
        code = walked(rng)
        if code == 'pass':
            continue
        try:
            parse(code)
            accepted += 1
        except CommandError as error:
            assert any(limit in str(error) for limit in LIMITS), (code, str(error))
            refused += 1
    assert accepted > 40 and accepted + refused > 150


def test_every_verb_of_the_table_can_be_said():
    for verb in skills.VERBS.values():
        words = []
        for argument in verb.arguments:
            kind = argument.kind
            is_number = isinstance(kind, skills.Number)
            value = f'{max(kind.low, 1):g}' if is_number else f'"{kind.words[-1]}"'
            words.append(f'{argument.name}={value}')
        code = f'{verb.name}({", ".join(words)})'
        parse(code)
        assert GRAMMAR.accepts(code), code


def test_a_new_verb_comes_from_the_table_alone():
    wave = skills.Verb('robot.wave', '', (skills.Argument('times', skills.Number(1, 5, '')),))
    code = 'robot.wave(times=2)'
    assert not GRAMMAR.accepts(code)
    assert CodeGrammar(text=grammar({**skills.VERBS, 'robot.wave': wave})).accepts(code)


def test_only_what_is_allowed_is_offered_and_what_must_come_is_known():
    walk = GRAMMAR.walk()
    for character in b'robot.s':
        assert walk.allowed()[character]
        walk.take(character)
    assert bytes(walk.forced()) == b'top()'
    assert walk.allowed().sum() == 1


def test_only_numbers_that_were_said_can_be_written():
    said = numbers_said('# go -2.5 m 7 times to x 900\n')
    assert said == ['2.5', '7.0', '900.0', '7', '900']
    for code, is_in in (
        ('robot.turn(angle=-2.5)', True),
        ('robot.turn(angle=90.0)', True),
        ('robot.move_forward(distance=900.0)', True),
        ('robot.move_forward(distance=9.0)', False),
        ('robot.move_forward(distance=90.0)', False),
        ('for _ in range(4):\n    robot.stop()', True),
        ('robot.move_forward(distance=2.57)', False),
        ('for _ in range(7):\n    robot.stop()', True),
        ('for _ in range(2):\n    robot.stop()', False),
    ):
        walk, is_taken = GRAMMAR.walk(said), True
        for character in code.encode():
            is_taken = is_taken and bool(walk.allowed()[character])
            if is_taken:
                walk.take(character)
        assert is_taken == is_in, code


def test_a_broken_grammar_or_tokenizer_is_named():
    with pytest.raises(ConfigError, match='grammar: '):
        CodeGrammar(text='start: missing_rule')
    with pytest.raises(ConfigError, match='tokenizer: '):
        CodeGrammar('{}')


def test_a_machine_without_the_library_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'llguidance', None)
    with pytest.raises(EnvironmentSetupError, match='pip install llguidance'):
        CodeGrammar()
