"""Bags as ROS 2's own recorder writes them, with checksums, and what they hold byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from bag_files import drive
from mcap.writer import CompressionType, Writer
from robot_learning.trajectory.bags.bag_types import known_types

QOS = """- history: 1
  depth: 7
  reliability: 2
  durability: 1
  deadline: {sec: 9223372036, nsec: 854775807}
  lifespan: {sec: 9223372036, nsec: 854775807}
  liveliness: 1
  liveliness_lease_duration: {sec: 9223372036, nsec: 854775807}
  avoid_ros_namespace_conventions: false
"""
FORMS = {
    'plain': CompressionType.NONE,
    'lz4': CompressionType.LZ4,
    'zstd': CompressionType.ZSTD,
    'unchunked': CompressionType.NONE,
}


class Entry(NamedTuple):
    topic: str
    log_ns: int
    data: bytes


def entries(count: int) -> list[Entry]:
    """Return serialised messages of a driven robot."""
    found = []
    for topic, kind, log_ns, message in drive(count):
        data = bytes(known_types().serialize_cdr(message, kind))
        found.append(Entry(topic, log_ns, data))
    return found


def write_mcap(path: Path, form: str, count: int = 30, chunk_size: int = 6000) -> list[Entry]:
    """Write an MCAP file with checksums; return its messages."""
    found = entries(count)
    kinds = {topic: kind for topic, kind, *_ in drive(1)}
    with path.open('wb') as file:
        writer = Writer(
            file,
            chunk_size=chunk_size,
            compression=FORMS[form],
            use_chunking=form != 'unchunked',
            enable_data_crcs=form == 'unchunked',
        )
        writer.start(profile='ros2', library='test')
        channels = {}
        for topic, kind in kinds.items():
            definition, _ = known_types().generate_msgdef(kind, ros_version=2)
            schema = writer.register_schema(kind, 'ros2msg', definition.encode())
            about = {'offered_qos_profiles': QOS}
            channels[topic] = writer.register_channel(topic, 'cdr', schema, about)
        for topic, log_ns, data in found:
            writer.add_message(channels[topic], log_ns, data, log_ns)
        writer.finish()
    return found


def saved_before(content: bytes, cut: int) -> int:
    """Count the messages that stand wholly before `cut`, in plain chunks or in none.

    Reads the file by itself, without the code under test.
    """
    count, at = 0, 8
    while at + 9 <= cut:
        kind, size = struct.unpack_from('<BQ', content, at)
        if kind == 6:  # Chunk: go in.
            (length,) = struct.unpack_from('<I', content, at + 9 + 28)
            at += 9 + 40 + length
            continue
        at += 9 + size
        count += kind == 5 and at <= cut
    return count
