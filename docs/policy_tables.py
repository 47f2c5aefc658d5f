"""Tables of what was measured about policies; `result_tables.py` writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Table = Callable[[Sequence[object], Sequence[Sequence[object]]], str]


def ppo_vs_sb3(results: Any, table: Table) -> str:
    """Returns and time of whole trainings."""
    rows = [
        [
            row['environment'],
            row['learner'],
            row['seeds'],
            row['steps'],
            f'{row["return_iqm"]:.0f} ({row["return_low"]:.0f} to {row["return_high"]:.0f})',
            f'{row["lowest"]:.0f}',
            _number(row['cpu_s'], '.0f'),
            _number(row['times_faster'], '.2f'),
        ]
        for row in results['summary']
    ]
    head = ['environment', 'PPO', 'seeds', 'steps', 'return, 95 %', 'lowest', 'CPU s']
    return (
        f'Whole trainings with PPO beside stable-baselines3:\n\n'
        f'{table([*head, "times as fast"], rows)}'
    )


def waypoint_course(results: Any, table: Table) -> str:
    """How policies drive four waypoints in a row, in layouts that no learning met."""
    rows = [
        [
            row['policy'],
            '–' if 'steps' not in row else f'{row["steps"]} steps of {row["learned from"]}',
            _share(row['success_rate'], row['success_interval_95']),
            _share(row['waypoints_reached'], row['waypoints_reached_interval_95']),
            _number(row['path_efficiency'], '.3f'),
            _number(row['cross_track_error_m'], '.3f'),
        ]
        for row in results['policies'].values()
    ]
    head = ['policy', 'learned from', 'success, 95 %', 'waypoints reached, 95 %']
    head += ['path efficiency', 'cross-track error, m']
    return (
        f'{results["layouts"]} courses of four waypoints; efficiency and error are over those '
        f'driven to the end:\n\n{table(head, rows)}'
    )


def _share(value: float, interval: Sequence[float]) -> str:
    low, high = (100 * min(max(end, 0.0), 1.0) for end in interval)
    return f'{100 * value:.0f} % ({low:.0f} to {high:.0f})'


def _number(value: float | None, form: str) -> str:
    return '–' if value is None else format(value, form)
