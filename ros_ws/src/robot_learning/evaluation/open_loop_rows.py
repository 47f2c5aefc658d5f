"""One row of an open-loop picture per block: how seen and imagined are drawn for people.

A strip shows a few moments side by side, a film one step after the other. Blue is what was seen,
orange what was imagined; grey is the context, which the model was shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from matplotlib.axes import Axes

from robot_learning.contract import Feature, ObservationField, RobotContract
from robot_learning.evaluation.figures import BLUE, INK, MUTED, ORANGE
from robot_learning.evaluation.open_loop import OpenLoop
from robot_learning.features import FeatureBuilder

Array = np.ndarray[Any, Any]
DrawStep = Callable[[int], None]

_MOST_CURVES = 6  # Components drawn as curves; wider blocks become images.
_CONTEXT_COLOR = '#eef0f4'
_VIEW_M = (1.0, 8.0)  # Of a lidar drawing's radius.
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
    if name.startswith('image/'):
        return Pictures(run, name)
    if feature is not None and contract is not None:
        field = contract.observation[feature.fields[0]]
        if feature.kind == 'clearance' and field.angle_min is not None:
            return Fans(run, name, _lidar(feature, field))
        if feature.kind == 'pose':
            return Path(run, name, feature.parameters.get('scale_m', 1.0))
        if feature.kind == 'vector' and run.predicted[name].shape[1] <= _MOST_CURVES:
            return Curves(run, name, *_components(feature, field))
    if run.predicted[name].shape[1] <= _MOST_CURVES:
        labels = [f'component {index}' for index in range(run.predicted[name].shape[1])]
        return Curves(run, name, labels, np.ones(len(labels)))
    return Heat(run, name)


class Lidar(NamedTuple):
    """How closeness becomes distance."""

    edges: Array  # [sectors + 1], radians, counter-clockwise, 0 is ahead.
    scale_m: float
    rim_m: float


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


class Pictures:
    """Camera frames, seen above imagined."""

    height = 2.9

    def __init__(self, run: OpenLoop, name: str):
        self.title = f'{_readable(name)}'
        self._run, self._name = run, name

    def strip(self, figure: Any, moments: Sequence[int]) -> None:
        """Draw two lines of frames."""
        axes = figure.subplots(2, len(moments), squeeze=False)
        for column, moment in enumerate(moments):
            _picture(axes[0, column], self._seen(moment), BLUE)
            _picture(axes[1, column], self._imagined(moment), ORANGE)
            axes[0, column].set_title(_moment(self._run, moment), fontsize=9, color=MUTED)
        _side(axes[0, 0], 'seen', BLUE)
        _side(axes[1, 0], 'imagined', ORANGE)

    def film(self, figure: Any) -> DrawStep:
        """Draw one frame beside the other."""
        left, right = figure.subplots(1, 2)

        def draw(step: int) -> None:
            for axes, frame, label, color in (
                (left, self._seen(step), 'seen', BLUE),
                (right, self._imagined(step), 'imagined', ORANGE),
            ):
                axes.clear()
                _picture(axes, frame, color)
                axes.set_title(label, fontsize=10, color=color)

        return draw

    def _seen(self, step: int) -> Array:
        return np.asarray(self._run.observed[self._name][step])

    def _imagined(self, step: int) -> Array | None:
        ahead = step - self._run.num_context
        return self._run.predicted[self._name][ahead] if ahead >= 0 else None


class Fans:
    """A scan from above: the robot in the middle, ahead is up, free space is filled."""

    height = 1.8

    def __init__(self, run: OpenLoop, name: str, lidar: Lidar):
        self._run, self._lidar = run, lidar
        self._seen = self._distance(run.observed[name])
        self._imagined = self._distance(run.predicted[name])
        self._radius = float(np.clip(np.quantile(self._seen, 0.9), *_VIEW_M))
        self._is_half = lidar.edges[-1] - lidar.edges[0] < 1.2 * np.pi
        if self._is_half:
            self.height = 1.6
        self.title = (
            f'{_readable(name)}: free space around the robot, ahead is up, '
            f'shown to {self._radius:.1f} m'
        )

    def strip(self, figure: Any, moments: Sequence[int]) -> None:
        """Draw the imagined outline over the seen area."""
        row = figure.subplots(1, len(moments), squeeze=False)[0]
        for axes, moment in zip(row, moments, strict=True):
            self._fan(axes, self._seen[moment], BLUE, filled=True)
            if moment >= self._run.num_context:
                ahead = self._imagined[moment - self._run.num_context]
                self._fan(axes, ahead, ORANGE, filled=False)
            self._frame(axes)
            axes.set_title(_moment(self._run, moment), fontsize=9, color=MUTED)

    def film(self, figure: Any) -> DrawStep:
        """Draw seen and imagined, the seen outline over the latter."""
        left, right = figure.subplots(1, 2)

        def draw(step: int) -> None:
            left.clear()
            right.clear()
            self._fan(left, self._seen[step], BLUE, filled=True)
            if step >= self._run.num_context:
                ahead = self._imagined[step - self._run.num_context]
                self._fan(right, ahead, ORANGE, filled=True)
                self._fan(right, self._seen[step], BLUE, filled=False)
            else:
                _watching(right)
            for axes, label, color in (
                (left, 'seen', BLUE),
                (right, 'imagined (blue line: seen)', ORANGE),
            ):
                self._frame(axes, axes is left or step >= self._run.num_context)
                axes.set_title(label, fontsize=10, color=color)

        return draw

    def _distance(self, closeness: Array) -> Array:
        scale, rim = self._lidar.scale_m, self._lidar.rim_m
        return np.asarray(scale / np.clip(closeness, 1e-3, 1.0) - scale + rim)

    def _fan(self, axes: Axes, distance: Array, color: str, filled: bool) -> None:
        angles = np.repeat(self._lidar.edges, 2)[1:-1]
        radii = np.repeat(np.minimum(distance, self._radius), 2)
        x, y = -radii * np.sin(angles), radii * np.cos(angles)
        if self._is_half:
            x, y = np.concatenate([[0], x, [0]]), np.concatenate([[0], y, [0]])
        if filled:
            axes.fill(x, y, facecolor=color, alpha=0.28, edgecolor=color, linewidth=0.8)
        else:
            axes.plot(x, y, color=color, linewidth=1.5)

    def _frame(self, axes: Axes, with_robot: bool = True) -> None:
        if with_robot:
            size = 0.05 * self._radius
            axes.fill([-size, 0, size], [-size, 1.6 * size, -size], color=INK)
        reach = 1.04 * self._radius
        axes.set(xlim=(-reach, reach), ylim=(-0.12 * reach if self._is_half else -reach, reach))
        axes.set_aspect('equal')
        axes.set_axis_off()


class Path:
    """Where the robot was: a map, and how far imagination was off."""

    height = 3.0

    def __init__(self, run: OpenLoop, name: str, scale_m: float):
        self.title = f'{_readable(name)}: the path driven'
        self._run = run
        self._seen = run.observed[name][:, :2] * scale_m
        self._imagined = run.predicted[name][:, :2] * scale_m
        later = self._seen[run.num_context :]
        self._off = np.linalg.norm(self._imagined - later, axis=1)
        self._still = np.linalg.norm(self._seen[run.num_context - 1] - later, axis=1)

    def strip(self, figure: Any, moments: Sequence[int]) -> None:
        """Draw all of it."""
        self.film(figure)(len(self._seen) - 1)

    def film(self, figure: Any) -> DrawStep:
        """Draw paths so far, and errors so far."""
        map_axes, error_axes = figure.subplots(1, 2)

        def draw(step: int) -> None:
            map_axes.clear()
            error_axes.clear()
            self._draw_map(map_axes, step)
            self._draw_error(error_axes, step)
            _legend(figure, map_axes)

        return draw

    def _draw_map(self, axes: Axes, step: int) -> None:
        start, ahead = self._run.num_context - 1, step - self._run.num_context + 1
        axes.plot(*self._seen[: step + 1].T, color=BLUE, label='seen')
        axes.plot(*self._seen[: min(step, start) + 1].T, color=MUTED, label='context')
        dashed = {'color': ORANGE, 'linestyle': '--', 'label': 'imagined'}
        imagined = np.concatenate([self._seen[start : start + 1], self._imagined])
        axes.plot(*imagined[: max(ahead, 0) + 1].T, **dashed)
        axes.plot(*self._seen[step], 'o', color=BLUE, markersize=5)
        if ahead > 0:
            axes.plot(*imagined[ahead], 'o', color=ORANGE, markersize=5)
        everything = np.concatenate([self._seen, self._imagined])
        middle = (everything.min(0) + everything.max(0)) / 2
        reach = 0.56 * max(float(np.ptp(everything, axis=0).max()), 0.2)
        axes.set(xlim=middle[0] + np.array([-reach, reach]), xlabel='x (m)', ylabel='y (m)')
        axes.set_ylim(*(middle[1] + np.array([-reach, reach])))
        axes.set_aspect('equal')

    def _draw_error(self, axes: Axes, step: int) -> None:
        steps = np.arange(1, self._run.horizon + 1)
        known = max(step - self._run.num_context + 1, 0)
        axes.plot(steps[:known], self._still[:known], color=MUTED, label='robot stands still')
        axes.plot(steps[:known], self._off[:known], color=ORANGE, label='imagined')
        top = 1.5 * max(self._still.max(), self._off.max(), 1e-3)
        axes.set(xlim=(0, self._run.horizon), ylim=(0, top))
        axes.set(xlabel='steps imagined', ylabel='off by (m)')
        axes.legend(loc='upper left', fontsize=9)


class Curves:
    """A few numbers over time, each in axes of its own."""

    height = 2.1

    def __init__(self, run: OpenLoop, name: str, labels: Sequence[str], scale: Array):
        self.title = _readable(name)
        self._run, self._labels = run, labels
        self._seen, self._imagined = run.observed[name] * scale, run.predicted[name] * scale

    def strip(self, figure: Any, moments: Sequence[int]) -> None:
        """Draw all of it."""
        self.film(figure)(len(self._seen) - 1)

    def film(self, figure: Any) -> DrawStep:
        """Draw curves so far."""
        row = figure.subplots(1, len(self._labels), squeeze=False)[0]

        def draw(step: int) -> None:
            for index, axes in enumerate(row):
                axes.clear()
                self._draw(axes, index, step)
            _legend(figure, row[0])

        return draw

    def _draw(self, axes: Axes, index: int, step: int) -> None:
        context, steps = self._run.num_context, np.arange(len(self._seen))
        steps = steps - context + 1  # 0 is the last step seen.
        axes.axvspan(steps[0], 0, color=_CONTEXT_COLOR, zorder=0, label='context')
        axes.plot(steps[: step + 1], self._seen[: step + 1, index], color=BLUE, label='seen')
        known = max(step - context + 1, 0)
        axes.plot(
            steps[context:][:known],
            self._imagined[:known, index],
            color=ORANGE,
            linestyle='--',
            label='imagined',
        )
        both = np.concatenate([self._seen[:, index], self._imagined[:, index]])
        margin = 0.08 * float(np.ptp(both)) + 1e-3
        axes.set(xlim=(steps[0], steps[-1]), ylim=(both.min() - margin, both.max() + margin))
        axes.set_title(self._labels[index], fontsize=10, color=INK)
        axes.set_xlabel('step')


class Heat:
    """Many numbers over time as an image each."""

    height = 2.6

    def __init__(self, run: OpenLoop, name: str):
        self.title = name
        self._run = run
        self._seen = run.observed[name]
        self._imagined = np.full_like(self._seen, np.nan)
        self._imagined[run.num_context :] = run.predicted[name]

    def strip(self, figure: Any, moments: Sequence[int]) -> None:
        """Draw all of it."""
        self.film(figure)(len(self._seen) - 1)

    def film(self, figure: Any) -> DrawStep:
        """Draw what is known so far."""
        upper, lower = figure.subplots(2, 1, sharex=True)
        low, high = float(self._seen.min()), float(self._seen.max())

        def draw(step: int) -> None:
            for axes, values, label, color in (
                (upper, self._seen, 'seen', BLUE),
                (lower, self._imagined, 'imagined', ORANGE),
            ):
                axes.clear()
                known = np.where(np.arange(len(values))[:, None] <= step, values, np.nan)
                first = 0.5 - self._run.num_context
                extent = (first, first + len(values), len(values[0]) - 0.5, -0.5)
                axes.imshow(
                    known.T, aspect='auto', vmin=low, vmax=high, extent=extent,
                    interpolation='nearest',
                )  # fmt: skip
                axes.axvline(0.5, color=INK, linewidth=1)
                axes.set_ylabel(label, color=color)
                axes.grid(visible=False)
            lower.set_xlabel('step')

        return draw


def _picture(axes: Axes, frame: Array | None, color: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    if frame is None:
        _watching(axes)
        axes.set_aspect('equal')
        color = MUTED
    else:
        axes.imshow(np.clip(frame.squeeze(), 0, 1), cmap='gray', interpolation='nearest')
    for spine in axes.spines.values():
        spine.set(visible=True, color=color, linewidth=1.6)


def _watching(axes: Axes) -> None:
    """Say that nothing is imagined yet."""
    axes.text(
        0.5, 0.5, 'context:\nthe model\nonly watches', transform=axes.transAxes,
        ha='center', va='center', fontsize=8, color=MUTED,
    )  # fmt: skip


def _legend(figure: Any, axes: Axes) -> None:
    """Explain the lines of these axes beside the row's title, once."""
    if not figure.legends:
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc='upper right', fontsize=9, ncols=len(labels))


def _side(axes: Axes, text: str, color: str) -> None:
    axes.set_ylabel(text, color=color, fontsize=10)


def _moment(run: OpenLoop, moment: int) -> str:
    ahead = moment - run.num_context + 1
    return 'last seen' if ahead == 0 else f'+{ahead}'
