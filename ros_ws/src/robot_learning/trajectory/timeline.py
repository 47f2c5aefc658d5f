"""Messages of one topic in the order of their stamps, and what became of every one of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import asdict, dataclass
from typing import Any

_WAITING, _TOO_OLD, _USED = range(3)


@dataclass(slots=True)
class TopicCounts:
    """Messages of one topic since the recorder started.

    Every received message ends in exactly one of the counts from `used` to `overflow` or is
    still `pending`; `unaccounted` checks that. The last three only describe.
    """

    received: int = 0
    used: int = 0  # Part of at least one recorded step.
    unneeded: int = 0  # A newer one was there at every step, or no episode was open.
    stale: int = 0  # The newest one at some step, but older than the contract's max_age_s.
    duplicates: int = 0  # Same topic and stamp as one already there; the first is kept.
    non_finite: int = 0  # Held NaN or infinity where none belongs.
    refused: int = 0  # Could not be turned into what the contract promises.
    overflow: int = 0  # Thrown out because too many were waiting.
    pending: int = 0  # Waiting for their step to be final.
    out_of_order: int = 0  # Older than one that came before; used all the same if in time.
    late: int = 0  # Came after a step that could have used them was final.
    dropped: int = 0  # Never received: seen as holes in the numbering or told by the middleware.

    @property
    def unaccounted(self) -> int:
        """Received messages of which nobody knows what became; anything but 0 is a bug."""
        known = self.used + self.unneeded + self.stale + self.duplicates + self.non_finite
        return self.received - known - self.refused - self.overflow - self.pending

    def to_dict(self) -> dict[str, int]:
        """Return all counts, `unaccounted` included, as plain data."""
        return {**asdict(self), 'unaccounted': self.unaccounted}


class Timeline:
    """Messages of one topic that may still be needed, sorted by stamp. Memory is bounded."""

    def __init__(self, max_pending: int):
        self.counts = TopicCounts()
        self.stamps: list[int] = []
        self.readings: list[Any] = []
        self._states: list[int] = []
        self._max_pending = max_pending

    def insert(self, stamp_ns: int, reading: Any) -> bool:
        """Sort a message in; False if one of that stamp is already there."""
        stamps = self.stamps
        if not stamps or stamp_ns > stamps[-1]:
            place = len(stamps)
        else:
            place = bisect_left(stamps, stamp_ns)
            if stamps[place] == stamp_ns:
                self.counts.duplicates += 1
                return False
            self.counts.out_of_order += 1
        stamps.insert(place, stamp_ns)
        self.readings.insert(place, reading)
        self._states.insert(place, _WAITING)
        self.counts.pending += 1
        if len(stamps) > self._max_pending:
            self._overflow()
        return True

    def newest_at(self, stamp_ns: int) -> int:
        """Return the index of the newest message not newer than `stamp_ns`; -1 if none."""
        return bisect_right(self.stamps, stamp_ns) - 1

    def use(self, index: int) -> None:
        """Note that the message is part of a recorded step."""
        if self._states[index] != _USED:
            self._states[index] = _USED
            self.counts.used += 1
            self.counts.pending -= 1

    def reject(self, index: int) -> None:
        """Note that the message was the newest one at a step, but too old."""
        if self._states[index] == _WAITING:
            self._states[index] = _TOO_OLD

    def pop(self) -> Any:
        """Remove and return the oldest message, as not needed unless `use` was called."""
        reading = self.readings[0]
        self._discard(1)
        return reading

    def forget(self, stamp_ns: int) -> None:
        """Remove what no step after `stamp_ns` can need: all but the newest one until then."""
        last = bisect_right(self.stamps, stamp_ns) - 1
        if last > 0:
            self._discard(last)

    def clear(self) -> None:
        """Remove everything."""
        self._discard(len(self.stamps))

    def _discard(self, count: int) -> None:
        for state in self._states[:count]:
            if state != _USED:
                self.counts.pending -= 1
                if state == _TOO_OLD:
                    self.counts.stale += 1
                else:
                    self.counts.unneeded += 1
        del self.stamps[:count], self.readings[:count], self._states[:count]

    def _overflow(self) -> None:
        if self._states[0] != _USED:
            self.counts.pending -= 1
            self.counts.overflow += 1
        del self.stamps[0], self.readings[0], self._states[0]
