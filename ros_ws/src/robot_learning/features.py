"""From contract fields to the vector a policy sees. The same code trains and serves.

Kinds of feature, each with the fields it reads:

- `clearance` (scan): beams min-pooled to `size` sectors, as scale / (scale + distance);
  1 touches the robot's rim, towards 0 is free space. Min-pooling keeps thin obstacles that
  single beams would miss. +inf is free space; NaN beams are passed over, but a sector of
  nothing else is NaN: unknown is not free.
- `goal_polar` (pose, goal): closeness of the goal, its distance, cosine and sine of its
  bearing. [4]
- `pose` (pose): x and y divided by `scale_m`, cosine and sine of yaw. [4]
- `vector` (field): the field divided by `scale`.

A NaN in any other field stays NaN in the features, so that whoever acts on them can refuse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from robot_learning.config import KeyPath
from robot_learning.contract import Feature, ObservationField, RobotContract
from robot_learning.errors import ContractError
from robot_learning.message_types import PARTS, default_part
from robot_learning.registry import Registry

Array = np.ndarray[Any, Any]
_LARGEST_INPUT = 2**18  # Values of a field; a lidar of 128 rows has as many.
Block = Callable[[Mapping[str, Array], Array], None]  # Fields [N, ...] into out [N, size].


class FeatureKind(NamedTuple):
    """How one kind of feature is checked and computed."""

    inputs: tuple[str, ...]  # What each field must be: 'line' ([beams]), 'pose2d' or 'any'.
    parameters: Mapping[str, float]  # Names with their defaults.
    uses: tuple[str, ...]  # Which of `size` and `scale` it reads.
    size: Callable[[Feature, Mapping[str, ObservationField]], int]
    make: Callable[[Feature, RobotContract], Block]


FEATURES: Registry[FeatureKind] = Registry('feature')


class FeatureBuilder:
    """Concatenates the contract's features; [N, D] float32 from fields [N, ...]."""

    def __init__(self, contract: RobotContract):
        if not contract.features:
            raise ContractError(
                f'{contract.robot}: lists no features, a policy needs at least one. '
                f'Add a "features" block to the contract.'
            )
        self.fields = tuple(dict.fromkeys(f for spec in contract.features for f in spec.fields))
        self._blocks: list[tuple[slice, Block]] = []
        self.blocks: dict[str, slice] = {}  # '<kind>/<first field>' -> columns.
        self.size = 0
        for spec in contract.features:
            kind = FEATURES.get(spec.kind)
            size = kind.size(spec, contract.observation)
            columns = slice(self.size, self.size + size)
            self._blocks.append((columns, kind.make(spec, contract)))
            name = f'{spec.kind}/{spec.fields[0]}'
            self.blocks[name if name not in self.blocks else f'{name}/{self.size}'] = columns
            self.size += size

    def build(self, observation: Mapping[str, Array]) -> Array:
        """Return the policy input [D] of one observation; equals `build_batch` to the bit."""
        row: Array = self.build_batch({name: observation[name][None] for name in self.fields})[0]
        return row

    def build_batch(self, observations: Mapping[str, Array]) -> Array:
        """Return policy inputs [N, D] of fields [N, ...]."""
        result = np.empty((len(observations[self.fields[0]]), self.size), np.float32)
        for columns, block in self._blocks:
            block(observations, result[:, columns])
        return result


def problems(
    spec: Feature, observation: Mapping[str, ObservationField]
) -> Iterator[tuple[KeyPath, str]]:
    """Say what keeps a feature from being computed from these fields, key by key."""
    if spec.kind not in FEATURES:
        yield (
            ('kind',),
            f'found {spec.kind!r}, expected a kind of feature. Choose one of: '
            f'{", ".join(FEATURES)}.',
        )
        return
    kind = FEATURES.get(spec.kind)
    yield from _parameter_problems(spec, kind)
    if len(spec.fields) != len(kind.inputs):
        yield (
            ('fields',),
            f'found {list(spec.fields)}, expected {len(kind.inputs)} for {spec.kind}. '
            f'Correct the list.',
        )
        return
    inputs = [observation[name] for name in spec.fields]
    for name, field, wanted in zip(spec.fields, inputs, kind.inputs, strict=True):
        part = field.part or (default_part(field.type) if field.type in PARTS else '')
        if (wanted == 'pose2d' and part != 'pose2d') or (wanted == 'line' and field.shape[1:]):
            found = f'{part} {list(field.shape)}'
            expected = 'a pose2d' if wanted == 'pose2d' else 'a scan [beams]'
            yield (
                ('fields',),
                f'{name!r} is {found}, expected {expected} for {spec.kind}. Name another field.',
            )
        elif not field.required:
            yield (
                ('fields',),
                f'{name!r} may be missing (required: false), but a policy cannot act on a gap. '
                f'Set required: true, or leave the feature out.',
            )
    frames = {field.frame for field in inputs if field.frame}
    if len(frames) > 1:
        yield (
            ('fields',),
            f'found frames {", ".join(sorted(frames))}, expected one: positions of different '
            f'frames cannot be compared. Name fields of one frame.',
        )
    yield from _size_problems(spec, kind, inputs[0])


def _parameter_problems(spec: Feature, kind: FeatureKind) -> Iterator[tuple[KeyPath, str]]:
    for name, value in spec.parameters.items():
        if name not in kind.parameters:
            known = ', '.join(kind.parameters) or 'none'
            yield (
                ('parameters', name),
                f'unknown for {spec.kind}, which has: {known}. Remove it or correct its spelling.',
            )
        elif not math.isfinite(value) or value < 0 or (value == 0 and kind.parameters[name] > 0):
            at_least = '> 0' if kind.parameters[name] > 0 else '>= 0'
            yield ('parameters', name), f'found {value}, expected a number {at_least}. Correct it.'
    for key in ('size', 'scale'):
        if getattr(spec, key) is not None and key not in kind.uses:
            yield (key,), f'has no meaning for {spec.kind}. Remove it.'


def _size_problems(
    spec: Feature, kind: FeatureKind, field: ObservationField
) -> Iterator[tuple[KeyPath, str]]:
    if math.prod(field.shape) > _LARGEST_INPUT:
        yield (
            ('fields',),
            f'found a field of {math.prod(field.shape)} values, expected at most '
            f'{_LARGEST_INPUT}. Name a smaller field.',
        )
        return
    if 'size' in kind.uses and len(field.shape) == 1 and field.shape[0] % _sectors(spec):
        yield (
            ('size',),
            f'{field.shape[0]} beams do not split into {_sectors(spec)} sectors. '
            f'Choose a size that divides {field.shape[0]}.',
        )
    if 'scale' in kind.uses and spec.scale is not None:
        size = math.prod(field.shape)
        if len(spec.scale) not in (1, size) or not all(
            math.isfinite(value) and value > 0 for value in spec.scale
        ):
            yield (
                ('scale',),
                f'found {list(spec.scale)}, expected one or {size} finite numbers above 0. '
                f'Correct it.',
            )


# --- the kinds ---------------------------------------------------------------------------


def _sectors(spec: Feature) -> int:
    return spec.size or 36


def _parameter(spec: Feature, name: str) -> float:
    return spec.parameters.get(name, FEATURES.get(spec.kind).parameters[name])


def _clearance(spec: Feature, contract: RobotContract) -> Block:
    (name,) = spec.fields
    scan, sectors = contract.observation[name], _sectors(spec)
    far = np.float32(spec.parameters.get('far_m') or scan.range_max or 3.5)
    near = np.float32(_parameter(spec, 'rim_m'))
    scale = np.float32(_parameter(spec, 'scale_m'))

    def build(observations: Mapping[str, Array], out: Array) -> None:
        ranges = observations[name]
        beams = ranges.reshape(len(ranges), sectors, -1).transpose(2, 0, 1)
        # Copied so that it reduces over whole planes, 2 to 7 times faster. NaN: all beams are.
        nearest = np.fmin.reduce(np.ascontiguousarray(beams), axis=0)
        distance = np.minimum(nearest, far, dtype=np.float32, casting='same_kind')
        distance -= near
        np.maximum(distance, 0, out=distance)
        distance += scale
        np.divide(scale, distance, out=out)

    return build


def _goal_polar(spec: Feature, contract: RobotContract) -> Block:
    pose_name, goal_name = spec.fields
    scale, far = _parameter(spec, 'scale_m'), _parameter(spec, 'far_m')

    def build(observations: Mapping[str, Array], out: Array) -> None:
        pose, goal = observations[pose_name], observations[goal_name]
        dx, dy = goal[:, 0] - pose[:, 0], goal[:, 1] - pose[:, 1]
        distance = np.hypot(dx, dy)
        bearing = np.arctan2(dy, dx)
        bearing -= pose[:, 2]
        np.divide(scale, scale + distance, out=out[:, 0], casting='same_kind')
        np.divide(distance, far, out=out[:, 1], casting='same_kind')
        np.cos(bearing, out=out[:, 2], casting='same_kind')
        np.sin(bearing, out=out[:, 3], casting='same_kind')

    return build


def _pose(spec: Feature, contract: RobotContract) -> Block:
    (name,) = spec.fields
    scale = _parameter(spec, 'scale_m')

    def build(observations: Mapping[str, Array], out: Array) -> None:
        pose = observations[name]
        np.divide(pose[:, :2], scale, out=out[:, :2], casting='same_kind')
        np.cos(pose[:, 2], out=out[:, 2], casting='same_kind')
        np.sin(pose[:, 2], out=out[:, 3], casting='same_kind')

    return build


def _vector(spec: Feature, contract: RobotContract) -> Block:
    (name,) = spec.fields
    scale = np.asarray(spec.scale or 1.0, np.float32)

    def build(observations: Mapping[str, Array], out: Array) -> None:
        value = observations[name]
        np.divide(value.reshape(len(value), -1), scale, out=out, casting='same_kind')

    return build


FEATURES.register('clearance')(
    FeatureKind(
        inputs=('line',),
        parameters={'rim_m': 0.0, 'scale_m': 0.5, 'far_m': 3.5},
        uses=('size',),
        size=lambda spec, observation: _sectors(spec),
        make=_clearance,
    )
)
FEATURES.register('goal_polar')(
    FeatureKind(
        inputs=('pose2d', 'pose2d'),
        parameters={'scale_m': 1.0, 'far_m': 5.0},
        uses=(),
        size=lambda spec, observation: 4,
        make=_goal_polar,
    )
)
FEATURES.register('pose')(
    FeatureKind(
        inputs=('pose2d',),
        parameters={'scale_m': 1.0},
        uses=(),
        size=lambda spec, observation: 4,
        make=_pose,
    )
)
FEATURES.register('vector')(
    FeatureKind(
        inputs=('any',),
        parameters={},
        uses=('scale',),
        size=lambda spec, observation: math.prod(observation[spec.fields[0]].shape),
        make=_vector,
    )
)
