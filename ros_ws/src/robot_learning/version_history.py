"""What became of each model version, written by those who serve: tried, served, refused, why.

    <models>/<name>/history.jsonl       one JSON object per line, only ever appended to

It outlives the versions themselves, which trainers delete. Each record is written by one call and
begins with a line break, so that several processes may write and a torn record costs no other.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from robot_learning.errors import StoreError

HISTORY = 'history.jsonl'
_LONGEST_REASON = 2000  # Characters; longer ones are cut.
_LATEST_S = 253_402_300_799.0  # The end of the year 9999; later ones are no dates.


class VersionEvent(NamedTuple):
    """One thing that happened to one version."""

    version: int
    state: str  # 'canary', 'serving', 'refused', 'rolled_back'.
    reason: str
    time_s: float  # Since the epoch, wall clock.
    by: str  # Full name of the node.


class VersionHistory:
    """The records of all models in one model store."""

    def __init__(self, root: Path | str, by: str = '', now_s: Callable[[], float] = time.time):
        self._root = Path(root)
        self._by = by
        self._now_s = now_s

    def append(self, name: str, version: int, state: str, reason: str = '') -> None:
        """Write one record.

        Raises:
            StoreError: the folder cannot be written.
        """
        path = self._root / name / HISTORY
        event = VersionEvent(version, state, reason[:_LONGEST_REASON], self._now_s(), self._by)
        record = '\n' + json.dumps(event._asdict())
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, 0o644)
            try:
                os.write(descriptor, record.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreError(
                f'{path}: cannot be written ({error.strerror}). Free space or correct the '
                f'permissions.'
            ) from error

    def events(self, name: str) -> list[VersionEvent]:
        """Return what happened, oldest first; records that were torn are left out.

        Raises:
            StoreError: the file cannot be read.
        """
        path = self._root / name / HISTORY
        try:
            text = path.read_text(encoding='utf-8', errors='replace')
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(
                f'{path}: cannot be read ({error.strerror}). Correct the permissions.'
            ) from error
        return [event for line in text.splitlines() if (event := _parse(line)) is not None]

    def served(self, name: str) -> list[int]:
        """Return the versions that have served, the one that did so last at the end."""
        order = dict.fromkeys(e.version for e in reversed(self.events(name)) if _has_served(e))
        return list(reversed(order))


def _has_served(event: VersionEvent) -> bool:
    return event.state in ('serving', 'rolled_back')


def _parse(line: str) -> VersionEvent | None:
    try:
        data = json.loads(line)
        event = VersionEvent(
            int(data['version']),
            str(data['state']),
            str(data['reason']),
            float(data['time_s']),
            str(data['by']),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return event if 0 <= event.time_s <= _LATEST_S else None
