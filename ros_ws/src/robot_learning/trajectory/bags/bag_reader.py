"""Opens bags of any kind; every way in which one is broken is one `DataError`."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw  # With which rosbags reads sqlite3 files.
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Connection
from rosbags.rosbag1 import ReaderError as Reader1Error
from rosbags.rosbag2 import ReaderError as Reader2Error
from rosbags.typesys import TypesysError

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError
else:
    from backports.zstd import ZstdError  # Comes with rosbags.

from robot_learning.errors import DataError
from robot_learning.foreign_files import printable
from robot_learning.trajectory.bags import bag_metadata
from robot_learning.trajectory.bags.bag_types import known_types
from robot_learning.trajectory.bags.bounded_rosbags import check_promises, limit_unpacking
from robot_learning.trajectory.bags.unpacking import TooLargeError

BROKEN = (  # What rosbags makes of files that are not what they seem.
    AnyReaderError,
    Reader1Error,
    Reader2Error,
    TypesysError,
    apsw.Error,
    struct.error,
    ZstdError,
    OSError,
    EOFError,
    LookupError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


@contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """Open a bag of any kind; every way in which it is broken is one `DataError`."""
    if path.is_dir() and not (path / 'metadata.yaml').exists():
        files = sorted(p.name for p in path.iterdir() if p.suffix in ('.mcap', '.db3'))
        if not files:
            raise DataError(f'{path}: holds no bag. Name a folder with a metadata.yaml.')
        raise DataError(
            f'{path}: has no metadata.yaml, so its recorder was killed. Make a sound bag with '
            f'"bags recover {path} --out FOLDER", or name one of its files: {", ".join(files)}.'
        )
    if path.is_dir():
        bag_metadata.read(path)  # Refuses what rosbags would stumble over, or drown in.
    limit_unpacking()
    try:
        reader = AnyReader([path], default_typestore=known_types())
        reader.open()
        check_promises(reader)
    except FileNotFoundError as error:
        raise DataError(f'{path}: there is no such bag. Name an existing one.') from error
    except BROKEN as error:
        raise _damaged(path, error) from error
    try:
        if not reader.message_count:
            raise DataError(f'{path}: holds no messages. Record it again.')
        yield reader
    finally:
        reader.close()


def read_messages(
    path: Path, reader: AnyReader, connections: list[Connection]
) -> Iterator[tuple[Connection, int, bytes]]:
    """Yield connection, time of recording and bytes; damage is a `DataError`."""
    try:
        yield from reader.messages(connections)
    except BROKEN as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> DataError:
    if isinstance(error, TooLargeError):
        return DataError(f'{path}: {error}. It was not made to be exchanged; do not use it.')
    text = printable(str(error) or type(error).__name__, 400)
    return DataError(
        f'{path}: is damaged or cut off ({text}). Save what is there with '
        f'"bags recover {path} --out FOLDER", or record it again.'
    )
