"""What an AIME model makes of video: drawn again, shared out among slots, foreseen, sorted."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from robot_learning import durable_files
from robot_learning.evaluation.figures import INK, MUTED, STYLE

Array = np.ndarray[Any, Any]
_MOST_COLUMNS = 10
_DPI = 110
_COMPONENTS = mpl.colormaps['tab20']


def write_attention(path: Path, frames: Array, drawn: Array, attention: Array) -> None:
    """Draw frames, what the model draws of them, and which places each slot took.

    Args:
        path: of the PNG.
        frames: [N, 3, S, S] in [0, 1].
        drawn: likewise, by the model.
        attention: [N, K, P], shares of each place.
    """
    side = round(attention.shape[-1] ** 0.5)
    maps = attention.reshape(*attention.shape[:2], side, side)
    rows = [('seen', _pictures(frames)), ('drawn', _pictures(drawn))]
    times = frames.shape[-1] // side
    for slot in range(maps.shape[1]):
        large = maps[:, slot].repeat(times, 1).repeat(times, 2)[..., None]  # [N, S, S, 1]
        rows.append((f'slot {slot + 1}', _pictures(frames) * (0.15 + 0.85 * large)))
    _write_rows(path, rows, 'What the model draws, and which places its slots take')


def write_open_loop(path: Path, frames: Array, imagined: Array, num_context: int) -> None:
    """Draw a window beside what was imagined after its first frames, and the difference.

    Args:
        path: of the PNG.
        frames: [T, 3, S, S] in [0, 1].
        imagined: [T - num_context, 3, S, S].
        num_context: frames that the model saw.
    """
    seen, future = _pictures(frames), _pictures(imagined)
    shown = np.concatenate([seen[:num_context], future])
    last = np.repeat(seen[num_context - 1 : num_context], len(future), 0)
    persisted = np.concatenate([seen[:num_context], last])
    rows = [
        ('seen', seen),
        ('imagined', shown),
        ('missed', np.abs(seen - shown)),
        ('missed by\nthe last frame', np.abs(seen - persisted)),
    ]
    title = f'{num_context} frames seen, then {len(future)} imagined from the actions alone'
    steps = np.arange(max(0, num_context - 2), len(seen))
    steps = steps[np.unique(np.linspace(0, len(steps) - 1, _MOST_COLUMNS).round().astype(int))]
    heads = [f'{step - num_context + 1:+d}' for step in steps]
    _write_rows(path, [(name, part[steps]) for name, part in rows], title, heads)


def write_latent_map(path: Path, latents: Array, component: Array) -> None:
    """Draw latents [N, Z] on their two main axes, coloured by the component [N] they belong to."""
    centred = latents - latents.mean(0)
    _, spread, axes_of = np.linalg.svd(centred, full_matrices=False)
    places = centred @ axes_of[:2].T
    share = (spread[:2] ** 2).sum() / max(float((spread**2).sum()), 1e-12)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6, 5), layout='constrained')
        axes = figure.subplots()
        for index in np.unique(component):
            mine = component == index
            label = f'component {index + 1}: {mine.mean():.0%}'
            color = _COMPONENTS(int(index) % _COMPONENTS.N)
            axes.scatter(places[mine, 0], places[mine, 1], s=8, color=color, label=label)
        axes.legend(fontsize=8, loc='best')
        axes.set(xlabel='first main axis', ylabel='second')
        axes.set_title(f'Latents by component; {share:.0%} of their variance', loc='left')
        _write(figure, path)


def write_usage(path: Path, updates: Sequence[int], shares: Array) -> None:
    """Draw how much each component answered for over training, shares [U, K]."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 3.6), layout='constrained')
        axes = figure.subplots()
        colors = [_COMPONENTS(index % _COMPONENTS.N) for index in range(shares.shape[1])]
        axes.stackplot(list(updates), shares.T, colors=colors)
        axes.set(xlabel='updates', ylabel='share of steps', ylim=(0, 1))
        axes.set_title('Components in use while it learned', loc='left', color=INK)
        _write(figure, path)


def _write_rows(
    path: Path, rows: Sequence[tuple[str, Array]], title: str, heads: Sequence[str] = ()
) -> None:
    """Draw rows of pictures [N, S, S, 3] under a title."""
    count = min(len(rows[0][1]), _MOST_COLUMNS)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.05 * count + 1, 1.05 * len(rows) + 0.6), layout='constrained')
        panels = figure.subplots(len(rows), count, squeeze=False)
        figure.suptitle(title, x=0.01, ha='left', fontsize=10.5, color=INK)
        for row, (name, pictures) in enumerate(rows):
            for column in range(count):
                panel = panels[row, column]
                panel.imshow(np.clip(pictures[column], 0, 1), interpolation='nearest')
                panel.set(xticks=[], yticks=[])
                panel.grid(visible=False)
                for spine in panel.spines.values():
                    spine.set_visible(False)
                if row == 0 and heads:
                    panel.set_title(heads[column], fontsize=8.5, color=MUTED)
            panels[row, 0].set_ylabel(name, fontsize=9, color=INK)
        _write(figure, path)


def _pictures(frames: Array) -> Array:
    return np.asarray(np.clip(frames, 0, 1).transpose(0, 2, 3, 1))


def _write(figure: Figure, path: Path) -> None:
    canvas: Any = FigureCanvasAgg(figure)
    figure.set_dpi(_DPI)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    durable_files.replace(path, buffer.getvalue())
