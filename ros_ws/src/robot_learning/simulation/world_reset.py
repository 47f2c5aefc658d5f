"""Brings a world that runs in another process to a start state, and makes sure that it is there.

Nothing is deleted and spawned again and time never goes back: both break Gazebo sooner or later.
The robot is stopped, time is held, everything is put to its place, a few steps make that take
effect, true poses are compared, time goes on, and every sensor must have spoken again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, NamedTuple, Protocol

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.errors import WorldControlError

_POLL_S = 0.01
_STANDSTILL_POLL_S = 0.03
_HELD_S = 0.1  # Wall time without a new clock after which time counts as held.
_REST_S = 0.03  # Wall time in which a held world's clock must not move.
_INSIST_S = 0.5  # Wall time after which a world that does not go on is told to once more.
_STANDSTILL = 0.003  # Metres and radians between two looks; a slow robot goes 5 mm.


class Placement(NamedTuple):
    """Where something stands upright; metres and radians in the world frame."""

    x: float
    y: float
    z: float
    yaw: float


class Sighting(NamedTuple):
    """A true pose and the simulated time at which it was true."""

    stamp_ns: int
    placement: Placement


class WorldControl(Protocol):
    """What a simulator can be told. Each call returns when the simulator has agreed.

    It has not done it then: Gazebo lives its steps later, and if it was told to go on meanwhile,
    it holds time at their end all the same.

    All raise WorldControlError: the service is missing, too slow, or refuses.
    """

    def stop_robot(self) -> None:
        """Command zero velocity."""

    def hold(self, is_held: bool) -> None:
        """Hold time or let it go on."""

    def step(self, num_steps: int) -> None:
        """Live some physics steps while time is held."""

    def place(self, placements: Mapping[str, Placement]) -> None:
        """Put models somewhere; takes effect at the next step."""


class WorldView(Protocol):
    """What was heard of a simulator until now; other threads add to it."""

    def sighting(self, name: str) -> Sighting | None:
        """Return the newest true pose of a model; None: none was heard of."""

    def sensor_stamps(self) -> Mapping[str, int]:
        """Return the newest stamp of each sensor that must speak; -1: none yet."""

    def time_ns(self) -> int:
        """Return the newest simulated time that was heard of; it runs a little behind."""

    def num_servers(self) -> int:
        """Return how many simulators speak in this partition; 0: not known."""


@dataclass(frozen=True, config=STRICT)
class ResetConfig:
    """How a reset is carried out, and when it counts as done."""

    attempts: PositiveInt = 3
    settle_s: PositiveFloat = 0.06  # Simulated; more than one period of the true poses.
    position_tolerance_m: PositiveFloat = 0.03  # Of the robot.
    # Of objects, which keep their speed where they are put: 0.06 s of a ball that rolls.
    object_tolerance_m: PositiveFloat = 0.1
    angle_tolerance_rad: PositiveFloat = 0.06
    stop_timeout_s: PositiveFloat = 0.5  # Wall time in which a robot comes to rest.
    pose_timeout_s: PositiveFloat = 2.0  # Wall time in which true poses must arrive.
    sensor_timeout_s: PositiveFloat = 5.0  # Wall time in which every sensor must speak again.
    timestep_s: Annotated[float, Field(gt=0, le=0.1)] = 0.001  # Of the simulator's physics.


class ResetReport(NamedTuple):
    """How a reset went."""

    stamp_ns: int  # Simulated time at which the true poses were compared.
    num_attempts: int
    faults: tuple[str, ...]  # What went wrong before it went right.


class WorldReset:
    """Resets one world, again and again.

    Args:
        control: tells the simulator.
        view: what it says.
        config: patience and tolerances.
        now_s: a clock that only runs forwards.
        wait: sleeps so many seconds.
    """

    def __init__(
        self,
        control: WorldControl,
        view: WorldView,
        config: ResetConfig,
        now_s: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ):
        self._control, self._view, self._config = control, view, config
        self._now_s, self._wait = now_s, wait
        self._is_given_up = False
        self.num_resets = 0
        self.num_faults = 0  # Attempts that failed, of all resets.

    def reset(self, placements: Mapping[str, Placement], runs_after: bool = True) -> ResetReport:
        """Put robot and objects to their places.

        Args:
            placements: model name -> place. The first one's pose tells the time.
            runs_after: let time go on; else it stays held once every sensor has spoken.

        Raises:
            WorldControlError: it did not come about in `attempts` attempts; says why. The world
                stays held, if it can be reached, and the robot stopped.
        """
        self._refuse_second_server()
        faults: list[str] = []
        while True:
            try:
                stamp_ns = self._attempt(placements, runs_after)
            except WorldControlError as error:
                self.num_faults += 1
                faults.append(str(error))
                self._refuse_second_server()
                if self._is_given_up:
                    raise
                if len(faults) < self._config.attempts:
                    continue
                self._leave_held()
                raise WorldControlError(
                    f'reset: failed {len(faults)} times, at last because {faults[-1]}'
                ) from error
            self.num_resets += 1
            return ResetReport(stamp_ns, len(faults) + 1, tuple(faults))

    def give_up(self) -> None:
        """End a reset that is under way as soon as it waits, as the process ends."""
        self._is_given_up = True

    def live(self, num_steps: int) -> None:
        """Live some physics steps while time is held, and wait until that is over.

        Raises:
            WorldControlError: the simulator does not agree, or time does not come to rest.
        """
        config = self._config
        start_ns = self._view.time_ns()
        self._control.step(num_steps)
        end_ns = start_ns + round(num_steps * config.timestep_s * 1e9)
        newest_ns, changed_s = start_ns, self._now_s()
        give_up_s = changed_s + num_steps * config.timestep_s + config.pose_timeout_s
        while (now_s := self._now_s()) < give_up_s:
            time_ns = self._view.time_ns()
            if time_ns != newest_ns:
                newest_ns, changed_s = time_ns, now_s
            if time_ns < start_ns:
                raise _went_back(start_ns, time_ns)
            if time_ns >= end_ns and now_s - changed_s >= _REST_S:
                return
            self._pause(_POLL_S)
        raise WorldControlError(
            f'simulated time is at {newest_ns * 1e-9:.3f} s, {num_steps} steps after '
            f'{start_ns * 1e-9:.3f} s, and should have come to rest at {end_ns * 1e-9:.3f} s. See '
            f'that the bridge brings the clock and that nobody else lets time go on.'
        )

    def _attempt(self, placements: Mapping[str, Placement], runs_after: bool) -> int:
        control = self._control
        control.stop_robot()
        self._await_standstill(next(iter(placements)))
        control.hold(True)
        before = {name: self._stamp(name) for name in placements}
        control.place(placements)
        self._settle()
        stamp_ns = self._compare(placements, before)
        heard = dict(self._view.sensor_stamps())
        if runs_after:
            control.hold(False)
        self._await_sensors(heard, stamp_ns, runs_after)
        return stamp_ns

    def _await_standstill(self, name: str) -> None:
        """Let the stop command arrive before time is held: it goes another way than services.

        In lock-step time is held already; then there is nothing to wait for.
        """
        last = self._view.sighting(name)
        time_ns, changed_s = self._view.time_ns(), self._now_s()
        end_s = changed_s + self._config.stop_timeout_s
        while last is not None and self._now_s() < end_s:
            self._pause(_STANDSTILL_POLL_S)
            if (heard_ns := self._view.time_ns()) != time_ns:
                time_ns, changed_s = heard_ns, self._now_s()
            elif self._now_s() - changed_s > _HELD_S:
                return
            newest = self._view.sighting(name)
            assert newest is not None, 'sightings are kept'
            if newest.stamp_ns > last.stamp_ns:
                if _is_same_place(newest.placement, last.placement):
                    return
                last = newest

    def _settle(self) -> None:
        self.live(math.ceil(self._config.settle_s / self._config.timestep_s))

    def _compare(self, placements: Mapping[str, Placement], before: Mapping[str, int]) -> int:
        """Wait for poses newer than `before` that fit; return the time of the first model's.

        Poses from before the placement may still be on their way, so the last ones count.
        """
        first = next(iter(placements))

        def fits(name: str) -> bool:
            sighting = self._view.sighting(name)
            if sighting is None or sighting.stamp_ns <= before[name]:
                return False
            return not self._misplacement(name, placements, sighting.placement)

        self._wait_until(
            lambda: all(map(fits, placements)) or self._stamp(first) < before[first],
            self._config.pose_timeout_s,
        )
        if self._stamp(first) < before[first]:
            raise _went_back(before[first], self._stamp(first))
        silent = [name for name in placements if self._stamp(name) <= before[name]]
        if silent:
            raise WorldControlError(
                f'no true pose of {", ".join(silent)} came within {self._config.pose_timeout_s:g} '
                f's. See that the models are in the world and that the bridge runs.'
            )
        for name in placements:
            sighting = self._view.sighting(name)
            assert sighting is not None, 'its stamp was compared'
            if problem := self._misplacement(name, placements, sighting.placement):
                raise WorldControlError(problem)
        return self._stamp(first)

    def _misplacement(
        self, name: str, placements: Mapping[str, Placement], found: Placement
    ) -> str:
        """Say how far a model is from its place; '' where that is near enough.

        The first model is the robot; the heading of what rolls and lies is not looked at.
        """
        wanted, is_robot = placements[name], name == next(iter(placements))
        config = self._config
        allowed_m = config.position_tolerance_m if is_robot else config.object_tolerance_m
        allowed_rad = config.angle_tolerance_rad if is_robot else math.inf
        distance = math.dist(wanted[:2], found[:2])
        turn = abs(math.remainder(wanted.yaw - found.yaw, math.tau))
        if distance <= allowed_m and turn <= allowed_rad:
            return ''
        heading = f' and {allowed_rad:g} rad are' if is_robot else ' is'
        return (
            f'{name} is {distance:.3f} m and {turn:.3f} rad from where it was put, at '
            f'({found.x:.2f}, {found.y:.2f}); {allowed_m:g} m{heading} allowed. See that the '
            f'place is free.'
        )

    def _await_sensors(self, heard: Mapping[str, int], stamp_ns: int, runs: bool) -> None:
        """Wait until every sensor has spoken after the reset; while held, step on for it."""
        end_s = self._now_s() + self._config.sensor_timeout_s
        insist_s = self._now_s() + _INSIST_S

        def silent() -> list[str]:
            stamps = self._view.sensor_stamps()
            return [name for name in heard if stamps[name] <= max(heard[name], stamp_ns)]

        while silent() and self._now_s() < end_s:
            if not runs:
                self._settle()
            elif self._now_s() >= insist_s:
                self._control.hold(False)
                insist_s = self._now_s() + _INSIST_S
            self._pause(_POLL_S)
        if frozen := silent():
            raise WorldControlError(
                f'{_listed(frozen)} said nothing for {self._config.sensor_timeout_s:g} s after '
                f'the reset. Gazebo leaves sensors frozen at times; start it again if this stays.'
            )

    def _refuse_second_server(self) -> None:
        number = self._view.num_servers()
        if number > 1:
            raise WorldControlError(
                f'reset: found {number} simulators in this partition, expected one; they would '
                f'answer in turns. End the others, or set another GZ_PARTITION for each.'
            )

    def _leave_held(self) -> None:
        for make_safe in (self._control.stop_robot, lambda: self._control.hold(True)):
            try:
                make_safe()
            except WorldControlError:  # What is wrong is said already.
                continue

    def _pause(self, seconds: float) -> None:
        if self._is_given_up:
            raise WorldControlError('reset: given up, as this process ends.')
        self._wait(seconds)

    def _stamp(self, name: str) -> int:
        sighting = self._view.sighting(name)
        return -1 if sighting is None else sighting.stamp_ns

    def _wait_until(self, is_true: Callable[[], bool], timeout_s: float) -> None:
        end_s = self._now_s() + timeout_s
        while not is_true() and self._now_s() < end_s:
            self._pause(_POLL_S)


def _went_back(before_ns: int, after_ns: int) -> WorldControlError:
    return WorldControlError(
        f'simulated time went back from {before_ns * 1e-9:.3f} s to {after_ns * 1e-9:.3f} s. A '
        f'second simulator speaks in this partition, or somebody reset the first; end it, or set '
        f'another GZ_PARTITION.'
    )


def _is_same_place(one: Placement, other: Placement) -> bool:
    turn = abs(math.remainder(one.yaw - other.yaw, math.tau))
    return math.dist(one[:2], other[:2]) < _STANDSTILL and turn < _STANDSTILL


def _listed(names: Collection[str]) -> str:
    return f'the sensor {next(iter(names))}' if len(names) == 1 else f'sensors {", ".join(names)}'
