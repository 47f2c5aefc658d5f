"""Removes what killed processes left of Fast DDS in shared memory.

Fast DDS marks its files as used with flock(2). Trying such a lock, even for a microsecond, makes
a participant that starts at this moment fail with "open_and_lock_file failed", after which it may
lose messages; so locks are only looked up in /proc/locks, never taken.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DIRECTORY = Path('/dev/shm')
PROCESSES = Path('/proc')

_BODY = re.compile(r'fastrtps_(?:[0-9a-f]{16}|port(\d{1,5}))')
_LOCK_ENDINGS = ('_el', '_sl')  # Exclusive and shared: held with flock(2) while in use.
_MIN_AGE_S = 5.0  # A younger file may be in the middle of being set up.
_FIRST_PORT, _PORTS_PER_DOMAIN = 7400, 250  # RTPS 2.5, section 9.6.2.3.


class _Inode(NamedTuple):
    """What /proc calls a file: major and minor device, and inode."""

    major: int
    minor: int
    number: int


class _Family(NamedTuple):
    """A piece of shared memory and the files that belong to it."""

    files: tuple[Path, ...]
    domain: int | None  # Of a port, whose name the next participant takes again.
    is_complete: bool  # It has a lock file.


def stale_files(directory: Path = DIRECTORY) -> list[Path]:
    """List the files whose owner is gone: nobody has locked or mapped them.

    Ports stay as long as a participant of their ROS domain lives, since another one that is
    just starting may be about to take them over. Where /proc does not tell, nothing is stale.
    """
    families = list(_families(directory))
    used = _locked()
    if not families or used is None:
        return []
    idle = [family for family in families if _is_idle(family, used)]
    if idle:
        used |= _mapped(str(directory))
        idle = [family for family in idle if _is_idle(family, used)]
    living = {family.domain for family in families if _is_used(family, used)}
    return [
        path
        for family in idle
        if family.domain is None or family.domain not in living
        for path in family.files
    ]


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


def _families(directory: Path) -> Iterator[_Family]:
    names = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    for name in sorted(names):
        match = _BODY.fullmatch(name)
        if match is None:
            continue
        locks = [f'{name}{ending}' for ending in _LOCK_ENDINGS if f'{name}{ending}' in names]
        semaphore = f'sem.{name}_mutex'
        others = [semaphore] if semaphore in names else []
        port = match.group(1)
        domain = (int(port) - _FIRST_PORT) // _PORTS_PER_DOMAIN if port else None
        files = tuple(directory / file for file in (name, *locks, *others))
        yield _Family(files, domain, bool(locks))


def _is_idle(family: _Family, used: set[_Inode]) -> bool:
    return family.is_complete and _is_old(family) and not _is_used(family, used)


def _is_used(family: _Family, used: set[_Inode]) -> bool:
    return any(_inode(path) in used for path in family.files)


def _is_old(family: _Family) -> bool:
    try:
        newest_s = max(path.stat().st_mtime for path in family.files)
    except FileNotFoundError:
        return False
    return time.time() - newest_s >= _MIN_AGE_S


def _inode(path: Path) -> _Inode | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return _Inode(os.major(status.st_dev), os.minor(status.st_dev), status.st_ino)


def _locked() -> set[_Inode] | None:
    """Return the files that somebody has locked; None where the system does not say."""
    try:
        lines = (PROCESSES / 'locks').read_text().splitlines()
    except OSError:
        return None
    places = (word for line in lines for word in line.split() if word.count(':') == 2)
    return {_parsed(*place.split(':')) for place in places}


def _mapped(directory: str) -> set[_Inode]:
    """Return the files below `directory` that a process has in its memory."""
    found: set[_Inode] = set()
    for process in PROCESSES.iterdir():
        if not process.name.isdigit():
            continue
        try:
            lines = (process / 'maps').read_text(errors='replace').splitlines()
        except OSError:  # It has ended, or belongs to somebody else.
            continue
        for line in lines:
            if directory in line:
                _, _, _, device, number, *_ = line.split()
                found.add(_parsed(*device.split(':'), number))
    return found


def _parsed(major: str, minor: str, number: str) -> _Inode:
    return _Inode(int(major, 16), int(minor, 16), int(number))
