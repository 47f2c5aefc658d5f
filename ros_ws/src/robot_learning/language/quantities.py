"""Numbers and measures in words: 'half a metre', 'ninety degrees', 'two and a half feet'."""

from __future__ import annotations

import re
from typing import NamedTuple

_UNITS = {  # Word -> what it measures, and its size in metres, degrees or seconds.
    **dict.fromkeys(('m', 'meter', 'meters', 'metre', 'metres'), ('length', 1.0)),
    **dict.fromkeys(
        ('cm', 'centimeter', 'centimeters', 'centimetre', 'centimetres'), ('length', 0.01)
    ),
    **dict.fromkeys(('foot', 'feet', 'ft'), ('length', 0.3048)),
    **dict.fromkeys(('inch', 'inches'), ('length', 0.0254)),
    **dict.fromkeys(('degree', 'degrees', 'deg', '°'), ('angle', 1.0)),
    **dict.fromkeys(('radian', 'radians', 'rad'), ('angle', 57.29577951308232)),
    **dict.fromkeys(('second', 'seconds', 'sec', 's'), ('time', 1.0)),
    **dict.fromkeys(('minute', 'minutes', 'min'), ('time', 60.0)),
}
_SMALL = (
    *('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'),
    *('eleven', 'twelve', 'thirteen', 'fourteen', 'fifteen', 'sixteen', 'seventeen', 'eighteen'),
    'nineteen',
)
_ONES = {word: value for value, word in enumerate(_SMALL)}
_LARGE = ('twenty', 'thirty', 'forty', 'fifty', 'sixty', 'seventy', 'eighty', 'ninety')
_TENS = {word: 10 * value for value, word in enumerate(_LARGE, start=2)}
_TURNS = {'quarter': 90.0, 'half': 180.0, 'full': 360.0}
_WORD = re.compile(r'\d+(?:\.\d+)?|[a-z]+|°')


class Quantity(NamedTuple):
    """A measure that stands in a text."""

    kind: str  # 'length' in metres, 'angle' in degrees, 'time' in seconds, 'count' of nothing.
    value: float


def quantities(text: str) -> list[Quantity]:
    """Return the numbers and measures of a text, in their order."""
    words = _WORD.findall(text.lower().replace('-', ' '))
    found: list[Quantity] = []
    place = 0
    while place < len(words):
        quantity, length = _quantity(words[place:])
        if quantity is not None:
            found.append(quantity)
        place += length
    return found


def _quantity(words: list[str]) -> tuple[Quantity | None, int]:
    """Return the quantity that the words begin with and how many words it takes, at least 1."""
    turn = next((n for n in (1, 2) if words[n : n + 1] in (['turn'], ['circle'])), 0)
    if words[0] in _TURNS and turn == 1:
        return Quantity('angle', _TURNS[words[0]]), 2
    value, length = _number(words)
    if value is None:
        return None, 1
    rest = words[length:]
    if rest[:2] == ['of', 'a'] or rest[:2] == ['of', 'an']:  # 'a quarter of a metre'
        rest, length = rest[2:], length + 2
    if rest[:1] and rest[0] in _UNITS:
        kind, size = _UNITS[rest[0]]
        length += 1
        if rest[1:4] in (['and', 'a', 'half'], ['and', 'a', 'quarter']):
            value += 0.5 if rest[3] == 'half' else 0.25
            length += 3
        return Quantity(kind, value * size), length
    if words[0] in ('a', 'an', 'half', 'quarter'):
        return None, 1  # An article, or half of something without a unit.
    return Quantity('count', value), length


def _number(words: list[str]) -> tuple[float | None, int]:
    """Return the number that the words begin with and how many words it takes."""
    first = words[0]
    if first[0].isdigit():
        return float(first) if len(first) <= 12 else None, 1
    if first in ('a', 'an') and words[1:2]:
        if words[1] in ('half', 'quarter'):
            return (0.5 if words[1] == 'half' else 0.25), 2
        if words[1] == 'hundred':
            return _hundreds(1.0, words, 2)
        return 1.0, 1
    if first in ('half', 'quarter'):
        skip = 2 if words[1:2] in (['a'], ['an']) else 1
        return (0.5 if first == 'half' else 0.25), skip
    if first in _TENS:
        ones = _ONES.get(words[1], 10) if words[1:2] else 10
        return (float(_TENS[first] + ones), 2) if ones < 10 else (float(_TENS[first]), 1)
    if first not in _ONES:
        return None, 1
    value, length = float(_ONES[first]), 1
    if words[1:2] == ['hundred']:
        return _hundreds(value, words, 2)
    if words[1:4] == ['and', 'a', 'half']:
        return value + 0.5, 4
    if words[1:2] == ['point'] and words[2:3] and words[2] in _ONES and _ONES[words[2]] < 10:
        return value + 0.1 * _ONES[words[2]], 3
    return value, length


def _hundreds(count: float, words: list[str], length: int) -> tuple[float, int]:
    rest = words[length:]
    skip = 1 if rest[:1] == ['and'] else 0
    if rest[skip : skip + 1] and (rest[skip] in _ONES or rest[skip] in _TENS):
        more, used = _number(rest[skip:])
        if more is not None and more < 100:
            return 100 * count + more, length + skip + used
    return 100 * count, length
