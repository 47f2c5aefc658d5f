"""Names and folders of the model store: what belongs there, and nothing outside it."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from robot_learning.errors import StoreError
from robot_learning.foreign_files import printable

ACTIVE, HISTORY = 'active.json', 'history.jsonl'
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,63}')
_VERSION = re.compile(r'[0-9]{6,12}')
_REFUSAL = re.compile(r'[0-9]{6,12}\.refused\.json')
_ABANDONED_S = 3600.0  # What is temporary and older than this belongs to a writer that died.


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a model.

    Raises:
        StoreError: says what may.
    """
    if not _NAME.fullmatch(name):
        raise StoreError(
            f'model name {printable(name)!r}: expected 1 to 64 letters, digits, "_", "-" or "." '
            f'that begin with a letter or digit. Choose such a name.'
        )


def parse_reference(reference: str) -> tuple[str, int | None]:
    """Split `NAME` or `NAME@VERSION`.

    Raises:
        StoreError: the name is not allowed or the version is no number.
    """
    name, separator, version = reference.partition('@')
    check_name(name)
    if separator and not re.fullmatch('[0-9]{1,12}', version):
        raise StoreError(
            f'model {printable(reference)!r}: version {printable(version)!r} is no number. Write '
            f'{name}@12, or only {name} for the version that serves.'
        )
    return name, int(version) if separator else None


def own_folder(folder: Path) -> Path:
    """Return a folder of the store, which must not lead out of it.

    Raises:
        StoreError: it is a symbolic link.
    """
    if folder.is_symlink():
        raise StoreError(f'{folder}: is a symbolic link, expected a folder. Remove it.')
    return folder


def entries(folder: Path) -> list[Path]:
    """Return what lies in a folder; nothing where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return list(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise StoreError(
            f'{folder}: cannot be read ({error.strerror}). Correct the permissions.'
        ) from error


def is_model(entry: Path) -> bool:
    """Tell the folder of a model from whatever else lies in a store."""
    return bool(_NAME.fullmatch(entry.name)) and entry.is_dir() and not entry.is_symlink()


def is_version(entry: Path) -> bool:
    """Tell the folder of a version from whatever else lies in a model's."""
    is_number = _VERSION.fullmatch(entry.name) and entry.name == f'{int(entry.name):06d}'
    return bool(is_number) and entry.is_dir() and not entry.is_symlink()


def strange_entries(root: Path) -> list[Path]:
    """Return what lies in a store, or in a model's folder, and does not belong there."""
    strange = []
    for entry in sorted(entries(root)):
        strange += _strange_in_model(entry) if is_model(entry) else [entry]
    return strange


def remove_abandoned(folder: Path) -> None:
    """Delete what writers that died left in a model's folder."""
    for entry in folder.glob('.*'):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - entry.lstat().st_mtime <= _ABANDONED_S:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the path whenever it cannot be written."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f'{path}: cannot be written ({error.strerror}). Free space, correct the permissions '
            f'or choose another --models folder.'
        ) from error


def _strange_in_model(folder: Path) -> list[Path]:
    def belongs(entry: Path) -> bool:
        if entry.name.startswith('.'):  # Being written or deleted.
            return True
        is_marker = entry.name in (ACTIVE, HISTORY) or _REFUSAL.fullmatch(entry.name)
        return is_version(entry) or bool(is_marker and entry.is_file() and not entry.is_symlink())

    return sorted(entry for entry in entries(folder) if not belongs(entry))
