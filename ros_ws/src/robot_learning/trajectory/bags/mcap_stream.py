"""Reads an MCAP file from front to back, chunk by chunk, also while it is being written.

Nothing is deserialised, and chunks that nobody asks for are passed over unread.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from robot_learning.errors import DataError
from robot_learning.trajectory.bags.mcap_chunks import open_chunk
from robot_learning.trajectory.bags.mcap_records import (
    CHANNEL,
    CHUNK,
    DATA_END,
    FOOTER,
    HEAD,
    MAGIC,
    MESSAGE,
    MESSAGE_INDEX,
    SCHEMA,
    text,
)
from robot_learning.trajectory.bags.unpacking import allowed_bytes

_BROKEN = (struct.error, ValueError, LookupError)  # What damaged records end in.
_RECORD = struct.Struct('<BQ')
_MESSAGE_HEAD = struct.Struct('<HIQQ')


class StreamChannel(NamedTuple):
    """A topic as the file describes it."""

    topic: str
    type: str
    definition: str
    encoding: str  # Of the messages; 'cdr' for ROS 2.
    metadata: dict[str, str]


class StreamMessage(NamedTuple):
    """One message."""

    channel: StreamChannel
    sequence: int
    log_ns: int
    publish_ns: int
    data: bytes


class StreamChunk(NamedTuple):
    """Where a chunk stands, and what is known of it without reading it.

    `counts` has the number of messages by topic; None where the file has no index of it.
    """

    offset: int  # Of its body.
    size: int
    start_ns: int
    end_ns: int
    counts: dict[str, int] | None


class McapStream:
    """One file, open for reading; use it as a context.

    Attributes:
        channels: by number, as far as the file was read.
        is_whole: the file ends as it should; known when all chunks were listed.
    """

    def __init__(self, path: Path):
        self.path = path
        self.channels: dict[int, StreamChannel] = {}
        self.is_whole = False
        self._schemas: dict[int, tuple[str, str]] = {}
        self._unpacked: dict[int, int] = {}  # Offset of a chunk -> bytes it unpacked to.

    def __enter__(self) -> McapStream:
        try:
            self._file = self.path.open('rb')
        except OSError as error:
            raise DataError(
                f'{self.path}: cannot be read ({error.strerror}). Name an existing file.'
            ) from error
        if self._file.read(len(MAGIC)) != MAGIC:
            self._file.close()
            raise DataError(
                f'{self.path}: is no MCAP file (it does not begin as one). Name a bag, or record '
                f'it again.'
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def chunks(self) -> Iterator[StreamChunk]:
        """List the chunks that are whole, in the order of the file.

        A message outside of chunks, as some writers leave it, is listed as one.

        Raises:
            DataError: the file is damaged before its end.
        """
        try:
            yield from self._chunks()
        except _BROKEN as error:
            raise self._damaged(f'a record cannot be read ({_text(error)})') from error

    def _chunks(self) -> Iterator[StreamChunk]:
        waiting: StreamChunk | None = None
        at = len(MAGIC)
        size_of_file = self.path.stat().st_size
        while (head := self._read(at, HEAD)) and len(head) == HEAD:
            kind, size = _RECORD.unpack(head)
            if not kind:  # Zeros: what a full disk or a torn copy left.
                break
            body_at, at = at + HEAD, at + HEAD + size
            if at > size_of_file or kind in (DATA_END, FOOTER):
                self.is_whole = kind in (DATA_END, FOOTER) and self._ends(size_of_file)
                break
            if kind == MESSAGE_INDEX:
                waiting = self._counted(waiting, body_at)
                continue
            if waiting is not None:
                yield waiting
                waiting = None
            if kind in (SCHEMA, CHANNEL):
                self._define(kind, memoryview(self._read(body_at, size)))
            elif kind == CHUNK:
                start_ns, end_ns = struct.unpack('<QQ', self._read(body_at, 16))
                waiting = StreamChunk(body_at, size, start_ns, end_ns, None)
            elif kind == MESSAGE:
                number, _, log_ns, _ = _MESSAGE_HEAD.unpack(self._read(body_at, 22))
                counts = {self.channels[number].topic: 1}
                yield StreamChunk(body_at, size, log_ns, log_ns, counts)
        if waiting is not None:
            yield waiting

    def messages(self, chunk: StreamChunk) -> Iterator[StreamMessage]:
        """Read the messages of a chunk, in the order in which they were written.

        Raises:
            DataError: the chunk is damaged.
        """
        try:
            yield from self._messages(chunk)
        except _BROKEN as error:
            raise self._damaged(f'a message cannot be read ({_text(error)})') from error

    def _messages(self, chunk: StreamChunk) -> Iterator[StreamMessage]:
        kind, _ = _RECORD.unpack(self._read(chunk.offset - HEAD, HEAD))
        body = memoryview(self._read(chunk.offset, chunk.size))
        if kind == MESSAGE:
            yield self._message(body)
            return
        used = sum(self._unpacked.values()) - self._unpacked.get(chunk.offset, 0)
        opened = open_chunk(body, False, allowed_bytes(self.path.stat().st_size) - used)
        self._unpacked[chunk.offset] = len(opened.content) if opened.is_packed else 0
        if opened.problem:
            raise self._damaged(opened.problem)
        content, at = opened.content, 0
        while at < len(content):
            kind, size = _RECORD.unpack_from(content, at)
            record = content[at + HEAD : at + HEAD + size]
            if kind == MESSAGE:
                yield self._message(record)
            else:
                self._define(kind, record)
            at += HEAD + size

    def counts(self, chunk: StreamChunk) -> dict[str, int]:
        """Return the number of a chunk's messages by topic; it is read only if it must be."""
        if chunk.counts is not None:
            return chunk.counts
        return dict(Counter(message.channel.topic for message in self.messages(chunk)))

    def _message(self, record: memoryview) -> StreamMessage:
        number, sequence, log_ns, publish_ns = _MESSAGE_HEAD.unpack_from(record)
        data = bytes(record[_MESSAGE_HEAD.size :])
        return StreamMessage(self.channels[number], sequence, log_ns, publish_ns, data)

    def _counted(self, chunk: StreamChunk | None, at: int) -> StreamChunk | None:
        """Add what an index record says about the chunk before it."""
        number, size = struct.unpack('<HI', self._read(at, 6))
        if chunk is None:
            return None
        if number not in self.channels:  # It is defined inside the chunk.
            for _ in self.messages(chunk):
                pass
        topic = self.channels[number].topic
        counts = Counter(chunk.counts or {})
        counts[topic] += size // 16  # A topic may have several channels.
        return chunk._replace(counts=counts)

    def _define(self, kind: int, body: memoryview) -> None:
        if kind == SCHEMA:
            (number,) = struct.unpack_from('<H', body)
            name, at = text(body, 2)
            _, at = text(body, at)
            self._schemas[number] = (name, text(body, at)[0])
        elif kind == CHANNEL:
            number, schema = struct.unpack_from('<HH', body)
            topic, at = text(body, 4)
            encoding, at = text(body, at)
            name, definition = self._schemas.get(schema, ('', ''))
            self.channels[number] = StreamChannel(
                topic, name, definition, encoding, _mapping(body[at:])
            )

    def _damaged(self, problem: str) -> DataError:
        return DataError(
            f'{self.path}: {problem}. Save what is there with '
            f'"bags recover {self.path} --out FOLDER".'
        )

    def _ends(self, size_of_file: int) -> bool:
        return self._read(size_of_file - len(MAGIC), len(MAGIC)) == MAGIC

    def _read(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        return self._file.read(size)


def _text(error: Exception) -> str:
    return f'channel {error} is not defined' if isinstance(error, KeyError) else str(error)


def _mapping(body: memoryview) -> dict[str, str]:
    """Read a map of texts."""
    (size,) = struct.unpack_from('<I', body)
    content: dict[str, str] = {}
    at = 4
    while at < 4 + size:
        key, at = text(body, at)
        content[key], at = text(body, at)
    return content
