"""Tables of what the system went through: swaps, kills, hours; `result_tables.py` writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Table = Callable[[Sequence[object], Sequence[Sequence[object]]], str]
_STOP_MS = 200  # In which a robot without a policy has to be at zero command.


def swaps(results: Any, table: Table) -> str:
    """Hot swaps under load."""
    rows = [
        [
            row['case'],
            row.get('swaps', 0),
            f'{row["missed"]} of {row["ticks"]}',
            row['p50_ms'],
            row['p99_ms'],
            f'{row["refused"]} of {row["bad"]}' if 'bad' in row else '–',
            row.get('bad_commands', 0),
        ]
        for row in results['rows']
    ]
    head = ['beside it', 'swaps', 'missed ticks', 'p50 ms', 'p99 ms', 'bad versions refused']
    return f'Swaps at 50 Hz:\n\n{table([*head, "commands of bad versions"], rows)}'


def soak(results: Any, table: Table) -> str:
    """Hours of the loop without growth."""
    shown = ('own_mib', 'descriptors', 'shared_mib', 'latency_p50_ms', 'latency_p99_ms')
    keys = ('process', 'quantity', 'before', 'middle', 'after', 'slope_per_h')
    kept = [row for row in results['rows'] if row['quantity'] in shown]
    rows = [[*(row[key] for key in keys), 'yes' if row['grows'] else 'no'] for row in kept]
    head = ['process', 'what', 'before', 'middle', 'after', 'per simulated hour', 'grows']
    return (
        f'{results["simulated_h"]:.1f} simulated hours of the whole loop, {results["steps"]} '
        f'steps and {results["versions"]} versions in {results["wall_s"] / 60:.0f} minutes, the '
        f'first {results["warm_up_hours"]:g} h not judged:\n\n{table(head, rows)}'
    )


def crashes(results: Any, table: Table) -> str:
    """Kill -9 at random moments."""
    shown = ['process', 'kills', 'recovered', 'to work p50 s', 'to work max s', 'steps checked']
    shown += [
        'damaged',
        'skipped and counted',
        'lost in open file max',
        'half visible',
        'to stand p50 ms',
    ]
    shown += ['to stand max ms', 'orphans', 'stale files']
    rows = [['' if row[name] is None else row[name] for name in shown] for row in results['table']]
    kills = results['kills of each']
    text = f'kill -9 of every process while the loop runs:\n\n{table(shown, rows)}\n'
    if results['chapters to do']:
        text += f'This is a part: {kills} kills of each are planned.\n'
    if results['problems']:
        text += f'{len(results["problems"])} problems were found; the result file names them.\n'
    if 'conditions' in results:
        text += (
            f'`to stand` is until the robot stands, braking included. {results["conditions"]}.\n'
        )
    if 'left_out' in results:
        lines = ''.join(f'- {each}\n' for each in results['left_out'])
        text += f'\nLeft out of the table:\n\n{lines}\n'
    trainer = results['trainer']
    if trainer is None:
        return text
    return (
        f'{text}A trainer killed {trainer["kills"]} times on the same data: '
        f'{len(trainer["different"])} tensors or counters differ from one left alone.\n'
    )


def policy_deaths(results: Any, table: Table) -> str:
    """How fast the robot is stopped when its policy dies."""
    kills = [kill for chapter in results['chapters'].values() for kill in chapter['kills']]
    rows = []
    for key, text in (
        ('to_zero_ms', 'wheels commanded to zero, time of their world'),
        ('to_zero_wall_ms', 'the same, wall time'),
        ('to_stand_ms', 'robot stands, braking included, time of its world'),
    ):
        times = sorted(kill[key] for kill in kills if kill[key] is not None)
        median, p99 = (times[round(share * (len(times) - 1))] for share in (0.5, 0.99))
        within = sum(time <= _STOP_MS for time in times)
        numbers = [f'{each:.0f}' for each in (median, p99, times[-1])]
        rows.append([text, *numbers, f'{within} of {len(times)}'])
    head = ['after a kill -9 of the policy', 'p50 ms', 'p99 ms', 'max ms', f'within {_STOP_MS} ms']
    text = '`crash_campaign --only policy`, in real time, the whole loop running:\n\n'
    text += table(head, rows)
    if 'conditions' in results:
        text += f'\n{results["conditions"]}\n'
    return text
