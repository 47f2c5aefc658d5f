"""Whether those who are just starting have had the time to come."""

from __future__ import annotations

import math
from collections.abc import Callable


class Audience:
    """Tells when nobody new has begun to listen for a while.

    Processes of one system start together and are ready at different moments: without this, a
    world that moves as soon as it gets commands would leave the first steps unrecorded.
    """

    def __init__(self, num_listeners: Callable[[], int], settle_s: float):
        """Prepare.

        Args:
            num_listeners: how many listen now.
            settle_s: wall time without a new listener after which all are there.
        """
        self._num_listeners = num_listeners
        self._settle_s = settle_s
        self._count = -1
        self._changed_s = math.inf

    def is_settled(self, now_s: float) -> bool:
        """Look who listens; return whether that has not changed for `settle_s`."""
        count = self._num_listeners()
        if count != self._count:
            self._count, self._changed_s = count, now_s
        return now_s - self._changed_s >= self._settle_s
