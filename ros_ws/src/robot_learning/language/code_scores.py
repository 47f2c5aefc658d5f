"""How good generated code is: the same text, the same program, accepted at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from robot_learning.errors import CommandError
from robot_learning.language.code_corpus import Example
from robot_learning.language.code_grammar import NOTHING
from robot_learning.language.code_sayings import OUT_OF_SCOPE
from robot_learning.language.program import Statement, parse
from robot_learning.proportions import wilson_interval


class Scores(NamedTuple):
    """Of generated code; see `score`."""

    num_commands: int
    exact: float  # The same text.
    parsed: float  # The same checked program, whatever the spelling.
    executable: float  # Of the commands that the robot can do: accepted by the checker.


def program_of(code: str) -> tuple[Statement, ...] | None:
    """Return what the checker makes of code, to compare; None: it is refused, () is nothing."""
    if code.strip() in ('', NOTHING):
        return ()
    try:
        return parse(code).statements
    except CommandError:
        return None


def score(records: Sequence[Example], codes: Sequence[str]) -> Scores:
    """Compare generated code with what was wanted; all 0 to 1, NaN where nothing is counted."""
    rows = [_compared(record, code) for record, code in zip(records, codes, strict=True)]
    doable = [row.is_executable for row in rows if row.is_doable]
    return Scores(
        len(rows),
        _mean([row.is_exact for row in rows]),
        _mean([row.is_same for row in rows]),
        _mean(doable),
    )


def table(records: Sequence[Example], codes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return scores by category and of all, with counts and 95 % intervals, as plain data."""
    groups: dict[str, list[_Row]] = {}
    for record, code in zip(records, codes, strict=True):
        row = _compared(record, code)
        for name in ('all', record.category or 'unnamed'):
            groups.setdefault(name, []).append(row)
    return {name: _described(rows) for name, rows in groups.items()}


class _Row(NamedTuple):
    is_exact: bool
    is_same: bool
    is_executable: bool
    is_doable: bool


def _compared(record: Example, code: str) -> _Row:
    program = program_of(code)
    is_same = program is not None and program == program_of(record.output)
    is_doable = record.category != OUT_OF_SCOPE and record.output != NOTHING
    is_exact = record.output == code or (not code and record.output == NOTHING)
    return _Row(is_exact, is_same, bool(program), is_doable)


def _described(rows: Sequence[_Row]) -> dict[str, Any]:
    found: dict[str, Any] = {'commands': len(rows)}
    doable = [row.is_executable for row in rows if row.is_doable]
    for name, hits in (
        ('exact_match', [row.is_exact for row in rows]),
        ('program_match', [row.is_same for row in rows]),
        ('executable', doable),
    ):
        if hits:
            low, high = wilson_interval(sum(hits), len(hits))
            found[name] = round(_mean(hits), 4)
            found[f'{name}_interval'] = [round(low, 4), round(high, 4)]
    return found


def _mean(hits: Sequence[bool]) -> float:
    return float(np.mean(hits)) if hits else float('nan')
