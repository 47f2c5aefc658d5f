"""A file that is arriving: what is there survives the process, and is used again."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from robot_learning import durable_files
from robot_learning.errors import ReplicationError

_SYNC_BYTES = 8 << 20  # What a power cut may cost of a large file.
_READ_BYTES = 1 << 20


def is_finished(path: Path, num_bytes: int, sha256: str) -> bool:
    """Tell whether a file is there with the given content; anything else there is deleted."""
    if not path.is_symlink() and path.is_file() and path.stat().st_size == num_bytes:
        digest = hashlib.sha256()
        with path.open('rb') as file:
            while data := file.read(_READ_BYTES):
                digest.update(data)
        if digest.hexdigest() == sha256:
            return True
    path.unlink(missing_ok=True)
    return False


class PartialFile:
    """The beginning of a file of known size and SHA-256, written from front to back.

    Its length on disk is the progress: a killed process costs nothing that arrived. After a
    power cut the disk may hold less than its length says; then the SHA-256 at the end does not
    fit, and the file is fetched once more.

    Attributes:
        length: bytes that are here.
    """

    def __init__(self, path: Path, num_bytes: int, sha256: str):
        """Go on with what is there.

        Raises:
            OSError: it cannot be read or made.
        """
        self.path = path
        self.num_bytes = num_bytes
        self.sha256 = sha256
        self.length = 0
        self._unsynced = 0
        self._digest = hashlib.sha256()
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o644)
        try:
            self._read_beginning()
        except OSError:
            self.close()
            raise

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are here."""
        return self.length == self.num_bytes

    def append(self, data: bytes) -> None:
        """Write what comes next.

        Raises:
            OSError: the disk is full or gone; what was there before is still sound.
        """
        assert self.length + len(data) <= self.num_bytes, 'the caller asked for no more'
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.length)
                os.lseek(self._descriptor, self.length, os.SEEK_SET)
            raise
        self._digest.update(data)
        self.length += len(data)
        self._unsynced += len(data)
        if self._unsynced >= _SYNC_BYTES:
            os.fsync(self._descriptor)
            self._unsynced = 0

    def finish(self, target: Path) -> None:
        """Check the whole and move it to `target`, a place on the same disk.

        Raises:
            ReplicationError: it is not the file that was offered; it is deleted.
            OSError: the disk is full or gone.
        """
        assert self.is_whole, 'the caller looked'
        found = self._digest.hexdigest()
        if found != self.sha256:
            self.discard()
            raise ReplicationError(
                f'{target.name}: SHA-256 is {found[:12]}…, expected {self.sha256[:12]}…. '
                f'It is fetched again.'
            )
        os.fsync(self._descriptor)
        self.close()
        target.parent.mkdir(parents=True, exist_ok=True)
        self.path.rename(target)
        durable_files.sync_folder(target.parent)

    def discard(self) -> None:
        """Delete what is there."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Keep what is there for later."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read_beginning(self) -> None:
        if os.fstat(self._descriptor).st_size > self.num_bytes:
            os.ftruncate(self._descriptor, 0)
        while data := os.read(self._descriptor, _READ_BYTES):
            self._digest.update(data)
            self.length += len(data)
