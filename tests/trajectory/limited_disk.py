"""Stands in for the `os` that a module writes files with: a disk that is full, or slow."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path


class LimitedDisk:
    """Holds so many bytes below a folder; writes wait while `is_stuck`."""

    def __init__(self, folder: Path, capacity: float = float('inf')):
        self.capacity = capacity
        self._folder = folder
        self._may_write = threading.Event()
        self._may_write.set()
        self.is_asked = threading.Event()

    def __getattr__(self, name):
        return getattr(os, name)

    def stick(self):
        self._may_write.clear()

    def release(self):
        self._may_write.set()

    def write(self, descriptor, data):
        self.is_asked.set()
        self._may_write.wait(60)
        used = sum(file.stat().st_size for file in self._folder.rglob('*') if file.is_file())
        free = self.capacity - used
        if free <= 0:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return os.write(descriptor, data[: int(min(free, len(data)))])
