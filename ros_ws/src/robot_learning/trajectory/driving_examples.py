"""What a robot's motion and commands say about its dynamics, as examples to learn from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from robot_learning.errors import DataError, NotEnoughDataError
from robot_learning.trajectory.episode import Episode

Array = np.ndarray[Any, Any]

FIELDS = ('pose', 'velocity')  # Of the contract: [3] x, y, yaw and [2] forward, yaw rate.
INPUT_NAMES = (
    'forward_speed',
    'yaw_rate',
    'last_commanded_speed',
    'last_commanded_yaw_rate',
    'commanded_speed',
    'commanded_yaw_rate',
)
TARGET_NAMES = ('forward_speed_change', 'yaw_rate_change', 'forward', 'sideways', 'turn')
_JUMP = 1.6  # Control periods; what is further apart did not follow.


class Drive(NamedTuple):
    """What one robot did, in the order of time."""

    inputs: Array  # [T, D] float32: motion and commands.
    targets: Array  # [T, O] float32: what came of them in the next control period.


def driving_examples(pose: Array, velocity: Array, command: Array) -> Drive:
    """Turn consecutive control steps into examples.

    Args:
        pose: [T, 3] x, y in metres and yaw in radians, of any frame.
        velocity: [T, 2] m/s and rad/s, by the wheels.
        command: [T, 2] m/s and rad/s, given at each step.

    Returns:
        T - 2 examples: the first step has no command before it, the last no step after it.
        Inputs are named by `INPUT_NAMES`. Targets by `TARGET_NAMES`: the change of the wheels'
        velocity, and the way by the pose, seen from the robot.

    Raises:
        NotEnoughDataError: there are fewer than three steps.
    """
    if len(pose) < 3:
        raise NotEnoughDataError(
            f'drive: {len(pose)} control steps, expected 3 or more. Drive longer.'
        )
    now, after = pose[1:-1].astype(np.float64), pose[2:].astype(np.float64)
    way, yaw = after[:, :2] - now[:, :2], now[:, 2]
    forward = way[:, 0] * np.cos(yaw) + way[:, 1] * np.sin(yaw)
    sideways = way[:, 1] * np.cos(yaw) - way[:, 0] * np.sin(yaw)
    turn = np.remainder(after[:, 2] - yaw + np.pi, 2 * np.pi) - np.pi
    inputs = np.concatenate((velocity[1:-1], command[:-2], command[1:-1]), 1)
    change = velocity[2:] - velocity[1:-1]
    targets = np.concatenate((change, np.stack((forward, sideways, turn), 1)), 1)
    return Drive(inputs.astype(np.float32), targets.astype(np.float32))


def drives_of(episode: Episode, period_ns: int, source: str) -> list[Drive]:
    """Return the drives of an episode; gaps end one and begin another.

    Args:
        episode: with `FIELDS`, and an action that is forward speed and yaw rate.
        period_ns: of the robot's control steps.
        source: what to call the data in errors.

    Raises:
        DataError: it has no such fields or another action.
    """
    found = {name: episode.observations.get(name, np.zeros((0, 0))) for name in FIELDS}
    shapes = found['pose'].shape[1:], found['velocity'].shape[1:], episode.action.shape[1:]
    if shapes != ((3,), (2,), (2,)):
        raise DataError(
            f'{source}: pose, velocity and action have shapes {shapes}, expected (3,), (2,) and '
            f'(2,). Name recordings of a robot that drives.'
        )
    is_sound = np.logical_and.reduce([episode.present[name] for name in FIELDS])
    follows = np.diff(episode.stamp_ns) < _JUMP * period_ns
    breaks = np.flatnonzero(~(follows & is_sound[:-1] & is_sound[1:])) + 1
    pieces = np.split(np.arange(len(episode)), breaks)
    return [
        driving_examples(found['pose'][rows], found['velocity'][rows], episode.action[rows])
        for rows in pieces
        if len(rows) >= 3
    ]
