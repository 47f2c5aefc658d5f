"""A hundred thousand strings and mutated programs: refused by name, or within all limits."""

import random
import string

import pytest
from robot_learning.errors import CommandError
from robot_learning.language import interpreter, skills
from robot_learning.language.program import MAX_CALLS, parse

NUM_STRINGS, NUM_MUTANTS = 40_000, 60_000
PROGRAMS = (
    'robot.move_forward(distance=1.5, speed=0.3)\nrobot.turn(angle=-90)',
    'for _ in range(4):\n    robot.move_forward(distance=1)\n    robot.turn(angle=90)',
    'if sensors.detect(object_type="ball", color="red"):\n    robot.stop()\n'
    'else:\n    sensors.scan()',
    'd = sensors.measure_distance(direction="left")\nif d > 0.5 and not d >= 3:\n'
    '    robot.move_forward(distance=d)\nrobot.report(about="pose")',
    'gripper.pick_up(object_type="can", size="small")\ngripper.drop_at(room="kitchen")',
    'seen = sensors.look_for("cube")\nfor _ in range(2):\n    if seen:\n'
    '        robot.wait(duration=1)\n'
    'navigation.return_home()',
)
PIECES = (
    *('import os', '__import__("os")', 'robot.__class__', 'exec("1")', 'lambda: 0', 'while True:'),
    *(
        'robot',
        'gripper',
        'sensors.scan()',
        '(',
        ')',
        '[',
        '"',
        "'",
        '\\',
        '\n',
        '    ',
        '\t',
        ':',
    ),
    *(
        '1e999',
        '-1',
        '10**9',
        'nan',
        '0x41',
        '1_000',
        '...',
        'None',
        'True',
        '=',
        '==',
        '; rm -rf /',
    ),
    *(
        'def f():',
        'class A:',
        'f"{1}"',
        '@',
        ':=',
        '*',
        '**',
        'for x in y:',
        'range(10**9)',
        'del d',
    ),
    *('\x00', '\u0430', '\u202e', '\ud800', 'd', '_', 'await ', 'yield ', 'return', 'try:', '#'),
)


def mutant(rng):
    """Return a program after some random cuts, doublings and insertions."""
    text = rng.choice(PROGRAMS)
    for _ in range(rng.choice((1, 1, 2, 4))):
        start = rng.randrange(len(text) + 1)
        end = min(start + rng.choice((1, 2, 5, 40)), len(text))
        change = rng.randrange(4)
        if change == 0:
            text = text[:start] + text[end:]
        elif change == 1:
            text = text[:start] + rng.choice(PIECES) + text[start:]
        elif change == 2:
            text = text[:end] + text[start:end] + text[end:]
        else:
            other = rng.choice(PROGRAMS)
            text = text[:start] + other[rng.randrange(len(other)) :]
    return text


def noise(rng):
    """Return pieces and letters in any order."""
    parts = [
        rng.choice(PIECES) if rng.random() < 0.6 else rng.choice(string.printable)
        for _ in range(rng.randint(0, 25))
    ]
    return ''.join(parts)


def result_of(step, rng):
    return {
        'nothing': None,
        'truth': rng.random() < 0.5,
        'number': rng.choice((0.0, 0.3, 2.0, 1e9, float('inf'))),
    }[step.verb.result]


def carry_out(program, rng):
    """Walk through a program that was let pass; return how many calls it made."""
    walk = interpreter.steps(program)
    calls = 0
    try:
        step = next(walk)
        while True:
            calls += 1
            assert step.verb is skills.VERBS[step.verb.name]
            assert step.verb.completed(step.arguments) == step.arguments  # Within all limits.
            step = walk.send(result_of(step, rng))
    except (StopIteration, CommandError):
        return calls


@pytest.mark.filterwarnings('ignore')  # Python's own, about what the strings hold.
def test_nothing_gets_through_that_is_not_within_limits():
    rng = random.Random(0)
    num_passed = 0
    for number in range(NUM_STRINGS + NUM_MUTANTS):
        text = noise(rng) if number < NUM_STRINGS else mutant(rng)
        try:
            program = parse(text)
        except CommandError as error:
            assert str(error) and len(str(error)) < 500
            continue
        num_passed += 1
        assert carry_out(program, rng) <= program.max_calls <= MAX_CALLS
    assert num_passed > 1000  # Mutants that are still sound, or nothing was tried.
