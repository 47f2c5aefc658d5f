"""Pictures of imagined futures beside real ones: a strip as PNG, a film as GIF."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from robot_learning import durable_files
from robot_learning.evaluation.figures import BLUE, MUTED, ORANGE, STYLE
from robot_learning.evaluation.open_loop import OpenLoop

Array = np.ndarray[Any, Any]

_FRAMES = 10  # Pictures side by side in a strip.
_MOST_LINES = 6  # Components of a block that are drawn as curves; wider blocks become images.
_FRAME_MS = 200


def write_strip(path: Path, run: OpenLoop, title: str) -> None:
    """Draw every block and image of one stretch over time, real beside imagined."""
    names = list(run.predicted)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 0.6 + 2.1 * len(names)), layout='constrained')
        figure.suptitle(title, color=MUTED)
        rows = figure.subfigures(len(names), 1, squeeze=False)
        for name, row in zip(names, rows[:, 0], strict=True):
            row.suptitle(name, x=0.01, ha='left', fontsize=10)
            if name.startswith('image/'):
                _draw_frames(row, run, name)
            elif run.predicted[name].shape[1] > _MOST_LINES:
                _draw_heat(row, run, name)
            else:
                _draw_curves(row.subplots(), run, name)
        durable_files.replace(path, _png(figure))


def write_film(path: Path, run: OpenLoop) -> None:
    """Write a GIF: seen, imagined and their difference, step by step."""
    with mpl.rc_context(STYLE):
        frames = [_film_frame(run, step) for step in range(run.num_context + run.horizon)]
    buffer = io.BytesIO()
    frames[0].save(
        buffer, 'GIF', save_all=True, append_images=frames[1:], duration=_FRAME_MS, loop=0
    )
    durable_files.replace(path, buffer.getvalue())


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=110)
    return buffer.getvalue()


def _draw_frames(row: Any, run: OpenLoop, name: str) -> None:
    steps = np.unique(np.linspace(0, run.horizon - 1, _FRAMES).astype(int))
    axes = row.subplots(2, len(steps), squeeze=False)
    truth = run.observed[name][run.num_context :]
    for column, step in enumerate(steps):
        for line, pictures in enumerate((truth, run.predicted[name])):
            axes[line, column].imshow(np.clip(pictures[step].squeeze(), 0, 1), cmap='gray')
            axes[line, column].set_axis_off()
        axes[0, column].set_title(f'{step + 1}', fontsize=8, color=MUTED)


def _draw_heat(row: Any, run: OpenLoop, name: str) -> None:
    """Components over time as two images: seen, and imagined behind the context."""
    upper, lower = row.subplots(2, 1, sharex=True)
    seen = run.observed[name]
    imagined = np.concatenate([seen[: run.num_context], run.predicted[name]])
    low, high = float(seen.min()), float(seen.max())
    for axes, values, label in ((upper, seen, 'seen'), (lower, imagined, 'imagined')):
        axes.imshow(values.T, aspect='auto', vmin=low, vmax=high, interpolation='nearest')
        axes.axvline(run.num_context - 0.5, color='white', linewidth=1)
        axes.set_ylabel(label)
        axes.grid(False)
    lower.set_xlabel('step')


def _draw_curves(axes: Axes, run: OpenLoop, name: str) -> None:
    seen, imagined = run.observed[name], run.predicted[name]
    steps = np.arange(len(seen))
    for component in range(seen.shape[1]):
        axes.plot(steps, seen[:, component], color=BLUE, linewidth=1.4)
        later = steps[run.num_context :]
        axes.plot(later, imagined[:, component], color=ORANGE, linewidth=1.4, linestyle='--')
    axes.axvline(run.num_context - 0.5, color=MUTED, linewidth=0.8)
    axes.plot([], [], color=BLUE, label='seen')
    axes.plot([], [], color=ORANGE, linestyle='--', label='imagined')
    axes.legend(loc='upper right', fontsize=8)
    axes.set_xlabel('step')


def _film_frame(run: OpenLoop, step: int) -> Image.Image:
    names = list(run.predicted)
    figure = Figure(figsize=(7.2, 0.4 + 1.9 * len(names)), layout='constrained')
    FigureCanvasAgg(figure)
    imagines = step >= run.num_context
    figure.suptitle(
        f'step {step - run.num_context + 1} of {run.horizon} from actions alone'
        if imagines
        else f'context, step {step + 1} of {run.num_context}',
        color=MUTED,
    )
    axes = figure.subplots(len(names), 2, squeeze=False)
    for name, pair in zip(names, axes, strict=True):
        seen = run.observed[name][step]
        guess = run.predicted[name][step - run.num_context] if imagines else seen
        _film_row(pair, run, name, seen, guess)
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=70)
    return Image.open(buffer).convert('P', palette=Image.Palette.ADAPTIVE, colors=64)


def _film_row(pair: Any, run: OpenLoop, name: str, seen: Array, guess: Array) -> None:
    for axes, values, label in ((pair[0], seen, 'seen'), (pair[1], guess, 'imagined')):
        axes.set_title(f'{name}, {label}', fontsize=8, color=MUTED)
        if name.startswith('image/'):
            axes.imshow(np.clip(values.squeeze(), 0, 1), cmap='gray')
            axes.set_axis_off()
            continue
        low, high = float(run.observed[name].min()), float(run.observed[name].max())
        colour = BLUE if label == 'seen' else ORANGE
        axes.bar(np.arange(len(values)), values, color=colour, width=0.9)
        axes.set_ylim(min(low, 0) - 0.05, max(high, 0) + 0.05)
        axes.tick_params(labelsize=7)
