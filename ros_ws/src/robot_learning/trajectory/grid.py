"""Control moments of a recording without a policy: whole multiples of the control period."""

from __future__ import annotations

from robot_learning.trajectory.observation import ObservationReader

_NEVER = 2**62  # After all stamps.


class ControlGrid:
    """Gives one control moment after the other, passing over times without data.

    Attributes:
        tick_ns: the next moment; None before the first is known.
    """

    def __init__(self, period_ns: int, observations: ObservationReader):
        self.tick_ns: int | None = None
        self._period_ns = period_ns
        self._observations = observations

    def restart(self) -> None:
        """Forget where the grid was: time starts anew."""
        self.tick_ns = None

    def next_tick(self, final_ns: int, newest_ns: int) -> int:
        """Return the next moment after `final_ns`; far away while nothing is that new yet."""
        if self.tick_ns is None:
            chance_ns = self._observations.first_chance_ns()
            if chance_ns is None:
                return _NEVER
            self.tick_ns = self._from(max(chance_ns, final_ns + 1))
        return self.tick_ns if self.tick_ns <= newest_ns else _NEVER

    def advance(self) -> None:
        """Go on to the following moment."""
        assert self.tick_ns is not None
        self.tick_ns += self._period_ns

    def skip(self, field: str, moment_ns: int, known_ns: int) -> None:
        """Go on to where the missing field may be back: no need to try what lies between.

        Args:
            field: lacked at `moment_ns`.
            moment_ns: the moment that failed.
            known_ns: nothing is known about times after this.
        """
        assert self.tick_ns is not None
        reading_ns = self._observations.next_reading_ns(field, moment_ns)
        chance_ns = known_ns + 1 if reading_ns is None else min(reading_ns, known_ns + 1)
        self.tick_ns = max(self.tick_ns, self._from(chance_ns))

    def _from(self, stamp_ns: int) -> int:
        return -(-stamp_ns // self._period_ns) * self._period_ns
