"""How fast files travel: so that a slow link carries other traffic too."""

from __future__ import annotations

from collections import deque

_RATE_WINDOW_S = 5.0
_SMALLEST_WINDOW = 2800  # Two pieces that an Ethernet frame holds, headers included.
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

    Ranges that come quickly let it grow, ranges that come late or not at all let it shrink: what
    waits in the queues of a slow link stays short, and a fast link is filled. It grows like a TCP
    window: doubling at first, and in small steps once something was lost (RFC 5681).

    Attributes:
        num_bytes: the size.
        range_s: how long the last range took; 0 before the first.
    """

    def __init__(self, largest: int, delay_s: float):
        self.num_bytes = _SMALLEST_WINDOW
        self.range_s = 0.0
        self._largest = max(_SMALLEST_WINDOW, largest)
        self._delay_s = delay_s
        self._careful_above = self._largest
        self._sent: deque[tuple[int, float]] = deque()  # End of a range, when it was asked for.

    def on_request(self, end: int, now_s: float) -> None:
        """Note that everything before `end` has been asked for."""
        self._sent.append((end, now_s))

    def on_arrival(self, length: int, now_s: float) -> None:
        """Note that everything before `length` has come."""
        while self._sent and self._sent[0][0] <= length:
            self.range_s = now_s - self._sent.popleft()[1]
            if self.range_s > self._delay_s:
                self._resize(self.num_bytes // 2)
            elif self.range_s < self._delay_s / 2:
                doubled = 2 * self.num_bytes
                is_careful = doubled > self._careful_above
                self._resize(self.num_bytes + self.num_bytes // 16 if is_careful else doubled)

    def on_loss(self) -> None:
        """Something was lost: half as much may be less than the link drops."""
        self._careful_above = max(_SMALLEST_WINDOW, self.num_bytes // 2)
        self._resize(self._careful_above)

    def on_silence(self) -> None:
        """Nothing came at all: begin again, carefully."""
        self.on_loss()
        self._resize(_SMALLEST_WINDOW)
        self.forget()

    def forget(self) -> None:
        """What is under way does not matter any more."""
        self._sent.clear()

    def _resize(self, num_bytes: int) -> None:
        self.num_bytes = min(max(num_bytes, _SMALLEST_WINDOW), self._largest)


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
