"""Labels of public corpora as intents of this robot.

| corpus | becomes | labels |
| --- | --- | --- |
| HuRIC frames, frame_corpus.py | go_to_place | Motion to somewhere, Arriving |
| | move | Motion forward or backward |
| | turn | Change_direction |
| | look_for | Locating |
| | pick_up | Taking, Manipulation |
| | put_down | Releasing |
| | bring | Bringing, Giving, Placing: a thing that is named ends somewhere else |
| | out_of_scope | Closure, Change_operational_state, Attaching, Cotheme, Inspecting, \
Perception_active |
| | nothing | Being_located, a statement |
| GPSR rules | look_for | fndobj |
| | bring | deliver, man |
| | out_of_scope | fndppl, follow, followout, guide, partyhost: all about people |
| | nothing | complexman, incomplete, erroneous: each holds several intents |
| ALFRED steps | go_to_place, pick_up, bring | GotoLocation, PickupObject, PutObject |
| | out_of_scope | CoolObject, HeatObject, SliceObject, CleanObject, ToggleObject |
| ALFRED goals | bring | pick_and_place_*, pick_two_obj_and_place |
| | out_of_scope | look_at_obj_in_light |
| | nothing | pick_heat_*, pick_cool_*, pick_clean_*: in part what a robot can do |
| SNIPS | out_of_scope | all |
| CLINC150 | out_of_scope | all but what a robot may be asked: timer, directions, cancel, … |

What becomes nothing is left out. As of HuRIC the first frame, so of the others the first step
gives the intent: words that begin with a drive, a turn or a grasp are go_to_place, turn or
pick_up, whatever else follows; `put it …` is put_down. Of GPSR's fndobj, questions for a number
or a property are out_of_scope. Of slots only those of the GPSR rules fit the schema's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from robot_learning.errors import DataError
from robot_learning.language.command_files import Labelled
from robot_learning.language.frame_corpus import SOURCE
from robot_learning.language.intents import INTENTS, OUT_OF_SCOPE

_HURIC: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(('Motion', 'Arriving'), 'go_to_place'),
        'Change_direction': 'turn',
        'Locating': 'look_for',
        **dict.fromkeys(('Taking', 'Manipulation'), 'pick_up'),
        'Releasing': 'put_down',
        **dict.fromkeys(('Bringing', 'Giving', 'Placing'), 'bring'),
        **dict.fromkeys(
            ('Closure', 'Change_operational_state', 'Attaching', 'Cotheme'), OUT_OF_SCOPE
        ),
        **dict.fromkeys(('Inspecting', 'Perception_active'), OUT_OF_SCOPE),
    }
)
_GPSR: Mapping[str, str] = MappingProxyType(
    {
        'fndobj': 'look_for',
        **dict.fromkeys(('deliver', 'man'), 'bring'),
        **dict.fromkeys(('fndppl', 'follow', 'followout', 'guide', 'partyhost'), OUT_OF_SCOPE),
    }
)
_ALFRED: Mapping[str, str] = MappingProxyType(
    {
        'GotoLocation': 'go_to_place',
        'PickupObject': 'pick_up',
        'PutObject': 'bring',
        **dict.fromkeys(
            ('CoolObject', 'HeatObject', 'SliceObject', 'CleanObject', 'ToggleObject'),
            OUT_OF_SCOPE,
        ),
        'pick_and_place_simple': 'bring',
        'pick_and_place_with_movable_recep': 'bring',
        'pick_two_obj_and_place': 'bring',
        'look_at_obj_in_light': OUT_OF_SCOPE,
    }
)
_ALMOST_ROBOTIC = frozenset(  # Of CLINC150.
    ('timer', 'directions', 'distance', 'cancel', 'find_phone', 'current_location', 'repeat')
)
_GPSR_SLOTS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(('object', 'aobject', 'kobject', 'category'), 'object'),
        **dict.fromkeys(('room', 'placement', 'beacon'), 'place'),
    }
)
_STRAIGHT = re.compile(r'\b(?:forwards?|backwards?|ahead|straight)\b')
_TOWARDS = re.compile(r'\b(?:to|near|into|in|towards?|at|from)\b')
_POLITE = re.compile(r'^(?:(?:robot|please|could you|can you)\b,?\s*)+')
_QUESTION = re.compile(r'^tell me\b')
_FIRST_STEPS = (
    (
        re.compile(
            r'^(?:turn|rotate|spin|veer|hang|make)\b(?! (?:on|off)).*\b(?:left|right|around|'
            r'about|back|back around|degrees)\b'
        ),
        'turn',
    ),
    (
        re.compile(
            r'^(?:go|navigate|walk|head|drive|proceed|travel|cross|step|move)\b '
            r'(?:(?:over|up|back|straight|forward|right|left|ahead|across|on)\b,? ?)*'
            r'(?:to|towards?|into|near|past|through|around|and)\b'
        ),
        'go_to_place',
    ),
    (
        re.compile(
            r'^(?:pick up|pick|grab|grasp|lift|collect|take|get)\b.*'
            r'(?:\band\b|,|\bthen\b).*\b(?:put|place|give|bring|deliver|take|move|turn|set|'
            r'carry|look|examine|hand|heat|cool|wash|clean|throw)\b'
        ),
        'pick_up',
    ),
    (re.compile(r'^(?:put|place|set|lay|leave|drop)\b (?:it|them|that)\b'), 'put_down'),
)


def mapped(commands: Iterable[Labelled]) -> list[Labelled]:
    """Return commands under the robot's intents; those that have none are left out.

    Commands under the robot's intents stay as they are.

    Raises:
        DataError: there is no mapping for the source of a command.
    """
    return [found for command in commands if (found := _mapped(command)) is not None]


def is_mapped(commands: Iterable[Labelled]) -> bool:
    """Tell whether all commands are under the robot's intents."""
    return all(command.intent in INTENTS for command in commands)


def _mapped(command: Labelled) -> Labelled | None:
    if command.intent in INTENTS:
        return command
    source = command.source.casefold()
    intent: str | None
    if source.startswith(('huric', SOURCE)):
        intent = _HURIC.get(command.intent)
        if command.intent == 'Motion' and _is_straight(command.text):
            intent = 'move'
    elif source.startswith('gpsr'):
        intent = _GPSR.get(command.intent)
        spans = tuple(
            (start, end, _GPSR_SLOTS[name])
            for start, end, name in command.spans
            if name in _GPSR_SLOTS
        )
        if intent is None:
            return None
        if command.intent == 'fndobj' and _QUESTION.search(_POLITE.sub('', command.text)):
            intent = OUT_OF_SCOPE
        return command._replace(intent=_first_step(command.text) or intent, spans=spans)
    elif source.startswith('alfred'):
        intent = _ALFRED.get(command.intent)
        intent = intent and (_first_step(command.text) or intent)
    elif source.startswith('snips'):
        intent = OUT_OF_SCOPE
    elif source.startswith('clinc'):
        intent = None if command.intent in _ALMOST_ROBOTIC else OUT_OF_SCOPE
    else:
        raise DataError(
            f'{command.source or "commands"}: intent {command.intent!r} is none of the robot, '
            f'and nobody said what it means. Name a source that language/intent_mapping.py '
            f'knows, or leave the intents as they are.'
        )
    if intent is None:
        return None
    return command._replace(intent=intent, spans=(), has_slots=False)


def _first_step(text: str) -> str | None:
    bare = _POLITE.sub('', text)
    return next((intent for start, intent in _FIRST_STEPS if start.search(bare)), None)


def _is_straight(text: str) -> bool:
    return _STRAIGHT.search(text) is not None and _TOWARDS.search(text) is None
