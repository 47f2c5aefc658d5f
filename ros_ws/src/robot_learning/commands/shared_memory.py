"""Removes what killed processes left of Fast DDS in shared memory.

Fast DDS marks its files as used with flock(2). Trying such a lock, even for a microsecond, makes
a participant that starts at this moment fail with "open_and_lock_file failed", after which it may
lose messages. So locks are looked up in /proc/locks; they are tried only right before a file is
removed that nobody seems to use, for the sake of containers that share no more than /dev/shm.
"""

from __future__ import annotations

import fcntl
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
    locks: tuple[Path, ...]  # Of these files, those that are locked while in use.
    domain: int | None  # Of a port, whose name the next participant takes again.


def stale_files(directory: Path = DIRECTORY) -> list[Path]:
    """List our files whose owner is gone: nobody has locked or mapped them.

    Ports stay as long as a participant of their ROS domain lives, since another one that is
    just starting may be about to take them over. Where /proc does not tell, nothing is stale.
    """
    return [path for family in _stale(directory) for path in family.files]


def remove_stale_files(directory: Path = DIRECTORY) -> int:
    """Remove stale files; return how many bytes that freed."""
    freed = 0
    for family in _stale(directory):
        if any(_is_held(lock) for lock in family.locks):
            continue
        for path in family.files:
            try:
                size = path.stat().st_size
                path.unlink()
            except OSError:  # Somebody else was faster.
                continue
            freed += size
    return freed


def _stale(directory: Path) -> list[_Family]:
    families = list(_families(directory))
    used = _locked()
    if not families or used is None:
        return []
    idle = [family for family in families if _is_idle(family, used)]
    if idle:
        used |= _mapped(str(directory))
        idle = [family for family in idle if _is_idle(family, used)]
    living = {family.domain for family in families if _is_used(family, used)}
    return [family for family in idle if family.domain is None or family.domain not in living]


def _families(directory: Path) -> Iterator[_Family]:
    names = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    for name in sorted(names):
        match = _BODY.fullmatch(name)
        if match is None:
            continue
        locks = [f'{name}{ending}' for ending in _LOCK_ENDINGS if f'{name}{ending}' in names]
        semaphores = [f'sem.{name}_mutex'] if f'sem.{name}_mutex' in names else []
        port = match.group(1)
        domain = (int(port) - _FIRST_PORT) // _PORTS_PER_DOMAIN if port else None
        yield _Family(
            tuple(directory / file for file in (name, *locks, *semaphores)),
            tuple(directory / lock for lock in locks),
            domain,
        )


def _is_idle(family: _Family, used: set[_Inode]) -> bool:
    return _is_old_and_ours(family) and not _is_used(family, used)


def _is_used(family: _Family, used: set[_Inode]) -> bool:
    return any(_inode(path) in used for path in family.files)


def _is_old_and_ours(family: _Family) -> bool:
    try:
        states = [path.stat() for path in family.files]
    except FileNotFoundError:
        return False
    user = os.geteuid()
    is_ours = user == 0 or all(state.st_uid == user for state in states)
    return is_ours and time.time() - max(state.st_mtime for state in states) >= _MIN_AGE_S


def _is_held(lock: Path) -> bool:
    """Try a lock for a moment; what another container holds is not in our /proc."""
    try:
        with lock.open('rb') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # Closing releases it.
    except OSError:
        return True
    return False


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
    return {
        _parsed(device, number)
        for line in lines
        for word in line.split()
        if word.count(':') == 2  # Major and minor device, inode.
        for device, _, number in (word.rpartition(':'),)
    }


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
                found.add(_parsed(device, number))
    return found


def _parsed(device: str, number: str) -> _Inode:
    major, minor = device.split(':')
    return _Inode(int(major, 16), int(minor, 16), int(number))
