"""Unpacks what strangers packed, no further than honest data go.

A kilobyte of zstd, lz4 or bzip2 can stand for gigabytes. What is unpacked is therefore limited
by what was promised, or by the size of what was packed, and unpacking stops there.
"""

from __future__ import annotations

import bz2
import sys
from collections.abc import Callable
from typing import Protocol

import lz4.frame

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError  # Comes with rosbags.

LEAST_ALLOWED = 1 << 30  # Bytes that a file of any size may unpack to.
LARGEST_PIECE = 256 << 20  # Bytes that one message or chunk may unpack to, likewise.
_LARGEST_RATIO = 1000  # Unpacked to packed bytes; images reach some 100, bombs 1000 and more.
_PIECE = 1 << 16  # Bytes unpacked at once: what stands before damage is kept.
BROKEN = (ZstdError, RuntimeError, ValueError, EOFError, OSError, MemoryError)


class TooLargeError(ValueError):
    """Data would unpack to more than is allowed."""


class Unpacker(Protocol):
    """What zstd, lz4 and bzip2 have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of a frame was reached."""

    @property
    def unused_data(self) -> bytes | None:
        """What was given behind that end."""

    def decompress(self, data: bytes | memoryview, max_length: int = -1) -> bytes:
        """Return what could be unpacked, at most `max_length` bytes."""


UNPACKERS: dict[str, Callable[[], Unpacker]] = {
    'zstd': ZstdDecompressor,
    'lz4': lz4.frame.LZ4FrameDecompressor,
    'bz2': bz2.BZ2Decompressor,
}


def allowed_bytes(num_packed: int) -> int:
    """Return how much a file of so many bytes may unpack to."""
    return max(LEAST_ALLOWED, _LARGEST_RATIO * num_packed)


def allowed_piece_bytes(num_packed: int) -> int:
    """Return how much one message or chunk of so many packed bytes may unpack to."""
    return max(LARGEST_PIECE, _LARGEST_RATIO * num_packed)


def unpack(data: bytes, kind: str, max_bytes: int) -> bytes:
    """Return what one or more whole frames hold.

    Raises:
        TooLargeError: they hold more than `max_bytes`.
        EOFError: the last one is cut.
        ZstdError, RuntimeError, OSError: they are damaged.
    """
    parts, left = [], max_bytes
    while data:
        unpacker = UNPACKERS[kind]()
        parts.append(unpacker.decompress(data, max_length=left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise TooLargeError(
                f'{len(data)} bytes of {kind} unpack to more than the {max_bytes} allowed'
            )
        if not unpacker.eof:
            raise EOFError(f'{kind} data end in the middle')
        data = unpacker.unused_data or b''
    return parts[0] if len(parts) == 1 else b''.join(parts)


def unpack_part(packed: memoryview, kind: str, size: int) -> tuple[bytearray, str]:
    """Return what can be unpacked of one frame, at most `size` bytes, and why it is not all."""
    unpacker = UNPACKERS[kind]()
    content = bytearray()
    try:
        for start in range(0, len(packed), _PIECE):
            if unpacker.eof or len(content) >= size:
                break
            piece = packed[start : start + _PIECE]
            content += unpacker.decompress(piece, max_length=size - len(content))
    except BROKEN as error:
        return content, str(error)
    return content, ''
