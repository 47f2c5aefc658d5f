"""When a control tick is due, if readings rather than a timer set the moment."""

from __future__ import annotations

_EARLY = 0.5  # Share of a period by which a complete observation may bring a tick forward.
_LATE = 0.25  # Share of a period after which a tick does not wait for one any longer.
# The same after a tick that did not get one. Readings that come right behind such ticks would
# else be a period old at every tick, for good.
_LATE_AGAIN = 0.75


class TickSchedule:
    """Keeps the control rate on average while every tick follows the readings it uses.

    Waiting for a timer would make each command older by up to a period.
    """

    def __init__(self, period_ns: int):
        self._period_ns = period_ns
        self._due_ns: int | None = None
        self._patience = _LATE

    def accepts(self, now_ns: int) -> bool:
        """Return whether a complete new observation may be acted on now."""
        return self._late_by(now_ns) >= -_EARLY * self._period_ns

    def is_overdue(self, now_ns: int) -> bool:
        """Return whether to act on what there is."""
        return self._late_by(now_ns) >= self._patience * self._period_ns

    def take(self, now_ns: int, is_renewed: bool) -> int:
        """Note a tick now; return how many have been missed since the last.

        Args:
            now_ns: the moment.
            is_renewed: a complete new observation led to the tick, not the lack of one.
        """
        is_found = is_renewed and self._patience == _LATE_AGAIN
        self._patience = _LATE if is_renewed else _LATE_AGAIN
        if self._due_ns is None or now_ns < self._due_ns - 2 * self._period_ns:
            self._due_ns = now_ns + self._period_ns  # The first, or the clock was set back.
            return 0
        late_ns = now_ns - self._due_ns
        if late_ns >= self._period_ns or (is_found and late_ns > 0):
            self._due_ns = now_ns  # From here on in the rhythm of the readings.
        self._due_ns += self._period_ns
        return max(0, late_ns // self._period_ns)

    def clear(self) -> None:
        """Forget the rhythm: the next tick is due at once."""
        self._due_ns = None

    def _late_by(self, now_ns: int) -> int:
        """Return ns after the due moment; with a clock set back, ticks are due at once."""
        if self._due_ns is None or now_ns < self._due_ns - 2 * self._period_ns:
            return self._period_ns
        return now_ns - self._due_ns
