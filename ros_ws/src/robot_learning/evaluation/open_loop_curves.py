"""Numbers of an open-loop run over time: a path on a map, curves, images of many numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from robot_learning.evaluation.figures import BLUE, INK, MUTED, ORANGE
from robot_learning.evaluation.open_loop import OpenLoop
from robot_learning.evaluation.open_loop_scenes import wipe

Array = np.ndarray[Any, Any]
DrawStep = Callable[[int], None]

_CONTEXT_COLOR = '#eef0f4'


class Path:
    """Where the robot was: a map, and how far imagination was off."""

    height = 3.0

    def __init__(self, run: OpenLoop, name: str, title: str, scale_m: float):
        self.title = f'{title}: the path driven'
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
            wipe(map_axes)
            wipe(error_axes)
            self._draw_map(map_axes, step)
            self._draw_error(error_axes, step)
            _legend(figure, map_axes)

        return draw

    def _draw_map(self, axes: Axes, step: int) -> None:
        start, ahead = self._run.num_context - 1, step - self._run.num_context + 1
        axes.plot(*self._seen[: step + 1].T, color=BLUE, label='seen')
        axes.plot(*self._seen[: min(step, start) + 1].T, color=MUTED, label='context')
        dashed: Any = {'color': ORANGE, 'linestyle': '--', 'label': 'imagined'}
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

    def __init__(self, run: OpenLoop, name: str, title: str, labels: Sequence[str], scale: Array):
        self.title = title
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
                wipe(axes)
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
                wipe(axes)
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


def _legend(figure: Any, axes: Axes) -> None:
    """Explain the lines of these axes beside the row's title, once."""
    if not figure.legends:
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc='upper right', fontsize=9, ncols=len(labels))
