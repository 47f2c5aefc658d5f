"""Tables of what was measured about learning from few examples; `result_tables.py` writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Table = Callable[[Sequence[object], Sequence[Sequence[object]]], str]


def meta_learning(results: Any, table: Table) -> str:
    """Every part that was measured."""
    parts = {
        'omniglot': _omniglot,
        'sinusoids': _sinusoids,
        'robots': _robots,
        'speed': _speed,
        'service': _service,
    }
    found = [
        write(results[name]['found'], table) for name, write in parts.items() if name in results
    ]
    return '\n'.join(found)


def meta_learning_gpu(results: Any, table: Table) -> str:
    """Accuracy after about a minute on a GPU, and how much faster all tasks at once are."""
    learned, held_out = results['classes']
    rows = [
        [
            row['task'],
            row['learned']['adapts'],
            _interval({'value': row['accuracy'], **row}),
            row['learned']['ways'],
            row['learned']['updates'],
            f'{row["learned"]["seconds"]:.0f}',
        ]
        for row in results['rows']
    ]
    head = ['task', 'adapts', 'accuracy, 95 %', 'classes in training', 'updates', 's']
    rates = [
        [
            row['tasks'],
            row['tasks of an update'],
            f'{row["at once, tasks/s"]:.0f}',
            f'{row["one after the other, tasks/s"]:.0f}',
            f'{row["times as fast"]:.1f}',
        ]
        for row in results['speed']
    ]
    columns = ['an update of', 'tasks', 'at once, tasks/s', 'one by one', 'times as fast']
    return (
        f'Omniglot, {held_out} characters of {len(results["held_out_alphabets"])} alphabets that '
        f'were not learned from ({learned} others were), 600 tasks a row; a learner for each '
        f'number of shots:\n\n{table(head, rows)}\n'
        f'Second order, wall time:\n\n{table(columns, rates)}'
    )


def _omniglot(found: Any, table: Table) -> str:
    rows = [
        [
            row['task'],
            _interval(row['accuracy']),
            found['goals'].get(row['task'], '–'),
            f'{row["nearest class mean of pixels"]["value"]:.3f}',
        ]
        for row in found['rows']
    ]
    head = ['task', 'accuracy, 95 %', 'goal', 'nearest class mean of pixels']
    return (
        f'Omniglot, {found["classes"]} characters of {len(found["held_out_alphabets"])} alphabets '
        f'that were not learned from ({", ".join(found["held_out_alphabets"])}), after '
        f'{found["cpu_minutes"]:.1f} CPU minutes, {found["updates"]} of {found["of_updates"]} '
        f'updates, {found["tasks"]} tasks; one model, 600 tasks a row, each query for itself:\n\n'
        f'{table(head, rows)}'
    )


def _sinusoids(found: Any, table: Table) -> str:
    head = ['sine curves, learned with', 'updates', 'squared error before', 'after 3 steps, 95 %']
    keys = ('learned with', 'updates', 'error before', 'error after 3 steps')
    return table(head, [[row[key] for key in keys] for row in found])


def _robots(found: Any, table: Table) -> str:
    rows = [
        [
            row['beside'],
            f'{row["its error"]:.3f}',
            f'{row["error after adapting"]:.3f}',
            f'{row["ratio"]:.2f} ({row["low"]:.2f} to {row["high"]:.2f})',
            f'{row["better on"]} of {row["robots"]}',
        ]
        for row in found['rows']
    ]
    head = ['beside', 'its error', 'after adapting', 'ratio, 95 %', 'better on']
    return (
        f'The next control step of robots that were not learned from, after adapting to 5 s of '
        f'their driving ({found["robots_learned_from"]} others learned from, {found["updates"]} '
        f'updates; squared error in units of the deviation):\n\n{table(head, rows)}'
    )


def _speed(found: Any, table: Table) -> str:
    rows = [
        [
            row['tasks'],
            row['steps'],
            f'{row["at once, tasks/s"]:.0f}',
            f'{row["one after the other, tasks/s"]:.0f}',
            f'{row["times as fast"]:.1f}',
        ]
        for row in found
    ]
    head = ['an update of', 'steps', 'at once, tasks per CPU s', 'one by one', 'times as fast']
    return table(head, rows)


def _service(found: Any, table: Table) -> str:
    return (
        f'From {found["examples"]} examples to a published version: {found["p50 ms"]:.0f} ms, at '
        f'most {found["max ms"]:.0f} ms of wall time.\n'
    )


def _interval(score: Any) -> str:
    low, high = score['interval_95']
    return f'{score["value"]:.3f} ({low:.3f} to {high:.3f})'
