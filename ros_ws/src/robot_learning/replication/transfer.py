"""One item on its way from one host: which range is asked for next, what has come."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from robot_learning.replication.flow import RequestWindow
from robot_learning.replication.partial_file import PartialFile, is_finished
from robot_learning.replication.protocol import Chunk, FileEntry, TransferConfig
from robot_learning.replication.shelf import Item

_SHORTEST_RETRY_S, _LONGEST_RETRY_S = 0.2, 8.0

Ask = Callable[[FileEntry, int, int], None]  # File, offset, number of bytes.


class Transfer:
    """Fetches the files of one item one after the other, each from front to back.

    Attributes:
        item: what is fetched.
        num_damaged: chunks whose CRC did not fit.
        num_repeated: bytes that came although they were here already.
    """

    def __init__(
        self, item: Item, config: TransferConfig, window: RequestWindow, ask: Ask, now_s: float
    ):
        """Go on with what is there.

        Raises:
            ReplicationError: a file was complete already and not what was offered.
            OSError: the disk is full or gone.
        """
        self.item = item
        self.num_damaged = 0
        self.num_repeated = 0
        self._config = config
        self._window = window
        self._ask = ask
        self._index = 0
        self._asked = 0  # Everything before has been asked for.
        self._early: dict[int, bytes] = {}  # Offset -> piece that came before its turn.
        self._gap_at = -1  # Where something was missing and has been asked for again.
        self._heard_s = now_s
        self._num_silences = 0
        self._file: PartialFile | None = None
        self._next_file(now_s)

    @property
    def is_complete(self) -> bool:
        """Whether all files lie finished in the staging folder."""
        return self._index == len(self.item.files)

    @property
    def num_missing(self) -> int:
        """Bytes that have not come yet."""
        here = 0 if self._file is None else self._file.length
        return sum(entry.num_bytes for entry in self.item.files[self._index :]) - here

    @property
    def path(self) -> str:
        """The file that is fetched now, as requests name it."""
        return f'{self.item.folder}/{self._entry.name}'

    def take(self, chunk: Chunk, now_s: float) -> int:
        """Take what has come; return how many bytes of the file are here for it.

        Raises:
            ReplicationError: the file is complete and not what was offered.
            OSError: the disk is full or gone.
        """
        file = self._file
        if file is None or (chunk.path, chunk.sha256) != (self.path, file.sha256):
            return 0
        if zlib.crc32(chunk.data) != chunk.crc32:
            self.num_damaged += 1
            return 0
        if not file.length < chunk.offset + len(chunk.data) <= self._asked:
            self.num_repeated += len(chunk.data)
            return 0
        self._heard_s = now_s
        self._num_silences = 0
        if chunk.offset > file.length:
            self._keep_early(chunk, now_s)
            return 0
        before = file.length
        self._append(file, chunk.offset, chunk.data)
        while self._early and min(self._early) <= file.length:
            offset = min(self._early)
            self._append(file, offset, self._early.pop(offset))
        num_bytes = file.length - before
        self._window.on_arrival(file.length, now_s)
        if not file.is_whole:
            self._request(now_s)
        else:
            self._move()
            self._next_file(now_s)
        return num_bytes

    def remind(self, now_s: float) -> None:
        """Ask again for what has not come for a while."""
        patience_s = min(max(4 * self._window.range_s, _SHORTEST_RETRY_S), self._config.retry_s)
        patience_s = min(patience_s * 2**self._num_silences, _LONGEST_RETRY_S)
        if self._file is None or now_s - self._heard_s < patience_s:
            return
        self._heard_s = now_s
        self._num_silences = min(self._num_silences + 1, 10)
        self._window.on_silence()
        self._early.clear()
        self._asked = self._gap_at = self._file.length
        self._request(now_s)

    def close(self) -> None:
        """Keep what is there for later."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def _entry(self) -> FileEntry:
        return self.item.files[self._index]

    def _next_file(self, now_s: float) -> None:
        """Open the first file that is not finished, and ask for its beginning."""
        while not self.is_complete:
            name, num_bytes, sha256 = self._entry
            if is_finished(self.item.staging / name, num_bytes, sha256):
                self._index += 1
                continue
            self._file = PartialFile(self.item.part(self._entry), num_bytes, sha256)
            if not self._file.is_whole:
                self._asked, self._gap_at = self._file.length, -1
                self._early.clear()
                self._window.forget()
                self._request(now_s)
                return
            self._move()

    def _move(self) -> None:
        assert self._file is not None, 'the caller looked'
        try:
            self._file.finish(self.item.staging / self._entry.name)
        finally:
            self._file.close()
            self._file = None
        self._index += 1

    def _request(self, now_s: float) -> None:
        """Ask for more once half of the window has come."""
        assert self._file is not None, 'the caller looked'
        window = self._window.num_bytes
        if self._asked - self._file.length > window // 2:
            return
        end = min(self._file.length + window, self._file.num_bytes)
        if end > self._asked:
            self._ask(self._entry, self._asked, end - self._asked)
            self._asked = end
            self._window.on_request(end, now_s)

    def _append(self, file: PartialFile, offset: int, data: bytes) -> None:
        """Write what is new of a piece that begins where the file ends, or before."""
        new = data[file.length - offset :]
        self.num_repeated += len(data) - len(new)
        if new:
            file.append(new)

    def _keep_early(self, chunk: Chunk, now_s: float) -> None:
        """Something before this piece was lost: ask for that, once, and keep this one."""
        assert self._file is not None, 'the caller looked'
        length = self._file.length
        if chunk.offset in self._early:
            self.num_repeated += len(chunk.data)
        self._early[chunk.offset] = chunk.data
        if self._gap_at != length:
            self._gap_at = length
            self._window.on_loss()
            self._ask(self._entry, length, min(self._early) - length)
