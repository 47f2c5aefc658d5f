"""Names, locks and atomic writes of a trajectory store's files."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from pathlib import Path
from typing import NamedTuple

from robot_learning import durable_files
from robot_learning.errors import StoreError
from robot_learning.foreign_files import printable

_SEGMENT = re.compile(r'segment_(\d{6,12})\.hdf5')
_TEMPORARY = re.compile(r'\.segment_(\d{6,12})\.hdf5\..+')
DAMAGED = 'damaged'  # Folder in a session for what was set aside.


class Problem(NamedTuple):
    """A file that cannot be used, and why."""

    path: Path
    text: str


def session_names(root: Path) -> list[str]:
    """Return the folders below `root`; hidden ones are imports in progress."""
    try:
        with os.scandir(root) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith('.'))
    except (FileNotFoundError, NotADirectoryError):
        return []


def check_session_name(root: Path, name: str) -> None:
    """Refuse names that are no single, visible folder below the store; a file may have given it.

    Raises:
        StoreError: names it.
    """
    if not name or name.startswith('.') or '/' in name or not name.isprintable():
        raise StoreError(
            f'{root}: {printable(name)!r} is no name of a session, expected that of one folder '
            f'which does not begin with a dot. Choose another session name.'
        )


def listed(folder: Path) -> list[Path]:
    """Return a session's segments by number; what is only named alike is left out."""
    try:
        return sorted((p for p in folder.iterdir() if _SEGMENT.fullmatch(p.name)), key=number)
    except (FileNotFoundError, NotADirectoryError):
        return []


def segment_path(folder: Path, segment_number: int) -> Path:
    """Return where the segment of this number stands."""
    return folder / f'segment_{segment_number:06d}.hdf5'


def number(path: Path) -> int:
    """Return the number in a segment's name, a temporary one included; -1: it is none."""
    match = _SEGMENT.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name)
    return int(match[1]) if match else -1


def newest_number(folder: Path) -> int:
    """Return the highest number that a session ever used, as far as known; -1: none.

    Those of segments that were set aside count: followers have passed them.
    """
    return max(map(number, [*listed(folder), *listed(folder / DAMAGED)]), default=-1)


def temporaries(folder: Path) -> list[Path]:
    """Return segments that were not yet named when their writer ended, if it did."""
    return sorted(path for path in folder.glob('.segment_*') if is_temporary(path))


def is_temporary(path: Path) -> bool:
    """Tell whether a file is a segment that was never named."""
    return _TEMPORARY.fullmatch(path.name) is not None


def writer_lives(temporary: Path) -> bool:
    """Tell whether the process that a temporary file is named after is there."""
    process = temporary.name.rpartition('.')[2]
    try:
        os.kill(int(process), 0)
    except PermissionError:
        return True
    except (ValueError, OSError, OverflowError):
        return False
    return True


def write_new(path: Path, content: bytes) -> None:
    """Write a file that is there complete or not at all, never in place of another.

    Raises:
        FileExistsError: there is one already; nothing was changed.
    """
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        durable_files.write(temporary, content)
        name_new(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    durable_files.sync_folder(path.parent)


def name_new(temporary: Path, path: Path) -> None:
    """Give a temporary file its name, unless another file has it (FileExistsError)."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        if path.exists():  # A file system without links; one recorder writes a session.
            raise FileExistsError(errno.EEXIST, 'exists already', str(path)) from error
        temporary.rename(path)
    else:
        temporary.unlink()


class SessionLock:
    """Keeps a session to one recorder, replicator or repair.

    The kernel releases it when its process ends, however that happens. On file systems without
    locks it does nothing.
    """

    _descriptor: int | None = None

    def __init__(self, folder: Path):
        """Take it.

        Raises:
            BlockingIOError: another one has it.
        """
        self._descriptor = os.open(folder, os.O_RDONLY)
        self._inode = os.fstat(self._descriptor).st_ino
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise
        except OSError:  # Not all file systems have locks.
            self.release()

    def is_of(self, folder: Path) -> bool:
        """Tell whether it still stands for this folder, not for one removed since."""
        try:
            return self._inode == folder.stat().st_ino
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give it back."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self.release()


def is_being_written(folder: Path) -> bool:
    """Tell whether a recorder writes this session, or a repair changes it."""
    try:
        SessionLock(folder).release()
    except BlockingIOError:
        return True
    return False


def explain(folder: Path, error: OSError) -> StoreError:
    """Return the error that says why a segment cannot be written, and what to do."""
    advice = {
        errno.ENOSPC: 'Free space on that disk or lower the store budget',
        errno.EDQUOT: 'Free space within your quota',
        errno.EACCES: 'Give write permission or choose another store',
        errno.EPERM: 'Give write permission or choose another store',
        errno.EROFS: 'That file system is read-only; choose another store',
        errno.ENOTDIR: 'A part of that path is a file; choose another store',
        errno.EEXIST: 'That path is a file; choose another store',
        errno.EWOULDBLOCK: 'Another process writes or repairs this session; wait for its end, or '
        'choose another session',
    }.get(error.errno or 0, 'Check the disk')
    reason = error.strerror or error
    return StoreError(f'{folder}: a segment cannot be written ({reason}). {advice}.')
