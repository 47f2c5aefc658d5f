"""Writes one MCAP file (https://mcap.dev/spec) in whole chunks that a refused write cannot tear.

Definitions and channels stand in front of the chunks, each chunk has its checksum and is
followed by its index, so that of a file that breaks off everything but the last chunk is sound.
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd  # Comes with rosbags.

from robot_learning.trajectory.bags.mcap_records import (
    CHANNEL,
    CHUNK,
    CHUNK_INDEX,
    DATA_END,
    FOOTER,
    HEADER,
    MAGIC,
    MESSAGE,
    MESSAGE_INDEX,
    METADATA,
    METADATA_INDEX,
    SCHEMA,
    STATISTICS,
    SUMMARY_OFFSET,
)

Compression = Literal['', 'zstd']

_NEVER = 2**63 - 1
_ZSTD_LEVEL = 1  # 300 MB/s and more; higher levels gain a few percent on sensor data.
_WRITE_BACK_BYTES = 8 << 20
_MESSAGE_HEAD = struct.Struct('<BQHIQQ')
_INDEX_ENTRY = struct.Struct('<QQ')


class _Chunk(NamedTuple):
    """What the index says about a chunk in the file."""

    start_ns: int
    end_ns: int
    offset: int
    length: int
    index_offsets: dict[int, int]  # Channel -> where its message index stands.
    index_length: int
    packed_size: int
    size: int


class McapFile:
    """An MCAP file that is being written. Not thread-safe.

    Attributes:
        path: of the file.
        num_bytes: what is in the file and in the open chunk.
        start_ns: earliest log time of the messages in whole chunks.
        end_ns: their latest log time.
        counts: messages in whole chunks, by channel.
    """

    def __init__(self, path: Path, compression: Compression = '', chunk_bytes: int = 1 << 20):
        self.path = path
        self.num_bytes = 0
        self.start_ns, self.end_ns = _NEVER, 0
        self.counts: Counter[int] = Counter()
        self._compression = compression
        self._chunk_bytes = chunk_bytes
        self._schemas: dict[str, bytes] = {}  # Type -> record.
        self._channels: list[bytes] = []  # Records.
        self._head: list[bytes] = []  # Records that go before the open chunk.
        self._chunks: list[_Chunk] = []
        self._file_size = 0
        self._cleaned = 0
        self._has_end = False
        self._reset_chunk()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        header = _record(HEADER, _text('ros2') + _text('robot_learning'))
        try:
            self._append([MAGIC, header])
        except OSError:
            self.abandon()
            path.unlink()
            raise

    @property
    def num_waiting(self) -> int:
        """Messages in the open chunk, which are not in the file yet."""
        return len(self._index)

    @property
    def waiting(self) -> Counter[int]:
        """Messages in the open chunk, by channel."""
        return Counter(channel for channel, _, _ in self._index)

    def fileno(self) -> int:
        """Return the file's descriptor, for locks."""
        return self._descriptor

    def add_channel(
        self, topic: str, type_name: str, definition: str, metadata: Mapping[str, str]
    ) -> int:
        """Add a topic of CDR messages; return the number of its channel."""
        if type_name not in self._schemas:
            number = len(self._schemas) + 1
            encoding = 'ros2idl' if definition.startswith('=' * 80 + '\nIDL: ') else 'ros2msg'
            body = struct.pack('<H', number) + _text(type_name) + _text(encoding)
            self._schemas[type_name] = _record(SCHEMA, body + _text(definition))
            self._head.append(self._schemas[type_name])
        schema = list(self._schemas).index(type_name) + 1
        number = len(self._channels)
        body = struct.pack('<HH', number, schema) + _text(topic) + _text('cdr') + _map(metadata)
        self._channels.append(_record(CHANNEL, body))
        self._head.append(self._channels[-1])
        return number

    def write(
        self, channel: int, log_ns: int, data: bytes, publish_ns: int = 0, sequence: int = 0
    ) -> None:
        """Put a message into the open chunk; a chunk that is full goes to the file.

        Raises:
            OSError: the disk refuses the chunk. The message is kept with it for the next
                `flush`; do not write it again.
        """
        head = _MESSAGE_HEAD.pack(
            MESSAGE, 22 + len(data), channel, sequence & 0xFFFFFFFF, log_ns, publish_ns or log_ns
        )
        self._index.append((channel, log_ns, self._chunk_size))
        self._pieces += (head, data)
        self._chunk_size += len(head) + len(data)
        self.num_bytes += len(head) + len(data)
        if self._chunk_size >= self._chunk_bytes:
            self.flush()

    def flush(self) -> None:
        """Put the open chunk into the file, whole or, when an OSError is raised, not at all."""
        if not self._index and not self._head:
            return
        pieces = list(self._head)
        size = sum(map(len, pieces))
        chunk = None
        if self._index:
            chunk, more = self._packed_chunk(self._file_size + size)
            pieces += more
        self._append(pieces)
        self._head = []
        if chunk is not None:
            self._chunks.append(chunk)
            self.counts.update(self.waiting)
            self.start_ns = min(self.start_ns, chunk.start_ns)
            self.end_ns = max(self.end_ns, chunk.end_ns)
        self._reset_chunk()
        self.num_bytes = self._file_size

    def drop_chunk(self) -> Counter[int]:
        """Give the open chunk up; return how many messages of each channel were in it."""
        lost = self.waiting
        self._reset_chunk()
        self.num_bytes = self._file_size
        return lost

    def complete(self, metadata: Mapping[str, Mapping[str, str]]) -> None:
        """Write the open chunk, records of metadata, the summary and the end; sync the disk.

        Raises:
            OSError: the disk refuses. The file has no end then, but its chunks are whole; this
                can be called again.
        """
        if not self._has_end:
            self._write_end(metadata)
            self._has_end = True
        os.fsync(self._descriptor)
        self.abandon()

    def abandon(self) -> None:
        """Close the file as it is."""
        os.close(self._descriptor)

    def _write_end(self, metadata: Mapping[str, Mapping[str, str]]) -> None:
        self.flush()
        pieces: list[bytes] = []
        indexes: list[bytes] = []
        at = self._file_size
        for name, content in metadata.items():
            record = _record(METADATA, _text(name) + _map(content))
            place = struct.pack('<QQ', at + sum(map(len, pieces)), len(record))
            indexes.append(_record(METADATA_INDEX, place + _text(name)))
            pieces.append(record)
        pieces.append(_record(DATA_END, struct.pack('<I', 0)))
        summary_start = at + sum(map(len, pieces))
        self._append([*pieces, *self._summary(summary_start, indexes)])

    def _reset_chunk(self) -> None:
        self._pieces: list[bytes] = []
        self._index: list[tuple[int, int, int]] = []  # Channel, log time, offset in the chunk.
        self._chunk_size = 0

    def _packed_chunk(self, offset: int) -> tuple[_Chunk, list[bytes]]:
        """Return the open chunk as it would stand at `offset`, and its records."""
        content = b''.join(self._pieces)
        packed = zstd.compress(content, _ZSTD_LEVEL) if self._compression else content
        times = [log_ns for _, log_ns, _ in self._index]
        start_ns, end_ns = min(times), max(times)
        checksum = zlib.crc32(content)
        head = struct.pack('<QQQI', start_ns, end_ns, len(content), checksum)
        head += _text(self._compression) + struct.pack('<Q', len(packed))
        length = 9 + len(head) + len(packed)
        records = [struct.pack('<BQ', CHUNK, len(head) + len(packed)) + head, packed]
        entries: dict[int, list[bytes]] = {}
        for channel, log_ns, at in self._index:
            entries.setdefault(channel, []).append(_INDEX_ENTRY.pack(log_ns, at))
        offsets: dict[int, int] = {}
        index_length = 0
        for channel, packed_entries in entries.items():
            offsets[channel] = offset + length + index_length
            body = b''.join(packed_entries)
            records.append(_record(MESSAGE_INDEX, struct.pack('<HI', channel, len(body)) + body))
            index_length += len(records[-1])
        sizes = (len(packed), len(content))
        return _Chunk(start_ns, end_ns, offset, length, offsets, index_length, *sizes), records

    def _summary(self, start: int, metadata_indexes: list[bytes]) -> list[bytes]:
        groups: list[tuple[int, list[bytes]]] = [
            (SCHEMA, list(self._schemas.values())),
            (CHANNEL, self._channels),
            (CHUNK_INDEX, [self._chunk_index(chunk) for chunk in self._chunks]),
            (METADATA_INDEX, metadata_indexes),
            (STATISTICS, [self._statistics(len(metadata_indexes))]),
        ]
        records: list[bytes] = []
        offsets: list[bytes] = []
        at = start
        for kind, group in groups:
            length = sum(map(len, group))
            if group:
                offsets.append(_record(SUMMARY_OFFSET, struct.pack('<BQQ', kind, at, length)))
            records += group
            at += length
        records += offsets
        footer = struct.pack('<BQQQ', FOOTER, 20, start, at)
        checksum = zlib.crc32(b''.join([*records, footer]))
        return [*records, footer, struct.pack('<I', checksum), MAGIC]

    def _chunk_index(self, chunk: _Chunk) -> bytes:
        offsets = b''.join(struct.pack('<HQ', *item) for item in chunk.index_offsets.items())
        return _record(
            CHUNK_INDEX,
            struct.pack('<QQQQI', *chunk[:4], len(offsets))
            + offsets
            + struct.pack('<Q', chunk.index_length)
            + _text(self._compression)
            + struct.pack('<QQ', chunk.packed_size, chunk.size),
        )

    def _statistics(self, num_metadata: int) -> bytes:
        counts = b''.join(struct.pack('<HQ', *item) for item in sorted(self.counts.items()))
        total = sum(self.counts.values())
        return _record(
            STATISTICS,
            struct.pack('<QHIIII', total, len(self._schemas), len(self._channels), 0,
                        num_metadata, len(self._chunks))
            + struct.pack('<QQI', self.start_ns if total else 0, self.end_ns, len(counts))
            + counts,
        )  # fmt: skip

    def _append(self, pieces: Iterable[bytes]) -> None:
        """Add to the file; a refused write leaves it as it was."""
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(self._descriptor, view) :]
        except OSError:
            os.ftruncate(self._descriptor, self._file_size)
            os.lseek(self._descriptor, self._file_size, os.SEEK_SET)
            raise
        self._file_size = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        self.num_bytes = self._file_size
        if self._file_size - self._cleaned >= _WRITE_BACK_BYTES:
            # Begins to write to the disk now, so that the end need not wait for all of it.
            os.posix_fadvise(self._descriptor, 0, self._file_size, os.POSIX_FADV_DONTNEED)
            self._cleaned = self._file_size


def _record(kind: int, body: bytes) -> bytes:
    return struct.pack('<BQ', kind, len(body)) + body


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack('<I', len(data)) + data


def _map(content: Mapping[str, str]) -> bytes:
    body = b''.join(_text(key) + _text(value) for key, value in content.items())
    return struct.pack('<I', len(body)) + body
