"""From the words of a slot to the value that the schema has for them."""

from __future__ import annotations

import difflib
import re

from robot_learning.language.intents import SLOT_WORDS
from robot_learning.language.quantities import quantities
from robot_learning.language.skills import Value
from robot_learning.language.templates import SPECIAL, SYNONYMS

_KIND = {'distance': 'length', 'angle': 'angle', 'duration': 'time'}
_CLOSE = 0.8  # How alike a misspelled word must be, 0 to 1.
_ARTICLES = re.compile(r'^(?:the|a|an|your|my|that)\s+')
_NUMBER = re.compile(r'-?\d+(?:\.\d+)?')


def value_of(slot: str, words: str) -> Value | None:
    """Return what the words of a slot mean; None where the schema has nothing like them.

    Args:
        slot: a name of the intent schema.
        words: as they stand in the command, lower case.
    """
    words = ' '.join(words.split())
    if slot in SLOT_WORDS:
        return _word(slot, words)
    if slot in _KIND:
        counted = quantities(words) or quantities(f'a {words}')  # 'Wait a second' marks the unit.
        found = [each for each in counted if each.kind == _KIND[slot]]
        return found[0].value if len(found) == 1 else None
    number = _NUMBER.fullmatch(words)
    if number is not None and len(words) <= 12:
        return float(words)
    counts = quantities(words)
    return counts[0].value if len(counts) == 1 and counts[0].kind == 'count' else None


def _word(slot: str, words: str) -> str | None:
    meant = {word: word for word in SLOT_WORDS[slot]}
    for value, others in SYNONYMS.get(slot, {}).items():
        meant |= dict.fromkeys(others, value)
    for special, values in SPECIAL.values():
        if special == slot:
            meant |= {word: value for value, others in values.items() for word in others}
    bare = {_ARTICLES.sub('', said): value for said, value in meant.items()} | meant
    for said in (words, _ARTICLES.sub('', words), words.removesuffix('s')):
        if said in bare:
            return bare[said]
    near = difflib.get_close_matches(_ARTICLES.sub('', words), bare, n=1, cutoff=_CLOSE)
    return bare[near[0]] if near else None
