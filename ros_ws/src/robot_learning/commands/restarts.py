"""Whether and when a process that has ended is started again."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from robot_learning.commands.resolved_process import Restart

USER_ERROR = 2  # Exit code of mistakes that a restart cannot mend.


@dataclass(frozen=True)
class RestartLimits:
    """How often a process may fail. All in seconds but `max_restarts`."""

    max_restarts: int = 5  # Within `window_s`; one more failure and it has ended for good.
    window_s: float = 60.0
    first_delay_s: float = 0.5  # Before a restart; doubles with every failure in the window.
    longest_delay_s: float = 8.0


class Restarts:
    """The failures of one process.

    Args:
        restart: 'never', 'on_failure' (any exit code but 0 and 2) or 'always'.
        limits: how often it may fail.
    """

    def __init__(self, restart: Restart, limits: RestartLimits):
        self._restart, self._limits = restart, limits
        self._failures: deque[float] = deque()

    @property
    def num_failures(self) -> int:
        """How often it has failed within the window."""
        return len(self._failures)

    def is_due(self, code: int) -> bool:
        """Tell whether an end with this exit code asks for another start."""
        if self._restart == 'on_failure':
            return code not in (0, USER_ERROR)
        return self._restart == 'always'

    def delay_s(self, now_s: float) -> float | None:
        """Note a failure; return the seconds to wait, None when there were too many."""
        limits = self._limits
        self._failures.append(now_s)
        while self._failures[0] < now_s - limits.window_s:
            self._failures.popleft()
        if len(self._failures) > limits.max_restarts:
            return None
        doubled = limits.first_delay_s * 2.0 ** (len(self._failures) - 1)
        return min(doubled, limits.longest_delay_s)
