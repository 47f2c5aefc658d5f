"""States with the action to take in each, as one of a few labels: numpy files, npz or CSV.

- `states.npy` [N, D] numbers beside `actions.npy` [N] integers: name the folder or one of them.
- An npz archive with the same two arrays.
- A CSV file with a header; the column `action` (or `actions`, `label`) holds labels, integers or
  words, all other columns are numbers.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robot_learning import foreign_files
from robot_learning.errors import DataError
from robot_learning.foreign_files import Refusal, printable

Array = np.ndarray[Any, Any]
Label = int | str

_LARGEST_FILE = 2 << 30  # Bytes.
_STATES, _ACTIONS = 'states', 'actions'
_LABEL_COLUMNS = ('action', 'actions', 'label')
_REFUSE = Refusal(
    DataError, 'Name a folder with states.npy and actions.npy, an npz archive or a CSV file.'
)
_BROKEN = (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)


class LabelledPairs(NamedTuple):
    """N states and the index of the label of each."""

    states: Array  # [N, D] float32.
    actions: Array  # [N] int64, index into `labels`.
    labels: tuple[Label, ...]  # In ascending order, whatever the order of the rows.
    state_names: tuple[str, ...]  # [D]; 'state_0', ... where the file has no names.
    source: str


def read_pairs(path: Path | str) -> LabelledPairs:
    """Read a file of pairs; see the top of this module for what it may be.

    Raises:
        DataError: there is none, it is broken, or states and actions do not fit together.
    """
    path = Path(path)
    if path.suffix == '.csv':
        states, labels, names = _from_csv(path)
    elif path.suffix == '.npz':
        states, labels = _from_npz(path)
        names = ()
    elif path.is_dir() or path.suffix == '.npy':
        folder = path if path.is_dir() else path.parent
        states, labels = (_array(folder / f'{name}.npy') for name in (_STATES, _ACTIONS))
        names = ()
    else:
        found = 'is no such file' if path.exists() else 'is not there'
        raise _REFUSE(path, f'{found}, expected pairs of states and actions')
    return checked(states, labels, names, str(path))


def checked(
    states: Array, labels: Array, state_names: tuple[str, ...], source: str
) -> LabelledPairs:
    """Return pairs whose labels are numbered in ascending order.

    Args:
        states: [N, D] numbers.
        labels: [N] integers or words.
        state_names: [D]; () for none.
        source: what to call the data in errors.

    Raises:
        DataError: shapes or values are wrong, or there are fewer than two labels.
    """
    if states.ndim != 2 or not states.size or states.dtype.kind not in 'biuf':
        raise _REFUSE(source, f'states are {_described(states)}, expected numbers [N, D]')
    if labels.shape == (len(states), 1):
        labels = labels[:, 0]
    if labels.shape != (len(states),):
        raise _REFUSE(
            source, f'actions are {_described(labels)}, expected [{len(states)}] as many as states'
        )
    if labels.dtype.kind == 'f' and np.all(labels == np.round(labels)):
        labels = labels.astype(np.int64)  # Numpy's default type; the values are whole.
    if labels.dtype.kind not in 'iuU':
        raise _REFUSE(source, f'actions are {_described(labels)}, expected integer labels')
    states = states.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(states).all(1))
    if len(bad):
        raise _REFUSE(source, f'the state in row {bad[0]} is not finite, expected finite numbers')
    known, actions = np.unique(labels, return_inverse=True)
    if len(known) < 2:
        only = known.tolist()[0]
        raise _REFUSE(source, f'all actions are {only!r}, expected two labels or more')
    names = state_names or tuple(f'state_{index}' for index in range(states.shape[1]))
    return LabelledPairs(states, actions.astype(np.int64), tuple(known.tolist()), names, source)


def _array(path: Path) -> Array:
    content = foreign_files.read(path, _LARGEST_FILE, _REFUSE)
    try:
        return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
    except _BROKEN as error:
        raise _REFUSE(path, f'is no numpy array ({printable(error)})') from error


def _from_npz(path: Path) -> tuple[Array, Array]:
    foreign_files.read(path, _LARGEST_FILE, _REFUSE)
    foreign_files.check_zip(path, _REFUSE)
    try:
        with np.load(path, allow_pickle=False) as archive:
            if absent := {_STATES, _ACTIONS} - set(archive.files):
                found = ', '.join(printable(name) for name in archive.files[:20])
                raise ValueError(f'holds {found or "nothing"}, lacks {", ".join(sorted(absent))}')
            return archive[_STATES], archive[_ACTIONS]
    except _BROKEN as error:
        raise _REFUSE(path, f'is no archive of states and actions ({printable(error)})') from error


def _from_csv(path: Path) -> tuple[Array, Array, tuple[str, ...]]:
    content = foreign_files.read(path, _LARGEST_FILE, _REFUSE)
    try:
        rows = list(csv.reader(io.StringIO(content.decode('utf-8-sig'))))
    except (ValueError, csv.Error) as error:
        raise _REFUSE(path, f'is no CSV text ({printable(error)})') from error
    rows = [row for row in rows if row]
    header = [name.strip() for name in rows[0]] if rows else []
    columns = [index for index, name in enumerate(header) if name.lower() in _LABEL_COLUMNS]
    if len(columns) != 1:
        found = printable(', '.join(header[:20]))
        raise _REFUSE(path, f'has the columns {found}, expected one called action')
    label = columns[0]
    states = np.empty((len(rows) - 1, len(header) - 1), np.float64)
    for number, row in enumerate(rows[1:]):
        where = f'{path}:{number + 2}'
        if len(row) != len(header):
            raise _REFUSE(where, f'has {len(row)} columns, expected {len(header)}')
        try:
            states[number] = [float(cell) for index, cell in enumerate(row) if index != label]
        except ValueError as error:
            raise _REFUSE(where, f'holds no numbers ({printable(error)})') from error
    names = tuple(name for index, name in enumerate(header) if index != label)
    return states, _labels([row[label].strip() for row in rows[1:]]), names


def _labels(words: list[str]) -> Array:
    """Return integers where all of them are."""
    try:
        return np.asarray([int(word) for word in words], np.int64)
    except (ValueError, OverflowError):
        return np.asarray(words)


def _described(array: Array) -> str:
    return f'{array.dtype} {list(array.shape)}'
