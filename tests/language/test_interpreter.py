"""What runs is what was checked: random and mutated programs never get a call beyond limits."""

import random
import string

import pytest
from robot_learning.errors import CommandError
from robot_learning.language.interpreter import steps
from robot_learning.language.program import MAX_CALLS, parse
from robot_learning.language.skills import VERBS, Number

SEEDS = [
    'robot.move_forward(distance=3.0, speed=1.0)\nrobot.turn(angle=90)\nrobot.stop()\n',
    'if sensors.detect("ball", "red"):\n    gripper.pick_up("ball")\nelse:\n    robot.wait(2)\n',
    'x = sensors.measure_distance("front")\nif x > 1.0 and not sensors.detect("can"):\n'
    '    robot.move_forward(distance=x)\n',
    'for _ in range(4):\n    robot.move_forward(1)\n    robot.turn(-90)\n'
    'navigation.return_home()\n',
]
WORDS = [
    *('if ', 'else:', 'for _ in range(', '):\n    ', ' and ', 'not ', 'or', '(', ')', ',', '='),
    *('import os', '__class__', '1e999', '-', '99999999', '"red"', 'x', '\n', '    '),
    *('while True:', 'lambda: ', '[', ']', '{', '**', 'None', 'True', '0x', '#', ';', ':'),
    *("'", '"', '\\', '@'),
    *VERBS,
]


def walk(program, rng):
    """Carry a program out with random results, within and beyond all limits."""
    results = {'nothing': lambda: None, 'truth': lambda: rng.random() < 0.5}
    results['number'] = lambda: rng.choice([0.0, 0.5, 3, 1e9, -1.0, float('inf')])
    running, result, calls = steps(program), None, 0
    while True:
        try:
            step = running.send(result)
        except StopIteration:
            return
        calls += 1
        assert calls <= program.max_calls <= MAX_CALLS
        for argument in step.verb.arguments:
            value = step.arguments.get(argument.name)
            if value is None:
                assert argument.optional
            elif isinstance(argument.kind, Number):
                assert type(value) is float
                assert argument.kind.low <= value <= argument.kind.high
            else:
                assert value in argument.kind.words
        result = results[step.verb.result]()


def mutated(rng):
    text = rng.choice(SEEDS)
    for _ in range(rng.randint(0, 4)):
        place = rng.randint(0, len(text))
        kind = rng.random()
        if kind < 0.3:
            text = text[:place] + rng.choice(WORDS) + text[place:]
        elif kind < 0.5:
            text = text[:place] + rng.choice(string.printable) + text[place + 1 :]
        elif kind < 0.7:
            text = text[:place] + text[place + rng.randint(1, 8) :]
        elif kind < 0.85:
            text = text.replace(rng.choice(list(text) or ['x']), rng.choice(string.printable), 1)
        else:
            other = rng.choice(SEEDS)
            text = text[:place] + other[rng.randint(0, len(other)) :]
    return text


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.filterwarnings('ignore::SyntaxWarning', 'ignore::DeprecationWarning')
def test_25000_mutated_programs_and_random_strings_do_nothing_forbidden(seed):
    rng = random.Random(seed)
    num_run = 0
    for number in range(25_000):
        if number % 5:
            text = mutated(rng)
        else:
            signs = (
                string.printable if number % 2 else [chr(rng.randint(0, 0x2FF)) for _ in range(50)]
            )
            text = ''.join(rng.choice(signs) for _ in range(rng.randint(0, 60)))
        try:
            program = parse(text)
        except CommandError:
            continue
        num_run += 1
        try:
            walk(program, rng)
        except CommandError as error:
            assert 'expected' in str(error)
    assert num_run > 1000  # Else nothing was tried.


def test_a_result_that_its_verb_does_not_give_is_refused():
    running = steps(parse('x = sensors.scan()\nrobot.stop()'))
    next(running)
    with pytest.raises(CommandError, match=r'sensors.scan: gave True, expected number'):
        running.send(True)
    running = steps(parse('robot.stop()'))
    next(running)
    with pytest.raises(CommandError, match='expected nothing'):
        running.send(1.0)
