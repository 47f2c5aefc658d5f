"""The table `properties.csv` beside a folder of samples: what is known of each of them."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robot_learning import foreign_files
from robot_learning.errors import DataError
from robot_learning.foreign_files import Refusal, printable
from robot_learning.sense_formats import PROPERTIES
from robot_learning.trajectory import paired_checks
from robot_learning.trajectory.paired_data import Intervention

Array = np.ndarray[Any, Any]

_LARGEST_TABLE = 200 << 20  # Bytes.
_REFUSE = Refusal(DataError, 'Correct the table, or remove it.')
_COLUMNS = ('sample', 'object', *PROPERTIES, 'interaction', 'pair', 'role', 'changed')
ROLES = ('', 'before', 'after', 'repeat', 'other')


class SampleRow(NamedTuple):
    """What the table says about one sample."""

    group: str  # Object.
    properties: Array  # [9] float32, NaN where unknown.
    interaction: str = ''  # 'strike', 'push', ...
    pair: str = ''  # Matched recordings share it.
    role: str = ''  # One of `ROLES`.
    changed: int = -1  # Index into `PROPERTIES` of the property that a pair changes.


def read_table(path: Path) -> dict[str, SampleRow]:
    """Return the rows by sample; of the columns only `sample` must be there.

    Raises:
        DataError: it is no such table; names the line.
    """
    content = foreign_files.read(path, _LARGEST_TABLE, _REFUSE)
    try:
        rows = csv.DictReader(io.StringIO(content.decode('utf-8-sig'), newline=''))
        if 'sample' not in (rows.fieldnames or ()):
            found = printable(', '.join(rows.fieldnames or ()))
            raise _REFUSE(path, f'has the columns {found}, expected one called sample')
        return {row['sample']: _row(row, f'{path}:{rows.line_num}') for row in rows}
    except (UnicodeDecodeError, csv.Error) as error:
        raise _REFUSE(path, f'is no table ({printable(error)})') from error


def table_text(rows: Iterable[tuple[str, SampleRow]]) -> str:
    """Return the table of samples, as `read_table` reads it."""
    text = io.StringIO(newline='')
    table = csv.writer(text, lineterminator='\n')
    table.writerow(_COLUMNS)
    for sample, row in rows:
        values = ['' if math.isnan(value) else f'{value:.6g}' for value in row.properties.tolist()]
        changed = PROPERTIES[row.changed] if row.changed >= 0 else ''
        table.writerow([sample, row.group, *values, row.interaction, row.pair, row.role, changed])
    return text.getvalue()


def matched(rows: Sequence[SampleRow | None]) -> tuple[Intervention, ...]:
    """Return the pairs whose four recordings are all there; indices are of `rows`."""
    pairs: dict[str, dict[str, int]] = defaultdict(dict)
    changed: dict[str, int] = {}
    for index, row in enumerate(rows):
        if row is not None and row.pair:
            pairs[row.pair][row.role] = index
            changed[row.pair] = row.changed
    return tuple(
        Intervention(changed[pair], *(roles[role] for role in ROLES[1:]))
        for pair, roles in pairs.items()
        if all(role in roles for role in ROLES[1:])
    )


def _row(cells: Mapping[str, str | None], where: str) -> SampleRow:
    role, changed = cells.get('role') or '', cells.get('changed') or ''
    if role not in ROLES:
        raise _REFUSE(where, f'has the role {printable(role)!r}, expected one of {ROLES[1:]}')
    if changed and changed not in PROPERTIES:
        raise _REFUSE(where, f'changes {printable(changed)!r}, expected one of {PROPERTIES}')
    return SampleRow(
        cells.get('object') or '',
        paired_checks.properties(
            np.asarray([_number(cells.get(name), name, where) for name in PROPERTIES]), where
        ),
        cells.get('interaction') or '',
        cells.get('pair') or '',
        role,
        PROPERTIES.index(changed) if changed else -1,
    )


def _number(cell: str | None, name: str, where: str) -> float:
    if not cell:
        return math.nan
    try:
        return float(cell)
    except ValueError as error:
        raise _REFUSE(where, f'has {name} {printable(cell)!r}, expected a number') from error
