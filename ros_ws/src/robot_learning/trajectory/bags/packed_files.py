"""Bags whose files or messages are compressed by rosbag2 itself: `.mcap.zstd`, packed messages."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError  # Comes with rosbags.

from robot_learning.trajectory.bags.salvage import FileReport
from robot_learning.trajectory.bags.unpacking import BROKEN, allowed_bytes, unpack

_PIECE = 1 << 20  # Bytes read, and unpacked, at once.
_ZSTD = b'\x28\xb5\x2f\xfd'  # No serialised message begins so: its first byte is 0.


@contextmanager
def unpacked_file(path: Path, report: FileReport) -> Iterator[Path]:
    """Give the file itself, or a temporary one with what of a packed file can be unpacked."""
    if path.suffix != '.zstd':
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.stem
        _unpack(path, plain, report)
        yield plain


def _unpack(path: Path, plain: Path, report: FileReport) -> None:
    """Write what a packed file holds to `plain`, as far as it is sound and not too much."""
    decompressor = ZstdDecompressor()
    allowed = left = allowed_bytes(report.size)
    read = 0
    with path.open('rb') as source, plain.open('wb') as target:
        try:
            while not decompressor.eof and left:
                piece = b''
                if decompressor.needs_input:
                    piece = source.read(_PIECE)
                    if not piece:
                        break
                content = decompressor.decompress(piece, max_length=min(_PIECE, left))
                target.write(content)
                left -= len(content)
                read += len(piece)
        except ZstdError as error:
            report.lose(read, report.size, f'cannot be unpacked ({error})')
    if not left and not decompressor.eof:
        report.lose(read, report.size, f'unpacks to more than {allowed} bytes, which is allowed')
    if not decompressor.eof:
        report.is_complete = False
        report.notes.append('the packed file breaks off; offsets are those unpacked')


def unpacked_message(data: bytes, max_bytes: int) -> bytes | None:
    """Return a message, unpacked if it was packed by itself; None if that cannot be done."""
    if not data.startswith(_ZSTD):
        return data
    try:
        return unpack(data, 'zstd', max_bytes)
    except BROKEN:
        return None
