"""Tables of what was measured about commands, code and sight; `result_tables.py` writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Table = Callable[[Sequence[object], Sequence[Sequence[object]]], str]


def commands(results: Any, table: Table) -> str:
    """Fifty spoken commands in the world."""
    summary = results['summary']
    rows = [[summary['commands'], _interval(summary), f'{summary["world_s_median"]:.0f} s']]
    head = ['commands of several steps', 'ended where they said, 95 %', 'median time in the world']
    return (
        f'Words in, ground truth of robot and objects out; sight by the camera:\n\n'
        f'{table(head, rows)}\n{_failures(results)}'
    )


def cancel_latency(results: Any, table: Table) -> str:
    """From a request to zero velocity."""
    rows = [
        [row['request'], row['rounds'], *(f'{row[f"{name} ms"]:.1f}' for name in _QUANTILES)]
        for row in results
    ]
    head = ['request', 'rounds', *(f'{name}, ms' for name in _QUANTILES)]
    return f'From the request to zero on `cmd_vel`, over DDS:\n\n{table(head, rows)}'


def perception(results: Any, table: Table) -> str:
    """What the camera tells about objects."""
    costs = {row['picture']: row for row in results['costs']}
    rows = [
        [
            row['picture'],
            row['objects'],
            f'{row["colour"]:.2f}',
            f'{row["kind"]:.3f}',
            f'{100 * row["distance_error"]:.1f} %',
            f'{row["bearing_deg"]:.2f}°',
            f'{costs[row["picture"]]["detector_mean_ms"]:.1f} ms',
        ]
        for row in results['scores']
        if row['of'].startswith('goal:')
    ]
    head = ['picture', 'objects', 'colour right', 'kind right', 'distance, median error']
    return (
        f'Objects of at least 30 pixels within 2.5 m, {results["layouts"]} layouts:\n\n'
        f'{table([*head, "bearing, median error", "detector"], rows)}'
    )


def intent(results: Any, table: Table) -> str:
    """What commands mean, on corpora that others made."""
    rows = []
    for name, task in results['tasks'].items():
        for row in task['rows']:
            if row.get('measured on') != 'all':
                continue
            recall = row.get('out_of_scope_recall')
            scores = f'{row["accuracy"]:.3f}', f'{row["tfidf"]:.3f}', row['goal']
            refused = '–' if recall is None else f'{recall:.2f}'
            rows.append([name, row['commands'], *scores, refused])
    head = ['task', 'commands', 'accuracy', 'TF-IDF', 'goal', 'out of scope, recall']
    speed = results['tasks']['speed']['rows'][0]
    return (
        f'HuRIC with each source left out, GPSR of 2018 tried on 2019 (rules that both years '
        f'have), SNIPS, CLINC150 in scope, and robot commands of sources never trained on; one '
        f'seed. Settings were chosen while looking at these corpora:\n\n{table(head, rows)}\n'
        f'The model that ships answers in {speed["p50_ms"]:.1f} ms, p99 {speed["p99_ms"]:.1f} ms, '
        f'and is ready in {speed["ready_s"]:.1f} s.\n'
    )


def robot_code(results: Any, table: Table) -> str:
    """Code for commands whose phrases were not learned."""
    categories = results['held_out']['categories']
    rows = [
        [name, row['commands'], f'{row["exact_match"]:.3f}', f'{row.get("executable", 1.0):.3f}']
        for name, row in categories.items()
    ]
    head = ['category', 'commands', 'exact match', 'executable']
    return (
        f'Phrases that were held out, {results["parameters"] / 1e6:.1f} million parameters, '
        f'{results["weights_mb"]:.0f} MB:\n\n{table(head, rows)}'
    )


def code_execution(results: Any, table: Table) -> str:
    """Generated code carried out in the world."""
    summary = results['summary']
    rows = [[summary['commands'], _interval(summary), f'{summary["exact_match"]:.3f}']]
    head = ['commands', 'ended where the command said, 95 %', 'exact match']
    return (
        f'Commands in phrases that were held out, each in a layout of its own, sight by the '
        f'camera; {summary["reference_impossible"]} others, whose own program cannot be done in '
        f'their layout, are left out:\n\n'
        f'{table(head, rows)}\n{_failures(results)}'
    )


def _interval(summary: Any) -> str:
    return f'{summary["success"]:.2f} ({summary["low"]:.2f} to {summary["high"]:.2f})'


def _failures(results: Any) -> str:
    failed = [run for run in results['runs'] if not run['success']]
    lines = ''.join(f'- "{run["text"]}": {run["why"]}\n' for run in failed)
    return f'What failed:\n\n{lines}' if lines else ''


_QUANTILES = ('p50', 'p99', 'max')
