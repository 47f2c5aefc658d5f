"""The records of an MCAP file that may be damaged anywhere (https://mcap.dev/spec).

A record is a kind (one byte), a length (eight) and a body. Where a record is not sound, the
next sound one is looked for, and what lies between is damage. Almost all kinds say their
inner lengths too, so that a sound record is not met by chance.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

MAGIC = b'\x89MCAP0\r\n'
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX = range(1, 8)
CHUNK_INDEX, ATTACHMENT, ATTACHMENT_INDEX, STATISTICS, METADATA = range(8, 13)
METADATA_INDEX, SUMMARY_OFFSET, DATA_END = range(13, 16)
HEAD = 9  # Bytes before a record's body.
_WEAK = (SCHEMA, CHANNEL, MESSAGE)  # Also stand inside chunks, where nobody may look for them.
_CANDIDATE = re.compile(rb'[\x02-\x0f](?=[\s\S]{5}\x00{3})')  # Lengths below 2**40.
_CHUNK_FIXED = struct.Struct('<QQQII')  # Times, size, checksum, length of the compression's name.


class Record(NamedTuple):
    """Where a record stands in the content it was read from."""

    kind: int
    start: int
    stop: int  # Behind it; of a record that is cut, the end of the content.
    is_cut: bool = False

    @property
    def body(self) -> slice:
        """Where its body stands."""
        return slice(self.start + HEAD, self.stop)


class Damage(NamedTuple):
    """Bytes that are no sound record."""

    start: int
    stop: int
    reason: str


def walk(content: memoryview, start: int, is_chunked: bool) -> Iterator[Record | Damage]:
    """Yield all sound records, damage between them, and at last a record that is cut, if any.

    Args:
        content: of the file; behind its last byte that is not zero nothing may follow.
        start: where the first record stands.
        is_chunked: messages stand in chunks, so that none is looked for inside damage.
    """
    at = start
    while at < len(content):
        if _is_end(content, at):
            return
        record = _sound_record(content, at)
        if record is None or (record.kind == MESSAGE and not _is_really_so_long(content, record)):
            is_cut_chunk = _is_cut_chunk(content, at)
            stop = None if is_cut_chunk else find_record(content, at + 1, len(content), is_chunked)
            if stop is None:
                yield _remainder(content, at)
                return
            yield Damage(at, stop, 'no sound record')
            at = stop
        else:
            yield record
            at = record.stop


def find_record(content: memoryview, start: int, stop: int, is_chunked: bool) -> int | None:
    """Return where the first sound record that begins in [start, stop) stands."""
    for match in _CANDIDATE.finditer(content, start, min(stop + HEAD, len(content))):
        record = _sound_record(content, match.start())
        if record is None or record.start >= stop or (is_chunked and record.kind in _WEAK):
            continue
        if record.kind != MESSAGE or _chain(content, record.stop):
            return record.start
    return None


def chunk_head(body: memoryview) -> tuple[int, int, int, int, str, int]:
    """Return start and end time, size, checksum, compression and where the content begins."""
    first_ns, last_ns, size, checksum, length = _CHUNK_FIXED.unpack_from(body)
    name = bytes(body[_CHUNK_FIXED.size : _CHUNK_FIXED.size + min(length, 16)])
    at = _CHUNK_FIXED.size + length + 8
    return first_ns, last_ns, size, checksum, name.decode('utf-8', 'replace'), at


def text(body: memoryview, at: int) -> tuple[str, int]:
    """Return the text at `at` and where it ends."""
    (size,) = struct.unpack_from('<I', body, at)
    end = at + 4 + size
    if end > len(body):
        raise ValueError(f'a text of {size} bytes ends behind its record')
    return bytes(body[at + 4 : end]).decode('utf-8'), end


def _sound_record(content: memoryview, at: int) -> Record | None:
    if at + HEAD > len(content):
        return None
    kind, size = struct.unpack_from('<BQ', content, at)
    check = _CHECKS.get(kind)
    stop = at + HEAD + size
    if check is None or stop > len(content):
        return None
    body = content[at + HEAD : stop]
    try:
        return Record(kind, at, stop) if check(body) else None
    except (struct.error, ValueError):
        return None


def _is_really_so_long(content: memoryview, message: Record) -> bool:
    """Tell whether a message ends where it says; its own length may be what is damaged.

    So it is if a record follows, or one of which a single byte is wrong, or one that is cut.
    """
    at = message.stop
    if _chain(content, at):
        return True
    if find_record(content, message.start + 1, at, is_chunked=False) is not None:
        return False
    following = find_record(content, at + 1, len(content), is_chunked=False)
    if following is None:
        return _remainder_is_cut(content, at)
    head = content[at : at + HEAD]
    size = (following - at - HEAD).to_bytes(8, 'little', signed=True)
    wrong = sum(a != b for a, b in zip(head[1:], size, strict=True)) + (head[0] not in _CHECKS)
    return wrong <= 1


def _chain(content: memoryview, at: int) -> bool:
    """Tell whether another sound record, the end or the final magic stands here."""
    return _is_end(content, at) or _sound_record(content, at) is not None


def _is_end(content: memoryview, at: int) -> bool:
    return at == len(content) or (at == len(content) - len(MAGIC) and content[at:] == MAGIC)


def _remainder(content: memoryview, at: int) -> Record | Damage:
    if _remainder_is_cut(content, at):
        return Record(content[at], at, len(content), is_cut=True)
    return Damage(at, len(content), 'no sound record')


def _remainder_is_cut(content: memoryview, at: int) -> bool:
    """Tell whether what begins here would be a record if the file went on."""
    if content[at] not in _CHECKS:
        return False
    if at + HEAD > len(content):
        return True
    (size,) = struct.unpack_from('<Q', content, at + 1)
    return at + HEAD + int(size) > len(content)


def _is_cut_chunk(content: memoryview, at: int) -> bool:
    """Tell whether a chunk begins here whose sizes agree, and the content ends before it does."""
    if content[at] != CHUNK or not _remainder_is_cut(content, at):
        return False
    try:
        (size,) = struct.unpack_from('<Q', content, at + 1)
        *_, length = _CHUNK_FIXED.unpack_from(content, at + HEAD)
        head = _CHUNK_FIXED.size + length + 8
        (packed,) = struct.unpack_from('<Q', content, at + HEAD + head - 8)
    except struct.error:
        return False
    return bool(length <= 16 and head + packed == size)


def _ends_after(*parts: str) -> Callable[[memoryview], bool]:
    """Return a check that a body consists of just these parts: fixed ones, or texts ('s')."""

    def check(body: memoryview) -> bool:
        at = 0
        for part in parts:
            if part == 's':
                (size,) = struct.unpack_from('<I', body, at)
                at += 4 + size
            elif part == 'd':  # Data: as a text, with eight bytes of length.
                (size,) = struct.unpack_from('<Q', body, at)
                at += 8 + size
            else:
                at += struct.calcsize(part)
        return at == len(body)

    return check


def _is_chunk(body: memoryview) -> bool:
    *_, length = _CHUNK_FIXED.unpack_from(body)
    at = _CHUNK_FIXED.size + length
    (size,) = struct.unpack_from('<Q', body, at)
    return bool(length <= 16 and at + 8 + size == len(body))


def _is_message_index(body: memoryview) -> bool:
    (size,) = struct.unpack_from('<I', body, 2)
    return bool(size % 16 == 0 and 6 + size == len(body))


def _is_statistics(body: memoryview) -> bool:
    (size,) = struct.unpack_from('<I', body, 42)
    return bool(size % 10 == 0 and 46 + size == len(body))


_CHECKS: dict[int, Callable[[memoryview], bool]] = {
    HEADER: _ends_after('s', 's'),
    FOOTER: lambda body: len(body) == 20,
    SCHEMA: _ends_after('<H', 's', 's', 's'),
    CHANNEL: _ends_after('<HH', 's', 's', 's'),
    MESSAGE: lambda body: len(body) >= 22,
    CHUNK: _is_chunk,
    MESSAGE_INDEX: _is_message_index,
    CHUNK_INDEX: _ends_after('<QQQQ', 's', '<Q', 's', '<QQ'),
    ATTACHMENT: _ends_after('<QQ', 's', 's', 'd', '<I'),
    ATTACHMENT_INDEX: _ends_after('<QQQQQ', 's', 's'),
    STATISTICS: _is_statistics,
    METADATA: _ends_after('s', 's'),
    METADATA_INDEX: _ends_after('<QQ', 's'),
    SUMMARY_OFFSET: lambda body: len(body) == 17,
    DATA_END: lambda body: len(body) == 4,
}
