"""Saves what an MCAP file still holds, whatever happened to it, and says what is missing.

Nothing is given that a checksum or the index of its chunk contradicts. Where a chunk has
neither, its messages are given as they are and counted as unchecked.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator

from robot_learning.trajectory.bags.mcap_chunks import (
    NO_INDEX,
    Chunk,
    ChunkIndex,
    Definition,
    InnerMessage,
    Lost,
    inner_records,
    open_chunk,
    parse_index,
    parse_message,
)
from robot_learning.trajectory.bags.mcap_definitions import (
    CHECKED,
    DOUBTFUL,
    UNCHECKED,
    Definitions,
)
from robot_learning.trajectory.bags.mcap_records import (
    ATTACHMENT,
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
    SCHEMA,
    STATISTICS,
    Damage,
    Record,
    chunk_head,
    text,
    walk,
)
from robot_learning.trajectory.bags.salvage import (
    BagMetadata,
    Channel,
    FileReport,
    Message,
    TimeHole,
    parse_metadata,
)
from robot_learning.trajectory.bags.unpacking import allowed_bytes

_STATED = 'rosbag2'  # Name of the metadata record that repeats metadata.yaml.


class McapSalvage:
    """Reads one file.

    Attributes:
        report: complete when `messages` has ended.
        metadata: the file's copy of metadata.yaml, or what was given.
    """

    def __init__(self, content: memoryview, report: FileReport, metadata: BagMetadata):
        self.report = report
        self.metadata = metadata
        self._content = _without_zeros(content)
        if len(self._content) < len(content):
            report.lose(len(self._content), len(content), 'zeros')
        self._parts = self._survey()
        ends = [p.start for p in self._sound(DATA_END)]
        self._data_end = ends[-1] if ends else None
        self._is_data_wrong = False
        self._is_data_checked = self._check_data()
        self._expected: Counter[int] | None = None
        self._read_about()
        self._definitions = Definitions(self.metadata)
        self._read_definitions()
        self._saved: Counter[int] = Counter()
        self._lost: Counter[int] = Counter()
        self._newest_ns: int | None = None
        self._open_hole = False
        self._may_unpack = allowed_bytes(len(content))  # Bytes, all chunks together.
        self._of_chunk: set[tuple[int, int]] = set()  # Channel and time, given of the last chunk.

    def channels(self) -> list[Channel]:
        """Return all channels known so far, those without messages included."""
        return self._definitions.channels()

    def messages(self) -> Iterator[Message]:
        """Yield every message that can be trusted, in the order of the file."""
        for position, part in enumerate(self._parts):
            if isinstance(part, Damage):
                self._pass_over(position, part)
            elif part.kind == CHUNK:
                yield from self._chunk(position, part)
            elif part.is_cut:
                self._lose(part.start, part.stop, 'cut inside a record')
            elif part.kind == MESSAGE:
                yield from self._give(parse_message(self._body(part)), part, UNCHECKED)
        self._conclude()

    def _survey(self) -> list[Record | Damage]:
        """Find all records; twice if only the first look tells that messages are in chunks."""
        if bytes(self._content[: len(MAGIC)]) == MAGIC:
            start = len(MAGIC)
        else:
            self.report.notes.append('does not begin as an MCAP file does')
            start = 0
        parts = list(walk(self._content, start, is_chunked=False))
        kinds = {part.kind for part in parts if isinstance(part, Record)}
        is_damaged = any(isinstance(part, Damage) for part in parts)
        if is_damaged and kinds & {CHUNK, MESSAGE_INDEX, CHUNK_INDEX}:
            parts = list(walk(self._content, start, is_chunked=True))
        return parts

    def _check_data(self) -> bool:
        """Tell whether a checksum vouches for everything before the summary."""
        if self._data_end is None:
            return False
        (checksum,) = struct.unpack_from('<I', self._content, self._data_end + 9)
        if not checksum:
            return False
        if zlib.crc32(self._content[: self._data_end]) == checksum:
            return True
        self._is_data_wrong = True
        return False

    def _read_about(self) -> None:
        """Read what the file says about its content, and what has no place in the new bag."""
        for part in self._sound(STATISTICS, METADATA, ATTACHMENT):
            body = self._body(part)
            if part.kind == STATISTICS:
                total, *_, size = struct.unpack_from('<QHIIIIQQI', body)
                counts = Counter(dict(struct.iter_unpack('<HQ', body[46 : 46 + size])))
                if sum(counts.values()) == total:
                    self._expected = counts
            elif part.kind == METADATA:
                self._read_metadata(body)
            else:
                name = _text_or(body, 16, 'of unknown name')
                self.report.left_out.append(f'attachment {name!r} of {len(body)} bytes')

    def _read_metadata(self, body: memoryview) -> None:
        try:
            name, at = text(body, 0)
            if name != _STATED:
                self.report.left_out.append(f'metadata record {name!r}')
                return
            _, at = text(body, at + 4)
            found = parse_metadata(text(body, at)[0])
        except (ValueError, struct.error):
            self.report.notes.append('its copy of metadata.yaml cannot be read')
            return
        self.metadata = BagMetadata(
            self.metadata.files,
            self.metadata.topics or found.topics,
            {**found.hashes, **self.metadata.hashes},
            {**found.custom, **self.metadata.custom},
        )

    def _read_definitions(self) -> None:
        """Read those that do not stand in chunks."""
        checked_from = self._checked_summary()
        for part in self._sound(SCHEMA, CHANNEL):
            in_data = self._data_end is None or part.start < self._data_end
            is_checked = self._is_data_checked if in_data else part.start >= checked_from
            trust = CHECKED if is_checked else UNCHECKED
            self._definitions.add(part.kind, self._body(part), trust)

    def _checked_summary(self) -> int:
        """Return from where on the summary's checksum vouches for it; the end if nowhere."""
        last = self._parts[-1] if self._parts else None
        if isinstance(last, Record) and last.kind == FOOTER and not last.is_cut:
            start, _, checksum = struct.unpack_from('<QQI', self._body(last))
            covered = self._content[start : last.start + 25]
            if checksum and start < last.start and zlib.crc32(covered) == checksum:
                return int(start)
        return len(self._content)

    def _chunk(self, position: int, record: Record) -> Iterator[Message]:
        index = self._index_behind(position)
        chunk = open_chunk(self._body(record), record.is_cut, self._may_unpack)
        self._may_unpack -= len(chunk.content) if chunk.is_packed else 0
        is_checked = chunk.is_checked or self._is_data_checked
        if chunk.problem and not record.is_cut and not self._is_data_checked:
            for found in inner_records(chunk.content, NO_INDEX):
                if isinstance(found, Definition):
                    self._definitions.add(found.kind, found.body, DOUBTFUL)
            self._lose_chunk(record, chunk.problem, index)
            return
        trust = CHECKED if is_checked else UNCHECKED
        self._of_chunk = set()
        for found in inner_records(chunk.content, NO_INDEX if is_checked else index):
            if isinstance(found, Definition):
                self._definitions.add(found.kind, found.body, trust)
            elif isinstance(found, InnerMessage):
                self._of_chunk.add((found.channel, found.log_ns))
                yield from self._give(found, record, trust)
            else:
                self._lose_inside(record, chunk, found)
        self._count_lost(index)
        if record.is_cut:
            self.report.is_complete = False
            self._open_hole = True

    def _lose_inside(self, record: Record, chunk: Chunk, lost: Lost) -> None:
        reason = chunk.problem or 'no sound record inside a chunk'
        if chunk.is_packed:
            self._lose(record.start, record.stop, reason)
        else:
            base = record.stop - len(chunk.content)
            self._lose(base + lost.start, base + lost.stop, reason)

    def _index_behind(self, position: int) -> ChunkIndex:
        entries: dict[int, tuple[int, int]] = {}
        is_complete = False
        for part in self._parts[position + 1 :]:
            if not isinstance(part, Record) or part.is_cut:
                break
            if part.kind != MESSAGE_INDEX:
                is_complete = True
                break
            entries.update(parse_index(self._body(part)))
        return ChunkIndex(entries, frozenset(c for c, _ in entries.values()), is_complete)

    def _give(self, message: InnerMessage, record: Record, trust: int) -> Iterator[Message]:
        channel = self._definitions.channel(message.channel)
        if channel is None:
            self._lose(record.start, record.stop, 'messages of a topic that is defined nowhere')
            return
        self._saved[message.channel] += 1
        self.report.saved[channel.topic] += 1
        self.report.unchecked += trust != CHECKED and not self._is_data_checked
        if self._open_hole:
            self.report.holes.append(TimeHole(self._newest_ns, message.log_ns))
            self._open_hole = False
        self._newest_ns = max(message.log_ns, self._newest_ns or message.log_ns)
        yield Message(channel, message.log_ns, message.data, message.publish_ns, message.sequence)

    def _pass_over(self, position: int, damage: Damage) -> None:
        """Note damage; if it was a chunk, the index behind it tells what was in that."""
        index = self._index_behind(position)
        if self._count_lost(index):
            self._note_chunk(damage.start, damage.stop, damage.reason, index)
        else:
            self._lose(damage.start, damage.stop, damage.reason)

    def _lose_chunk(self, record: Record, reason: str, index: ChunkIndex) -> None:
        self._of_chunk = set()
        self._count_lost(index)
        self._note_chunk(record.start, record.stop, reason, index)
        if not index.entries:
            first_ns, last_ns = chunk_head(self._body(record))[:2]
            self.report.holes.append(TimeHole(first_ns, last_ns))

    def _count_lost(self, index: ChunkIndex) -> int:
        """Count the messages of an index that the chunk before it did not give."""
        lost = [entry[0] for entry in index.entries.values() if entry not in self._of_chunk]
        self._lost.update(lost)
        return len(lost)

    def _note_chunk(self, start: int, stop: int, reason: str, index: ChunkIndex) -> None:
        self.report.lose(start, stop, reason)
        self.report.is_complete = False
        if index.entries:
            times = [time for _, time in index.entries.values()]
            self.report.holes.append(TimeHole(min(times), max(times)))

    def _lose(self, start: int, stop: int, reason: str) -> None:
        self.report.lose(start, stop, reason)
        if self._data_end is None or start < self._data_end:
            self.report.is_complete = False
            self._open_hole = True

    def _conclude(self) -> None:
        report = self.report
        if self._open_hole:
            report.holes.append(TimeHole(self._newest_ns, None))
        if self._data_end is None:
            report.is_complete = False
            report.notes.append(
                'ends without its summary: what its recorder held in memory is not in it'
            )
        lost = self._lost
        if self._expected is not None:
            lost = self._expected - self._saved
            if not lost and self._saved == self._expected:
                report.is_complete = True
        for number, count in lost.items():
            channel = self._definitions.channel(number)
            report.lost[channel.topic if channel else f'channel {number}'] += count
        if self._is_data_wrong and report.unchecked:
            report.is_complete = False
            report.notes.append(
                f'the checksum of its data is wrong: some of {report.unchecked} messages may not '
                f'be as they were recorded'
            )
        report.is_complete = report.is_complete and not lost
        report.unreadable.sort()
        self._check_end()

    def _check_end(self) -> None:
        last = self._parts[-1] if self._parts else None
        is_footer = isinstance(last, Record) and last.kind == FOOTER and not last.is_cut
        if not is_footer and self.report.is_complete:
            self.report.notes.append('its summary is cut or damaged; it is written anew')

    def _sound(self, *kinds: int) -> list[Record]:
        """Return all whole records of these kinds."""
        records = (part for part in self._parts if isinstance(part, Record))
        return [part for part in records if part.kind in kinds and not part.is_cut]

    def _body(self, record: Record) -> memoryview:
        return self._content[record.body]


def is_mcap(content: memoryview) -> bool:
    """Tell whether a file begins as MCAP or, damaged there, with an MCAP header record."""
    return content[: len(MAGIC)] == MAGIC or bytes(content[8:9]) == bytes([HEADER])


def _without_zeros(content: memoryview) -> memoryview:
    """Cut off the zeros that a full disk or a torn copy leaves at the end."""
    stop = len(content)
    while stop:
        start = max(0, stop - (1 << 16))
        kept = bytes(content[start:stop]).rstrip(b'\0')
        if kept:
            return content[: start + len(kept)]
        stop = start
    return content[:0]


def _text_or(body: memoryview, at: int, fallback: str) -> str:
    try:
        return text(body, at)[0]
    except (ValueError, struct.error):
        return fallback
