"""Files that are there complete or not at all, also after a power cut."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a file and wait until it is on the disk.

    Args:
        path: a link there is not followed.
        data: the whole content.
        mode: permissions of a new file, less the process's umask.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), 'wb') as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until names created or renamed in `folder` are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(
    path: Path, data: bytes, mode: int = 0o666, temporary_folder: Path | None = None
) -> None:
    """Put a file in place of whatever `path` was, in one step.

    Args:
        path: where it goes; a link there is replaced, not followed.
        data: the whole content.
        mode: permissions, less the process's umask.
        temporary_folder: where it is written first, on the same disk; None: beside `path`.
    """
    temporary = (temporary_folder or path.parent) / f'.{path.name}-{uuid.uuid4().hex}'
    try:
        write(temporary, data, mode)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
