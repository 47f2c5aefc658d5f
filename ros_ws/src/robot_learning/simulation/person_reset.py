"""A real robot is put at its start by a person: they are asked, and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from robot_learning.errors import RobotLearningError

_POLL_S = 0.1


class HeldRobot(Protocol):
    """What happens to a robot around a reset by hand. All raise RobotLearningError."""

    def hold(self, is_held: bool) -> None:
        """Keep the robot from driving, or let it drive again."""

    def end_episode(self) -> None:
        """End the episode that is being recorded, if there is one."""

    def begin_episode(self) -> int:
        """Begin recording; return the number of the episode."""


class PersonResetReport(NamedTuple):
    """How it went."""

    episode: int  # -1: none began.
    problem: str  # '' if the robot stands at its start and drives on.


class PersonReset:
    """Asks one person at a time.

    Args:
        robot: is held meanwhile.
        ask: shows the person what to do; '' takes the question back.
        timeout_s: how long to wait for them.
        now_s: a clock that only runs forwards.
        wait: sleeps so many seconds.
    """

    def __init__(
        self,
        robot: HeldRobot,
        ask: Callable[[str], None],
        timeout_s: float,
        now_s: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ):
        self._robot, self._ask, self._timeout_s = robot, ask, timeout_s
        self._now_s, self._wait = now_s, wait
        self._is_ready = self._is_given_up = False
        self.is_waiting = False

    def ready(self) -> str:
        """Take the person's word that it is done; return what is wrong with it, '' if nothing."""
        if not self.is_waiting:
            return 'nobody was asked to do anything. Call the reset service first.'
        self._is_ready = True
        return ''

    def give_up(self) -> None:
        """Wait no longer, as the process ends."""
        self._is_given_up = True

    def run(self, text: str) -> PersonResetReport:
        """Hold the robot, ask, wait, and begin an episode; blocks until then.

        Whatever fails, the robot stays held: only a person who said that it is done, and an
        episode that began, let it drive.
        """
        self._is_ready = False
        try:
            self._robot.hold(True)
            self._robot.end_episode()
        except RobotLearningError as error:
            return PersonResetReport(-1, f'the robot could not be held: {error}')
        self.is_waiting = True
        self._ask(text)
        try:
            end_s = self._now_s() + self._timeout_s
            while not self._is_ready and not self._is_given_up and self._now_s() < end_s:
                self._wait(_POLL_S)
        finally:
            self.is_waiting = False
            self._ask('')
        if not self._is_ready:
            return PersonResetReport(
                -1,
                f'nobody said within {self._timeout_s:g} s that the robot is at its start. It '
                f'stays held; ask again, or hand it back with take_over and false.',
            )
        try:
            episode = self._robot.begin_episode()
            self._robot.hold(False)
        except RobotLearningError as error:
            return PersonResetReport(-1, f'the episode could not begin: {error}')
        return PersonResetReport(episode, '')
