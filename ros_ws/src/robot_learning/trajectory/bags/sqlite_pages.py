"""Rows out of the pages of an sqlite3 file whose tree is broken (https://sqlite.org/fileformat).

A row stands in a leaf page, what is too long for that in a chain of overflow pages. The pages
above the leaves are not needed to read it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_LEAF = 0x0D
_FILE_HEAD = 100  # Bytes of the first page before its content.
_LENGTHS = (0, 1, 2, 3, 4, 6, 8)  # Bytes of integers, by serial type.


class Row(NamedTuple):
    """A row of rosbag2's table of messages."""

    number: int
    topic: int
    log_ns: int
    data: bytes


class Pages:
    """The whole pages of a file."""

    def __init__(self, content: memoryview):
        size = int.from_bytes(content[16:18], 'big')
        self._content = content
        self._size = 65536 if size == 1 else size
        self._usable = self._size - content[20]
        if self._usable < 480 or self._size & (self._size - 1):
            raise ValueError(f'pages of {self._size} bytes')
        self.count = len(content) // self._size

    def rows(self) -> Iterator[Row]:
        """Yield all rows that look like messages, page by page."""
        for number in range(1, self.count + 1):
            page = self._page(number)
            head = _FILE_HEAD if number == 1 else 0
            if page[head] != _LEAF:
                continue
            (count,) = struct.unpack_from('>H', page, head + 3)
            for i in range(min(count, self._size // 4)):
                try:
                    (at,) = struct.unpack_from('>H', page, head + 8 + 2 * i)
                    row = self._row(page, at)
                except (struct.error, ValueError, IndexError):
                    continue
                if row is not None:
                    yield row

    def _page(self, number: int) -> memoryview:
        if not 1 <= number <= self.count:
            raise ValueError(f'there is no page {number}')
        return self._content[(number - 1) * self._size : number * self._size]

    def _row(self, page: memoryview, at: int) -> Row | None:
        length, at = _varint(page, at)
        number, at = _varint(page, at)
        payload = self._payload(page, at, length)
        head, at = _varint(payload, 0)
        kinds = []
        while at < head:
            kind, at = _varint(payload, at)
            kinds.append(kind)
        if len(kinds) != 4 or kinds[0] != 0 or kinds[3] < 12 or kinds[3] % 2:
            return None
        topic, at = _integer(payload, at, kinds[1])
        log_ns, at = _integer(payload, at, kinds[2])
        data = payload[at:]
        return Row(number, topic, log_ns, bytes(data)) if len(data) == kinds[3] // 2 - 6 else None

    def _payload(self, page: memoryview, at: int, length: int) -> memoryview:
        local = self._local(length)
        if length > len(self._content) or at + local > self._usable:
            raise ValueError(f'a row of {length} bytes')
        payload = bytearray(page[at : at + local])
        if local == length:
            return memoryview(payload)
        (following,) = struct.unpack_from('>I', page, at + local)
        while len(payload) < length:
            overflow = self._page(following)
            (following,) = struct.unpack_from('>I', overflow)
            payload += overflow[4 : min(self._usable, 4 + length - len(payload))]
        if following:
            raise ValueError('the chain of a row goes on behind its end')
        return memoryview(payload)

    def _local(self, length: int) -> int:
        """Return how many bytes of a row stand in its leaf."""
        limit = self._usable - 35
        if length <= limit:
            return length
        least = (self._usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (self._usable - 4)
        return local if local <= limit else least


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for i in range(8):
        byte = content[at + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    return value << 8 | content[at + 8], at + 9


def _integer(content: memoryview, at: int, kind: int) -> tuple[int, int]:
    if kind in (8, 9):  # The constants 0 and 1.
        return kind - 8, at
    if not 1 <= kind <= 6:
        raise ValueError(f'serial type {kind} is no integer')
    stop = at + _LENGTHS[kind]
    return int.from_bytes(content[at:stop], 'big', signed=True), stop
