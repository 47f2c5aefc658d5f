"""metadata.yaml of a bag in the form of rosbag2 version 9 (ROS 2 Jazzy), with our counts in it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from robot_learning import durable_files, foreign_files, plain_yaml
from robot_learning.errors import ConfigError, DataError
from robot_learning.foreign_files import Refusal, printable

FILE_NAME = 'metadata.yaml'
_INFORMATION = 'rosbag2_bagfile_information'
_VERSION = 9
_NEVER = 2**63 - 1  # Start of a file without messages, as rosbag2 writes it.
_COUNTS = 'counts '  # Keys of custom_data: this and a topic.
_SKIPPED = 'skipped '
_STATE = 'robot_learning.state'
_PROBLEM = 'robot_learning.problem'
RECORDING, COMPLETE = 'recording', 'complete'
# The one in C, where there is one: a bag of 1000 files takes 0.07 s of its recorder, not 0.24 s.
_DUMPER: Any = getattr(yaml, 'CSafeDumper', yaml.SafeDumper)


class BagTopic(NamedTuple):
    """What a bag says about a topic; `qos` has a profile per publisher as rosbag2 writes it."""

    name: str
    type: str
    definition: str
    type_hash: str = ''
    qos: tuple[dict[str, Any], ...] = ()

    def channel_metadata(self) -> dict[str, str]:
        """Return what rosbag2 says of a topic inside an MCAP file."""
        profiles = yaml.safe_dump(list(self.qos), sort_keys=False).strip() if self.qos else ''
        return {'offered_qos_profiles': profiles, 'topic_type_hash': self.type_hash}

    @property
    def is_latched(self) -> bool:
        """Whether late subscribers get old messages of it."""
        return any(profile.get('durability') == 'transient_local' for profile in self.qos)


class BagFile(NamedTuple):
    """One complete file of a bag."""

    name: str
    start_ns: int
    end_ns: int
    counts: Mapping[str, int]  # Messages by topic.


@dataclass
class MessageCounts:
    """What became of the messages of one topic; received is the sum of the next four.

    Messages that wait for the disk, or in a ring buffer, are received and nothing else yet.
    """

    received: int = 0
    written: int = 0
    dropped: int = 0  # Given up because the disk was too slow or refused.
    paused: int = 0  # Came while recording was paused.
    expired: int = 0  # Fell out of a ring buffer.
    lost: int | None = 0  # Sent, but never received; None: the middleware does not tell.

    @property
    def waiting(self) -> int:
        """Received messages that nothing has become of yet."""
        return self.received - self.written - self.dropped - self.paused - self.expired


@dataclass
class BagNotes:
    """What our recorder tells in a bag's custom_data, beyond what rosbag2 knows.

    Attributes:
        state: 'recording' until the bag is complete; empty for bags of other recorders.
        counts: by topic.
        skipped: topic -> why it is not in the bag.
        problem: why the disk refused, the last time it did.
    """

    state: str = ''
    counts: dict[str, MessageCounts] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    problem: str = ''

    def to_custom_data(self) -> dict[str, str]:
        """Return the form that stands in the bag."""
        return {
            _STATE: self.state,
            **({_PROBLEM: self.problem} if self.problem else {}),
            **{_COUNTS + topic: json.dumps(asdict(c)) for topic, c in self.counts.items()},
            # A copy: topics are skipped on another thread.
            **{_SKIPPED + topic: reason for topic, reason in dict(self.skipped).items()},
        }

    @classmethod
    def from_custom_data(cls, data: Mapping[str, str] | None) -> BagNotes:
        """Read what `to_custom_data` wrote; what others wrote, or damaged, is ignored."""
        texts = {key: v for key, v in (data or {}).items() if isinstance(v, str)}
        notes = cls(texts.get(_STATE, ''), problem=texts.get(_PROBLEM, ''))
        for key, value in texts.items():
            if key.startswith(_COUNTS):
                counts = _counts(value)
                if counts is not None:
                    notes.counts[key.removeprefix(_COUNTS)] = counts
            elif key.startswith(_SKIPPED):
                notes.skipped[key.removeprefix(_SKIPPED)] = value
        return notes


def describe(
    files: Sequence[BagFile], topics: Sequence[BagTopic], notes: BagNotes | None = None
) -> dict[str, Any]:
    """Return the content of metadata.yaml, without its outermost key."""
    filled = [file for file in files if file.counts]
    start_ns = min((file.start_ns for file in filled), default=_NEVER)
    end_ns = max((file.end_ns for file in filled), default=_NEVER)
    counts: Counter[str] = Counter()
    for file in files:
        counts.update(file.counts)
    return {
        'version': _VERSION,
        'storage_identifier': 'mcap',
        'duration': {'nanoseconds': end_ns - start_ns},
        'starting_time': {'nanoseconds_since_epoch': start_ns},
        'message_count': sum(counts.values()),
        'topics_with_message_count': [
            {'topic_metadata': _topic(topic), 'message_count': counts[topic.name]}
            for topic in topics
        ],
        # Of rosbag2's own compression. Chunks that MCAP compresses need no word: every reader
        # of MCAP unpacks them, `ros2 bag play` too.
        'compression_format': '',
        'compression_mode': '',
        'relative_file_paths': [file.name for file in files],
        'files': [_file(file) for file in files],
        'custom_data': notes.to_custom_data() if notes else None,
        'ros_distro': os.environ.get('ROS_DISTRO', 'jazzy'),
    }


def write(folder: Path, description: Mapping[str, Any]) -> None:
    """Put metadata.yaml into `folder` in one step."""
    content = {_INFORMATION: dict(description)}
    text = yaml.dump(content, Dumper=_DUMPER, sort_keys=False, width=1000)
    durable_files.replace(folder / FILE_NAME, text.encode())


def embedded(description: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the record by which an MCAP file describes itself when metadata.yaml is missing."""
    text = yaml.dump(dict(description), Dumper=_DUMPER, sort_keys=False, width=1000)
    return {'rosbag2': {'serialized_metadata': text}}


def read(folder: Path) -> dict[str, Any]:
    """Return the content of metadata.yaml, without its outermost key.

    Raises:
        DataError: there is none, or it is not one.
    """
    path = folder / FILE_NAME
    refuse = Refusal(DataError, f'Make a sound bag with "bags recover {folder} --out FOLDER".')
    data = foreign_files.read(path, plain_yaml.MAX_BYTES, refuse)
    try:
        content, _ = plain_yaml.parse(data.decode(), FILE_NAME)
        description: dict[str, Any] = content[_INFORMATION]
        _check(description)
    except (UnicodeDecodeError, ConfigError, KeyError, TypeError) as error:
        text = f'{type(error).__name__}: {printable(error, 400)}'
        raise refuse(path, f'cannot be read as the metadata of a bag ({text})') from error
    return description


def _check(description: dict[str, Any]) -> None:
    """Refuse what readers would stumble over (KeyError, TypeError)."""
    files = description['relative_file_paths']
    if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
        raise TypeError(f'relative_file_paths is {files!r}, expected a list of names')
    times = [description['duration']['nanoseconds']]
    times.append(description['starting_time']['nanoseconds_since_epoch'])
    counts = [description['message_count']]
    for topic in description['topics_with_message_count']:
        counts.append(topic['message_count'])
        texts = [topic['topic_metadata']['name'], topic['topic_metadata']['type']]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(f'a topic has name and type {texts!r}, expected texts')
    for number in (*times, *counts):
        if type(number) is not int:
            raise TypeError(f'a count or time is {number!r}, expected a whole number')
    custom = description.get('custom_data')
    if custom is not None and not isinstance(custom, dict):
        raise TypeError(f'custom_data is {custom!r}, expected a mapping')


def _counts(text: str) -> MessageCounts | None:
    """Return the counts of one topic; None: it is something else."""
    try:
        counts = MessageCounts(**json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return None
    numbers = [value for name, value in asdict(counts).items() if name != 'lost']
    is_lost_known = type(counts.lost) is int or counts.lost is None
    return counts if is_lost_known and all(type(n) is int for n in numbers) else None


def _topic(topic: BagTopic) -> dict[str, Any]:
    return {
        'name': topic.name,
        'type': topic.type,
        'serialization_format': 'cdr',
        'offered_qos_profiles': list(topic.qos),
        'type_description_hash': topic.type_hash,
    }


def _file(file: BagFile) -> dict[str, Any]:
    return {
        'path': file.name,
        'starting_time': {'nanoseconds_since_epoch': file.start_ns if file.counts else _NEVER},
        'duration': {'nanoseconds': file.end_ns - file.start_ns if file.counts else 0},
        'message_count': sum(file.counts.values()),
    }
