"""A robot with a camera, and episodes of it with everything that formats may lose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from recordings import robot
from robot_learning.contract import RobotContract
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.store import TrajectoryStore

PERIOD_NS = 100_000_000
SIZE = 64


def camera_robot() -> RobotContract:
    """Return the tiny robot with a camera, a scan, a depth image and a GPS."""
    observation = robot().to_dict()['observation']
    optional = {'required': False, 'max_age_s': 0.2}
    observation |= {
        'camera': {'topic': 'image', 'type': 'sensor_msgs/msg/Image', 'shape': [SIZE, SIZE, 3]},
        'grey': {'topic': 'grey', 'type': 'sensor_msgs/msg/Image', 'shape': [SIZE, SIZE, 1]},
        'depth': {'topic': 'depth', 'type': 'sensor_msgs/msg/Image', 'shape': [6, 8, 1]},
        'scan': {'topic': 'scan', 'type': 'sensor_msgs/msg/LaserScan', 'shape': [90]},
        'fix': {'topic': 'fix', 'type': 'sensor_msgs/msg/NavSatFix', 'shape': [3]},
        'level': {'topic': 'level', 'type': 'sensor_msgs/msg/Range', 'shape': [1]},
    }
    for name in ('camera', 'grey', 'depth', 'scan', 'fix', 'level'):
        observation[name] |= optional
    observation['camera']['dtype'] = observation['grey']['dtype'] = 'uint8'
    observation['scan'] |= {'unit': 'm'}
    observation['fix'] |= {'dtype': 'float64', 'unit': ['deg', 'deg', 'm']}
    observation['level'] |= {'unit': 'm'}
    return robot(observation=observation, robot='cyclops')


def make_episode(number: int, length: int, start_ns: int, terminated: bool) -> Episode:
    """Return an episode with gaps, jitter, an unknown reward and changing model versions."""
    rng = np.random.default_rng([number, length])
    contract = camera_robot()
    stamp_ns = start_ns + np.arange(length) * PERIOD_NS + rng.integers(0, 9_000_000, length)
    observations: dict[str, Any] = {}
    stamps: dict[str, Any] = {}
    present: dict[str, Any] = {}
    for name, spec in contract.observation.items():
        observations[name] = _values(rng, spec.dtype, length, spec.shape)
        present[name] = np.ones(length, bool) if spec.required else rng.random(length) > 0.2
        stamps[name] = stamp_ns - np.where(present[name], 7_000_000, 300_000_000)
    stamps['wheels'][:2], present['wheels'][:2] = -1, False
    observations['wheels'][:2] = 0
    observations['scan'][:, :3] = np.inf
    is_last = np.arange(length) == length - 1
    reward = rng.normal(size=length).astype(np.float32)
    reward[[0, length // 2]] = np.nan
    action = np.where(is_last[:, None], 0, rng.uniform(-1, 1, (length, 2))).astype(np.float32)
    return Episode(
        episode=number,
        offset=0,
        stamp_ns=stamp_ns,
        observations=observations,
        field_stamp_ns=stamps,
        present=present,
        action=action,
        commanded=action * 2,
        altered=rng.random(length) > 0.5,
        log_prob=np.where(is_last, np.nan, -1.5).astype(np.float32),
        model_version=np.where(is_last, -1, 3 + np.arange(length) // 4),
        reward=reward,
        terminated=is_last & terminated,
        truncated=is_last & (not terminated),
        is_first=np.arange(length) == 0,
        exploring=rng.random(length) > 0.5,
        intervention=rng.random(length) > 0.7,
        is_complete=True,
        attributes={'reason': 'goal', 'success': terminated, 'seed': 7, 'info': {'mass': 1.5}},
    )


def _values(rng: np.random.Generator, dtype: str, length: int, shape: tuple[int, ...]) -> Any:
    if dtype != 'uint8':
        return rng.normal(size=(length, *shape)).astype(dtype)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    slopes = [np.stack([x + 2 * t, y + t, x + y][: shape[2]], axis=-1) for t in range(length)]
    return np.stack(slopes).astype(np.uint8)


def fill(root: Path) -> TrajectoryStore:
    """Write two sessions: pieces, several episodes in a segment, one step alone."""
    store, contract = TrajectoryStore(root), camera_robot()
    first, second = make_episode(0, 13, 10**9, True), make_episode(1, 9, 5 * 10**9, False)
    single, other = make_episode(2, 1, 8 * 10**9, True), make_episode(0, 7, 10**9, False)
    store.write_segment([first.slice(0, 4)], 'monday', contract)
    store.write_segment([first.slice(4, 13), second.slice(0, 5)], 'monday', contract)
    store.write_segment([second.slice(5, 9), single], 'monday', contract)
    store.write_segment([other], 'tuesday', contract)
    return store
