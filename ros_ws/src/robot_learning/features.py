"""From contract fields to the vector a policy sees. The same code trains and serves.

Kinds of feature, each with the fields it reads:

- `clearance` (scan): beams min-pooled to `size` sectors, as scale / (scale + distance);
  1 touches the robot's rim, 0 is free space. Min-pooling keeps thin obstacles that
  single beams would miss.
- `goal_polar` (pose, goal): closeness of the goal, cosine and sine of its bearing. [4]
- `pose` (pose): x and y divided by `scale`, cosine and sine of yaw. [4]
- `vector` (field): the field divided by `scale`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from robot_learning.contract import Feature, RobotContract
from robot_learning.errors import ContractError
from robot_learning.registry import Registry

Array = np.ndarray[Any, Any]
BatchFunction = Callable[[Mapping[str, Array]], Array]
FEATURES: Registry[Callable[[Feature, RobotContract], BatchFunction]] = Registry('feature')


class FeatureBuilder:
    """Concatenates the contract's features; [N, D] float32 from fields [N, ...]."""

    def __init__(self, contract: RobotContract):
        if not contract.features:
            raise ContractError(
                f'{contract.robot}: lists no features, a policy needs at least one. '
                f'Add a "features" block to the contract.'
            )
        self.fields = tuple(dict.fromkeys(f for spec in contract.features for f in spec.fields))
        self._blocks = [FEATURES.get(spec.kind)(spec, contract) for spec in contract.features]
        example = {
            name: np.zeros((1, *contract.observation[name].shape), np.float32)
            for name in self.fields
        }
        self.size = self.build_batch(example).shape[1]

    def build(self, observation: Mapping[str, Array]) -> Array:
        """Return the policy input [D] of one observation."""
        return self.build_batch({name: observation[name][None] for name in self.fields})[0]

    def build_batch(self, observations: Mapping[str, Array]) -> Array:
        """Return policy inputs [N, D] of fields [N, ...]."""
        blocks = [block(observations) for block in self._blocks]
        return np.concatenate(blocks, axis=1).astype(np.float32, copy=False)


@FEATURES.register('clearance')
def _clearance(spec: Feature, contract: RobotContract) -> BatchFunction:
    (name,) = spec.fields
    scan = contract.observation[name]
    beams, sectors = scan.shape[0], spec.size or 36
    if beams % sectors:
        raise ContractError(
            f'feature clearance: {beams} beams do not split into {sectors} sectors. '
            f'Choose a size that divides {beams}.'
        )
    far = scan.range_max or 3.5
    near = spec.parameters.get('rim_m', 0.0)
    scale = spec.parameters.get('scale_m', 0.5)

    def build(observations: Mapping[str, Array]) -> Array:
        ranges = observations[name]
        nearest = np.fmin(ranges, np.float32(far))  # inf and NaN mean: nothing in range.
        nearest = nearest.reshape(len(ranges), sectors, -1).min(axis=2)
        distance = np.maximum(nearest - np.float32(near), 0)
        return np.float32(scale) / (np.float32(scale) + distance)

    return build


@FEATURES.register('goal_polar')
def _goal_polar(spec: Feature, contract: RobotContract) -> BatchFunction:
    pose_name, goal_name = spec.fields
    scale = spec.parameters.get('scale_m', 1.0)
    far = spec.parameters.get('far_m', 5.0)

    def build(observations: Mapping[str, Array]) -> Array:
        pose, goal = observations[pose_name], observations[goal_name]
        offset = goal[:, :2] - pose[:, :2]
        distance = np.hypot(offset[:, 0], offset[:, 1])
        bearing = np.arctan2(offset[:, 1], offset[:, 0]) - pose[:, 2]
        return np.stack(
            [scale / (scale + distance), distance / far, np.cos(bearing), np.sin(bearing)], axis=1
        )

    return build


@FEATURES.register('pose')
def _pose(spec: Feature, contract: RobotContract) -> BatchFunction:
    (name,) = spec.fields
    scale = spec.parameters.get('scale_m', 1.0)

    def build(observations: Mapping[str, Array]) -> Array:
        pose = observations[name]
        return np.stack(
            [pose[:, 0] / scale, pose[:, 1] / scale, np.cos(pose[:, 2]), np.sin(pose[:, 2])],
            axis=1,
        )

    return build


@FEATURES.register('vector')
def _vector(spec: Feature, contract: RobotContract) -> BatchFunction:
    (name,) = spec.fields
    scale = np.asarray(spec.scale or 1.0, np.float32)

    def build(observations: Mapping[str, Array]) -> Array:
        value = observations[name]
        return value.reshape(len(value), -1) / scale

    return build
