"""Topics and types of an MCAP file, of which there may be several, contradicting copies."""

from __future__ import annotations

import struct
from typing import NamedTuple, TypeVar

from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

from robot_learning.trajectory.bags.mcap_records import SCHEMA, text
from robot_learning.trajectory.bags.salvage import BagMetadata, Channel

DOUBTFUL, UNCHECKED, CHECKED = range(3)  # Known to be damaged near it; nothing known; sound.


class _Schema(NamedTuple):
    name: str
    encoding: str
    definition: str


class _Topic(NamedTuple):
    schema: int
    topic: str
    serialization: str
    qos: str
    type_hash: str


_T = TypeVar('_T', _Schema, _Topic)


class Definitions:
    """Collects definitions and gives, of contradicting ones, the most credible.

    Args:
        metadata: says which topics and type hashes there should be.
    """

    def __init__(self, metadata: BagMetadata):
        self._metadata = metadata
        self._schemas: dict[int, dict[_Schema, int]] = {}  # Candidates and the trust in them.
        self._topics: dict[int, dict[_Topic, int]] = {}
        self._chosen: dict[int, Channel | None] = {}

    def add(self, kind: int, body: memoryview, trust: int) -> None:
        """Take a schema or channel record; one that is broken is passed over."""
        try:
            if kind == SCHEMA:
                number, schema = _parse_schema(body)
                self._note(self._schemas.setdefault(number, {}), schema, trust)
            else:
                number, topic = _parse_channel(body)
                self._note(self._topics.setdefault(number, {}), topic, trust)
        except (ValueError, struct.error):
            return

    def channel(self, number: int) -> Channel | None:
        """Return what messages of this channel number belong to; None: it is not defined."""
        if number not in self._chosen:
            self._chosen[number] = self._choose(number)
        return self._chosen[number]

    def channels(self) -> list[Channel]:
        """Return all that are defined."""
        found = (self.channel(number) for number in sorted(self._topics))
        return [channel for channel in found if channel is not None]

    def _note(self, candidates: dict[_T, int], item: _T, trust: int) -> None:
        if trust > candidates.get(item, -1):
            candidates[item] = trust
            self._chosen.clear()

    def _choose(self, number: int) -> Channel | None:
        topics = self._topics.get(number, {})
        for topic in sorted(topics, key=lambda t: self._rank_topic(t, topics[t])):
            schemas = self._schemas.get(topic.schema, {})
            if schemas:
                schema = min(schemas, key=lambda s: self._rank_schema(s, schemas[s]))
                stated = topic.type_hash or self._metadata.hashes.get(schema.name, '')
                return Channel(
                    topic.topic,
                    schema.name,
                    schema.encoding,
                    schema.definition,
                    stated,
                    topic.serialization,
                    topic.qos,
                )
        return None

    def _rank_topic(self, topic: _Topic, trust: int) -> tuple[int, bool, bool]:
        is_stated = topic.topic in self._metadata.topics
        return -trust, not is_stated, topic.schema not in self._schemas

    def _rank_schema(self, schema: _Schema, trust: int) -> tuple[int, bool]:
        stated = self._metadata.hashes.get(schema.name)
        candidates_agree = stated is not None and stated == type_hash(*schema)
        return -trust, not candidates_agree


def type_hash(name: str, encoding: str, definition: str) -> str:
    """Return the type's hash as ROS 2 computes it; 'unknown' where it is not defined by .msg."""
    if encoding != 'ros2msg':
        return 'unknown'
    typestore = get_typestore(Stores.EMPTY)
    try:
        typestore.register(get_types_from_msg(definition, name))
        return typestore.hash_rihs01(name)
    except (TypesysError, KeyError, ValueError):
        return 'unknown'


def _parse_schema(body: memoryview) -> tuple[int, _Schema]:
    (number,) = struct.unpack_from('<H', body)
    name, at = text(body, 2)
    encoding, at = text(body, at)
    definition, at = text(body, at)
    return int(number), _Schema(name, encoding, definition)


def _parse_channel(body: memoryview) -> tuple[int, _Topic]:
    number, schema = struct.unpack_from('<HH', body)
    topic, at = text(body, 4)
    serialization, at = text(body, at)
    (size,) = struct.unpack_from('<I', body, at)
    about: dict[str, str] = {}
    stop, at = at + 4 + size, at + 4
    while at < stop:
        key, at = text(body, at)
        about[key], at = text(body, at)
    qos, stated = about.get('offered_qos_profiles', ''), about.get('topic_type_hash', '')
    return int(number), _Topic(int(schema), topic, serialization, qos, stated)
