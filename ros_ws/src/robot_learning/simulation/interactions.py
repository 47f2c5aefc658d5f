"""What a hand does with an object: strike, push, lift, squeeze, drop, shake; and recordings of it.

A recording of T commands has T + 1 steps. Step t holds what is seen and felt and the command
chosen then; the last one's was never executed. The sound lasts from step 0 to step T.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from robot_learning.sense_formats import ACTION_SIZE
from robot_learning.simulation.bench_objects import SHAPES, BenchObject
from robot_learning.simulation.bench_scene import FINGER_LENGTH, HAND_RANGE, OPENING_RANGE
from robot_learning.simulation.bench_world import COMMANDS, CONTROL_RATE_HZ, BenchWorld
from robot_learning.simulation.contact_sounds import Touch, heard

Array = np.ndarray[Any, Any]
Kind = Literal['strike', 'push', 'lift', 'squeeze', 'drop', 'shake']
KINDS: tuple[Kind, ...] = ('strike', 'push', 'lift', 'squeeze', 'drop', 'shake')

NUM_STEPS = 32
PERIOD_S = 1 / CONTROL_RATE_HZ

_WATCH_S = 0.4  # Before the hand moves: what lives shows itself.
_HIGH_M = 0.09  # How far above the bench things are lifted.
_CLEARANCE_M = 0.012  # On each side of an object before the hand closes.
_PRESS_M = 0.03  # How much narrower than the object a closing hand wants to be.


class Recording(NamedTuple):
    """One interaction with one object."""

    frames: Array | None  # [T + 1, 64, 64, 3] uint8; None without a camera.
    sound: Array  # [T * 800] float32 at 16 kHz.
    proprioception: Array  # [T + 1, 19] float32, see `bench_world.PROPRIOCEPTION_NAMES`.
    action: Array  # [T + 1, 16] float32: x, y, z, opening in metres, zeros behind.


class Bench:
    """Records interactions; makes the scene of a shape when it is first needed.

    Args:
        has_camera: draw frames.

    Raises:
        EnvironmentSetupError: frames are wanted and cannot be drawn here.
    """

    def __init__(self, has_camera: bool = True):
        self._has_camera = has_camera
        self._worlds = {shape: BenchWorld(shape, has_camera) for shape in SHAPES}

    def record(
        self,
        item: BenchObject,
        kind: Kind,
        seed: int,
        noise_seed: int = 0,
        num_steps: int = NUM_STEPS,
    ) -> Recording:
        """Do something with an object and return what was sensed; equal arguments, equal results.

        Args:
            item: the object.
            kind: what is done.
            seed: of where the object lies, its moods and the light.
            noise_seed: of the sensors' noise.
            num_steps: T; the scripts take 32.
        """
        world = self._worlds[item.shape]
        noise = np.random.default_rng([seed, noise_seed, 601])
        commands = planned(item, kind, num_steps)
        world.begin(item, seed, commands[0])
        touches: list[Touch] = []
        felt, frames = [], []
        for step, command in enumerate(commands):
            felt.append(world.feel(noise))
            if self._has_camera:
                frames.append(world.see(noise))
            if step < num_steps:
                touches += world.advance(command)
        action = np.zeros((num_steps + 1, ACTION_SIZE), np.float32)
        action[:, : len(COMMANDS)] = commands
        return Recording(
            np.stack(frames) if frames else None,
            heard(item, touches, noise),
            np.stack(felt),
            action,
        )

    def close(self) -> None:
        """Free what draws."""
        for world in self._worlds.values():
            world.close()


def planned(item: BenchObject, kind: Kind, num_steps: int = NUM_STEPS) -> Array:
    """Return the commands of an interaction, [T + 1, 4] as `bench_world.COMMANDS`."""
    script = _SCRIPTS[kind]
    wanted = np.stack([script(item, step * PERIOD_S) for step in range(num_steps + 1)])
    limits = [*HAND_RANGE.values(), OPENING_RANGE]
    low, high = np.asarray(limits).T
    commands: Array = np.clip(wanted, low, high)
    return commands


def _grip(item: BenchObject) -> tuple[float, float, float]:
    """Return the hand's height to hold an object, and its openings around it and closed on it."""
    height = FINGER_LENGTH + max(0.006, item.size_m / 2 - 0.012)
    return height, item.size_m + 2 * _CLEARANCE_M, max(0.0, item.size_m - _PRESS_M)


def _part(time_s: float, start_s: float, stop_s: float) -> float:
    """Return how much of a motion is done, 0 to 1, smooth at both ends."""
    done = min(max((time_s - start_s) / (stop_s - start_s), 0.0), 1.0)
    return done * done * (3 - 2 * done)


def _strike(item: BenchObject, time_s: float) -> Array:
    """Tap the top twice with closed fingers."""
    above = FINGER_LENGTH + item.size_m + 0.05
    phase = (time_s - _WATCH_S) % 0.5
    is_down = time_s >= _WATCH_S and phase < 0.15
    return np.asarray([0.0, 0.0, above - (0.06 if is_down else 0.0), 0.0])


def _push(item: BenchObject, time_s: float) -> Array:
    """Push to the right with closed fingers, 8 cm."""
    start = -item.size_m / 2 - 0.045
    height = FINGER_LENGTH + max(0.008, item.size_m * 0.25)
    return np.asarray([start + 0.115 * _part(time_s, _WATCH_S, 1.3), 0.0, height, 0.0])


def _lift(item: BenchObject, time_s: float) -> Array:
    """Close the hand, lift, hold."""
    height, around, closed = _grip(item)
    opening = around + (closed - around) * _part(time_s, _WATCH_S, 0.65)
    return np.asarray([0.0, 0.0, height + _HIGH_M * _part(time_s, 0.7, 1.2), opening])


def _squeeze(item: BenchObject, time_s: float) -> Array:
    """Close the hand harder and harder, let go, do it again."""
    height, around, closed = _grip(item)
    done = _part(time_s, _WATCH_S, 0.9) - _part(time_s, 0.9, 1.05) + _part(time_s, 1.1, 1.5)
    return np.asarray([0.0, 0.0, height, around + (closed - 0.02 - around) * done])


def _drop(item: BenchObject, time_s: float) -> Array:
    """Lift quickly, open the hand."""
    height, around, closed = _grip(item)
    hold = _part(time_s, 0.15, 0.35) - (time_s >= 0.85)
    opening = around + (closed - around) * hold + 0.02 * (time_s >= 0.85)
    return np.asarray([0.0, 0.0, height + _HIGH_M * _part(time_s, 0.4, 0.75), opening])


def _shake(item: BenchObject, time_s: float) -> Array:
    """Lift a little and swing to and fro along y and z."""
    height, around, closed = _grip(item)
    opening = around + (closed - around) * _part(time_s, 0.15, 0.4)
    swing = math.sin(2 * math.pi * 3.3 * max(0.0, time_s - 0.65))
    lifted = 0.05 * _part(time_s, 0.4, 0.65)
    return np.asarray([0.0, 0.03 * swing, height + lifted + 0.012 * swing, opening])


_SCRIPTS: dict[Kind, Callable[[BenchObject, float], Array]] = {
    'strike': _strike,
    'push': _push,
    'lift': _lift,
    'squeeze': _squeeze,
    'drop': _drop,
    'shake': _shake,
}
