"""Files that are there complete or not at all, also after a power cut."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open('wb') as file:
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


def replace(path: Path, data: bytes) -> None:
    """Put a file in place of whatever `path` was, in one step."""
    temporary = path.with_name(f'.{path.name}-{uuid.uuid4().hex}')
    try:
        write(temporary, data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
