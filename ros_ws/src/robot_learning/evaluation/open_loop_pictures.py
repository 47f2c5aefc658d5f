"""Pictures of imagined futures beside real ones: a strip as PNG, a film as GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from robot_learning import durable_files
from robot_learning.contract import RobotContract
from robot_learning.evaluation.figures import BLUE, INK, MUTED, ORANGE, STYLE
from robot_learning.evaluation.open_loop import OpenLoop
from robot_learning.evaluation.open_loop_rows import Row, rows_of

_MOMENTS = 8  # Pictures side by side in a strip, the last one seen included.
_FRAME_MS, _LAST_FRAME_MS = 200, 1500
_DPI, _FILM_DPI = 110, 72
_COLORS = 128  # Of a film.


def write_strip(
    path: Path, run: OpenLoop, title: str, contract: RobotContract | None = None
) -> None:
    """Draw every block and image of one stretch over time, real beside imagined.

    Args:
        path: of the PNG.
        run: the stretch.
        title: what is seen.
        contract: gives blocks their meaning and units; None: numbers as they are.
    """
    with mpl.rc_context(STYLE):
        figure, rows, panels = _figure(run, contract, 10.5)
        _head(figure, title, 11)
        note = panels[0]
        note.text(0.02, 0.62, _explanation(run), fontsize=9.5, color=MUTED, va='center')
        note.text(0.80, 0.62, 'seen', fontsize=10.5, color=BLUE, weight='bold', va='center')
        note.text(0.86, 0.62, 'imagined', fontsize=10.5, color=ORANGE, weight='bold', va='center')
        for row, panel in zip(rows, panels[1:], strict=True):
            row.strip(panel, _moments(run))
        canvas: Any = FigureCanvasAgg(figure)
        figure.set_dpi(_DPI)
        canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba()).copy()).convert('RGB')
    buffer = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(buffer, 'PNG', optimize=True)
    durable_files.replace(path, buffer.getvalue())


def write_film(
    path: Path, run: OpenLoop, title: str, contract: RobotContract | None = None
) -> None:
    """Write a GIF, step by step; arguments as of `write_strip`."""
    with mpl.rc_context(STYLE):
        frames = _frames(run, title, contract)
    durations = [_FRAME_MS] * (len(frames) - 1) + [_LAST_FRAME_MS]
    buffer = io.BytesIO()
    frames[0].save(
        buffer, 'GIF', save_all=True, append_images=frames[1:], duration=durations, loop=0
    )
    durable_files.replace(path, buffer.getvalue())


def _frames(run: OpenLoop, title: str, contract: RobotContract | None) -> list[Image.Image]:
    figure, rows, panels = _figure(run, contract, 7.2)
    _head(figure, title, 10)
    canvas: Any = FigureCanvasAgg(figure)  # Its methods are not typed.
    figure.set_dpi(_FILM_DPI)
    note = panels[0].text(0.5, 0.6, ' ', ha='center', va='center', fontsize=10.5, weight='bold')
    draws = [row.film(panel) for row, panel in zip(rows, panels[1:], strict=True)]
    last = run.num_context + run.horizon - 1
    for draw in draws:
        draw(last)
    background = _background(figure, canvas)
    frames = []
    for step in range(last + 1):
        for draw in draws:
            draw(step)
        ahead = step - run.num_context + 1
        if ahead > 0:
            note.set(text=f'imagining step {ahead} of {run.horizon}, from the actions alone')
        else:
            note.set(text=f'context: the model watches step {step + 1} of {run.num_context}')
        note.set_color(ORANGE if ahead > 0 else MUTED)
        canvas.restore_region(background)
        for artist in (*_changing(figure), note):
            artist.draw(canvas.get_renderer())
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba()).copy()).convert('RGB')
        frames.append(picture)
    palette = _palette(frames)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in frames]


def _background(figure: Figure, canvas: Any) -> Any:
    """Fix the places of a full picture and return what stays: drawing it anew took minutes."""
    canvas.draw()
    figure.set_layout_engine('none')
    for artist in _changing(figure):
        artist.set_visible(False)
    canvas.draw()
    return canvas.copy_from_bbox(figure.bbox)


def _changing(figure: Figure) -> list[Any]:
    """List what steps draw, and frames, whose colour may change; grey areas of time stay."""
    found: list[Any] = []
    for axes in figure.axes:
        patches = [patch for patch in axes.patches if patch.zorder >= 1]
        artists = [*axes.images, *patches, *axes.lines, *axes.texts]
        found += sorted(artists, key=lambda artist: float(artist.zorder))
        found += axes.spines.values() if axes.axison else ()
    return found


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """Choose the colours of a film from frames spread over it, so that none flickers."""
    chosen = frames[:: max(1, len(frames) // _MOMENTS)]
    width, height = chosen[0].size
    sheet = Image.new('RGB', (width, height * len(chosen)))
    for index, frame in enumerate(chosen):
        sheet.paste(frame, (0, index * height))
    return sheet.quantize(_COLORS, dither=Image.Dither.NONE)


def _figure(
    run: OpenLoop, contract: RobotContract | None, width: float
) -> tuple[Figure, list[Row], list[Any]]:
    """Return a figure, its rows and a panel for a note followed by one for each row."""
    rows = rows_of(run, contract)
    heights = [0.3, *(row.height + 0.25 for row in rows)]
    figure = Figure(figsize=(width, sum(heights) + 0.35), layout='constrained')
    panels = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for row, panel in zip(rows, panels[1:], strict=True):
        panel.suptitle(row.title, x=0.02, ha='left', fontsize=10.5, color=INK, weight='bold')
    return figure, rows, list(panels)


def _head(figure: Figure, title: str, size: float) -> None:
    figure.suptitle(title, x=0.02, ha='left', fontsize=size + 1.5, color=INK)


def _moments(run: OpenLoop) -> list[int]:
    """Return the last step seen and steps up to the horizon, closer together at first."""
    ahead = np.linspace(0, 1, _MOMENTS) ** 1.5 * run.horizon
    ahead[1] = 1
    return [int(step) + run.num_context - 1 for step in np.unique(ahead.round())]


def _explanation(run: OpenLoop) -> str:
    return (
        f'The model watched {run.num_context} steps, then imagined {run.horizon} '
        f'knowing only the actions taken.'
    )
