"""Which column or video of a LeRobot data set (v3) holds which field of ours.

```
meta/info.json tasks.parquet stats.json episodes/chunk-000/file-000.parquet
data/chunk-000/file-000.parquet                  a row per step that has an action
videos/observation.images.<field>/chunk-000/file-000.mp4
meta/robot_learning.json                         ours: contract, episodes
meta/robot_learning_final_steps.parquet          ours: the step after each last action
```
Names that begin with `observation` or `action` are what LeRobot's policies learn from, so our own
columns have other ones; and none of ours has `image` in it, by which LeRobot knows pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_learning.contract import ObservationField, RobotContract
from robot_learning.message_types import default_part
from robot_learning.trajectory.episode import FLAT, Array, Episode

VERSION = 'v3.0'
INFO = 'meta/info.json'
TASKS = 'meta/tasks.parquet'
STATS = 'meta/stats.json'
EPISODES = 'meta/episodes/chunk-000/file-000.parquet'
OURS = 'meta/robot_learning.json'
FINAL_STEPS = 'meta/robot_learning_final_steps.parquet'
DATA_PATH = 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
VIDEO_PATH = 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4'
FILES_PER_CHUNK = 1000
STATE = 'observation.state'
NEXT = ('next.reward', 'next.done', 'next.terminated', 'next.truncated', 'next.success')

_LONGEST_STATE = 64  # Longer vectors (scans) get a column of their own.
_PART_NAMES = {
    'pose2d': ('x', 'y', 'yaw'),
    'pose': ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw'),
    'twist2d': ('forward', 'yaw_rate'),
    'twist': ('vx', 'vy', 'vz', 'wx', 'wy', 'wz'),
    'imu': ('qx', 'qy', 'qz', 'qw', 'wx', 'wy', 'wz', 'ax', 'ay', 'az'),
    'vector': ('x', 'y', 'z'),
}
_DEFAULTS = {
    'timestamp': 'float32',
    'frame_index': 'int64',
    'episode_index': 'int64',
    'index': 'int64',
    'task_index': 'int64',
}


@dataclass(frozen=True)
class Camera:
    """A field that is a picture."""

    key: str
    shape: tuple[int, ...]  # [H, W, C], C is 1 or 3.
    is_video: bool


@dataclass(frozen=True)
class Layout:
    """Where each field of the contract stands."""

    fields: tuple[str, ...]  # All of the contract, in its order.
    state: dict[str, int]  # Field -> size, in the order of the state vector.
    arrays: dict[str, str]  # Field -> key.
    cameras: dict[str, Camera]  # Field -> camera.

    def columns(self, before: Episode, after: Episode) -> dict[str, Array]:
        """Return the columns of steps and of where they led, pictures and indices left out."""
        columns = self.own_columns(before)
        columns['next.reward'] = after.reward
        columns['next.done'] = after.terminated | after.truncated
        columns['next.terminated'] = after.terminated
        columns['next.truncated'] = after.truncated
        is_success = bool(after.attributes.get('success'))
        columns['next.success'] = columns['next.done'] & is_success
        return columns

    def own_columns(self, steps: Episode) -> dict[str, Array]:
        """Return the columns of steps alone."""
        columns: dict[str, Array] = {}
        if self.state:
            parts = [steps.observations[field] for field in self.state]
            columns[STATE] = np.concatenate(parts, axis=1)
        for field, key in self.arrays.items():
            columns[key] = steps.observations[field]
        columns |= {name: getattr(steps, name) for name in FLAT}
        for kind in ('present', 'field_stamp_ns'):
            by_field = getattr(steps, kind)
            columns[kind] = np.stack([by_field[field] for field in self.fields], axis=1)
        return columns


def plan(contract: RobotContract, use_videos: bool) -> Layout:
    """Decide where the fields of a contract go."""
    state: dict[str, int] = {}
    arrays: dict[str, str] = {}
    cameras: dict[str, Camera] = {}
    for field, spec in contract.observation.items():
        if _is_picture(spec):
            is_even = spec.shape[0] % 2 == 0 and spec.shape[1] % 2 == 0
            key = f'observation.images.{field}'
            cameras[field] = Camera(key, spec.shape, use_videos and is_even)
        elif _is_state(spec):
            state[field] = spec.shape[0]
        else:
            arrays[field] = f'observation.{field}'
    return Layout(tuple(contract.observation), state, arrays, cameras)


def features(layout: Layout, contract: RobotContract, columns: dict[str, Array]) -> dict[str, Any]:
    """Describe all columns and videos as info.json does."""
    names = _names(layout, contract)
    result: dict[str, Any] = {}
    for camera in layout.cameras.values():
        result[camera.key] = {
            'dtype': 'video' if camera.is_video else 'image',
            'shape': [*camera.shape[:2], 3],
            'names': ['height', 'width', 'channels'],
        }
    for key, values in columns.items():
        shape = list(values.shape[1:]) or [1]
        result[key] = {'dtype': str(values.dtype), 'shape': shape, 'names': names.get(key)}
    for key, dtype in _DEFAULTS.items():
        result[key] = {'dtype': dtype, 'shape': [1], 'names': None}
    return result


def component_names(field: str, spec: ObservationField) -> list[str]:
    """Name the components of a vector: 'pose.x', 'joint_position.wheel_left_joint'."""
    part = spec.part or default_part(spec.type)
    own = spec.names or _PART_NAMES.get(part, ())
    if len(own) != spec.shape[0]:
        own = tuple(str(index) for index in range(spec.shape[0]))
    return [f'{field}.{name}' for name in own]


def _names(layout: Layout, contract: RobotContract) -> dict[str, list[str]]:
    observation = contract.observation
    state = [n for field in layout.state for n in component_names(field, observation[field])]
    action = [
        f'{name}.{component}' if len(contract.learned_actions) > 1 else component
        for name, spec in contract.learned_actions.items()
        for component in spec.components
    ]
    fields = list(observation)
    return {
        STATE: state,
        'action': action,
        'commanded': action,
        'present': fields,
        'field_stamp_ns': fields,
    }


def _is_picture(spec: ObservationField) -> bool:
    return spec.dtype == 'uint8' and len(spec.shape) == 3 and spec.shape[2] in (1, 3)


def _is_state(spec: ObservationField) -> bool:
    is_short = len(spec.shape) == 1 and spec.shape[0] <= _LONGEST_STATE
    return spec.dtype == 'float32' and is_short and not spec.type.endswith('LaserScan')
