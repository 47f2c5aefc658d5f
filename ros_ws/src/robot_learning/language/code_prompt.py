"""The one way in which a command is put to a code model, in training and when it serves.

Measures are written as numbers in SI units and degrees first ('two feet' is '0.61 m'), so that a
model has digits to copy and no arithmetic to learn.
"""

from __future__ import annotations

import functools
import re

from robot_learning.language.commands import prepared
from robot_learning.language.quantities import Quantity, quantities

_UNITS = {'length': ' m', 'angle': ' degrees', 'time': ' s', 'count': ''}
_WORD = re.compile(r'\d+(?:\.\d+)?|[a-z]+|°')  # As `quantities` reads.
_MAX_WORDS = 8  # Of one measure: 'one hundred and twenty five and a half metres'.
_RATE = re.compile(r'\b(m|cm|met(?:er|re)s?|centimet(?:er|re)s?|deg|degrees?) a second\b')


def prompt(text: str) -> str:
    """Return what comes before the code: the command as a comment, its measures in numbers.

    Raises:
        CommandError: it is empty, too long or not in plain letters.
    """
    return f'# {measured(prepared(text).rstrip(" .!?"))}\n'


def number(value: float) -> str:
    """Return a number as code and prompts hold it: '3.0', '0.914'."""
    return repr(round(float(value), 3) + 0.0)


def measured(text: str) -> str:
    """Return a text in lower case with its numbers and measures in digits."""
    text = _RATE.sub(r'\1 per second', text.replace('twice', '2 times'))
    words = list(_WORD.finditer(text.replace('-', ' ')))
    parts, place, written = [], 0, 0
    while place < len(words):
        length, found = _longest(text, words, place)
        if found is not None:
            parts += [text[written : words[place].start()], _shown(found)]
            written = words[place + length - 1].end()
        place += length
    return ''.join([*parts, text[written:]])


def _longest(text: str, words: list[re.Match[str]], place: int) -> tuple[int, Quantity | None]:
    """Return how many words from a place on are one measure, and which; 1 and None if none."""

    def read(first: int, last: int) -> tuple[Quantity, ...]:
        return _read(text[words[first].start() : words[last].end()]) if first <= last else ()

    if not _begins(words[place][0]):
        return 1, None
    for last in range(min(place + _MAX_WORDS, len(words)) - 1, place - 1, -1):
        found = read(place, last)
        if len(found) == 1 and found not in (read(place, last - 1), read(place + 1, last)):
            return last - place + 1, found[0]
    return 1, None


@functools.lru_cache(maxsize=100_000)
def _read(text: str) -> tuple[Quantity, ...]:
    return tuple(quantities(text))


@functools.lru_cache(maxsize=10_000)
def _begins(word: str) -> bool:
    """Tell whether a measure may begin with a word."""
    return bool(quantities(f'{word} metre') or quantities(f'{word} turn'))


def _shown(found: Quantity) -> str:
    value = f'{found.value:g}' if found.kind == 'count' else number(found.value)
    return f'{value}{_UNITS[found.kind]}'
