"""What is left of MCAP files whose recorder was killed becomes a sound bag again.

An MCAP file is a sequence of records (https://mcap.dev/spec); messages stand in chunks. All
chunks before the cut are whole, and of a chunk that is cut its uncompressed part is.
"""

from __future__ import annotations

import re
import shutil
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.rosbag2.storage_mcap import DECOMPRESSORS
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError
else:
    from backports.zstd import ZstdError  # Comes with rosbags.

from robot_learning.errors import DataError, StoreError

_MAGIC = b'\x89MCAP0\r\n'
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 3, 4, 5, 6


class Recovered(NamedTuple):
    """What was found in one file."""

    path: Path
    messages: int
    is_whole: bool  # False: it breaks off.


class _Schema(NamedTuple):
    name: str
    encoding: str
    definition: str


class _Channel(NamedTuple):
    schema: _Schema
    topic: str


class _Message(NamedTuple):
    channel: _Channel
    log_ns: int
    data: bytes


def recover_bag(source: Path | str, target: Path | str) -> list[Recovered]:
    """Copy every readable message of `source` into a new MCAP bag.

    Args:
        source: an .mcap file, or a folder; of a folder all .mcap files below it are read, in
            the order of their numbers.
        target: folder of the new bag.

    Raises:
        DataError: there is no MCAP file, or nothing readable in any.
        StoreError: the target exists or cannot be written.
    """
    source, target = Path(source), Path(target)
    files = [source] if source.is_file() else sorted(source.rglob('*.mcap'), key=_by_number)
    if not files:
        raise DataError(
            f'{source}: holds no .mcap file. Name one, or a folder with some; cut sqlite3 bags '
            f'cannot be recovered.'
        )
    try:
        with Writer(target, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            copier = _Copier(writer)
            found = [copier.copy(file) for file in files]
    except (OSError, WriterError) as error:
        raise StoreError(
            f'{target}: cannot be written ({error}). Choose another folder for the bag.'
        ) from error
    if not any(file.messages for file in found):
        shutil.rmtree(target)
        raise DataError(f'{source}: nothing in it can be read. Record it again.')
    return found


class _Copier:
    def __init__(self, writer: Writer):
        self._writer = writer
        self._connections: dict[_Channel, Connection] = {}

    def copy(self, path: Path) -> Recovered:
        records = _Records(path.read_bytes())
        count = 0
        for message in records.messages():
            connection = self._connections.get(message.channel)
            if connection is None:
                connection = self._connect(message.channel)
                self._connections[message.channel] = connection
            self._writer.write(connection, message.log_ns, message.data)
            count += 1
        return Recovered(path, count, records.is_whole)

    def _connect(self, channel: _Channel) -> Connection:
        schema = channel.schema
        return self._writer.add_connection(
            channel.topic, schema.name, msgdef=schema.definition, rihs01=_type_hash(schema)
        )


class _Records:
    """Reads records until the file ends or breaks off.

    Attributes:
        is_whole: the file ended as it should; known when all messages are read.
    """

    def __init__(self, content: bytes):
        self.is_whole = content.startswith(_MAGIC) and content.endswith(_MAGIC)
        self._content = content
        self._schemas: dict[int, _Schema] = {}
        self._channels: dict[int, _Channel] = {}

    def messages(self) -> Iterator[_Message]:
        """Yield all messages that can be read."""
        if not self._content.startswith(_MAGIC):
            return
        for kind, body in _split(self._content, len(_MAGIC)):
            if kind == _CHUNK:
                for inner_kind, inner in _split(self._unpacked(body), 0):
                    yield from self._read(inner_kind, inner)
            else:
                yield from self._read(kind, body)

    def _read(self, kind: int, body: bytes) -> Iterator[_Message]:
        if kind == _SCHEMA:
            (number,) = struct.unpack_from('<H', body)
            name, at = _text(body, 2)
            encoding, at = _text(body, at)
            self._schemas[number] = _Schema(name, encoding, _text(body, at)[0])
        elif kind == _CHANNEL:
            number, schema = struct.unpack_from('<HH', body)
            if schema in self._schemas:
                self._channels[number] = _Channel(self._schemas[schema], _text(body, 4)[0])
        elif kind == _MESSAGE and len(body) > 22:
            number, _, log_ns, _ = struct.unpack_from('<HIQQ', body)
            if number in self._channels:
                yield _Message(self._channels[number], log_ns, body[22:])

    def _unpacked(self, body: bytes) -> bytes:
        """Return a chunk's records; nothing of a chunk whose content is damaged."""
        if len(body) < 40:
            return b''
        _, _, size, checksum = struct.unpack_from('<QQQI', body)
        compression, at = _text(body, 28)
        packed = body[at + 8 :]
        try:
            content = DECOMPRESSORS[compression](packed, size)
        except (KeyError, ValueError, RuntimeError, EOFError, OSError, ZstdError):
            self.is_whole = False
            return b''
        if len(content) == size and checksum and zlib.crc32(content) != checksum:
            self.is_whole = False
            return b''
        return content


def _split(content: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield kind and body of every record; of a chunk that is cut, what there is."""
    at = start
    while at + 9 <= len(content):
        kind, size = struct.unpack_from('<BQ', content, at)
        body = content[at + 9 : at + 9 + size]
        if len(body) == size or kind == _CHUNK:
            yield kind, body
        at += 9 + size


def _text(body: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from('<I', body, at)
    end = at + 4 + size
    return body[at + 4 : end].decode('utf-8', 'replace'), end


def _type_hash(schema: _Schema) -> str:
    """Return the type's hash as ROS 2 computes it; empty where its definition is not .msg."""
    if schema.encoding != 'ros2msg':
        return 'unknown'
    typestore = get_typestore(Stores.EMPTY)
    try:
        typestore.register(get_types_from_msg(schema.definition, schema.name))
        return typestore.hash_rihs01(schema.name)
    except (TypesysError, KeyError):
        return 'unknown'


def _by_number(path: Path) -> list[tuple[int, int | str]]:
    """Order bag_2 before bag_10."""
    parts = re.split(r'(\d+)', path.name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]
