"""What is saved of one damaged file of a bag, and what is known to be missing."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from robot_learning import plain_yaml
from robot_learning.errors import ConfigError


class Channel(NamedTuple):
    """A topic as a bag knows it."""

    topic: str
    type: str
    encoding: str  # Of the definition: 'ros2msg', 'ros2idl' or empty.
    definition: str
    type_hash: str  # RIHS01 as the bag states it; empty where it does not.
    serialization: str  # Of the messages: 'cdr'.
    qos: str  # Offered profiles as YAML; empty: unknown.


class Message(NamedTuple):
    """One message as it was recorded."""

    channel: Channel
    log_ns: int
    data: bytes
    publish_ns: int = 0  # 0: not known.
    sequence: int = 0


class Unreadable(NamedTuple):
    """Bytes of a file that hold nothing that can be used."""

    start: int
    stop: int
    reason: str


class TimeHole(NamedTuple):
    """A time of which messages may be missing; an end of None is not known."""

    from_ns: int | None
    to_ns: int | None


@dataclass
class FileReport:
    """What was found in one file.

    Attributes:
        lost: messages known to be missing, by topic.
        is_complete: nothing that the file once held is missing.
        unchecked: saved messages whose bytes nothing vouches for: their chunk has no checksum.
        left_out: what is sound and has no place in the new bag.
        notes: damage that cost nothing.
    """

    path: Path
    size: int = 0
    saved: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    is_complete: bool = True
    unreadable: list[Unreadable] = field(default_factory=list)
    holes: list[TimeHole] = field(default_factory=list)
    unchecked: int = 0
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def num_saved(self) -> int:
        """Messages saved, of all topics."""
        return sum(self.saved.values())

    @property
    def is_sound(self) -> bool:
        """Whether the new bag holds everything that the file held."""
        return self.is_complete and not self.lost and not self.left_out

    @property
    def unreadable_bytes(self) -> int:
        """Bytes that hold nothing that can be used."""
        return sum(part.stop - part.start for part in self.unreadable)

    def lose(self, start: int, stop: int, reason: str) -> None:
        """Note bytes that cannot be used; what is adjacent for the same reason becomes one."""
        last = self.unreadable[-1] if self.unreadable else None
        if last is not None and last.stop == start and last.reason == reason:
            self.unreadable[-1] = last._replace(stop=stop)
        elif stop > start:
            self.unreadable.append(Unreadable(start, stop, reason))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            **asdict(self),
            'path': str(self.path),
            'saved': dict(self.saved),
            'lost': dict(self.lost),
            'unreadable': [part._asdict() for part in self.unreadable],
            'holes': [hole._asdict() for hole in self.holes],
            'num_saved': self.num_saved,
            'unreadable_bytes': self.unreadable_bytes,
            'is_sound': self.is_sound,
        }


class BagMetadata(NamedTuple):
    """What metadata.yaml, or its copy inside an MCAP file, says."""

    files: dict[str, int | None]  # Name -> messages in it.
    topics: dict[str, int]  # Topic -> messages of the whole bag.
    hashes: dict[str, str]  # Type -> hash.
    custom: dict[str, str]


NO_METADATA = BagMetadata({}, {}, {}, {})


def parse_metadata(text: str) -> BagMetadata:
    """Return what can be used of a metadata text.

    Raises:
        ValueError: it is cut, damaged or something else.
    """
    try:
        content, _ = plain_yaml.parse(text, 'metadata')
        content = content.get('rosbag2_bagfile_information', content)
        counts = {
            Path(entry['path']).name: int(entry['message_count'])
            for entry in content.get('files') or ()
        }
        topics = content['topics_with_message_count']
        totals: Counter[str] = Counter()
        for entry in topics:
            totals[entry['topic_metadata']['name']] += int(entry['message_count'])
        return BagMetadata(
            {Path(f).name: counts.get(Path(f).name) for f in content['relative_file_paths']},
            dict(totals),
            {
                t['topic_metadata']['type']: str(t['topic_metadata']['type_description_hash'])
                for t in topics
                if t['topic_metadata'].get('type_description_hash')
            },
            {str(k): str(v) for k, v in (content.get('custom_data') or {}).items()},
        )
    except (ConfigError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(str(error).replace('\n', ' ')) from error
