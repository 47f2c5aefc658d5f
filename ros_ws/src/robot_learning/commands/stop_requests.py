"""Ctrl-C as a question that long work asks, rather than an exception out of nowhere."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class StopRequests:
    """Counts SIGINT, SIGTERM and SIGHUP instead of dying of them, while it is entered."""

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.count = 0

    @property
    def is_requested(self) -> bool:
        """Whether anybody asked to stop."""
        return self.count > 0

    def check(self) -> None:
        """Raise KeyboardInterrupt if anybody asked to stop."""
        if self.count:
            raise KeyboardInterrupt

    def __enter__(self) -> StopRequests:
        self._previous = {number: signal.signal(number, self._count) for number in self._NUMBERS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _count(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
