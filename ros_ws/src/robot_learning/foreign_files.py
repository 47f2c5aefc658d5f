"""Files that a stranger may have made: read without links, hanging or bombs, JSON included.

Every refusal names the file, what was found and what was expected, as the error class that the
caller gives; nothing else is ever raised.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from robot_learning.errors import RobotLearningError

MAX_DEPTH = 64  # Of nested lists and mappings; our own files need eight.
_LARGEST_INTEGER = 2**64
_LEAST_UNPACKED = 1 << 30  # Bytes that a packed file of any size may unpack to.
_LARGEST_RATIO = 1000  # Unpacked to packed bytes; images reach some 100, bombs 1000 and more.
_KINDS = (
    (stat.S_ISDIR, 'a directory'),
    (stat.S_ISLNK, 'a symbolic link'),
    (stat.S_ISFIFO, 'a pipe'),
    (stat.S_ISSOCK, 'a socket'),
    (stat.S_ISCHR, 'a device'),
    (stat.S_ISBLK, 'a device'),
)


class Refusal(NamedTuple):
    """How a file that is not acceptable is refused."""

    error: type[RobotLearningError]
    advice: str  # What to do about it, a sentence.

    def __call__(self, where: Path | str, found: str) -> RobotLearningError:
        """Return the error to raise."""
        return self.error(f'{where}: {found}. {self.advice}')


def read(path: Path, max_bytes: int, refuse: Refusal) -> bytes:
    """Return the content of a file that the user named; links to it are followed.

    Pipes and devices are refused without waiting for them.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise refuse(path, f'cannot be read ({_reason(error)})') from error
    with _opened(descriptor, path, refuse):
        return _content(descriptor, path, max_bytes, refuse)


def read_below(root: Path, names: tuple[str, ...], max_bytes: int, refuse: Refusal) -> bytes:
    """Return the content of `root/name/.../name`, where no name may be a symbolic link.

    Folders are opened one inside the other, so that a folder replaced by a link in the middle
    of this is refused like one that was a link before.
    """
    path = root.joinpath(*names)
    with _folder_below(root, names[:-1], refuse) as folder:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(names[-1], flags, dir_fd=folder)
        except OSError as error:
            raise refuse(path, _no_file(error)) from error
        with _opened(descriptor, path, refuse):
            return _content(descriptor, path, max_bytes, refuse)


def names_below(root: Path, names: tuple[str, ...], refuse: Refusal) -> list[str]:
    """Return what lies in the folder `root/name/.../name`, where no name may be a link."""
    with _folder_below(root, names, refuse) as folder:
        try:
            return sorted(os.listdir(folder))  # noqa: PTH208 - of a descriptor.
        except OSError as error:
            raise refuse(root.joinpath(*names), f'cannot be read ({error.strerror})') from error


def check_zip(path: Path, refuse: Refusal) -> None:
    """Refuse a zip archive that is none, or would unpack to far more than it is.

    What the archive states is what Python's zipfile unpacks at most.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise refuse(path, f'is no zip archive ({printable(error)})') from error
    allowed = max(_LEAST_UNPACKED, _LARGEST_RATIO * path.stat().st_size)
    if unpacked > allowed:
        raise refuse(path, f'unpacks to {unpacked} bytes, expected at most {allowed}')


def parse_json(data: bytes, where: Path | str, refuse: Refusal) -> Any:
    """Return plain JSON data: finite numbers of at most 64 bits, no key twice, not too deep."""
    try:
        value = json.loads(
            data,
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
        _check(value)
    except RecursionError as error:
        raise refuse(where, f'nests deeper than {MAX_DEPTH} levels') from error
    except json.JSONDecodeError as error:
        raise refuse(f'{where}:{error.lineno}', f'is not JSON ({error.msg})') from error
    except ValueError as error:
        raise refuse(where, f'is not JSON ({printable(error)})') from error
    return value


def printable(value: object, limit: int = 200) -> str:
    """Write a stranger's text for a terminal: no control characters, not too long."""
    text = str(value)
    cut = text if len(text) <= limit else f'{text[:limit]}…'
    return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


@contextlib.contextmanager
def _opened(descriptor: int, path: Path, refuse: Refusal) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refuse(path, f'cannot be read ({error.strerror})') from error
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _folder_below(root: Path, names: tuple[str, ...], refuse: Refusal) -> Iterator[int]:
    """Open a folder; `root` itself may be a link, its owner chose it."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    path = root
    try:
        descriptor = os.open(root, flags)
        for name in names:
            path = path / name
            above = descriptor
            try:
                descriptor = os.open(name, flags | os.O_NOFOLLOW, dir_fd=above)
            finally:
                os.close(above)
    except OSError as error:
        found = _no_file(error)
        if error.errno == errno.ENOTDIR:  # Linux says so of a link as well.
            found = f'is {"a symbolic link" if path.is_symlink() else "a file"}, expected a folder'
        raise refuse(path, found) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _content(descriptor: int, path: Path, max_bytes: int, refuse: Refusal) -> bytes:
    status = os.fstat(descriptor)
    kind = next((text for is_kind, text in _KINDS if is_kind(status.st_mode)), None)
    if kind == 'a directory':
        raise refuse(path, 'cannot be read (Is a directory)')
    if kind is not None:
        raise refuse(path, f'is {kind}, expected a file')
    if status.st_size > max_bytes:
        raise refuse(path, f'has {status.st_size} bytes, expected at most {max_bytes}')
    parts, wanted = [], status.st_size + 1  # One more, to see whether it grew.
    while wanted > 0 and (part := os.read(descriptor, min(wanted, 1 << 26))):
        parts.append(part)
        wanted -= len(part)
    if wanted != 1:
        raise refuse(path, 'changed while it was read')
    return parts[0] if len(parts) == 1 else b''.join(parts)


def _no_file(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return 'is a symbolic link, expected a file'
    return f'cannot be read ({error.strerror})'


def _reason(error: OSError | ValueError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else str(error)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f'key {printable(twice, 40)!r} stands twice')
    return mapping


def _no_constant(text: str) -> Any:
    raise ValueError(f'{text} is no JSON number')


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f'number {printable(text, 40)} is too large')
    return value


def _integer(text: str) -> int:
    value = int(text) if len(text) <= 20 else _LARGEST_INTEGER
    if abs(value) >= _LARGEST_INTEGER:
        raise ValueError(f'number {printable(text, 40)} is too large')
    return value


def _check(value: Any) -> None:
    """Look at everything once: how deep it is, and whether its text can be written again."""
    level, depth = [value], 1
    while level:
        below: list[Any] = []
        for entry in level:
            if isinstance(entry, dict | list) and depth > MAX_DEPTH:
                raise RecursionError
            if isinstance(entry, dict):
                below += entry.keys()
                below += entry.values()
            elif isinstance(entry, list):
                below += entry
            elif isinstance(entry, str) and not entry.isascii():
                entry.encode()  # Half a surrogate pair raises UnicodeEncodeError, a ValueError.
        level, depth = below, depth + 1
