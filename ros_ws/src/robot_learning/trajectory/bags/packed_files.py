"""Bags whose files or messages are compressed by rosbag2 itself: `.mcap.zstd`, packed messages."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError, decompress
else:
    from backports.zstd import ZstdDecompressor, ZstdError, decompress  # Comes with rosbags.

from robot_learning.trajectory.bags.salvage import FileReport

_PIECE = 1 << 20  # Bytes read at once.
_ZSTD = b'\x28\xb5\x2f\xfd'  # No serialised message begins so: its first byte is 0.


@contextmanager
def unpacked_file(path: Path, report: FileReport) -> Iterator[Path]:
    """Give the file itself, or a temporary one with what of a packed file can be unpacked."""
    if path.suffix != '.zstd':
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.stem
        decompressor = ZstdDecompressor()
        read = 0
        with path.open('rb') as source, plain.open('wb') as target:
            try:
                while not decompressor.eof and (piece := source.read(_PIECE)):
                    target.write(decompressor.decompress(piece))
                    read += len(piece)
            except ZstdError as error:
                report.lose(read, report.size, f'cannot be unpacked ({error})')
        if not decompressor.eof:
            report.is_complete = False
            report.notes.append('the packed file breaks off; offsets are those unpacked')
        yield plain


def unpacked_message(data: bytes) -> bytes | None:
    """Return a message, unpacked if it was packed by itself; None if that cannot be done."""
    if not data.startswith(_ZSTD):
        return data
    try:
        return decompress(data)
    except (ZstdError, MemoryError):
        return None
