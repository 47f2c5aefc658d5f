"""Whether a person drives instead of the policy, and what they want."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Takeover:
    """Keeps the newest teleoperation command and decides whose turn it is.

    A person drives from their first command until no command has come for `timeout_s`, until
    `release` (a dead-man switch let go) or `hand_back`. While one source drives, others are not
    listened to: two people cannot pull the robot to and fro. But who yields, a program that
    carries out commands, gives way to a person at once. Times are wall clock, on any steady
    clock: a person does not live in simulated time.

    Args:
        timeout_s: a command older than this is none. It bounds how long a teleoperation that
            died or lost its connection goes on driving.
        stop: [A] contract units, commanded while a person holds the robot and says nothing.
        yielding: sources that give way to the others.
    """

    def __init__(self, timeout_s: float, stop: Array, yielding: Collection[str] = ()):
        self._timeout_s = timeout_s
        self._stop = stop
        self._yielding = frozenset(yielding)
        self._wanted = stop
        self._source = ''
        self._heard_s: dict[str, float] = {}  # Source -> its newest command.
        self._dismissed: set[str] = set()  # Must fall silent before they are listened to again.
        self._is_held = False

    def command(self, source: str, action: Array, now_s: float) -> bool:
        """Take what a person wants now; return whether it counts.

        Args:
            source: who says so, for example a topic.
            action: [A] contract units; the gate limits it as it limits the policy's.
            now_s: when it arrived.
        """
        before_s = self._heard_s.get(source)
        self._heard_s[source] = now_s
        if source in self._dismissed:
            if before_s is not None and now_s - before_s <= self._timeout_s:
                return False
            self._dismissed.discard(source)
        gives_way = self._source in self._yielding and source not in self._yielding
        if source != self._source and self._is_heard(now_s) and not gives_way:
            return False
        self._source, self._wanted = source, action.astype(np.float32)
        return True

    def release(self, source: str) -> None:
        """Let go: the policy's turn, unless another source drives or the robot is held."""
        self._heard_s.pop(source, None)
        if source == self._source:
            self._source = ''

    def hold(self) -> None:
        """Take over until `hand_back`, standing still where nobody commands anything else."""
        self._is_held = True
        self._dismissed.clear()

    def hand_back(self, now_s: float) -> None:
        """Give the robot to the policy now; who still sends must pause before driving again."""
        self._is_held = False
        self._source = ''
        self._dismissed = {
            name for name, heard_s in self._heard_s.items() if now_s - heard_s <= self._timeout_s
        }

    def driver(self, now_s: float) -> str:
        """Return who drives: the source, 'hold' for a person who says nothing, '' the policy."""
        if self._is_heard(now_s):
            return self._source
        return 'hold' if self._is_held else ''

    def action(self, now_s: float) -> Array | None:
        """Return what the person at the controls wants, [A] float32; None: the policy drives."""
        if self._is_heard(now_s):
            return self._wanted
        return self._stop if self._is_held else None

    def _is_heard(self, now_s: float) -> bool:
        heard_s = self._heard_s.get(self._source)
        return heard_s is not None and now_s - heard_s <= self._timeout_s
