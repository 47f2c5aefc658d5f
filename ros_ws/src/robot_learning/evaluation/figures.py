"""Charts of the report as SVG text."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robot_learning.evaluation.run_record import Curve, EpisodePoint, RatePoint

Array = np.ndarray[Any, Any]

INK, MUTED, GRID = '#1c2430', '#667085', '#e6e9ee'
BLUE, ORANGE, RED, GREEN = '#2458d3', '#d9730d', '#d12c2c', '#0b8a5f'
STYLE: dict[Any, Any] = {
    'font.family': 'sans-serif',
    'font.size': 10.5,
    'axes.edgecolor': '#c4cad4',
    'axes.labelcolor': MUTED,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': GRID,
    'grid.linewidth': 0.8,
    'xtick.color': MUTED,
    'ytick.color': MUTED,
    'text.color': INK,
    'lines.linewidth': 2.0,
    'svg.fonttype': 'none',
    'svg.hashsalt': 'robot_learning',
    'legend.frameon': False,
}


def to_svg(figure: Figure) -> str:
    """Return a figure as one SVG element, the same bytes for the same figure."""
    buffer = io.StringIO()
    figure.savefig(buffer, format='svg', transparent=True, metadata={'Date': None})
    text = buffer.getvalue()
    return text[text.index('<svg') :]


def success_curve(
    points: list[RatePoint], baselines: dict[str, float], episodes: list[EpisodePoint]
) -> str:
    """Success rate of stored versions over environment steps and loop time."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.2, 3.9), layout='constrained')
        draw_success(figure.subplots(), points, baselines, episodes)
        return to_svg(figure)


def draw_success(
    axes: Axes,
    points: list[RatePoint],
    baselines: dict[str, float],
    episodes: list[EpisodePoint],
) -> None:
    """Draw what `success_curve` shows into axes of somebody's figure."""
    steps = [point.environment_step for point in points]
    episodes = sorted(episodes, key=lambda episode: episode.environment_step)
    last = max([*steps, *[episode.environment_step for episode in episodes], 1])
    if len(episodes) >= 10:
        rolling = _rolling_mean([float(e.success) for e in episodes], 25)
        axes.plot([e.environment_step for e in episodes], rolling, color='#9aa4b5', linewidth=1.2)
    axes.fill_between(
        steps, [p.low for p in points], [p.high for p in points], color=BLUE, alpha=0.12, lw=0
    )
    axes.plot(steps, [p.rate for p in points], color=BLUE, marker='o', markersize=4.5)
    _baseline_lines(axes, baselines, last)
    axes.set(xlim=(0, last * 1.01), ylim=(-0.02, 1.04), xlabel='environment steps')
    axes.set_yticks(np.arange(0, 1.01, 0.2), [f'{100 * y:.0f} %' for y in np.arange(0, 1.01, 0.2)])
    axes.xaxis.set_major_formatter(_thousands)
    _wall_time_axis(axes, points, episodes, last)


def return_curve(episodes: list[EpisodePoint]) -> str:
    """Return of each episode driven while learning, with its running mean."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.3), layout='constrained')
        axes = figure.subplots()
        known = [e for e in episodes if np.isfinite(e.episode_return)]
        known = sorted(known, key=lambda episode: episode.environment_step)
        steps = np.asarray([e.environment_step for e in known])
        values = np.asarray([e.episode_return for e in known])
        reached = np.asarray([e.success for e in known], bool)
        for mask, color in ((~reached, RED), (reached, GREEN)):
            axes.plot(steps[mask], values[mask], '.', color=color, markersize=3, alpha=0.45)
        axes.plot(steps, _rolling_mean(list(values), 25), color=INK, linewidth=1.8)
        low, high = np.percentile(values, [1, 99.5])
        margin = 0.08 * (high - low) + 1e-6
        axes.set(xlabel='environment steps', ylim=(low - margin, high + margin), xlim=(0, None))
        axes.xaxis.set_major_formatter(_thousands)
        return to_svg(figure)


def latency_histogram(latency_ms: Array) -> str:
    """Time from the newest observation field to the published command."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.3), layout='constrained')
        axes = figure.subplots()
        low = max(1e-3, float(latency_ms.min()) * 0.9)
        high = max(low * 2, float(latency_ms.max()) * 1.1)
        axes.hist(latency_ms, bins=list(np.geomspace(low, high, 60)), color=BLUE, alpha=0.85)
        axes.set(xscale='log', yscale='log', xlabel='milliseconds', ylabel='commands')
        axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
        axes.yaxis.set_major_formatter(_thousands)
        marks = (('p50', np.percentile(latency_ms, 50)), ('p99', np.percentile(latency_ms, 99)))
        for name, value in marks:
            axes.axvline(value, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(
                f'{name} {value:.2f}',
                (value, 1.0),
                (3, 2),
                xycoords=('data', 'axes fraction'),
                textcoords='offset points',
                fontsize=9,
                color=INK,
            )
        axes.grid(axis='x', visible=False)
        return to_svg(figure)


def training_curve(curve: Curve) -> str:
    """One training metric over updates."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.4, 2.3), layout='constrained')
        axes = figure.subplots()
        axes.plot(curve.update, curve.value, color='#b9c6ea', linewidth=0.9)
        axes.plot(curve.update, _rolling_mean(curve.value, 9), color=BLUE, linewidth=1.6)
        axes.set_xlabel('updates', fontsize=9)
        axes.tick_params(labelsize=8.5)
        axes.xaxis.set_major_formatter(_thousands)
        axes.locator_params(nbins=5)
        return to_svg(figure)


def _baseline_lines(axes: Axes, baselines: dict[str, float], last: int) -> None:
    """Draw one dashed line per baseline, labels on the right and not over each other."""
    taken: list[float] = []
    for name, rate in sorted(baselines.items(), key=lambda item: item[1]):
        axes.axhline(rate, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        height = max([rate, *[other + 0.06 for other in taken if other + 0.06 > rate]])
        taken.append(height)
        axes.annotate(
            f'{name} {100 * rate:.0f} %',
            (last, height),
            (-2, 3),
            textcoords='offset points',
            ha='right',
            fontsize=9,
            color=MUTED,
        )


def _wall_time_axis(
    axes: Axes, points: list[RatePoint], episodes: list[EpisodePoint], last: int
) -> None:
    """Mark minutes of loop time along the top."""
    pairs = sorted(
        {(0, 0.0)}
        | {(p.environment_step, p.wall_s) for p in points}
        | {(e.environment_step, e.wall_s) for e in episodes}
    )
    steps, seconds = (np.asarray(values, float) for values in zip(*pairs, strict=True))
    seconds = np.maximum.accumulate(seconds)
    total_s = float(np.interp(last, steps, seconds))
    if total_s <= 0:
        return
    unit_s, unit = (60.0, 'min') if total_s > 150 else (1.0, 's')
    ticks = _nice_ticks(total_s / unit_s)
    top = axes.twiny()
    top.set_xlim(axes.get_xlim())
    top.set_xticks(
        [float(np.interp(tick * unit_s, seconds, steps)) for tick in ticks],
        [f'{tick:g} {unit}' for tick in ticks],
    )
    top.spines['top'].set_visible(False)
    top.tick_params(length=0, labelsize=9)
    top.grid(visible=False)


def _nice_ticks(total: float) -> list[float]:
    step = next((s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300) if total / s <= 7), total)
    return [float(tick) for tick in np.arange(0, total + 1e-9, step)]


def _rolling_mean(values: list[float], width: int) -> Array:
    """Mean over the last `width` values at each place, over fewer at the start."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(total))
    start = np.maximum(0, end - width)
    return np.asarray((total[end] - total[start]) / (end - start))


def _thousands(value: float, _: object = None) -> str:
    return f'{value / 1000:g} k' if abs(value) >= 1000 else f'{value:g}'
