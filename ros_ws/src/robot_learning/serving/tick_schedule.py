"""When a control tick is due, if readings rather than a timer set the moment."""

from __future__ import annotations

_EARLY = 0.25  # Share of a period by which a complete observation may bring a tick forward.
_LATE = 0.25  # Share of a period after which a tick does not wait for one any longer.


class TickSchedule:
    """Keeps the control rate on average while every tick follows the readings it uses.

    Waiting for a timer would make each command older by up to a period.
    """

    def __init__(self, period_ns: int):
        self._period_ns = period_ns
        self._due_ns: int | None = None

    def accepts(self, now_ns: int) -> bool:
        """Return whether a complete new observation may be acted on now."""
        return self._late_by(now_ns) >= -_EARLY * self._period_ns

    def is_overdue(self, now_ns: int) -> bool:
        """Return whether to act on what there is."""
        return self._late_by(now_ns) >= _LATE * self._period_ns

    def take(self, now_ns: int) -> int:
        """Note a tick now; return how many have been missed since the last."""
        if self._due_ns is None or now_ns < self._due_ns - 2 * self._period_ns:
            self._due_ns = now_ns + self._period_ns  # The first, or the clock was set back.
            return 0
        late_ns = now_ns - self._due_ns
        if abs(late_ns) < self._period_ns:
            self._due_ns += self._period_ns
            return 0
        self._due_ns = now_ns + self._period_ns
        return max(0, late_ns // self._period_ns)

    def clear(self) -> None:
        """Forget the rhythm: the next tick is due at once."""
        self._due_ns = None

    def _late_by(self, now_ns: int) -> int:
        """Return ns after the due moment; with a clock set back, ticks are due at once."""
        if self._due_ns is None or now_ns < self._due_ns - 2 * self._period_ns:
            return self._period_ns
        return now_ns - self._due_ns
