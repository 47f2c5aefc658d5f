"""Whether code holds the values that its command names: each as often as it is said.

A small model that joins pieces sometimes writes a value twice and forgets another. That shows
without knowing what was meant.
"""

from __future__ import annotations

import re
from collections import Counter

from robot_learning.language.code_grammar import NOTHING
from robot_learning.language.code_slots import SYNONYMS
from robot_learning.language.intents import SLOT_WORDS

_WORDS = {  # Word -> value.
    word: value
    for slot in ('object', 'color', 'size')
    for value in SLOT_WORDS[slot]
    for word in (value, *SYNONYMS.get(value, ()))
}
_IN_TEXT = re.compile(
    '|'.join(rf'\b{re.escape(word)}\b' for word in sorted(_WORDS, key=len, reverse=True))
    + r'|\d+(?:\.\d+)?'
)
_IN_CODE = re.compile(r'"(\w+)"|(?<![\w.])\d+(?:\.\d+)?')
_AMBIGUOUS = 'can'  # A thing, or that one is able to.
_UNSAID = frozenset({'90', '180', '120', '3', '4'})  # As 'turn left' and 'a triangle' mean.
# What may stand for something that was named before, so that code says it again.
_REFERS = re.compile(r'\b(it|its|that|them|this|there|same|again|both|each|back)\b')


def agrees(prompt: str, code: str) -> bool:
    """Tell whether code holds each number, object, colour and size as often as a prompt does.

    Where the prompt refers to something by a pronoun, it may hold them more often. Code that is
    nothing agrees with everything.

    Args:
        prompt: as `code_prompt.prompt` makes it: measures are digits in the code's units.
        code: generated for it.
    """
    if code == NOTHING:
        return True
    said: Counter[str] = Counter()
    perhaps: Counter[str] = Counter()
    for word in _IN_TEXT.findall(prompt):
        (perhaps if word == _AMBIGUOUS else said)[_WORDS.get(word) or _short(word)] += 1
    written: Counter[str] = Counter()
    for found in _IN_CODE.finditer(code):
        if found[1] is None:
            written[_short(found[0])] += 1
        elif found[1] in _WORDS:
            written[found[1]] += 1
    if said - written:
        return False
    more = written - said - perhaps
    return bool(_REFERS.search(prompt)) or not set(more) - _UNSAID


def _short(number: str) -> str:
    return f'{float(number):g}'
