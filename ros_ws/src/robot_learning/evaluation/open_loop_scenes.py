"""Camera frames and lidar scans at moments of an open-loop run: what was seen and imagined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from robot_learning.evaluation.figures import BLUE, INK, MUTED, ORANGE
from robot_learning.evaluation.open_loop import OpenLoop

Array = np.ndarray[Any, Any]
DrawStep = Callable[[int], None]

_VIEW_M = (1.0, 8.0)  # Of a lidar drawing's radius.


class Lidar(NamedTuple):
    """How closeness becomes distance."""

    edges: Array  # [sectors + 1], radians, counter-clockwise, 0 is ahead.
    scale_m: float
    rim_m: float


class Pictures:
    """Camera frames, seen above imagined."""

    height = 2.9

    def __init__(self, run: OpenLoop, name: str, title: str):
        self.title = title
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
                wipe(axes)
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

    def __init__(self, run: OpenLoop, name: str, title: str, lidar: Lidar):
        self._run, self._lidar = run, lidar
        self._seen = self._distance(run.observed[name])
        self._imagined = self._distance(run.predicted[name])
        self._radius = float(np.clip(np.quantile(self._seen, 0.9), *_VIEW_M))
        self._is_half = lidar.edges[-1] - lidar.edges[0] < 1.2 * np.pi
        if self._is_half:
            self.height = 1.6
        self.title = (
            f'{title}: free space around the robot, ahead is up, shown to {self._radius:.1f} m'
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
            wipe(left)
            wipe(right)
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


def wipe(axes: Axes) -> None:
    """Remove what is drawn but not the axes' ticks: making those anew took half of a film."""
    for artist in [*axes.lines, *axes.patches, *axes.images, *axes.texts]:
        artist.remove()


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


def _side(axes: Axes, text: str, color: str) -> None:
    axes.set_ylabel(text, color=color, fontsize=10)


def _moment(run: OpenLoop, moment: int) -> str:
    ahead = moment - run.num_context + 1
    return 'last seen' if ahead == 0 else f'+{ahead}'
