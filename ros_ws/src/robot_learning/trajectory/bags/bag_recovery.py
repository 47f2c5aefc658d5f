"""Damaged bags become sound ones: what a kill -9, a full disk or a torn copy left is saved.

MCAP and sqlite3 files, one by one or a folder of them, with or without metadata.yaml. The
source is only read. The new bag appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from rosbags.rosbag2 import ReaderError
from rosbags.rosbag2.metadata import dump_qos_v9, parse_qos

from robot_learning import durable_files, foreign_files, plain_yaml
from robot_learning.errors import DataError, StoreError
from robot_learning.trajectory.bags import bag_metadata
from robot_learning.trajectory.bags.bag_metadata import BagFile, BagNotes, BagTopic
from robot_learning.trajectory.bags.bag_types import known_types
from robot_learning.trajectory.bags.mcap_definitions import type_hash
from robot_learning.trajectory.bags.mcap_file import Compression, McapFile
from robot_learning.trajectory.bags.mcap_salvage import McapSalvage
from robot_learning.trajectory.bags.packed_files import unpacked_file, unpacked_message
from robot_learning.trajectory.bags.salvage import (
    NO_METADATA,
    BagMetadata,
    Channel,
    FileReport,
    parse_metadata,
)
from robot_learning.trajectory.bags.sqlite_salvage import SqliteSalvage
from robot_learning.trajectory.bags.unpacking import allowed_bytes

_REFUSAL = foreign_files.Refusal(DataError, 'Its files are read without it.')
_KINDS = ('.mcap', '.db3', '.mcap.zstd', '.db3.zstd')


@dataclass
class Recovery:
    """What was saved of a bag and what is missing.

    Attributes:
        missing_files: files that metadata.yaml or the numbers of the others name.
        lost: messages known to be missing, by topic, those of missing files included.
        notes: what else was wrong.
    """

    source: Path
    target: Path
    files: list[FileReport] = field(default_factory=list)
    missing_files: list[str] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def saved(self) -> Counter[str]:
        """Messages saved, by topic."""
        return sum((file.saved for file in self.files), Counter())

    @property
    def is_sound(self) -> bool:
        """Whether the new bag holds everything that was recorded."""
        return not self.lost and not self.missing_files and all(f.is_sound for f in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            'source': str(self.source),
            'target': str(self.target),
            'is_sound': self.is_sound,
            'saved': dict(self.saved),
            'lost': dict(self.lost),
            'missing_files': self.missing_files,
            'notes': self.notes,
            'files': [file.to_dict() for file in self.files],
        }


def recover_bag(source: Path | str, target: Path | str, compression: Compression = '') -> Recovery:
    """Copy every message of `source` that can be trusted into a new MCAP bag.

    Args:
        source: an .mcap or .db3 file, or a folder; of a folder all such files below it are
            read, in the order of their numbers.
        target: folder of the new bag; must not exist.
        compression: of the new bag's chunks.

    Raises:
        DataError: there is no such file, nothing readable in any, or one is being written.
        StoreError: the target exists or cannot be written.
    """
    source, target = Path(source), Path(target)
    files = _bag_files(source)
    _check_target(source, target)
    recovery = Recovery(source, target)
    metadata = _read_metadata(source, recovery)
    hidden = target.parent / f'.recovering_{target.name}'
    try:
        shutil.rmtree(hidden, ignore_errors=True)  # Left over from one that was killed.
        copier = _Copier(hidden / target.name, compression)
        try:
            recovery.files += [copier.copy(path, metadata) for path in files]
            _conclude(recovery, metadata)
            if not recovery.saved:
                raise DataError(
                    f'{source}: nothing in it can be read: {_why(recovery)}. Record it again.'
                )
            copier.complete(_custom(metadata))
        except BaseException:
            copier.abandon()
            raise
        (hidden / target.name).rename(target)
        durable_files.sync_folder(target.parent)
    except OSError as error:
        raise StoreError(
            f'{target}: cannot be written ({error.strerror or error}). Free space on that disk, '
            f'or choose another folder for the bag.'
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return recovery


def _bag_files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.exists():
        raise DataError(f'{source}: there is no such file or folder. Name an existing bag.')
    files = [path for path in source.rglob('*') if path.name.endswith(_KINDS) and path.is_file()]
    if not files:
        raise DataError(f'{source}: holds no .mcap or .db3 file. Name one, or a folder with some.')
    return sorted(files, key=_by_number)


def _check_target(source: Path, target: Path) -> None:
    if target.exists():
        raise StoreError(f'{target}: exists already. Choose another folder for the bag.')
    if source.is_dir() and source.resolve() in target.resolve().parents:
        raise StoreError(
            f'{target}: lies inside the bag that is recovered, which must not change. Choose '
            f'another folder for the bag.'
        )


def _read_metadata(source: Path, recovery: Recovery) -> BagMetadata:
    path = (source if source.is_dir() else source.parent) / 'metadata.yaml'
    if not path.is_file():
        if source.is_dir():
            recovery.notes.append('there was no metadata.yaml; it is written anew')
        return NO_METADATA
    try:
        data = foreign_files.read(path, plain_yaml.MAX_BYTES, _REFUSAL)
        metadata = parse_metadata(data.decode())
    except (DataError, ValueError) as error:
        text = ' '.join(str(error).split())[:200]
        recovery.notes.append(f'metadata.yaml cannot be read ({text}); it is written anew')
        return NO_METADATA
    if source.is_file() and list(metadata.files) != [source.name]:
        return metadata._replace(files={}, topics={})  # Counts are the whole bag's.
    return metadata


class _Copier:
    """Writes what is saved of any number of files into one."""

    def __init__(self, folder: Path, compression: Compression):
        folder.mkdir(parents=True)
        self._folder = folder
        self._file = McapFile(folder / f'{folder.name}_0.mcap', compression)
        self._topics: list[BagTopic] = []  # By number of the channel.
        self._numbers: dict[Channel, int | None] = {}

    def copy(self, path: Path, metadata: BagMetadata) -> FileReport:
        """Save what one file holds."""
        report = FileReport(path, path.stat().st_size)
        with unpacked_file(path, report) as plain:
            if plain.suffix == '.db3' or _begins_as_sqlite(plain):
                self._copy(SqliteSalvage(plain, report, metadata), report)
            else:
                with _mapped(plain) as content:
                    self._copy(McapSalvage(content, report, metadata), report)
        return report

    def complete(self, custom: Mapping[str, str]) -> None:
        """Finish the file and describe the bag."""
        self._file.flush()
        counts = self._file.counts
        by_topic: Counter[str] = Counter()
        for number, topic in enumerate(self._topics):
            by_topic[topic.name] += counts[number]
        start_ns, end_ns = self._file.start_ns, self._file.end_ns
        file = BagFile(self._file.path.name, start_ns, end_ns, +by_topic)
        description = bag_metadata.describe([file], self._topics)
        for number, entry in enumerate(description['topics_with_message_count']):
            entry['message_count'] = counts[number]  # A topic may have several channels.
        description['custom_data'] = dict(custom) or None
        self._file.complete(bag_metadata.embedded(description))
        bag_metadata.write(self._folder, description)

    def abandon(self) -> None:
        """Close the file as it is."""
        with contextlib.suppress(OSError):
            self._file.abandon()

    def _copy(self, salvage: McapSalvage | SqliteSalvage, report: FileReport) -> None:
        for channel in salvage.channels():
            self._number(channel)
        foreign: Counter[str] = Counter()
        may_unpack = allowed_bytes(report.size)
        for message in salvage.messages():
            channel = message.channel
            number, data = self._number(channel), unpacked_message(message.data, may_unpack)
            may_unpack -= len(data or b'') if data is not message.data else 0
            if number is not None and data is not None:
                self._file.write(
                    number, message.log_ns, data, message.publish_ns, message.sequence
                )
                continue
            report.saved[channel.topic] -= 1
            if number is None:
                foreign[f'{channel.topic} ({channel.serialization or "unknown"} encoding)'] += 1
            else:
                report.lost[channel.topic] += 1
                reason = 'messages that were packed by themselves cannot be unpacked'
                report.notes += [reason] if reason not in report.notes else []
        report.saved = +report.saved
        report.left_out += [f'{count} messages of {name}' for name, count in foreign.items()]

    def _number(self, channel: Channel) -> int | None:
        """Return where to write messages of a channel; None: a bag cannot hold them."""
        if channel not in self._numbers:
            is_known_form = channel.serialization == 'cdr'
            self._numbers[channel] = self._add(_bag_topic(channel)) if is_known_form else None
        return self._numbers[channel]

    def _add(self, topic: BagTopic) -> int:
        for number, known in enumerate(self._topics):
            if (known.name, known.type, known.qos) == (topic.name, topic.type, topic.qos):
                return number  # Of another file, or defined a little differently there.
        self._topics.append(topic)
        return self._file.add_channel(
            topic.name, topic.type, topic.definition, topic.channel_metadata()
        )


@contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    """Give a file's bytes without reading all of them into memory.

    Raises:
        DataError: a recorder writes it.
    """
    if not path.stat().st_size:
        yield memoryview(b'')
        return
    with path.open('rb') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f'{path}: is being written by a recorder. Stop that first; it completes the bag.'
            ) from error
        except OSError:
            pass  # Not all file systems have locks.
        yield memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _begins_as_sqlite(path: Path) -> bool:
    with path.open('rb') as file:
        return file.read(15) == b'SQLite format 3'


def _bag_topic(channel: Channel) -> BagTopic:
    """Complete what a bag does not say of a topic, where we know it."""
    definition, stated = channel.definition, channel.type_hash
    if not definition and channel.type in known_types().fielddefs:
        definition, _ = known_types().generate_msgdef(channel.type, ros_version=2)
        stated = known_types().hash_rihs01(channel.type)
    if not stated:
        stated = type_hash(channel.type, channel.encoding, definition)
    return BagTopic(channel.topic, channel.type, definition, stated, _profiles(channel.qos))


def _profiles(text: str) -> tuple[dict[str, Any], ...]:
    try:
        return tuple(cast('list[dict[str, Any]]', dump_qos_v9(parse_qos(text))))
    except (ReaderError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return ()  # Written by a version that is not known here, or damaged.


def _custom(metadata: BagMetadata) -> dict[str, str]:
    """Return what the old bag said about itself; its recorder is no longer at work."""
    notes = BagNotes.from_custom_data(metadata.custom)
    state = BagNotes(bag_metadata.COMPLETE).to_custom_data() if notes.state else {}
    return {**metadata.custom, **state}


def _conclude(recovery: Recovery, metadata: BagMetadata) -> None:
    """Compare what was found with what there should be."""
    found = {file.path.name: file for file in recovery.files}
    for name, expected in metadata.files.items():
        file = found.get(name)
        if file is None:
            recovery.missing_files.append(name)
        elif expected is not None and (
            expected < file.num_saved or (expected > file.num_saved and file.is_sound)
        ):
            recovery.notes.append(
                f'metadata.yaml says {expected} messages in {name}, {file.num_saved} are there'
            )
    if metadata.files:
        extra = [name for name in found if name not in metadata.files]
        recovery.notes += [f'metadata.yaml does not name {name}; it was read' for name in extra]
    recovery.missing_files += [
        name for name in _skipped_numbers(found) if name not in recovery.missing_files
    ]
    recovery.lost = sum((file.lost for file in recovery.files), Counter())
    absent = Counter(metadata.topics) - recovery.saved if metadata.files else Counter()
    if absent and recovery.is_sound:
        listed = ', '.join(f'{count} of {topic}' for topic, count in absent.items())
        recovery.notes.append(f'metadata.yaml says more messages than files ever held: {listed}')
    else:
        recovery.lost |= absent


def _skipped_numbers(names: dict[str, Any]) -> list[str]:
    """Return the names that a sequence such as bag_0, bag_2 lacks."""
    sequences: dict[tuple[str, str], set[int]] = {}
    for name in names:
        match = re.fullmatch(r'(.*_)(\d+)(\.\w+)', name)
        if match:
            sequences.setdefault((match[1], match[3]), set()).add(int(match[2]))
    return [
        f'{stem}{number}{suffix}'
        for (stem, suffix), numbers in sequences.items()
        if len(numbers) > 1
        for number in range(min(numbers), max(numbers))
        if number not in numbers
    ]


def _why(recovery: Recovery) -> str:
    reasons = [part.reason for file in recovery.files for part in file.unreadable]
    reasons += [note for file in recovery.files for note in file.notes]
    return '; '.join(dict.fromkeys(reasons)) or 'there are no messages'


def _by_number(path: Path) -> list[tuple[int, int | str]]:
    """Order bag_2 before bag_10."""
    parts = re.split(r'(\d+)', path.name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]
