"""What a person typed or said, made ready to be understood: limits, stop words, clauses."""

from __future__ import annotations

import re
import unicodedata

from robot_learning.errors import CommandError

MAX_CHARACTERS = 500
MAX_CLAUSES = 20
_QUOTES = str.maketrans({'‘': "'", '’': "'", '“': '"', '”': '"', '–': '-', '—': ' - ', '…': '...'})
_STOP_WORDS = r'stop|halt|freeze|abort|cancel|emergency|whoa|stand still|do not move|don\'t move'
_POLITE = r'please|now|right|at once|immediately|robot|hey|ok|okay|just|it|that|moving|everything'
# Nothing but stopping, however often and politely.
_STOP = re.compile(
    rf'^\W*(?:(?:{_POLITE})\W+)*(?:{_STOP_WORDS})\b(?:\W+(?:{_STOP_WORDS}|{_POLITE})\b)*\W*$'
)
# Nothing but asking what the robot is able to do.
_HELP = re.compile(
    rf'^\W*(?:(?:{_POLITE}|can you|could you)\W+)*'
    r'(?:help(?: me)?|what (?:else )?(?:can|could) (?:you|i) (?:do|say|ask)(?: here| for me)?'
    r'|what (?:are you able|do you know how) to do|(?:tell me|say) what you can do)'
    rf'(?:\W+(?:{_POLITE})\b)*\W*$'
)
_VERBS = (
    r'(?:drive|go|move|turn|rotate|spin|pick|grab|grasp|take|put|drop|place|bring|carry|fetch|get'
    r'|deliver|look|find|search|return|come|stop|wait|pause|report|tell|say|follow|head|navigate)\b'
)
_JOINTS = re.compile(
    r'\s*(?:[.;!]+(?=\s|$)'
    r'|,?\s*\b(?:and\s+)?(?:then|afterwards?|after that|finally)\b,?'
    r'|(?:,|\band)\s+next\b,?'  # 'next to' is a place.
    rf'|,\s*(?:and\s+)?(?={_VERBS})|\band\s+(?={_VERBS}))\s*'
)
_LEADING = re.compile(r'^(?:and|first|then|next|finally)\b,?\s*')


def prepared(text: str) -> str:
    """Return a command in plain lower-case letters and signs, single spaces.

    Raises:
        CommandError: it is empty, too long, or not written in plain letters.
    """
    if len(text) > MAX_CHARACTERS:
        raise CommandError(
            f'command: has {len(text)} characters, expected at most {MAX_CHARACTERS}. Say less.'
        )
    plain = unicodedata.normalize('NFC', text).translate(_QUOTES)
    strange = sorted({c for c in plain if not (c.isascii() or c == '°')})
    if strange or any(ord(c) < 32 and c not in '\t\n\r' for c in plain):
        shown = ascii(''.join(strange[:5])) if strange else 'control characters'
        raise CommandError(f'command: holds {shown}, expected plain English letters.')
    words = ' '.join(plain.split()).lower()
    if not re.search('[a-z]', words):
        raise CommandError('command: is empty. Say what to do, for example: go to the red cube.')
    return words


def is_stop(text: str) -> bool:
    """Tell whether the words mean nothing but to stop; looks at any text at all, and at once."""
    return bool(_STOP.match(text[:MAX_CHARACTERS].replace('’', "'").lower()))


def is_asking_for_help(text: str) -> bool:
    """Tell whether the words ask for nothing but what the robot can do; looks at any text."""
    return bool(_HELP.match(text[:MAX_CHARACTERS].lower()))


def clauses(text: str) -> list[str]:
    """Split what `prepared` returned into commands that follow each other.

    Raises:
        CommandError: there are more than anybody would say at once.
    """
    parts = [_LEADING.sub('', part.strip(' ,')) for part in _JOINTS.split(text)]
    found = [part for part in parts if part]
    if len(found) > MAX_CLAUSES:
        raise CommandError(
            f'command: has {len(found)} parts, expected at most {MAX_CLAUSES}. Say less at once.'
        )
    return found
