"""What people's commands mean: one schema that corpora, intent model and planner share."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from robot_learning.errors import CommandError
from robot_learning.language.skills import COLORS, OBJECTS, PATHS, PLACES, SIZES, Value

OUT_OF_SCOPE = 'out_of_scope'
# Words that a slot may hold; of those that are not here numbers, in metres, degrees, seconds.
SLOT_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        'object': OBJECTS,
        'color': COLORS,
        'size': SIZES,
        'place': PLACES,
        'path': PATHS,
        'direction': ('forward', 'backward', 'left', 'right'),
        'about': ('battery', 'pose', 'distance', 'view'),
    }
)
SLOT_NUMBERS = ('distance', 'angle', 'duration', 'x', 'y', 'speed')


class IntentKind(NamedTuple):
    """One thing that people may want."""

    name: str
    summary: str
    needed: tuple[str, ...] = ()  # Slots without which one has to ask.
    possible: tuple[str, ...] = ()
    questions: Mapping[str, str] = MappingProxyType({})  # What to ask for a slot.


class Intent(NamedTuple):
    """What one command, or one step of it, was understood to mean."""

    name: str
    slots: Mapping[str, Value] = MappingProxyType({})
    confidence: float = 1.0  # 0 to 1
    text: str = ''


_WHICH = MappingProxyType({'object': 'What should I take: a ball, a cube or a can?'})
_WHERE = MappingProxyType({'place': f'Where to: {", ".join(PLACES)}?'})
_OBJECT = ('color', 'size')

INTENTS: dict[str, IntentKind] = {
    kind.name: kind
    for kind in (
        IntentKind(
            'move',
            'Drive straight.',
            ('distance',),
            ('direction', 'speed'),
            MappingProxyType({'distance': 'How far, in metres?'}),
        ),
        IntentKind(
            'turn',
            'Turn on the spot.',
            ('direction',),
            ('angle',),
            MappingProxyType({'direction': 'To the left or to the right?'}),
        ),
        IntentKind('go_to_place', 'Go to a named place.', ('place',), (), _WHERE),
        IntentKind(
            'go_to_object',
            'Go up to an object.',
            ('object',),
            _OBJECT,
            MappingProxyType({'object': 'To which object: a ball, a cube or a can?'}),
        ),
        IntentKind(
            'go_to_pose',
            'Go to a point of the map.',
            ('x', 'y'),
            (),
            MappingProxyType({'x': 'To which point, x and y in metres?', 'y': 'And which y?'}),
        ),
        IntentKind(
            'follow_path',
            'Drive a named path.',
            ('path',),
            (),
            MappingProxyType({'path': f'Which path: {", ".join(PATHS)}?'}),
        ),
        IntentKind(
            'look_for',
            'Look for an object.',
            ('object',),
            _OBJECT,
            MappingProxyType({'object': 'What should I look for: a ball, a cube or a can?'}),
        ),
        IntentKind('pick_up', 'Pick an object up.', ('object',), _OBJECT, _WHICH),
        IntentKind('put_down', 'Put down what is held.', (), ('place',)),
        IntentKind(
            'bring', 'Bring an object somewhere.', ('object',), (*_OBJECT, 'place'), _WHICH
        ),
        IntentKind('return_home', 'Go back to the start.'),
        IntentKind('stop', 'Stand still at once.'),
        IntentKind(
            'wait',
            'Stand still for a while.',
            ('duration',),
            (),
            MappingProxyType({'duration': 'How long, in seconds?'}),
        ),
        IntentKind(
            'report',
            'Say what is known.',
            ('about',),
            (),
            MappingProxyType({'about': 'About what: battery, pose, distance or view?'}),
        ),
        IntentKind(OUT_OF_SCOPE, 'Something else.'),
    )
}


def check(intent: Intent) -> IntentKind:
    """Return the kind of an intent whose slots are what the schema says.

    Raises:
        CommandError: name, slot or value is not in the schema.
    """
    kind = INTENTS.get(intent.name)
    if kind is None:
        raise CommandError(
            f'intent {intent.name!r}: unknown, expected one of {", ".join(INTENTS)}.'
        )
    for slot, value in intent.slots.items():
        if slot not in (*kind.needed, *kind.possible):
            raise CommandError(f'intent {intent.name}: has no slot {slot!r}.')
        if slot in SLOT_WORDS and value not in SLOT_WORDS[slot]:
            raise CommandError(
                f'intent {intent.name}: {slot} is {value!r}, expected one of '
                f'{", ".join(SLOT_WORDS[slot])}.'
            )
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if slot in SLOT_NUMBERS and not (is_number and abs(float(value)) < 1e6):
            raise CommandError(f'intent {intent.name}: {slot} is {value!r}, expected a number.')
    return kind


def question(intent: Intent) -> tuple[str, str]:
    """Return the slot that is missing and what to ask for it; two empty texts if none is."""
    kind = check(intent)
    for slot in kind.needed:
        if slot not in intent.slots:
            return slot, kind.questions[slot]
    return '', ''
