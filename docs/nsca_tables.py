"""Tables of what was measured about NSCA; `result_tables.py` writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Table = Callable[[Sequence[object], Sequence[Sequence[object]]], str]
WAYS = ('sound by picture', 'picture by sound')


def vision(results: Any, table: Table) -> str:
    """Linear probe and few shots on photographs in shops."""
    columns = [name for name in results['rows'][0] if name != 'features']
    rows = [[row['features'], *(_score(row[name]) for name in columns)] for row in results['rows']]
    tried = [
        [
            one['setting'],
            one['epochs'],
            one['updates'],
            f'{one["wall_s"]:.0f}',
            *(_score(one['rows'][-1][name]) for name in columns),
        ]
        for one in results['tried']
    ]
    head = ['setting', 'passes', 'updates', 'wall s', *columns]
    return (
        f'Self-supervised from scratch on {results["pictures"]["seen"]} pictures, seed '
        f'{results["seed"]}, on {results["device"]}; probe fitted to '
        f'{results["pictures"]["training"]}; accuracy with 95 % intervals. Own split: a fifth of '
        f'split `train`; other shops: split `val`; shots: {results["unseen_classes"]} classes '
        f'never seen. Goals: own split {results["goals"]["own split"]:.2f}, 5-way 5-shot '
        f'{results["goals"]["few shots"]:.2f}. Setting: {results["setting"]}.\n\n'
        f'{table(["features", *columns], rows)}\n\n'
        f'All settings tried; the one that does best within training was chosen:\n\n'
        f'{table(head, tried)}'
    )


def audio(results: Any, table: Table) -> str:
    """Linear probe on environmental sounds."""
    rows = [
        [row['features'], _score(row), ', '.join(f'{share:.2f}' for share in row['by_fold'])]
        for row in results['rows']
    ]
    chosen = ', '.join(results['chosen'])
    return (
        f'ESC-10, each of four folds asked once, {results["sounds"]} sounds, seed '
        f'{results["seed"]}, {results["updates"]} updates of all trainings on '
        f'{results["device"]}; settings chosen within the folds of each training: {chosen}. Goal: '
        f'{results["goal"]:.2f}:\n\n{table(["features", "accuracy, 95 %", "by fold"], rows)}'
    )


def loading(results: Any, table: Table) -> str:
    """Whether learning waits for its data."""
    rows = [
        [
            row['phase'],
            row['rows'],
            row['updates'],
            _number(row['CPU ms per update']),
            f'{100 * row["waited"]:.1f} %',
        ]
        for row in results['phases']
    ]
    head = ['phase', 'rows', 'updates', 'CPU ms an update', 'waited for data']
    return (
        f'Small settings, fifteen passes over a folder of which nothing was read before:\n\n'
        f'{table(head, rows)}'
    )


def digits(results: Any, table: Table) -> str:
    """Spoken digits and pictures of digits."""
    rows = [
        [row['what'], row['features'], _score(row), f'{row["chance"]:.2f}']
        for row in results['rows']
    ]
    head = ['retrieval', 'features', 'value, 95 %', 'chance']
    text = (
        f'Speaker {results["speaker"]} and the pictures were never learned from; '
        f'{results["held_out"]} pairs, seed {results["seed"]}, setting {results["setting"]}, on '
        f'{results["device"]}. Goal: R@1 {results["goal"]:.2f}, each way:\n\n{table(head, rows)}'
    )
    tried = [
        [name, speaker, *(f'{value:.3f}' for value in values.values())]
        for name, found in results['tried'].items()
        for speaker, values in found.items()
    ]
    if not tried:
        return text
    tried += [
        [name, results['speaker'], *(f'{value:.3f}' for value in values.values())]
        for name, values in results.get('also_measured', {}).items()
    ]
    named = next(iter(next(iter(results['tried'].values())).values()))
    return (
        f'{text}\n\nOther settings, on {results.get("tried_on", results["device"])}; where others '
        f'than {results["speaker"]} were held out, {results["speaker"]} and those pictures were '
        f'not learned from either. {results.get("note", "")}\n\n'
        f'{table(["setting", "speaker held out", *named], tried)}'
    )


def world(results: Any, table: Table) -> str:
    """The embedded world's own data, end to end."""
    goals = [
        [row['what'], _number(row['goal']), _number(row['measured'])] for row in results['goals']
    ]
    phases = [
        [
            row['phase'],
            row['updates'],
            _number(row['ms per update']),
            f'{100 * row["waited for data"]:.1f} %',
            f'{row["CPU s of the command"]:.0f}',
        ]
        for row in results['phases']
    ]
    figures = [
        [row['suite'], row['what'], row['features'], _score(row), _number(row['chance'])]
        for row in results['figures']
        if row['suite'] != 'retrieval' or 'R@5' in row['what']
    ]
    parts = [
        f'{results["interactions"]} interactions and their interventions, small settings:\n',
        table(['what', 'goal', 'measured'], goals),
        table(['phase', 'updates', 'ms an update', 'waited for data', 'CPU s'], phases),
    ]
    if 'retrieved' in results:  # Results of before November 27 have none.
        retrieved = [
            [row['map'], row['among'], *(_number(row[way]) for way in WAYS)]
            for row in results['retrieved']
        ]
        parts += ['R@5 over chance:\n', table(['map', 'among', *WAYS], retrieved)]
    parts.append(table(['suite', 'what', 'features', 'value, 95 %', 'chance'], figures))
    return '\n'.join(parts)


def serving(results: Any, table: Table) -> str:
    """How often a world state can be told."""
    names = ('CPU ms, p50', 'CPU ms, p99', 'wall ms, p50', 'wall ms, p99', 'per CPU second')
    rows = [
        [row['settings'], row['what'], *(f'{row[name]:.1f}' for name in names)]
        for row in results['rows']
    ]
    return (
        f'One core; goal {results["goal_hz"]:.0f} world states a second:\n\n'
        f'{table(["settings", "what", *names], rows)}'
    )


def _score(score: Any) -> str:
    if isinstance(score, float):
        return f'{score:.3f}'
    if score['low'] is None:
        return f'{score["value"]:.3f}'
    return f'{score["value"]:.3f} ({score["low"]:.3f} to {score["high"]:.3f})'


def _number(value: float | None) -> str:
    return '–' if value is None else f'{value:.3g}'
