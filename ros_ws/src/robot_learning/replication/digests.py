"""SHA-256 of files that do not change, computed once."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import OrderedDict
from pathlib import Path

from robot_learning.replication.protocol import FileEntry

_REMEMBERED = 4096
_READ_BYTES = 1 << 20

Identity = tuple[int, int, int]  # Size, time of change in nanoseconds, inode.


class Digests:
    """Remembers what files hash to, as long as size, time of change and inode stay."""

    def __init__(self) -> None:
        self._known: OrderedDict[Path, tuple[Identity, str]] = OrderedDict()

    def entry(self, path: Path) -> FileEntry | None:
        """Return name, size and SHA-256 of a file; None if it is gone or no plain file."""
        try:
            descriptor = open_plain(path)
        except OSError:
            return None
        try:
            identity = identity_of(descriptor)
            known = self._known.get(path)
            if known is None or known[0] != identity:
                known = identity, _sha256(descriptor)
                self._known[path] = known
            self._known.move_to_end(path)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return FileEntry(path.name, identity[0], known[1])
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def read(self, path: Path, sha256: str, offset: int, num_bytes: int) -> bytes | None:
        """Return a range of a file that still is what it was; None: gone, changed, too short."""
        try:
            descriptor = open_plain(path)
        except OSError:
            return None
        try:
            known = self._known.get(path)
            if known is None or known != (identity_of(descriptor), sha256):
                return None
            data = os.pread(descriptor, num_bytes, offset)
            return data if len(data) == num_bytes else None
        except OSError:
            return None
        finally:
            os.close(descriptor)


def open_plain(path: Path) -> int:
    """Open a file for reading; never through a link, never a pipe or a device.

    Raises:
        OSError: it is something else, or gone.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f'{path}: is no plain file')
    return descriptor


def identity_of(descriptor: int) -> Identity:
    """Return what changes when a file does."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns, status.st_ino


def _sha256(descriptor: int) -> str:
    digest = hashlib.sha256()
    offset = 0
    while data := os.pread(descriptor, _READ_BYTES, offset):
        digest.update(data)
        offset += len(data)
    return digest.hexdigest()
