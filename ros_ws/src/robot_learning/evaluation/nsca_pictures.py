"""Pictures of what NSCA learned: a map of latents, retrieval, reliability, imagined futures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from robot_learning.evaluation.figures import BLUE, GREEN, MUTED, ORANGE, RED, STYLE

Array = np.ndarray[Any, Any]
_MOST_CLASSES = 10  # That have a colour of their own.
_MOST_POINTS = 600


def embedding_map(latents: Array, labels: Array, classes: Sequence[str]) -> bytes:
    """Draw [N, D] latents on their two main axes, coloured by class; PNG."""
    centred = latents - latents.mean(0)
    _, values, axes_ = np.linalg.svd(centred, full_matrices=False)
    places = (centred @ axes_[:2].T)[:_MOST_POINTS]
    shares = values**2 / max(float((values**2).sum()), 1e-12)
    labels = labels[:_MOST_POINTS]
    names, counts = np.unique(labels, return_counts=True)
    shown = names[np.argsort(-counts)][:_MOST_CLASSES]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.4), layout='constrained')
        axes = figure.subplots()
        is_other = ~np.isin(labels, shown)
        axes.scatter(places[is_other, 0], places[is_other, 1], s=9, color='#c9ced8')
        colours = mpl.colormaps['tab10']
        for number, name in enumerate(shown):
            label = classes[name] if 0 <= name < len(classes) else 'no class'
            x, y = places[labels == name].T
            axes.scatter(x, y, s=14, color=colours(number), label=label)
        axes.set(
            xlabel=f'first axis, {shares[0]:.0%} of the variance',
            ylabel=f'second axis, {shares[1]:.0%}' if len(shares) > 1 else '',
        )
        if len(shown) > 1:
            axes.legend(fontsize=8, loc='center left', bbox_to_anchor=(1.0, 0.5))
        return _png(figure)


def retrieval_sheet(
    queries: Sequence[Array], found: Sequence[Sequence[Array]], is_right: Sequence[Sequence[bool]]
) -> bytes:
    """Draw pictures [H, W, 3] uint8, and beside each what is nearest, best first; PNG.

    Frames are green where what was found is right, red where it is not.
    """
    rows, columns = len(queries), 1 + max(len(line) for line in found)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.2 * columns, 1.25 * rows), layout='constrained')
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for line, (query, results, rights) in enumerate(
            zip(queries, found, is_right, strict=True)
        ):
            grid[line, 0].imshow(query)
            for place, (image, right) in enumerate(zip(results, rights, strict=True), start=1):
                axes = grid[line, place]
                axes.imshow(image)
                axes.set_axis_on()
                axes.set(xticks=[], yticks=[])
                axes.grid(False)
                for spine in axes.spines.values():
                    spine.set(visible=True, color=GREEN if right else RED, linewidth=2.5)
        return _png(figure)


def reliability_curve(expected: Array, observed: Array, error: float) -> bytes:
    """Draw how many truths lie inside intervals that should hold a given share; PNG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4, 4.0), layout='constrained')
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle='--', label='honest')
        axes.plot(expected, observed, color=BLUE, marker='o', markersize=3.5, label='measured')
        axes.set(
            xlim=(0, 1),
            ylim=(0, 1),
            xlabel='share that should lie inside',
            ylabel='share that lies inside',
            title=f'calibration error {error:.3f}',
        )
        axes.legend()
        return _png(figure)


def imagined_beside_real(real: Array, mean: Array, std: Array, begin: int) -> bytes:
    """Draw the numbers of a state that move most, as they went and as they were imagined; PNG.

    Args:
        real: [T, S].
        mean: [H, S], from step `begin` + 1 on.
        std: [H, S].
        begin: step from which was imagined.
    """
    chosen = np.argsort(-real.std(0))[:4]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.4), layout='constrained')
        for axes, number in zip(figure.subplots(2, 2).flat, chosen, strict=False):
            steps = np.arange(begin + 1, begin + 1 + len(mean))
            low, high = mean[:, number] - 2 * std[:, number], mean[:, number] + 2 * std[:, number]
            axes.fill_between(steps, low, high, color=ORANGE, alpha=0.2, linewidth=0)
            axes.plot(np.arange(len(real)), real[:, number], color=BLUE, label='real')
            axes.plot(steps, mean[:, number], color=ORANGE, label='imagined, 2 std')
            axes.axvline(begin, color=MUTED, linewidth=1)
            axes.set_title(f'number {number} of the state', fontsize=9)
        figure.axes[0].legend(fontsize=8)
        return _png(figure)


def errors_by_horizon(own: Array, persistence: Array) -> bytes:
    """Draw mean squared errors [H] of imagined states beside those of standing still; PNG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 3.4), layout='constrained')
        axes = figure.subplots()
        steps = np.arange(1, len(own) + 1)
        axes.plot(steps, persistence, color=MUTED, label='nothing changes')
        axes.plot(steps, own, color=BLUE, marker='o', markersize=3.5, label='imagined')
        axes.set(xlabel='steps ahead', ylabel='mean squared error', ylim=(0, None))
        axes.legend()
        return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=110)
    return buffer.getvalue()
