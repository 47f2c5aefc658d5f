"""Removes what killed processes left of Fast DDS in shared memory."""

from __future__ import annotations

import fcntl
import re
import time
from pathlib import Path

DIRECTORY = Path('/dev/shm')

_BODY = re.compile(r'fastrtps_([0-9a-f]{16}|port\d{1,5})')
_LOCK_ENDINGS = ('_el', '_sl')  # Exclusive and shared: held with flock(2) while in use.
_MIN_AGE_S = 2.0  # A younger file may be in the middle of being set up.


def stale_files(directory: Path = DIRECTORY) -> list[Path]:
    """List the files whose owner is gone: nobody holds their lock file's lock."""
    if not directory.is_dir():
        return []
    stale: list[Path] = []
    for body in sorted(directory.iterdir()):
        if not _BODY.fullmatch(body.name):
            continue
        locks = [directory / f'{body.name}{ending}' for ending in _LOCK_ENDINGS]
        locks = [lock for lock in locks if lock.exists()]
        if locks and all(_is_unused(path) for path in (body, *locks)):
            semaphore = directory / f'sem.{body.name}_mutex'
            stale += [body, *locks, *([semaphore] if semaphore.exists() else [])]
    return stale


def remove_stale_files(directory: Path = DIRECTORY) -> int:
    """Remove stale files; return how many bytes that freed."""
    freed = 0
    for path in stale_files(directory):
        try:
            size = path.stat().st_size
            path.unlink()
        except OSError:  # Somebody else was faster, or owns it.
            continue
        freed += size
    return freed


def _is_unused(path: Path) -> bool:
    try:
        if time.time() - path.stat().st_mtime < _MIN_AGE_S:
            return False
        with path.open('rb') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # Closing releases it.
    except OSError:
        return False
    return True
