"""How fast files travel: so that a slow link carries other traffic too."""

from __future__ import annotations

from collections import deque

_RATE_WINDOW_S = 5.0
_NEGLIGIBLE_S = 1e-6  # Less is rounding.


class TokenBucket:
    """Lets a number of bytes through per second, in bursts of a tenth of a second."""

    def __init__(self, bytes_per_s: int):
        """Prepare; 0 bytes per second stands for no limit."""
        self._bytes_per_s = bytes_per_s
        self._balance = bytes_per_s * 0.1
        self._filled_s: float | None = None

    def wait_s(self, now_s: float) -> float:
        """Return how long to wait until something may be sent; 0: now."""
        if not self._bytes_per_s:
            return 0.0
        since_s = 0.0 if self._filled_s is None else now_s - self._filled_s
        self._filled_s = now_s
        burst = self._bytes_per_s * 0.1
        self._balance = min(burst, self._balance + since_s * self._bytes_per_s)
        wait_s = -self._balance / self._bytes_per_s
        return wait_s if wait_s > _NEGLIGIBLE_S else 0.0

    def take(self, num_bytes: int) -> None:
        """Count what was sent; a piece larger than the balance is paid for by waiting."""
        self._balance -= num_bytes


class RequestWindow:
    """How many bytes a receiver has under way, so that they arrive within a given time.

    Ranges that come quickly double it, ranges that come late halve it: what waits in the queues
    of a slow link stays short, and a fast link is filled.
    """

    def __init__(self, smallest: int, largest: int, delay_s: float):
        self._smallest = smallest
        self._largest = max(smallest, largest)
        self._delay_s = delay_s
        self._sent: deque[tuple[int, float]] = deque()  # End of a range, when it was asked for.
        self.num_bytes = smallest

    def on_request(self, end: int, now_s: float) -> None:
        """Note that everything before `end` has been asked for."""
        self._sent.append((end, now_s))

    def on_arrival(self, length: int, now_s: float) -> None:
        """Note that everything before `length` has come."""
        while self._sent and self._sent[0][0] <= length:
            took_s = now_s - self._sent.popleft()[1]
            if took_s > self._delay_s:
                self.num_bytes = max(self._smallest, self.num_bytes // 2)
            elif took_s < self._delay_s / 2:
                self.num_bytes = min(self._largest, self.num_bytes * 2)

    def restart(self) -> None:
        """Forget what is under way: it is lost."""
        self._sent.clear()
        self.num_bytes = self._smallest


class RateMeter:
    """Bytes per second over the last seconds."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque()
        self.total = 0

    def add(self, num_bytes: int, now_s: float) -> None:
        """Count bytes."""
        self.total += num_bytes
        if self._counts and now_s - self._counts[-1][0] < 0.1:
            stamp_s, count = self._counts.pop()
            self._counts.append((stamp_s, count + num_bytes))
        else:
            self._counts.append((now_s, num_bytes))

    def per_second(self, now_s: float) -> float:
        """Return the rate."""
        while self._counts and now_s - self._counts[0][0] > _RATE_WINDOW_S:
            self._counts.popleft()
        return sum(count for _, count in self._counts) / _RATE_WINDOW_S
