"""What people say to join commands: conditions, repetitions, sequences; see `code_sayings`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from robot_learning.language.code_prompt import number
from robot_learning.language.code_sayings import Skill, Slots, call, calls

_ITEM = '[the|a|any] [{color}] {object}'
_SEES = calls('sensors.detect', object_type='object', color='color')
_MEASURES = calls('sensors.measure_distance', direction='facing')
_OPPOSITE = {'<': '>=', '>': '<='}


def _sees_not(said: Slots) -> str:
    return f'not {_SEES(said)}'


def _is_closer(said: Slots) -> str:
    return f'{_MEASURES(said)} < {number(float(said["distance"]))}'


def _is_farther(said: Slots) -> str:
    return f'{_MEASURES(said)} > {number(float(said["distance"]))}'


def _sees_more(said: Slots) -> str:
    return f'{call("sensors.scan")} > {int(said["count"])}'


def _sees_fewer(said: Slots) -> str:
    return f'{call("sensors.scan")} < {int(said["count"])}'


CONDITIONS: tuple[Skill, ...] = (
    Skill(
        'conditions',
        _SEES,
        (
            f'you [can] see {_ITEM}',
            'there is [a|any] [{color}] {object} [there|in view]',
            f'you (find|spot|detect|notice) {_ITEM}',
            f'{_ITEM} is (visible|there|in view|in sight)',
            f'your camera (shows|sees) {_ITEM}',
        ),
    ),
    Skill(
        'conditions',
        _sees_not,
        (
            f"you (do not|don't|cannot|can't) see {_ITEM}",
            'there is no [{color}] {object} [there|in view]',
            'you see no [{color}] {object}',
            f'{_ITEM} is not (visible|there|in view|in sight)',
            f"you (do not|don't) (find|spot|detect|notice) {_ITEM}",
            'no [{color}] {object} is (visible|there|in view|in sight)',
        ),
    ),
    Skill(
        'conditions',
        _is_closer,
        (
            '(the wall|an obstacle|something) {facing} is (closer|nearer) than {distance}',
            '(the wall|an obstacle|something) is (closer|nearer) than {distance} {facing}',
            'there is less than {distance} [of] (space|room) {facing}',
            'the distance {facing} is (less|smaller|shorter) than {distance}',
            '(the wall|an obstacle|something) {facing} is less than {distance} away',
            'the (space|room) {facing} is (less|smaller) than {distance}',
        ),
    ),
    Skill(
        'conditions',
        _is_farther,
        (
            '(the wall|the next obstacle|everything) {facing} is farther than {distance}',
            'there is more than {distance} [of] (space|room) {facing}',
            'the distance {facing} is (more|greater|larger) than {distance}',
            '(the wall|the next obstacle) {facing} is more than {distance} away',
            'the way {facing} is free for more than {distance}',
            'the (space|room) {facing} is (more|greater|larger) than {distance}',
        ),
    ),
    Skill(
        'conditions',
        _sees_more,
        (
            'you (see|count|find) more than {count} (objects|things)',
            'there are more than {count} (objects|things) [around you]',
            'more than {count} (objects|things) are (there|around you|visible)',
            'the number of (objects|things) is (more|greater|larger) than {count}',
        ),
    ),
    Skill(
        'conditions',
        _sees_fewer,
        (
            'you (see|count|find) (fewer|less) than {count} (objects|things)',
            'there are (fewer|less) than {count} (objects|things) [around you]',
            '(fewer|less) than {count} (objects|things) are (there|around you|visible)',
            'the number of (objects|things) is (less|smaller) than {count}',
        ),
    ),
)


class Frame(NamedTuple):
    """Ways to join pieces; what is written of them, by the names of the pieces in the template."""

    category: str
    code: Callable[[Mapping[str, str]], str]
    templates: tuple[str, ...]


def indented(code: str) -> str:
    """Return code one block deeper."""
    return '\n'.join(f'    {line}' for line in code.split('\n'))


def _branch(pieces: Mapping[str, str]) -> str:
    code = f'if {pieces["condition"]}:\n{indented(pieces["first"])}'
    return f'{code}\nelse:\n{indented(pieces["second"])}' if 'second' in pieces else code


def _unless(pieces: Mapping[str, str]) -> str:
    condition = pieces['condition']
    for operator, opposite in _OPPOSITE.items():
        if operator in condition:
            return _branch({**pieces, 'condition': condition.replace(operator, opposite)})
    opposed = condition[4:] if condition.startswith('not ') else f'not {condition}'
    return _branch({**pieces, 'condition': opposed})


def _repeat(pieces: Mapping[str, str]) -> str:
    return f'for _ in range({pieces["count"]}):\n{indented(_sequence(pieces))}'


def _sequence(pieces: Mapping[str, str]) -> str:
    return '\n'.join(pieces[key] for key in ('first', 'second', 'third') if key in pieces)


def _figure(sides: int) -> Callable[[Mapping[str, str]], str]:
    def write(pieces: Mapping[str, str]) -> str:
        drive = call('robot.move_forward', distance=float(pieces['distance']))
        turn = call('robot.turn', angle=360.0 / sides)
        return f'for _ in range({sides}):\n{indented(drive)}\n{indented(turn)}'

    return write


FRAMES: tuple[Frame, ...] = (
    Frame(
        'conditions',
        _branch,
        (
            'if {condition} [then] {first}',
            'if {condition} , {first}',
            '{first} if {condition}',
            '(when|in case) {condition} [,] {first}',
            'check (if|whether) {condition} and if so {first}',
            'only if {condition} {first}',
            '{first} (in case|when|only if) {condition}',
            'should it be that {condition} {first}',
        ),
    ),
    Frame(
        'conditions',
        _branch,
        (
            'if {condition} [then] {first} (otherwise|else|if not) {second}',
            'if {condition} , {first} , (otherwise|else|if not) {second}',
            '(when|in case) {condition} {first} (otherwise|else) {second}',
            'check (if|whether) {condition} and if so {first} (otherwise|else|if not) {second}',
            '{first} if {condition} (otherwise|else|if not) {second}',
        ),
    ),
    Frame(
        'conditions',
        _unless,
        (
            'unless {condition} {first}',
            '{first} unless {condition}',
            'unless {condition} , {first}',
        ),
    ),
    Frame(
        'loops',
        _repeat,
        (
            '{first} {count} times',
            '{count} times {first}',
            '(repeat|do this) {count} times : {first}',
            '(repeat|do) the following {count} times : {first}',
            '{first} and (repeat|do) that {count} times in all',
            'do this {count} times : {first}',
            '{count} times in a row {first}',
        ),
    ),
    Frame(
        'loops',
        _repeat,
        (
            '(repeat|do this) {count} times : {first} [and] then {second}',
            '(repeat|do) the following {count} times : {first} and [then] {second}',
            'do this {count} times : {first} , {second}',
            '{count} times : {first} and then {second}',
            '{count} times in a row : {first} then {second}',
        ),
    ),
    Frame(
        'loops',
        _figure(4),
        (
            '(drive|make|do) a square with sides of {distance}',
            '(drive|move|go) in a square of {distance}',
            '(drive|make|do) a square [,] {distance} (per|on each) side',
            '(drive|go) round a square with sides of {distance}',
        ),
    ),
    Frame(
        'loops',
        _figure(3),
        (
            '(drive|make|do) a triangle with sides of {distance}',
            '(drive|move|go) in a triangle of {distance}',
            '(drive|make|do) a triangle [,] {distance} (per|on each) side',
            '(drive|go) round a triangle with sides of {distance}',
        ),
    ),
    Frame(
        'sequences',
        _sequence,
        (
            '{first} then {second}',
            '{first} and then {second}',
            '{first} , then {second}',
            '{first} and {second}',
            'first {first} then {second}',
            '{first} , after that {second}',
            '{first} . {second}',
            '{first} ; {second}',
            'first {first} and (after that|afterwards) {second}',
            '{first} and when you are done {second}',
            '{first} next {second}',
        ),
    ),
    Frame(
        'sequences',
        _sequence,
        (
            '{first} , {second} and {third}',
            '{first} then {second} then {third}',
            'first {first} then {second} and finally {third}',
            '{first} , then {second} , then {third}',
            '{first} and {second} and then {third}',
            '{first} . {second} . {third}',
            '{first} ; {second} ; {third}',
            '{first} , after that {second} and (finally|at the end) {third}',
        ),
    ),
)
