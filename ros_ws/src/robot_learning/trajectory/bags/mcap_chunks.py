"""What can be read of one chunk of an MCAP file: whole, cut or damaged."""

from __future__ import annotations

import bisect
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from robot_learning.trajectory.bags.mcap_records import CHANNEL, HEAD, MESSAGE, SCHEMA, chunk_head
from robot_learning.trajectory.bags.unpacking import UNPACKERS, unpack_part

_MESSAGE_HEAD = struct.Struct('<HIQQ')


class ChunkIndex(NamedTuple):
    """What the index behind a chunk says about its messages."""

    entries: Mapping[int, tuple[int, int]]  # Offset in the chunk -> channel, time.
    channels: frozenset[int]  # That have entries.
    is_complete: bool  # It has the messages of all channels.

    def allows(self, offset: int, channel: int, log_ns: int) -> bool:
        """Tell whether a message may stand there."""
        entry = self.entries.get(offset)
        if entry is None and not self.is_complete:
            return channel not in self.channels
        return entry == (channel, log_ns)


NO_INDEX = ChunkIndex({}, frozenset(), is_complete=False)


class Chunk(NamedTuple):
    """The records of a chunk."""

    content: memoryview
    is_checked: bool  # Its checksum vouches for every byte.
    problem: str  # Why not all of it can be used; empty: all is well.
    is_packed: bool = False


class InnerMessage(NamedTuple):
    """A message record of a chunk."""

    channel: int
    log_ns: int
    data: bytes
    publish_ns: int
    sequence: int


class Definition(NamedTuple):
    """A schema or channel record."""

    kind: int
    body: memoryview


class Lost(NamedTuple):
    """Bytes of a chunk's content that hold no sound record."""

    start: int
    stop: int


def open_chunk(body: memoryview, is_cut: bool, max_bytes: int) -> Chunk:
    """Unpack a chunk record's body, to `max_bytes` at most, and check it."""
    try:
        _, _, size, checksum, compression, at = chunk_head(body)
    except struct.error:
        return Chunk(memoryview(b''), False, 'cut in the head of a chunk')
    if compression and size > max_bytes:
        problem = f'chunk unpacks to {size} bytes, expected at most {max_bytes}'
        return Chunk(memoryview(b''), False, problem)
    content, problem = _unpacked(body[at:], compression, size)
    is_checked = False
    if is_cut:
        problem = 'cut inside a chunk'
    elif not problem and checksum:
        is_checked = zlib.crc32(content) == checksum
        problem = '' if is_checked else 'checksum of the chunk is wrong'
    elif not problem and len(content) != size:
        problem = f'chunk has {len(content)} bytes, not {size}'
    return Chunk(content, is_checked, problem, bool(compression))


def parse_index(body: memoryview) -> dict[int, tuple[int, int]]:
    """Return the entries of a message index record."""
    (channel,) = struct.unpack_from('<H', body)
    return {offset: (channel, time) for time, offset in struct.iter_unpack('<QQ', body[6:])}


def parse_message(body: memoryview) -> InnerMessage:
    """Return what a message record says."""
    channel, sequence, log_ns, publish_ns = _MESSAGE_HEAD.unpack_from(body)
    data = bytes(body[_MESSAGE_HEAD.size :])
    return InnerMessage(channel, log_ns, data, publish_ns, sequence)


def inner_records(
    content: memoryview, index: ChunkIndex
) -> Iterator[InnerMessage | Definition | Lost]:
    """Yield what a chunk holds; where a record is not sound, the index says where to go on.

    Args:
        content: of the chunk, unpacked.
        index: of its messages; without entries: there is none, or a checksum vouches for them.
    """
    offsets = sorted(offset for offset in index.entries if offset < len(content))
    at = 0
    while at < len(content):
        stop = _record_stop(content, at, offsets, index)
        if stop is None:
            following = bisect.bisect_right(offsets, at)
            stop = offsets[following] if following < len(offsets) else len(content)
            yield Lost(at, min(stop, len(content)))
        elif content[at] == MESSAGE:
            yield parse_message(content[at + HEAD : stop])
        else:
            yield Definition(content[at], content[at + HEAD : stop])
        at = stop


def _record_stop(
    content: memoryview, at: int, offsets: list[int], index: ChunkIndex
) -> int | None:
    """Return where the record at `at` ends; None if it contradicts itself or the index."""
    stop = _plain_stop(content, at)
    if stop is None or not index.entries:
        return stop
    following = bisect.bisect_right(offsets, at)
    limit = offsets[following] if following < len(offsets) else len(content)
    if stop > limit:
        return None
    if content[at] == MESSAGE:
        channel, _, log_ns, _ = _MESSAGE_HEAD.unpack_from(content, at + HEAD)
        if not index.allows(at, channel, log_ns):
            return None
        if not index.is_complete:
            return stop
        between: int | None = stop
        while between is not None and between < limit:  # Only definitions stand in between.
            is_definition = content[between] in (SCHEMA, CHANNEL)
            between = _plain_stop(content, between) if is_definition else None
        if between != limit:
            return None
    return stop


def _plain_stop(content: memoryview, at: int) -> int | None:
    if at + HEAD > len(content):
        return None
    kind, size = struct.unpack_from('<BQ', content, at)
    stop: int = at + HEAD + size
    is_sound = kind in (SCHEMA, CHANNEL) or (kind == MESSAGE and size >= _MESSAGE_HEAD.size)
    return stop if is_sound and stop <= len(content) else None


def _unpacked(packed: memoryview, compression: str, size: int) -> tuple[memoryview, str]:
    """Return what can be unpacked, at most `size` bytes, and why it is not all."""
    if not compression:
        return packed, ''
    if compression not in UNPACKERS:
        return memoryview(b''), f'compression {compression!r} is not known'
    content, problem = unpack_part(packed, compression, size)
    if problem:
        return memoryview(content), f'chunk cannot be unpacked ({problem})'
    if len(content) != size:
        return memoryview(content), f'chunk has {len(content)} bytes, not {size}'
    return memoryview(content), ''
