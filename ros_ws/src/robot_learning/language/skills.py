"""What a robot can be told to do: one table of verbs.

Checker, interpreter, grammar, planner and documentation all read it; a new verb is one entry here,
and whoever moves the robot must know how to do it. Lengths are metres, angles degrees, speeds
metres or degrees per second, times seconds.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from robot_learning.errors import CommandError

Value = float | bool | str
Result = Literal['nothing', 'number', 'truth']

OBJECTS = ('ball', 'cube', 'can')
COLORS = ('red', 'green', 'blue', 'yellow', 'purple', 'orange')
SIZES = ('small', 'medium', 'large')
PLACES = ('home', 'kitchen', 'bedroom', 'office', 'hall', 'garage')
PATHS = ('square', 'circle', 'corridor')
_MAX_DISTANCE_M = 20.0
_MAX_COORDINATE_M = 100.0


class Number(NamedTuple):
    """A finite number within limits, both allowed."""

    low: float
    high: float
    unit: str

    @property
    def text(self) -> str:
        """For people."""
        return f'a number from {self.low:g} to {self.high:g} {self.unit}'.rstrip()

    def accepts(self, value: object) -> bool:
        """Tell whether `value` may be given."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high  # type: ignore[operator]


class Choice(NamedTuple):
    """One of some words."""

    words: tuple[str, ...]

    @property
    def text(self) -> str:
        """For people."""
        return f'one of {", ".join(map(repr, self.words))}'

    def accepts(self, value: object) -> bool:
        """Tell whether `value` may be given."""
        return isinstance(value, str) and value in self.words


class Argument(NamedTuple):
    """What a verb takes."""

    name: str
    kind: Number | Choice
    default: Value | None = None  # None: it must be given, unless it is `optional`.
    optional: bool = False  # May be left out, and then means: whichever.


class Verb(NamedTuple):
    """One entry of the table."""

    name: str  # 'gripper.pick_up'
    summary: str
    arguments: tuple[Argument, ...] = ()
    result: Result = 'nothing'
    needs: tuple[str, ...] = ()  # Abilities of the robot without which it cannot be done.
    moves: bool = True  # Something moves while it lasts.

    @property
    def signature(self) -> str:
        """As in the documentation: robot.turn(angle, speed=45)."""
        parts = [
            argument.name if argument.default is None else f'{argument.name}={argument.default!r}'
            for argument in self.arguments
        ]
        return f'{self.name}({", ".join(parts)})'

    def argument(self, name: str) -> Argument:
        """Return the argument of that name.

        Raises:
            CommandError: there is none.
        """
        for argument in self.arguments:
            if argument.name == name:
                return argument
        known = ', '.join(argument.name for argument in self.arguments) or 'nothing'
        raise CommandError(f'{self.name}: has no argument {name!r}. It takes {known}.')

    def completed(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """Return the arguments with defaults filled in, numbers as float.

        Raises:
            CommandError: one is unknown, missing, of the wrong kind or out of range.
        """
        for name in given:
            self.argument(name)
        complete: dict[str, Value] = {}
        for argument in self.arguments:
            value = given.get(argument.name, argument.default)
            if value is None:
                if argument.optional:
                    continue
                raise CommandError(
                    f'{self.name}: {argument.name} is missing, expected {argument.kind.text}.'
                )
            if not argument.kind.accepts(value):
                raise CommandError(
                    f'{self.name}: {argument.name} is {value!r}, expected {argument.kind.text}.'
                )
            complete[argument.name] = float(value) if isinstance(value, int | float) else value
        return complete


class Step(NamedTuple):
    """A call to be carried out, all arguments known and within their limits."""

    verb: Verb
    arguments: dict[str, Value]
    line: int = 0  # Of the program that it comes from; 0: of none.

    @property
    def text(self) -> str:
        """As it would be written."""
        given = ', '.join(f'{key}={value!r}' for key, value in self.arguments.items())
        return f'{self.verb.name}({given})'


_DRIVE, _GUIDED = ('drive',), ('drive', 'localisation')
_DISTANCE = Argument('distance', Number(0.01, _MAX_DISTANCE_M, 'm'))
_SPEED = Argument('speed', Number(0.01, 1.0, 'm/s'), 0.2)
_OBJECT = Argument('object_type', Choice(OBJECTS))
_COLOR = Argument('color', Choice(COLORS), optional=True)
_SIZE = Argument('size', Choice(SIZES), optional=True)
_TIMEOUT = Argument('timeout', Number(1.0, 300.0, 's'), 60.0)

VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb('robot.move_forward', 'Drive straight ahead.', (_DISTANCE, _SPEED), needs=_DRIVE),
        Verb('robot.move_backward', 'Drive straight back.', (_DISTANCE, _SPEED), needs=_DRIVE),
        Verb(
            'robot.turn',
            'Turn on the spot; counterclockwise (left) is positive.',
            (
                Argument('angle', Number(-360.0, 360.0, 'degrees')),
                Argument('speed', Number(1.0, 120.0, 'degrees/s'), 45.0),
            ),
            needs=_DRIVE,
        ),
        Verb(
            'robot.move_to',
            'Go to a point of the map, round all obstacles.',
            (
                Argument('x', Number(-_MAX_COORDINATE_M, _MAX_COORDINATE_M, 'm')),
                Argument('y', Number(-_MAX_COORDINATE_M, _MAX_COORDINATE_M, 'm')),
                _TIMEOUT,
            ),
            needs=_GUIDED,
        ),
        Verb('robot.stop', 'Stand still.', needs=_DRIVE, moves=False),
        Verb(
            'robot.wait',
            'Stand still for a while.',
            (Argument('duration', Number(0.0, 300.0, 's')),),
            moves=False,
        ),
        Verb(
            'robot.report',
            'Say what is known.',
            (Argument('about', Choice(('battery', 'pose', 'distance', 'view'))),),
            moves=False,
        ),
        Verb(
            'navigation.return_home',
            'Go back to where it started.',
            needs=_GUIDED,
        ),
        Verb(
            'navigation.go_to_room',
            'Go to a named place.',
            (Argument('room', Choice(PLACES)), _TIMEOUT),
            needs=_GUIDED,
        ),
        Verb(
            'navigation.go_to_object',
            'Go up to an object that is seen.',
            (_OBJECT, _COLOR, _TIMEOUT),
            needs=('drive', 'camera'),
        ),
        Verb(
            'navigation.follow_path',
            'Drive a named path.',
            (Argument('path', Choice(PATHS)), _TIMEOUT),
            needs=_GUIDED,
        ),
        Verb(
            'gripper.pick_up',
            'Go to an object, grasp it and lift it.',
            (_OBJECT, _COLOR, _SIZE),
            needs=('drive', 'camera', 'gripper'),
        ),
        Verb('gripper.put_down', 'Lower and let go.', needs=('gripper',)),
        Verb(
            'gripper.drop_at',
            'Carry to a named place and let go there.',
            (Argument('room', Choice(PLACES)),),
            needs=('drive', 'localisation', 'gripper'),
        ),
        Verb('gripper.drop', 'Let go, wherever it is.', needs=('gripper',)),
        Verb('gripper.grab', 'Close the gripper.', needs=('gripper',)),
        Verb('gripper.release', 'Open the gripper.', needs=('gripper',)),
        Verb(
            'sensors.scan',
            'Turn once round and note what is seen; the number of objects.',
            result='number',
            needs=('drive', 'camera'),
        ),
        Verb(
            'sensors.detect',
            'Whether such an object is seen now.',
            (_OBJECT, _COLOR),
            result='truth',
            needs=('camera',),
            moves=False,
        ),
        Verb(
            'sensors.look_for',
            'Look round, then from known places too, for such an object; whether it is seen.',
            (_OBJECT, _COLOR),
            result='truth',
            needs=('drive', 'camera'),
        ),
        Verb(
            'sensors.measure_distance',
            'Metres to the nearest obstacle in a direction.',
            (Argument('direction', Choice(('front', 'left', 'right', 'back')), 'front'),),
            result='number',
            needs=('lidar',),
            moves=False,
        ),
    )
}


def verb(name: str) -> Verb:
    """Return a verb of the table.

    Raises:
        CommandError: there is none of that name; names those that are like it.
    """
    if name in VERBS:
        return VERBS[name]
    near = difflib.get_close_matches(name[:100], VERBS, n=3, cutoff=0.5)
    advice = f'Did you mean {" or ".join(near)}?' if near else f'There are {", ".join(VERBS)}.'
    raise CommandError(f'{name[:100]}: is nothing that the robot can do. {advice}')


def check_abilities(wanted: Verb, abilities: frozenset[str]) -> None:
    """Check that a robot has what a verb needs.

    Raises:
        CommandError: names what it lacks.
    """
    missing = [need for need in wanted.needs if need not in abilities]
    if missing:
        raise CommandError(f'{wanted.name}: this robot has no {" and no ".join(missing)}.')


def documentation() -> str:
    """Return the table as Markdown, one row per verb."""
    rows: list[list[Any]] = [['call', 'what it does', 'limits', 'gives']]
    rows.append(['---'] * len(rows[0]))
    for each in VERBS.values():
        limits = '; '.join(f'{a.name}: {a.kind.text}' for a in each.arguments)
        given = '' if each.result == 'nothing' else f'a {each.result}'
        rows.append([f'`{each.signature}`', each.summary, limits, given])
    return ''.join(f'| {" | ".join(row)} |\n' for row in rows)
