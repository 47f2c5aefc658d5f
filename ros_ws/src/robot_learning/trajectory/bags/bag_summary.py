"""What a bag holds, also one that is being written or whose recorder was killed."""

from __future__ import annotations

import fcntl
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from robot_learning.trajectory.bags import bag_metadata
from robot_learning.trajectory.bags.bag import bag_info
from robot_learning.trajectory.bags.bag_metadata import BagNotes
from robot_learning.trajectory.bags.bag_types import known_types
from robot_learning.trajectory.bags.mcap_records import MAGIC
from robot_learning.trajectory.bags.mcap_stream import McapStream

_NUM_LOOKS = 5
COMPLETE, WRITING, BROKEN_OFF = 'complete', 'being written', 'never completed'


def summarise(path: Path | str) -> dict[str, Any]:
    """Return duration, topics, files, state and our recorder's counts of a bag as plain data.

    Files that metadata.yaml does not name yet, or a single file without an end, are read as far
    as they go. `messages` and `topics` include them; `state` says that they are there.

    Raises:
        DataError: there is no bag, or a sound part of it cannot be read.
    """
    path = Path(path)
    for _ in range(_NUM_LOOKS):
        before = _entries(path)
        summary = _summarise(path)
        if _entries(path) == before:  # Else a file was completed in the middle of this.
            break
    return summary


def _summarise(path: Path) -> dict[str, Any]:
    open_files = _files_without_entry(path)
    if not open_files:
        return {**bag_info(path), 'state': COMPLETE, **_notes(path)}
    has_entries = bool(_entries(path))
    known = bag_info(path) if has_entries else _nothing(path)
    topics: dict[str, dict[str, Any]] = {}
    for topic in known['topics']:
        first = topics.setdefault(topic['topic'], topic)
        if first is not topic:  # It has several channels, one for each quality of service.
            first['messages'] += topic['messages']
    spans = []
    for file in open_files:
        spans += _survey(file, topics)
    duration_s = known['duration_s']
    if spans:
        duration_s += (max(end for _, end in spans) - min(start for start, _ in spans)) * 1e-9
    for topic in topics.values():
        topic['rate_hz'] = topic['messages'] / duration_s if duration_s > 0 else 0.0
    return {
        **known,
        'duration_s': duration_s,
        'messages': sum(topic['messages'] for topic in topics.values()),
        'topics': sorted(topics.values(), key=lambda topic: str(topic['topic'])),
        'state': WRITING if any(map(_is_locked, open_files)) else BROKEN_OFF,
        'open_files': [str(file) for file in open_files],
        **_notes(path),
    }


def _files_without_entry(path: Path) -> list[Path]:
    """List MCAP files that no metadata.yaml describes, and a single one without an end."""
    if path.is_dir():
        named = _entries(path)
        return sorted(file for file in path.glob('*.mcap') if file.name not in named)
    if path.suffix != '.mcap' or not path.is_file():
        return []
    with McapStream(path) as stream:
        for _ in stream.chunks():
            pass
        return [] if stream.is_whole else [path]


def _entries(folder: Path) -> list[str]:
    if not (folder / bag_metadata.FILE_NAME).exists():
        return []
    # Old bags name their folder too.
    return [Path(name).name for name in bag_metadata.read(folder)['relative_file_paths']]


def _nothing(path: Path) -> dict[str, Any]:
    return {'bag': str(path), 'duration_s': 0.0, 'messages': 0, 'topics': []}


def _survey(file: Path, topics: dict[str, dict[str, Any]]) -> list[tuple[int, int]]:
    """Add a file's messages to the topics; return the times of its chunks."""
    if file.stat().st_size < len(MAGIC):  # Just begun, or never written by a full disk.
        return []
    spans = []
    counts: Counter[str] = Counter()
    with McapStream(file) as stream:
        for chunk in stream.chunks():
            counts.update(stream.counts(chunk))
            spans.append((chunk.start_ns, chunk.end_ns))
        for channel in stream.channels.values():
            topics.setdefault(
                channel.topic,
                {
                    'topic': channel.topic,
                    'type': channel.type,
                    'messages': 0,
                    'known': bool(channel.definition) or channel.type in known_types().fielddefs,
                },
            )
    for topic, count in counts.items():
        topics[topic]['messages'] += count
    return spans


def _notes(path: Path) -> dict[str, Any]:
    """Return what our recorder wrote into the metadata; nothing for other bags."""
    if not (path / bag_metadata.FILE_NAME).is_file():
        return {}
    notes = BagNotes.from_custom_data(bag_metadata.read(path).get('custom_data'))
    if not notes.state:
        return {}
    return {
        'counts': {topic: asdict(counts) for topic, counts in notes.counts.items()},
        'skipped': notes.skipped,
        'problem': notes.problem,
    }


def _is_locked(file: Path) -> bool:
    """Tell whether its writer still lives."""
    with file.open('rb') as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # A file system without locks.
            return False
    return False
