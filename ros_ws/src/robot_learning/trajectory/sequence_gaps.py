"""Counts messages that publishers numbered and that never arrived."""

from __future__ import annotations

_MAX_MISSING = 10_000  # Numbers that may still come, by another subscription.
_MAX_RECENT = 4096  # Messages that another subscription may bring again.


class SequenceGaps:
    """Follows the numbers that the middleware gives the messages of one topic.

    With one publisher `lost` is exact. The middleware does not say which of several publishers
    a message is from, so each message is taken for the next one of the closest before it.

    Attributes:
        lost: numbers that were passed over; None where the middleware does not number.
    """

    def __init__(self) -> None:
        self.lost: int | None = 0
        self._streams: list[int] = []  # Newest number of each publisher.
        self._missing: dict[int, None] = {}
        self._recent: dict[tuple[int, int], None] = {}

    def restart(self) -> None:
        """Forget the numbers: the publishers are others now."""
        self._streams.clear()
        self._missing.clear()

    def is_new(self, sequence: int | None, publish_ns: int, num_publishers: int) -> bool:
        """Take the number of a message; tell whether it is the first time that it comes.

        Several subscriptions of one topic may get the same message.
        """
        if sequence is None:
            self.lost = None
            return True
        key = (sequence, publish_ns)
        if key in self._recent:
            return False
        self._recent[key] = None
        if len(self._recent) > _MAX_RECENT:
            del self._recent[next(iter(self._recent))]
        streams = self._streams
        if sequence - 1 in streams:
            streams[streams.index(sequence - 1)] = sequence
        else:
            self._jump(sequence, num_publishers)
        return True

    def _jump(self, sequence: int, num_publishers: int) -> None:
        if sequence in self._missing:
            del self._missing[sequence]
            self.lost = (self.lost or 0) - 1
            return
        earlier = [newest for newest in self._streams if newest < sequence]
        if len(self._streams) < max(1, num_publishers):
            self._streams.append(sequence)
        elif not earlier:  # A publisher that began anew.
            self._streams[self._streams.index(min(self._streams))] = sequence
        else:
            newest = max(earlier)
            self._streams[self._streams.index(newest)] = sequence
            self.lost = (self.lost or 0) + sequence - newest - 1
            for number in range(max(newest + 1, sequence - _MAX_MISSING), sequence):
                self._missing[number] = None
            while len(self._missing) > _MAX_MISSING:
                del self._missing[next(iter(self._missing))]
