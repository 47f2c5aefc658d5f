"""Records `{input, output, category}` from JSON, and what is wrong with them before they teach.

Validation commands that also stand in the training data, or differ from it in values only, measure
memory instead of understanding; so files are split by what their commands have in common.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robot_learning import durable_files, foreign_files
from robot_learning.errors import CommandError, DataError
from robot_learning.foreign_files import Refusal, printable
from robot_learning.language.code_corpus import Example
from robot_learning.language.code_grammar import NOTHING
from robot_learning.language.code_prompt import prompt
from robot_learning.language.code_slots import SYNONYMS
from robot_learning.language.intents import SLOT_WORDS
from robot_learning.language.program import parse

_MAX_BYTES = 1 << 28
_MAX_NAMED = 10  # Records that one error names.
_REFUSE = Refusal(DataError, 'Name a JSON file with records of input and output.')
_VALUES = {  # Word -> slot and value, for commands that differ in values only.
    word: (slot, value)
    for slot, known in SLOT_WORDS.items()
    if slot in ('object', 'color', 'size', 'place', 'path')
    for value in known
    for word in (value, *SYNONYMS.get(value, ()))
}
_VALUE = re.compile(
    '|'.join(rf'\b{re.escape(word)}\b' for word in sorted(_VALUES, key=len, reverse=True))
    + r'|-?\d+(?:\.\d+)?'
)


def read(path: Path) -> list[Example]:
    """Read a list of records, or JSON lines; other keys than the three are passed over.

    Raises:
        DataError: names the file and, counted from 0, each record that is none.
    """
    data = foreign_files.read(path, _MAX_BYTES, _REFUSE)
    if path.suffix == '.jsonl':
        lines = [line for line in data.splitlines() if line.strip()]
        records: Any = [foreign_files.parse_json(line, path, _REFUSE) for line in lines]
    else:
        records = foreign_files.parse_json(data, path, _REFUSE)
    if not isinstance(records, list) or not records:
        raise _REFUSE(path, f'holds {"no" if records == [] else "no list of"} records')
    found, problems = [], []
    for index, record in enumerate(records):
        values = record if isinstance(record, dict) else {}
        text, code = values.get('input'), values.get('output')
        if isinstance(text, str) and isinstance(code, str) and text.strip() and code.strip():
            category = values.get('category', '')
            found.append(Example(text, code.strip('\n'), str(category)))
        else:
            shown = printable(repr(record), 60)
            problems.append(f'record {index} is {shown}, expected the texts input and output')
    _raise(problems, path)
    return found


def write(path: Path, records: Sequence[Example]) -> None:
    """Write records as one JSON list."""
    content = [record._asdict() for record in records]
    durable_files.replace(path, (json.dumps(content, indent=1) + '\n').encode())


def check(records: Sequence[Example], where: str) -> None:
    """Refuse records that must not teach a robot: code the checker refuses, unreadable commands.

    Raises:
        DataError: names each by its index, counted from 0, and says what is wrong.
    """
    problems = []
    for index, record in enumerate(records):
        try:
            prompt(record.input)
            if record.output != NOTHING:
                parse(record.output)
        except CommandError as error:
            problems.append(f'record {index} ({printable(record.input, 40)!r}): {error}')
    _raise(problems, where)


def check_disjoint(training: Sequence[Example], held_out: Sequence[Example], where: str) -> None:
    """Refuse to measure on commands that are learned from.

    Raises:
        DataError: names each by its index in both, counted from 0.
    """
    known = {prompt(record.input): index for index, record in enumerate(training)}
    problems = [
        f'record {index} ({printable(record.input, 40)!r}) is record {place} of the training data'
        for index, record in enumerate(held_out)
        if (place := known.get(prompt(record.input))) is not None
    ]
    _raise(problems, where)


def split(
    records: Sequence[Example], held_out_ratio: float = 0.1, seed: int = 0
) -> tuple[list[Example], list[Example]]:
    """Return records to learn from and to measure on, which differ in more than their values.

    Raises:
        DataError: all are the same command but for its values.
    """
    training: list[Example] = []
    held_out: list[Example] = []
    for record in records:
        digest = hashlib.sha256(f'{seed} {skeleton(record.input)}'.encode()).digest()
        is_held_out = int.from_bytes(digest[:4], 'big') < held_out_ratio * 2**32
        (held_out if is_held_out else training).append(record)
    if not training or not held_out:
        kinds = len({skeleton(record.input) for record in records})
        raise DataError(
            f'records: {len(records)} with {kinds} different commands but for their values, '
            f'expected enough to hold some out. Give more, or --train-json and --val-json.'
        )
    return training, held_out


def skeleton(text: str) -> str:
    """Return a command with its values replaced by what they are."""
    return _VALUE.sub(lambda found: f'<{_value(found[0])[0]}>', prompt(text))


def values(text: str) -> list[tuple[str, str]]:
    """Return the values of a command in their order: slot, or 'number', and value."""
    return [_value(found[0]) for found in _VALUE.finditer(prompt(text))]


def _value(word: str) -> tuple[str, str]:
    return _VALUES[word] if word in _VALUES else ('number', f'{float(word):g}')


def _raise(problems: Sequence[str], where: Path | str) -> None:
    if problems:
        rest = len(problems) - _MAX_NAMED
        more = f'\n{where}: {rest} more. Correct these first.' if rest > 0 else ''
        shown = '\n'.join(f'{where}: {problem}' for problem in problems[:_MAX_NAMED])
        raise DataError(f'{shown}{more}\nCorrect or remove them.')
