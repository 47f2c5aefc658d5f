"""HDF5 files of strangers: nothing outside the file is read, nor more than it can hold.

HDF5 lets a file link to other files, keep its arrays in them, compose arrays of theirs, and claim
sizes that exist only once they are unpacked. None of this is needed for episodes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py

from robot_learning.errors import DataError
from robot_learning.foreign_files import printable

_LEAST_ALLOWED = 1 << 30  # Bytes of arrays that a file of any size may unpack to.
_LARGEST_RATIO = 1000  # Unpacked to stored bytes; gzip's best is 1030, images reach some 100.
_NUMBERS = 'biuf'
_MAX_OBJECTS = 2_000_000


def check_links(file: h5py.File) -> None:
    """Refuse a file that leads to other files.

    Raises:
        DataError: names the link.
    """
    found: list[str] = []
    count = 0

    def visit(name: bytes, info: Any) -> bool | None:
        nonlocal count
        count += 1
        if info.type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            found.append(name.decode(errors='replace'))
        return True if found or count > _MAX_OBJECTS else None

    file.id.links.visit(visit, info=True)
    if found:
        raise _refusal(file.filename, f'{found[0]} leads to another file', 'all data in it')
    if count > _MAX_OBJECTS:
        raise _refusal(file.filename, f'holds more than {_MAX_OBJECTS} objects', 'fewer')


class Allowance:
    """How much may be read out of a file at a time, and from what kind of arrays."""

    def __init__(self, path: Path | str):
        self._path = path
        self._left = self._total = max(_LEAST_ALLOWED, _LARGEST_RATIO * Path(path).stat().st_size)

    def claim(self, dataset: h5py.h5d.DatasetID, name: str) -> None:
        """Check an array before memory is taken for it.

        Raises:
            DataError: it is not made of numbers, lies in another file, or is too large.
        """
        if dataset.dtype.kind not in _NUMBERS:
            found = f'{name} holds values of type {dataset.dtype}'
            raise _refusal(self._path, found, 'numbers')
        # With an offset, the array is simply a piece of this file.
        if dataset.get_offset() is None and _lies_elsewhere(dataset.get_create_plist()):
            raise _refusal(self._path, f'{name} lies in another file', 'all data in it')
        self._left -= math.prod(dataset.shape) * dataset.dtype.itemsize
        if self._left < 0:
            raise _refusal(
                self._path,
                f'{name} would make what is read at once larger than {self._total} bytes',
                'arrays that fit the size of the file',
            )

    def claim_all(self, group: h5py.Group) -> None:
        """Check every array below a group."""

        def visit(name: str, entry: Any) -> None:
            if isinstance(entry, h5py.Dataset):
                self.claim(entry.id, f'{group.name}/{name}')

        group.visititems(visit)


def _lies_elsewhere(plan: h5py.h5p.PropDCID) -> bool:
    """Tell arrays in other files; a virtual one may be composed of the file's own."""
    if plan.get_layout() != h5py.h5d.VIRTUAL:
        return bool(plan.get_external_count())
    files = [plan.get_virtual_filename(i) for i in range(plan.get_virtual_count())]
    return any(name != '.' for name in files)


def _refusal(path: Path | str, found: str, expected: str) -> DataError:
    return DataError(
        f'{path}: {printable(found)}, expected {expected}. It was not made to be exchanged; '
        f'do not use it.'
    )
