"""Saves what a sqlite3 file of a bag still holds.

Works on a copy, so that sqlite may apply or roll back the journal beside it. Where sqlite gives
up, rows are read out of the pages. There are no checksums: what can be read is given as it is.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from robot_learning.trajectory.bags.salvage import (
    BagMetadata,
    Channel,
    FileReport,
    Message,
    TimeHole,
)
from robot_learning.trajectory.bags.sqlite_pages import Pages, Row

_BESIDE = ('-journal', '-wal')  # What sqlite leaves beside a file; it belongs to it.


class SqliteSalvage:
    """Reads one file; see `McapSalvage`, whose methods it has."""

    def __init__(self, path: Path, report: FileReport, metadata: BagMetadata):
        self.report = report
        self.metadata = metadata
        self._path = path
        self._channels: dict[int, Channel] = {}
        self._folder = tempfile.TemporaryDirectory(prefix='recover_')
        self._copy = Path(self._folder.name) / 'copy.db3'
        self._journal = [name for name in _BESIDE if self._beside(name).is_file()]
        self._cut_page = self._read_size()
        self._database = self._open_best()
        if not self._channels:
            report.is_complete = False
            report.notes.append('no topic is named in it, so its messages belong to none')

    def channels(self) -> list[Channel]:
        """Return all topics that the file names."""
        return list(self._channels.values())

    def messages(self) -> Iterator[Message]:
        """Yield every message that can be read, in the order of recording."""
        report = self.report
        with self._folder, closing(self._database):
            newest_ns: int | None = None
            previous = 0
            for row in self._rows():
                channel = self._channels.get(row.topic)
                is_sound = isinstance(row.log_ns, int) and isinstance(row.data, bytes)
                if channel is None or not is_sound:
                    report.lost[channel.topic if channel else f'topic {row.topic}'] += 1
                    continue
                if row.number > previous + 1:
                    report.holes.append(TimeHole(newest_ns, row.log_ns))
                    report.notes.append(f'rows {previous + 1} to {row.number - 1} are missing')
                    report.is_complete = False
                previous, newest_ns = row.number, row.log_ns
                report.saved[channel.topic] += 1
                report.unchecked += 1
                yield Message(channel, row.log_ns, row.data)
            if not report.is_complete:
                report.holes.append(TimeHole(newest_ns, None))

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)

    def _open_best(self) -> sqlite3.Connection:
        """Open the file with its journal applied, or without where that leaves nothing."""
        database = self._open(with_journal=True)
        if self._read_topics(database) and self._has_rows(database):
            if self._journal:
                self.report.is_complete = False
                self.report.notes.append(
                    f'{self._path.name}{self._journal[0]} was there: its recorder was killed; '
                    f'what was not yet committed is not in it'
                )
            return database
        if self._journal:
            self.report.is_complete = False
            database.close()
            database = self._open(with_journal=False)
            self._read_topics(database)
            self.report.notes.append('nothing was committed; read from the unfinished transaction')
        return database

    def _open(self, with_journal: bool) -> sqlite3.Connection:
        for old in Path(self._folder.name).iterdir():
            old.unlink()
        shutil.copyfile(self._path, self._copy)
        if with_journal:
            for suffix in self._journal:
                shutil.copyfile(self._beside(suffix), self._copy.with_name('copy.db3' + suffix))
        if self._cut_page:
            _make_consistent(self._copy, self._cut_page)
        database = sqlite3.connect(self._copy)
        database.text_factory = lambda data: data.decode('utf-8', 'replace')
        return database

    def _read_size(self) -> int:
        """Return the page size of a file that is shorter than its head states; 0 if it is not."""
        head = self._path.open('rb').read(32)
        if len(head) < 32 or not head.startswith(b'SQLite format 3\0'):
            self.report.is_complete = False
            self.report.notes.append('does not begin as an sqlite3 file does')
            return 0
        page = int.from_bytes(head[16:18], 'big')
        page = 65536 if page == 1 else page
        stated = int.from_bytes(head[28:32], 'big') * page
        size = self._path.stat().st_size
        if size >= stated or self._journal:
            return 0
        self.report.is_complete = False
        self.report.lose(size, stated, 'cut off')
        return page

    def _read_topics(self, database: sqlite3.Connection) -> bool:
        types: dict[str, tuple[str, str]] = {}
        columns = 'topic_type, encoding, encoded_message_definition'
        for name, *definition in _select(database, f'SELECT {columns} FROM message_definitions'):
            types[name] = (definition[0], definition[1])
        found = []
        for columns in (
            'id, name, type, serialization_format, offered_qos_profiles, type_description_hash',
            "id, name, type, serialization_format, offered_qos_profiles, ''",
            "id, name, type, serialization_format, '', ''",
        ):
            found = _select(database, f'SELECT {columns} FROM topics')
            if found:
                break
        self._channels = {
            number: Channel(topic, kind, *types.get(kind, ('', '')), stated, serialization, qos)
            for number, topic, kind, serialization, qos, stated in found
            if isinstance(topic, str) and isinstance(kind, str)
        }
        return bool(self._channels)

    def _has_rows(self, database: sqlite3.Connection) -> bool:
        try:
            return database.execute('SELECT 1 FROM messages LIMIT 1').fetchone() is not None
        except sqlite3.Error:
            return True  # The leaves may tell more than the tree.

    def _rows(self) -> Iterator[Row]:
        """Yield rows in order: those that sqlite reads, then those that only pages hold."""
        newest = 0
        try:
            query = 'SELECT id, topic_id, timestamp, data FROM messages ORDER BY id'
            for row in self._database.execute(query):
                yield Row(*row)
                newest = row[0]
            return
        except sqlite3.Error as error:
            self.report.is_complete = False
            self.report.notes.append(f'sqlite: {error}')
        content = memoryview(self._copy.read_bytes())
        try:
            found = {r.number: r for r in Pages(content).rows() if r.topic in self._channels}
        except (ValueError, IndexError):
            return
        for number in sorted(found):
            if number > newest:
                yield found[number]


def _make_consistent(path: Path, page: int) -> None:
    """Let the head state the whole pages there are; else sqlite reads nothing at all."""
    count = path.stat().st_size // page
    os.truncate(path, count * page)
    if count:
        with path.open('r+b') as file:
            file.seek(28)
            file.write(count.to_bytes(4, 'big'))


def _select(database: sqlite3.Connection, query: str) -> list[Any]:
    """Return the rows that can be read; none where the table or a column is not there."""
    rows = []
    try:
        for row in database.execute(query):
            rows.append(row)
    except sqlite3.Error:
        return rows
    return rows
