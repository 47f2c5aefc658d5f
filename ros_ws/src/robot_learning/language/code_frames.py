"""What people say to join commands: conditions, repetitions, sequences; see `code_sayings`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from robot_learning.language.code_prompt import number
from robot_learning.language.code_sayings import Skill, Slots, call, calls

_ITEM = '[the|a|any] [{color}] {object}'
_WALL = '(the wall|an obstacle|something|the next obstacle|everything)'
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
            f'you [can] (see|find|spot|detect|notice) {_ITEM}',
            'there is [a|any] [{color}] {object} [there|in view|in sight]',
            f'{_ITEM} is (visible|there|in view|in sight)',
            f'your camera (shows|sees|detects|finds) {_ITEM}',
            f'{_ITEM} can be (seen|found|spotted|detected)',
            f'you are (seeing|detecting|noticing) {_ITEM}',
            f'{_ITEM} is (seen|found|spotted|detected)',
        ),
    ),
    Skill(
        'conditions',
        _sees_not,
        (
            f"you (do not|don't|cannot|can't) (see|find|spot|detect|notice) {_ITEM}",
            'there is no [{color}] {object} [there|in view|in sight]',
            'you (see|find|spot|detect|notice) no [{color}] {object}',
            f'{_ITEM} is not (visible|there|in view|in sight)',
            f"{_ITEM} (cannot|can't|can not) be (seen|found|spotted|detected)",
            'no [{color}] {object} is (visible|there|in view|in sight)',
            'no [{color}] {object} (is|can be) (seen|found|spotted|detected)',
            f'{_ITEM} is not (seen|found|spotted|detected)',
            f"{_ITEM} (isn't|is not) (visible|seen|found|detected|there)",
            f"there (isn't|is not) {_ITEM} [in view|in sight]",
            f'you are not (seeing|detecting|noticing) {_ITEM}',
            'your camera (shows|sees|detects|finds) no [{color}] {object}',
            f'your camera does not (show|see|detect|find) {_ITEM}',
        ),
    ),
    Skill(
        'conditions',
        _is_closer,
        (
            f'{_WALL} {{facing}} is (closer|nearer) than {{distance}}',
            f'{_WALL} is (closer|nearer) than {{distance}} {{facing}}',
            'there is less than {distance} [of] (space|room) {facing}',
            'the (distance|space|room) {facing} is (less|smaller|shorter) than {distance}',
            f'{_WALL} {{facing}} is less than {{distance}} away',
            f'{_WALL} is less than {{distance}} away {{facing}}',
            'you have less than {distance} [of] (space|room) {facing}',
            '(less|no more) than {distance} [of] (space|room) is (left|free) {facing}',
        ),
    ),
    Skill(
        'conditions',
        _is_farther,
        (
            f'{_WALL} {{facing}} is (farther|further) than {{distance}}',
            f'{_WALL} is (farther|further) than {{distance}} {{facing}}',
            'there is more than {distance} [of] (space|room) {facing}',
            'the (distance|space|room) {facing} is (more|greater|larger) than {distance}',
            f'{_WALL} {{facing}} is more than {{distance}} away',
            f'{_WALL} is more than {{distance}} away {{facing}}',
            'you have more than {distance} [of] (space|room) {facing}',
            'more than {distance} [of] (space|room) is (left|free) {facing}',
            'the way {facing} is free for more than {distance}',
        ),
    ),
    Skill(
        'conditions',
        _sees_more,
        (
            'you (see|count|find) more than {count} (objects|things)',
            'there are more than {count} (objects|things) [around you|in the room]',
            'more than {count} (objects|things) are (there|around you|visible|in the room)',
            'the (number|count) of (objects|things) is (more|greater|larger) than {count}',
            'the (objects|things) around you are more than {count}',
            'more than {count} (objects|things) can be (seen|found|counted)',
        ),
    ),
    Skill(
        'conditions',
        _sees_fewer,
        (
            'you (see|count|find) (fewer|less) than {count} (objects|things)',
            'there are (fewer|less) than {count} (objects|things) [around you|in the room]',
            '(fewer|less) than {count} (objects|things) are (there|around you|visible)',
            'the (number|count) of (objects|things) is (less|smaller) than {count}',
            'the (objects|things) around you are (fewer|less) than {count}',
            '(fewer|less) than {count} (objects|things) can be (seen|found|counted)',
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


_IF = '(if|when|in case|whenever)'
_ELSE = '(otherwise|else|if not)'
_THEN = '(then|after that|afterwards|next)'
_AND = '(and|and then|then)'

FRAMES: tuple[Frame, ...] = (
    Frame(
        'conditions',
        _branch,
        (
            f'{_IF} {{condition}} [then] {{first}}',
            f'{_IF} {{condition}} , [then] {{first}}',
            '{first} (if|in case|when|whenever|only if) {condition}',
            '{first} , but only if {condition}',
            'check (if|whether) {condition} and if so {first}',
            'check (if|whether) {condition} and [then] only then {first}',
            f'only {_IF} {{condition}} [then] {{first}}',
            'see (if|whether) {condition} and if (so|yes) {first}',
            'should it be (so|the case) that {condition} [then] {first}',
            'provided that {condition} , {first}',
            '{first} provided that {condition}',
        ),
    ),
    Frame(
        'conditions',
        _branch,
        (
            f'{_IF} {{condition}} [then] {{first}} {_ELSE} {{second}}',
            f'{_IF} {{condition}} , [then] {{first}} , {_ELSE} {{second}}',
            f'{_IF} {{condition}} [then] {{first}} ; {_ELSE} {{second}}',
            f'check (if|whether) {{condition}} and if so {{first}} {_ELSE} {{second}}',
            f'see (if|whether) {{condition}} and if (so|yes) {{first}} , {_ELSE} {{second}}',
            f'{{first}} (if|in case|when) {{condition}} {_ELSE} {{second}}',
            f'{{first}} (if|in case|when) {{condition}} , {_ELSE} {{second}}',
        ),
    ),
    Frame(
        'conditions',
        _unless,
        (
            'unless {condition} {first}',
            '{first} unless {condition}',
            'unless {condition} , {first}',
            '{first} , unless {condition}',
            'unless [it is so that] {condition} then {first}',
            'unless it is (so|the case) that {condition} {first}',
            '{first} unless it is (so|the case) that {condition}',
            'unless {condition} then {first}',
            '{first} except (if|when) {condition}',
            'except (if|when) {condition} , {first}',
        ),
    ),
    Frame(
        'loops',
        _repeat,
        (
            '{first} {count} times [in a row|over]',
            '{count} times [in a row] {first}',
            '(repeat|do) this {count} times [in a row] : {first}',
            '(repeat|do) the following {count} times : {first}',
            '{first} and (repeat|do) that {count} times in all',
            'for {count} times {first}',
            '{count} times [over] : {first}',
            '{first} , {count} times [in a row|over|in all]',
            '(repeat|do) {count} times : {first}',
        ),
    ),
    Frame(
        'loops',
        _repeat,
        (
            f'(repeat|do) this {{count}} times [in a row] : {{first}} {_AND} {{second}}',
            f'(repeat|do) the following {{count}} times : {{first}} {_AND} {{second}}',
            '(repeat|do) this {count} times : {first} , {second}',
            f'{{count}} times [in a row|over] : {{first}} {_AND} {{second}}',
            f'(repeat|do) {{count}} times : {{first}} {_AND} {{second}}',
            '(repeat|do) the following {count} times : {first} , [and] {second}',
            '{count} times : {first} , [and] {second}',
        ),
    ),
    Frame(
        'loops',
        _figure(4),
        (
            '(drive|make|do|draw|move|go) a square with sides of {distance}',
            '(drive|move|go) in a square of {distance}',
            '(drive|make|do|draw) a square [,] {distance} (per|on each|a) side',
            '(drive|go|move) round a square (with sides of|of) {distance}',
            '(drive|make|do|draw) a square whose sides are {distance} [long]',
            '(drive|go|move) in a square with {distance} (per|on each) side',
        ),
    ),
    Frame(
        'loops',
        _figure(3),
        (
            '(drive|make|do|draw|move|go) a triangle with sides of {distance}',
            '(drive|move|go) in a triangle of {distance}',
            '(drive|make|do|draw) a triangle [,] {distance} (per|on each|a) side',
            '(drive|go|move) round a triangle (with sides of|of) {distance}',
            '(drive|make|do|draw) a triangle whose sides are {distance} [long]',
            '(drive|go|move) in a triangle with {distance} (per|on each) side',
        ),
    ),
    Frame(
        'sequences',
        _sequence,
        (
            '{first} [and] then {second}',
            f'{{first}} , {_THEN} {{second}}',
            '{first} and {second}',
            f'first {{first}} [and] {_THEN} {{second}}',
            '{first} . {second}',
            '{first} ; {second}',
            f'{{first}} . {_THEN} {{second}}',
            '{first} and (when you are|once you are) done {second}',
            f'{{first}} and {_THEN} {{second}}',
            'first {first} and (when you are|once you are) done {second}',
            '{first} , [and] {second}',
            f'first {{first}} , {_THEN} {{second}}',
        ),
    ),
    Frame(
        'sequences',
        _sequence,
        (
            '{first} , {second} and [then|finally] {third}',
            '{first} then {second} then {third}',
            'first {first} then {second} and (finally|at the end|then) {third}',
            f'{{first}} , {_THEN} {{second}} , {_THEN} {{third}}',
            '{first} and {second} and then {third}',
            f'{{first}} . {_THEN} {{second}} . (then|finally|at the end) {{third}}',
            '{first} . {second} . {third}',
            '{first} ; {second} ; {third}',
            f'{{first}} , {_THEN} {{second}} and (finally|at the end) {{third}}',
            f'first {{first}} , {_THEN} {{second}} , (finally|at the end|then) {{third}}',
        ),
    ),
)
# Around whatever is asked for; nothing that a robot would have to do.
WRAPPERS: tuple[str, ...] = (
    '(could|can|would|will) you {first}',
    '(could|can|would|will) you (please|now|just) {first}',
    'i (want|need|would like) you to {first}',
    "i'd like you to {first}",
    'i (want|need|ask) you to (please|now) {first}',
    'your (task|job|order) is to {first}',
    'your (next|first|new) (task|job|order) is to {first}',
    'you (should|must|have to|need to) {first}',
    'you (should|must|can) now {first}',
    'it is [now] time to {first}',
    'it is time for you to {first}',
    'go ahead and {first}',
    'just go ahead and {first}',
    'now go ahead and {first}',
    'go on and {first}',
    'try to {first}',
    'please try to {first}',
    'be so kind (and|to) {first}',
    'please be so kind (and|to) {first}',
    'would you be so kind (and|to) {first}',
    'be so good (and|to) {first}',
    '(make sure|remember) to {first}',
    'please (make sure|remember) to {first}',
    'i would be glad if you would {first}',
    'i would be (glad|happy) if you could {first}',
    'start to {first}',
    'what you (should|have to|must) do is {first}',
    'what i (want|need) you to do is {first}',
    'the (task|job|order) is to {first}',
    'next [you should] {first}',
)
