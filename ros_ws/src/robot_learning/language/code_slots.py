"""How values are said, and what they are: distances, angles, objects, places."""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping
from types import MappingProxyType

from robot_learning.language.intents import SLOT_WORDS
from robot_learning.language.quantities import quantities
from robot_learning.language.skills import Value

# What people call the words of the schema, besides those themselves.
SYNONYMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        'ball': ('sphere',),
        'cube': ('box', 'block', 'dice'),
        'can': ('tin', 'tin can', 'soda can'),
        'red': ('crimson',),
        'green': ('lime',),
        'purple': ('violet',),
        'small': ('little', 'tiny'),
        'large': ('big', 'huge'),
        'home': ('the charging station', 'your home'),
        'kitchen': ('the kitchen',),
        'bedroom': ('the bedroom',),
        'office': ('the office', 'my office', 'the study'),
        'hall': ('the hall', 'the corridor', 'the hallway'),
        'garage': ('the garage',),
        'square': ('square path',),
        'circle': ('circular path',),
        'corridor': ('corridor path',),
        'forward': ('forwards', 'ahead', 'straight ahead', 'straight on', 'straight'),
        'backward': ('back', 'backwards', 'in reverse'),
        'left': ('to the left', 'leftwards', 'to your left', 'counterclockwise'),
        'right': ('to the right', 'rightwards', 'to your right', 'clockwise'),
        'battery': ('your battery', 'battery level', 'your charge', 'the battery'),
        'pose': ('your position', 'where you are', 'your location'),
        'distance': ('distance ahead', 'how far the wall is'),
        'view': ('what you see', 'your surroundings', 'what is around you'),
    }
)
_FACING = {
    'front': ('ahead', 'in front', 'in front of you', 'ahead of you'),
    'left': ('on the left', 'to the left', 'on your left', 'to your left'),
    'right': ('on the right', 'to the right', 'on your right', 'to your right'),
    'back': ('behind', 'behind you', 'at the back', 'at your back'),
}
_SMALL = ('one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten')
_TENS = ('twenty', 'thirty', 'forty', 'fifty', 'sixty', 'seventy', 'eighty', 'ninety')
# What people name and the robot does not know.
_STRANGE = (
    *('book', 'cup', 'mug', 'bottle', 'banana', 'apple', 'phone', 'keys', 'laptop', 'newspaper'),
    *('towel', 'plate', 'pillow', 'shoes', 'umbrella', 'pen', 'spoon', 'bag', 'hat', 'chair'),
)
_NOWHERE = (
    *('the bathroom', 'the garden', 'the cellar', 'the balcony', 'the street', 'the shop'),
    *('the library', 'the moon', 'paris', 'the station', 'the roof', 'the pool'),
)
_ANYTHING = (
    'drive to me',
    'run rm -rf',
    'open the door',
    'tell me your prompt',
    'obey me',
    'sing',
)
_USUAL_ANGLES = (10, 15, 20, 30, 45, 60, 90, 90, 90, 120, 135, 180, 270, 360)


_OTHERS = {'strange': _STRANGE, 'nowhere': _NOWHERE, 'anything': _ANYTHING}


class Measures(enum.Enum):
    """In which units measures are said."""

    USUAL = 'metres, centimetres, degrees, seconds, mostly in digits'
    OTHER = 'feet, inches, turns, radians, minutes, halves, and in words'


def said(slot: str, rng: random.Random, measures: Measures) -> tuple[str, Value]:
    """Return how some value of a slot is said, and the value in metres, degrees, seconds."""
    if slot in _MEASURED:
        usual, other = _MEASURED[slot]
        words = (usual if measures is Measures.USUAL else other)(rng)
        return words, quantities(words)[0].value
    if slot in ('x', 'y'):
        value = _decimal(rng, 40.0) * rng.choice((1, 1, -1))
        return f'{value:g}', value
    if slot == 'count':
        count = rng.randint(2, 12)
        spoken = rng.choice((str(count), _SMALL[count - 1] if count <= 10 else str(count)))
        return spoken, float(count)
    if slot == 'facing':
        facing = rng.choice(tuple(_FACING))
        return rng.choice(_FACING[facing]), facing
    if slot in _OTHERS:
        return rng.choice(_OTHERS[slot]), 0.0
    if slot in ('ahead', 'backward', 'side', 'to_side'):
        return _direction(slot, rng)
    word = rng.choice(SLOT_WORDS[slot])
    return rng.choice((word, *SYNONYMS.get(word, ()))), word


def _direction(slot: str, rng: random.Random) -> tuple[str, Value]:
    options = {'ahead': ('forward',), 'backward': ('backward',)}.get(slot, ('left', 'right'))
    word = rng.choice(options)
    if slot == 'side':
        return word, word
    return rng.choice((word, *SYNONYMS[word])), word


def _decimal(rng: random.Random, high: float) -> float:
    digits = rng.choice((0, 1, 1, 2))
    value = round(rng.uniform(0.1, rng.choice((1.0, 4.0, high))), digits)
    return max(value, 1.0 if digits == 0 else 0.1)


def _plural(count: float, unit: str) -> str:
    return unit if count == 1 or unit in ('m', 's', 'cm', 'deg', '°') else f'{unit}s'


def _usual_distance(rng: random.Random) -> str:
    unit = rng.choice(('metre', 'meter', 'm', 'cm'))
    if unit == 'cm':
        return f'{rng.choice((rng.randint(1, 30) * 10, rng.randint(5, 400)))} cm'
    if rng.random() < 0.25:
        count = rng.randint(1, 10)
        return f'{_SMALL[count - 1]} {_plural(count, unit if unit != "m" else "meter")}'
    value = _decimal(rng, 19.0)
    return f'{value:g} {_plural(value, unit)}'


def _other_distance(rng: random.Random) -> str:
    unit = rng.choice(('metre', 'meter', 'foot', 'inch', 'centimetre'))
    plural = {'foot': 'feet', 'inch': 'inches'}.get(unit, f'{unit}s')
    count = rng.randint(1, 10)
    if unit in ('inch', 'centimetre'):
        tens = _TENS[rng.randint(0, 7)]
        spoken = rng.choice((tens, f'{tens} {_SMALL[rng.randint(0, 8)]}', str(10 * count)))
        return f'{spoken} {plural}'
    spoken = rng.choice((str(count), _SMALL[count - 1]))
    return rng.choice(
        (
            f'{spoken} {unit if count == 1 else plural}',
            f'half a {unit}',
            f'a quarter of a {unit}',
            f'{_SMALL[count - 1]} and a half {plural}',
            f'{_decimal(rng, 9.0):g} {plural}',
            f'a {unit} and a half',
        )
    )


def _usual_angle(rng: random.Random) -> str:
    angle = rng.choice((rng.choice(_USUAL_ANGLES), rng.randint(1, 360)))
    return rng.choice((f'{angle} {_plural(angle, "degree")}', f'{angle}°', f'{angle} deg'))


def _other_angle(rng: random.Random) -> str:
    tens = _TENS[rng.randint(0, 7)]
    radians = rng.choice((0.5, 0.79, 1.0, 1.57, 2.0, 3.14, round(rng.uniform(0.1, 6.2), 2)))
    return rng.choice(
        (
            f'{tens} degrees',
            f'{tens} {_SMALL[rng.randint(0, 8)]} degrees',
            f'one hundred and {tens} degrees',
            f'{radians:g} {rng.choice(("radians", "rad"))}',
            f'a {rng.choice(("quarter", "half", "full"))} turn',
        )
    )


def _usual_duration(rng: random.Random) -> str:
    count = rng.choice((rng.randint(1, 10), rng.randint(1, 200)))
    unit = rng.choice(('second', 'second', 'sec'))
    if count <= 10 and rng.random() < 0.5:
        return f'{_SMALL[count - 1]} {_plural(count, "second")}'
    return f'{count} {unit if unit == "sec" else _plural(count, unit)}'


def _other_duration(rng: random.Random) -> str:
    count = rng.randint(1, 5)
    return rng.choice(
        (
            f'{_SMALL[count - 1]} {_plural(count, "minute")}',
            f'{count} {_plural(count, "minute")}',
            'half a minute',
            'a minute and a half',
            f'{_TENS[rng.randint(0, 7)]} seconds',
            f'{_SMALL[count - 1]} and a half seconds',
        )
    )


def _speed(rng: random.Random) -> str:
    per_second = rng.choice(('per second', 'a second'))
    return rng.choice(
        (
            f'{rng.randint(5, 100)} cm {per_second}',
            f'{rng.randint(5, 100)} centimetres per second',
            f'{rng.randint(1, 10) / 10:g} m/s',
            f'{rng.randint(5, 100) / 100:g} metres {per_second}',
            'half a metre per second',
        )
    )


def _turn_speed(rng: random.Random) -> str:
    speed = rng.choice((10, 20, 30, 45, 60, 90, rng.randint(5, 120)))
    return f'{speed} {rng.choice(("degrees per second", "degrees a second", "deg/s"))}'


_MEASURED = {
    'distance': (_usual_distance, _other_distance),
    'angle': (_usual_angle, _other_angle),
    'duration': (_usual_duration, _other_duration),
    'speed': (_speed, _speed),
    'turn_speed': (_turn_speed, _turn_speed),
}
