"""Checksums of segments: a seal behind the file's HDF5 content, and one per array inside it.

The seal is compared before HDF5 sees a file, for HDF5 trusts what it reads. Readers of HDF5
do not look behind its end, so a sealed segment is an ordinary robomimic file. Where the seal is
gone or wrong, the checksums of single arrays tell what can still be used.
"""

from __future__ import annotations

import mmap
import re
import zlib
from pathlib import Path

import numpy as np

from robot_learning.errors import DataError
from robot_learning.trajectory.episode import Array

_SEAL = re.compile(rb'\n#segment crc32 ([0-9a-f]{8}) ([0-9a-f]{12})\n')
SEAL_BYTES = 38


def seal(content: bytes) -> bytes:
    """Return a segment's bytes with the seal behind them."""
    return content + b'\n#segment crc32 %08x %012x\n' % (zlib.crc32(content), len(content))


def is_sealed(path: Path | str) -> bool:
    """Check a file against its seal; False: it has none.

    Raises:
        DataError: the seal and the content before it disagree.
    """
    path = Path(path)
    size = path.stat().st_size
    if size < SEAL_BYTES:
        return False
    with path.open('rb') as file:
        file.seek(size - SEAL_BYTES)
        match = _SEAL.fullmatch(file.read(SEAL_BYTES))
        if match is None:
            return False
        expected, length = int(match[1], 16), int(match[2], 16)
        with (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
            memoryview(content) as view,
            view[: size - SEAL_BYTES] as before,
        ):
            found = zlib.crc32(before)
    if (found, size - SEAL_BYTES) != (expected, length):
        raise DataError(
            f'{path}: is damaged: found checksum {found:08x} over {size - SEAL_BYTES} bytes, '
            f'expected {expected:08x} over {length}. Run "./run store repair" on its store.'
        )
    return True


def array_checksum(array: Array) -> int:
    """Return a checksum of an array's type, shape and values."""
    about = zlib.crc32(f'{array.dtype.str}{array.shape}'.encode())
    return zlib.crc32(np.ascontiguousarray(array).data, about) if array.size else about
