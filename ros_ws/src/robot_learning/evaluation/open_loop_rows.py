"""One row of an open-loop picture per block: how seen and imagined are drawn for people.

A strip shows a few moments side by side, a film one step after the other. Blue is what was seen,
orange what was imagined; grey is the context, which the model was shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from robot_learning.contract import Feature, ObservationField, RobotContract
from robot_learning.evaluation.open_loop import OpenLoop
from robot_learning.evaluation.open_loop_curves import Curves, Heat, Path
from robot_learning.evaluation.open_loop_scenes import Fans, Lidar, Pictures
from robot_learning.features import FeatureBuilder

Array = np.ndarray[Any, Any]
DrawStep = Callable[[int], None]

_MOST_CURVES = 6  # Components drawn as curves; wider blocks become images.
_GOAL = ('closeness', 'distance', 'cosine of bearing', 'sine of bearing')
_NAMES = {'twist2d': ('forward speed', 'yaw rate'), 'pose2d': ('x', 'y', 'yaw')}


class Row(Protocol):
    """Draws one block of one stretch."""

    height: float  # Inches.
    title: str

    def strip(self, figure: Any, moments: Sequence[int]) -> None:
        """Draw moments (steps of the stretch, the first one is the last step seen)."""

    def film(self, figure: Any) -> DrawStep:
        """Make axes and return what draws a step into them."""


def rows_of(run: OpenLoop, contract: RobotContract | None) -> list[Row]:
    """Return a row per block and image; without a contract, in the features' own units."""
    features: dict[str, Feature] = {}
    if contract is not None and contract.features:
        blocks = FeatureBuilder(contract).blocks
        features = dict(zip(blocks, contract.features, strict=True))
    return [_row(run, name, features.get(name), contract) for name in run.predicted]


def _row(run: OpenLoop, name: str, feature: Feature | None, contract: RobotContract | None) -> Row:
    title, size = _readable(name), run.predicted[name].shape[1]
    if name.startswith('image/'):
        return Pictures(run, name, title)
    if feature is not None and contract is not None:
        field = contract.observation[feature.fields[0]]
        if feature.kind == 'clearance' and field.angle_min is not None:
            return Fans(run, name, title, _lidar(feature, field))
        if feature.kind == 'pose':
            return Path(run, name, title, feature.parameters.get('scale_m', 1.0))
        if feature.kind == 'vector' and size <= _MOST_CURVES:
            return Curves(run, name, title, *_components(feature, field))
        if feature.kind == 'goal_polar':
            return Curves(run, name, 'goal, from the robot', _GOAL, np.ones(size))
    if size <= _MOST_CURVES:
        labels = [f'component {index}' for index in range(size)]
        return Curves(run, name, title, labels, np.ones(len(labels)))
    return Heat(run, name)


def _lidar(feature: Feature, field: ObservationField) -> Lidar:
    low, high = field.angle_min or 0.0, field.angle_max or 2 * np.pi
    half_beam = 0.5 * (high - low) / max(field.shape[0] - 1, 1)
    edges = np.linspace(low - half_beam, high + half_beam, (feature.size or 36) + 1)
    parameters = feature.parameters
    return Lidar(edges, parameters.get('scale_m', 0.5), parameters.get('rim_m', 0.0))


def _components(feature: Feature, field: ObservationField) -> tuple[list[str], Array]:
    """Return labels with units, and what features are multiplied by."""
    size = int(np.prod(field.shape))
    names = _NAMES.get(field.part or '', ())
    units = [field.unit] * size if isinstance(field.unit, str) else field.unit
    labels = [
        f'{names[i] if i < len(names) else f"component {i}"} ({units[i] or "no unit"})'
        for i in range(size)
    ]
    return labels, np.broadcast_to(np.asarray(feature.scale or 1.0, float), (size,))


def _readable(name: str) -> str:
    kind, _, field = name.partition('/')
    return field.split('/')[0] if field else kind
