"""One process receives into a store; the lock goes with the process, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from robot_learning.errors import InUseError, ReplicationError

RECEIVING = '.receiving'  # Hidden from everybody who lists a store.
_FORGOTTEN_S = 7 * 86400.0  # Nobody has offered the rest of such a file for a week.


class Ownership:
    """Holds a store against other receivers."""

    def __init__(self, root: Path):
        self._root = root
        self._descriptor = -1

    def take(self) -> None:
        """Make the store's folder and lock it.

        Raises:
            InUseError: another process has it.
            ReplicationError: it cannot be written.
        """
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            self._descriptor = os.open(self._root, flags)  # A folder needs no lock file.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUseError(
                f'{self._root}: another replicator receives into it, expected one. End it or '
                f'choose another folder.'
            ) from error
        except OSError as error:
            raise ReplicationError(
                f'{self._root}: cannot be written ({error.strerror}). Correct the permissions or '
                f'choose another folder.'
            ) from error

    def release(self) -> None:
        """Let others have it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def forget_old_files(folder: Path) -> None:
    """Delete files of which nobody has sent anything for a week, and the folder once empty."""
    for path in folder.glob('*'):
        with contextlib.suppress(OSError):
            if path.is_file() and time.time() - path.lstat().st_mtime > _FORGOTTEN_S:
                path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
