"""Lets rosbags unpack no more than a bag may hold; by itself it unpacks whatever it is given.

rosbags looks its unpackers up by name, in tables and in a module, and these are replaced for the
whole process: every bag that is read here profits, and none that is honest notices.
"""

from __future__ import annotations

import os
from functools import partial
from types import SimpleNamespace, TracebackType
from typing import IO, Any

from rosbags.highlevel import AnyReader
from rosbags.rosbag1 import reader as rosbag1_reader
from rosbags.rosbag2 import reader as rosbag2_reader
from rosbags.rosbag2 import storage_mcap

from robot_learning.trajectory.bags.unpacking import (
    TooLargeError,
    allowed_bytes,
    allowed_piece_bytes,
    unpack,
)

_zstd_open = vars(rosbag2_reader)['zstd'].open


def limit_unpacking() -> None:
    """Replace the unpackers; again does no harm."""
    storage_mcap.DECOMPRESSORS.update(zstd=partial(_unpack_chunk, 'zstd'))
    storage_mcap.DECOMPRESSORS.update(lz4=partial(_unpack_chunk, 'lz4'))
    rosbag1_reader.decompressors.update(bz2=partial(_unpack_piece, 'bz2'))
    rosbag1_reader.decompressors.update(lz4=partial(_unpack_piece, 'lz4'))
    limited = SimpleNamespace(open=_LimitedFile, decompress=partial(_unpack_piece, 'zstd'))
    vars(rosbag2_reader)['zstd'] = limited


def check_promises(reader: AnyReader) -> None:
    """Compare what the chunks of an open bag promise to hold with its size.

    Raises:
        TooLargeError: it is too much.
    """
    for outer in reader.readers:
        inner: Any = getattr(outer, 'storage', None)  # Of ROS 2.
        for storage in getattr(inner, 'storages', [inner]):
            chunks = getattr(storage, 'chunks', ())  # Of MCAP.
            promised = sum(chunk.uncompressed_size for chunk in chunks)
            allowed = allowed_bytes(os.fstat(storage.bio.fileno()).st_size) if chunks else 0
            if promised > allowed:
                raise TooLargeError(
                    f'{storage.path.name} unpacks to {promised} bytes, expected at most {allowed}'
                )


def _unpack_chunk(kind: str, data: bytes, size: int) -> bytes:
    allowed = allowed_piece_bytes(len(data))
    if size > allowed:
        raise TooLargeError(f'a chunk unpacks to {size} bytes, expected at most {allowed}')
    return unpack(data, kind, size)


def _unpack_piece(kind: str, data: bytes) -> bytes:
    return unpack(data, kind, allowed_piece_bytes(len(data)))


class _LimitedFile:
    """A packed file that is read as it unpacks, up to a limit."""

    def __init__(self, file: IO[bytes], mode: str):
        self._file: Any = _zstd_open(file, mode)
        self._allowed = self._left = allowed_bytes(os.fstat(file.fileno()).st_size)

    def __enter__(self) -> _LimitedFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data: bytes = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise TooLargeError(f'the file unpacks to more than the {self._allowed} bytes allowed')
        return data
