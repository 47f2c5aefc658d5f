"""Commands with their meaning from JSON lines: our own, and those of public corpora."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from robot_learning.errors import DataError

_MAX_CHARACTERS = 2000  # Of one command; what is longer is no command.


class Labelled(NamedTuple):
    """A command, lower case, its intent, and where its slots stand."""

    text: str
    intent: str
    spans: tuple[tuple[int, int, str], ...] = ()  # From, to (exclusive), slot; none overlap.
    split: str = ''
    source: str = ''
    has_slots: bool = True  # False: nobody marked them, so no span does not mean no slot.


def read(path: Path) -> list[Labelled]:
    """Read a .jsonl or .jsonl.gz file.

    A line holds `text` and `intent`; slots as `spans` [[from, to, name]] of our own corpora, as
    `slots` [[name, words]] or as `frames` [{args: [{role, text}]}] of others. Words that do not
    stand in the text mark nothing.

    Raises:
        DataError: names file and line.
    """
    found = [_labelled(line, f'{path}: line {number}') for number, line in _lines(path)]
    if not found:
        raise DataError(f'{path}: is empty, expected a command in JSON on every line.')
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with gzip.open(path, 'rt') if path.suffix == '.gz' else path.open() as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise DataError(f'{path}: cannot be read ({error}).') from error


def _labelled(line: str, where: str) -> Labelled:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise DataError(f'{where}: is no JSON ({error}).') from None
    text, intent = (record.get(key) if isinstance(record, dict) else None for key in _NEEDED)
    if not (isinstance(text, str) and isinstance(intent, str) and text.strip()):
        raise DataError(f'{where}: expected an object with the texts {" and ".join(_NEEDED)}.')
    if len(text) > _MAX_CHARACTERS:
        raise DataError(f'{where}: has {len(text)} characters, at most {_MAX_CHARACTERS}.')
    text = text.lower()
    try:
        spans = _spans(record, text)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise DataError(f'{where}: its slots cannot be read ({error!r}).') from None
    split, source = str(record.get('split', '')), str(record.get('source', ''))
    return Labelled(text, intent, spans, split, source, any(key in record for key in _SLOTS))


_NEEDED = ('text', 'intent')
_SLOTS = ('spans', 'slots', 'frames')


def _spans(record: dict[str, Any], text: str) -> tuple[tuple[int, int, str], ...]:
    if 'spans' in record:
        given = [(int(start), int(end), str(name)) for start, end, name in record['spans']]
    else:
        slots = record.get('slots', [])
        pairs = list(slots.items()) if isinstance(slots, dict) else [(n, w) for n, w in slots]
        for frame in record.get('frames', []):
            pairs += [(argument['role'], argument['text']) for argument in frame['args']]
        given = [(*_place(text, str(words).lower()), str(name)) for name, words in pairs]
    spans: list[tuple[int, int, str]] = []
    for start, end, name in sorted(given):
        if 0 <= start < end <= len(text) and (not spans or start >= spans[-1][1]):
            spans.append((start, end, name))
    return tuple(spans)


def _place(text: str, words: str) -> tuple[int, int]:
    """Return where the words stand first, as whole words; nowhere is an empty span."""
    start = text.find(words) if words else -1
    while start >= 0:
        end = start + len(words)
        begins = start == 0 or not text[start - 1].isalnum()
        if begins and (end == len(text) or not text[end].isalnum()):
            return start, end
        start = text.find(words, start + 1)
    return 0, 0
