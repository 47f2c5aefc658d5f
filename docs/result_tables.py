"""Writes the tables of measured numbers from benchmarks/results/*.json.

    python docs/result_tables.py          writes docs/results.md, and a few of them into README.md
    python docs/result_tables.py --show   prints what belongs into README.md only

Quick results (`*.quick.json`) are never shown; what was not measured is named as such.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'docs'))

import bench_tables  # noqa: E402
import campaign_tables  # noqa: E402
import language_tables  # noqa: E402
import meta_tables  # noqa: E402
import nsca_tables  # noqa: E402
import policy_tables  # noqa: E402
import video_tables  # noqa: E402
import vision_language_tables  # noqa: E402

README = ROOT / 'README.md'
PAGE = ROOT / 'docs' / 'results.md'
RESULTS = ROOT / 'benchmarks' / 'results'
BEGIN = '<!-- results: written by docs/result_tables.py from benchmarks/results -->'
END = '<!-- end of results -->'
HEAD = """# Measured

Written by `docs/result_tables.py` from `benchmarks/results`. Each file there says on which machine
and with which versions it was measured; `./run benchmark NAME` measures again.
"""


def main(argv: Sequence[str]) -> int:
    """Write or show the tables; return the exit code."""
    if '--show' in argv:
        print(tables(_IN_README))
        return 0
    README.write_text(filled(README.read_text(encoding='utf-8')), encoding='utf-8')
    PAGE.write_text(page(), encoding='utf-8')
    return 0


def filled(readme: str) -> str:
    """Return the README with its tables as the results have them now."""
    pattern = re.compile(f'{re.escape(BEGIN)}.*?{re.escape(END)}', re.DOTALL)
    assert pattern.search(readme), f'README.md: lacks {BEGIN!r} or {END!r}'
    return pattern.sub(lambda _: f'{BEGIN}\n\n{tables(_IN_README)}\n{END}', readme)


def page() -> str:
    """Return the page of all tables."""
    parts = (f'## {name}\n\n{tables([name])}' for name in _PARTS)
    return '\n'.join([HEAD, *parts])


def tables(names: Iterable[str], results: Path = RESULTS) -> str:
    """Return one part per benchmark."""
    return '\n'.join(_part(results / f'{name}.json', _PARTS[name]) for name in names)


def _part(path: Path, write: Callable[[Any], str]) -> str:
    if not path.is_file():
        return f'`{path.stem}`: not measured yet.\n'
    content = json.loads(path.read_text(encoding='utf-8'))
    machine, day = content['machine'], content['created'][:10]
    on = machine.get('gpu') or f'{machine["cpu"]}, {machine["usable_cores"]} cores'
    return f'{write(content["results"])}\n`benchmarks/results/{path.name}`, {day}, {on}.\n'


def _closed_loop(results: Any) -> str:
    rows = [
        [
            run['seed'],
            _percent(run['success_rate_before']),
            _percent(run['success_rate_after']),
            _percent(run['baselines']['straight']),
            '–' if run['seconds_to_goal'] is None else f'{run["seconds_to_goal"] / 60:.1f}',
            run['environment_steps'],
            f'{run["steps_per_second"]:.0f}',
        ]
        for run in results['runs']
    ]
    head = ['seed', 'random', 'learned', 'straight to the goal']
    head += [f'minutes to {results["goal"]:.0%}', 'steps', 'steps/s']
    number, minutes = results['runs'][0]['num_layouts'], results['runs'][0]['loop_seconds'] / 60
    return (
        f'Success on {number} unseen layouts after {minutes:.0f} minutes:\n\n{_table(head, rows)}'
    )


def _latency(results: Any) -> str:
    rows = [
        [
            row['rate_hz'],
            row['case'],
            *(f'{row[key]:.1f}' for key in ('p50_ms', 'p99_ms', 'max_ms')),
            f'{row["missed"]} of {row["ticks"]}',
        ]
        for row in results
    ]
    head = ['Hz', 'beside it', 'p50 ms', 'p99 ms', 'max ms', 'missed ticks']
    return f'From sensor stamp to executed command, through DDS:\n\n{_table(head, rows)}'


def _sac(results: Any) -> str:
    rows = [
        [row['learner'], f'{row["updates_per_second"]:.0f}', f'{row["ratio_to_sb3"]:.2f}']
        for row in results['updates']
    ]
    text = _table(['SAC', 'updates/s', 'to stable-baselines3'], rows)
    curves = [
        [
            row['environment'],
            row['learner'],
            row['seeds'],
            row['common_steps'],
            f'{row["return_at_common_steps"]:.0f} ± {row["spread_at_common_steps"]:.0f}',
            row['steps'],
            f'{row["return_at_end"]:.0f} ± {row["spread_at_end"]:.0f}',
            f'{row["loop_steps_per_second"]:.0f}',
        ]
        for row in results.get('summary', [])
    ]
    head = ['environment', 'learner', 'seeds', 'steps of all', 'return there', 'own steps']
    head += ['return at their end', 'loop steps/s']
    if not curves:
        return text
    where = results.get('curves_machine')
    text += f'\n{_table(head, curves)}'
    return text if where is None else f'{text}\nThese curves: {where}.\n'


def _bag_import(results: Any) -> str:
    rows = [
        [
            row['bag'],
            row['messages'],
            f'{row["import MB/s"]:.0f}',
            row['import messages/s'],
            f'{row["import / plain time"]:.2f}',
        ]
        for row in results
    ]
    head = ['bag', 'messages', 'MB/s', 'messages/s', 'time, to reading only']
    return f'Import of real robot logs:\n\n{_table(head, rows)}'


def _offline_bags(results: Any) -> str:
    rows = [
        [
            row['test on'],
            row['predictor'],
            f'{row["speed_rmse_m_s"]:.3f}',
            f'{row["yaw_rate_rmse_rad_s"]:.3f}',
            f'{row["unexplained"]:.2f}',
        ]
        for row in results['rows']
    ]
    head = ['measured on', 'predictor', 'speed RMSE m/s', 'yaw rate RMSE rad/s', 'unexplained']
    return f'Learned offline from the Intel Lab log:\n\n{_table(head, rows)}'


def _recording(results: Any) -> str:
    rows = [
        [
            f'{row["load"]:g}',
            f'{row["messages/s"]:.0f}',
            f'{row["MB/s"]:.0f}',
            f'{row["CPU % of a core"]:.0f} %',
            f'{row["peak memory MB"]:.0f}',
            row['dropped'],
            row['lost'],
            row['unaccounted'],
        ]
        for row in results['load']
    ]
    head = ['load', 'messages/s', 'MB/s', 'CPU of a core', 'peak MB', 'dropped', 'lost']
    head += ['unaccounted']
    step = results['steps'][-1]
    return (
        f'Raw recording (load 1: joint states at 2000 Hz, two 640x480 cameras at 30 Hz, lidar and '
        f'odometry, for {results["seconds"]:.0f} s):\n\n{_table(head, rows)}\n'
        f'Assembly and buffer take {step["p50 ms"]:.2f} ms a control step of '
        f'{step["messages"]:.0f} messages, p99 {step["p99 ms"]:.2f} ms.\n'
    )


def _export(results: Any) -> str:
    rows = [
        [row['format'], row['export MB/s'], row['import MB/s'], row['MB on disk']]
        for row in results['formats']
    ]
    size = results['bag']['bag MB']
    minutes = results['bag to lerobot']['minutes']
    return (
        f'Formats, of {size:.0f} MB of bag; from bag to LeRobot in {minutes:.1f} minutes:\n\n'
        f'{_table(["format", "export MB/s", "import MB/s", "MB on disk"], rows)}'
    )


def _dreamer_step(results: Any) -> str:
    rows = [
        [
            row['seen as'],
            row['one update of'],
            f'{row["CPU s, median"]:.2f}',
            f'{row["of the naive one"]:.2f}',
            '–' if row['goal, CPU s'] is None else row['goal, CPU s'],
        ]
        for row in results['rows']
    ]
    head = ['seen as', 'one update of', 'CPU s', 'of the naive one', 'goal']
    return f'A step of size1m on 16 windows of 64 steps:\n\n{_table(head, rows)}'


def _dreamer_dmc(results: Any) -> str:
    rows = [
        [
            row['task'],
            row['seed'],
            f'{row["train_ratio"]:g}',
            row['frames'],
            f'{row["last_3_returns"]:.0f}',
            f'{row["without_exploration"]:.0f}',
            row['cpu_minutes'],
        ]
        for row in results['summary']
    ]
    head = ['Dreamer in', 'seed', 'train ratio', 'frames', 'return of the last 3 episodes']
    return _table([*head, 'without exploration', 'CPU minutes'], rows)


def _dreamer_arena(results: Any) -> str:
    at = (5000, 10_000)
    rows = []
    for run, row in zip(results['runs'].values(), results['summary'], strict=True):
        measured = {1000 * round(e[0] / 1000): _percent(e[2]) for e in run['evaluations']}
        keys = ('first at 0.9 unseen', 'exploring: steps to 0.5', 'exploring: steps to 0.9')
        best = max(e[2] for e in run['evaluations'])
        rows.append(
            [
                row['learner'],
                row['seed'],
                *(measured.get(step, '–') for step in at),
                f'{_percent(row["unseen layouts"])} after {row["steps"]}',
                _percent(best),
                *('–' if row[key] is None else row[key] for key in keys),
                row['cpu_minutes'],
            ]
        )
    head = [
        'in the arena',
        'seed',
        *(f'after {step}' for step in at),
        'at its end',
        'best',
        'first at 90 %',
        'exploring: to 50 %',
        'to 90 %',
        'CPU minutes',
    ]
    return (
        'Success on 50 layouts that learning never met, every 1000 steps, without exploration; '
        f'beside it that of the last 20 episodes with exploration:\n\n{_table(head, rows)}'
    )


def _scaling(results: Any) -> str:
    rows = [
        [
            row['size'],
            row['phase'],
            row['seen'],
            f'{row["batch_size"]} x {row["length"]}',
            *(
                ['failed', '–', '–', '–']
                if 'failed' in row
                else [
                    f'{row["update, s"]:.3f}',
                    row['steps learned from per s'],
                    row['peak memory, MiB'],
                    f'{row["drawing, % of both"]:.1f} %',
                ]
            ),
        ]
        for row in results['rows']
    ]
    head = ['size', 'phase', 'seen as', 'batch', 'seconds an update', 'steps/s', 'MiB']
    clock = results['clock']
    left = results.get('rows still to measure', 0)
    missing = f' ({left} rows are not measured yet)' if left else ''
    return (
        f'How a step grows, {clock} on the {results["device"]}, {results["numeric"]}{missing}:\n\n'
        f'{_table([*head, "drawing the batch"], rows)}'
    )


def _open_loop(results: Any) -> str:
    every = [row for subject in results.values() for row in subject['rows']]
    rows = [
        [
            row['test on'],
            row['block'],
            row['steps'],
            row['stretches'],
            f'{row["to persistence"]:.2f} ({row["low"]:.2f} to {row["high"]:.2f})',
            f'{row["to constant"]:.2f}',
        ]
        for row in every
        if row['steps'] in (10, 50)
    ]
    head = ['predicted on', 'what', 'steps ahead', 'stretches', 'error to persistence, 95 %']
    return (
        f'Imagined from actions alone; below 1 the world model knows more:\n\n'
        f'{_table([*head, "to a constant"], rows)}'
    )


def _table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return ''.join(f'| {" | ".join(map(str, line))} |\n' for line in lines)


def _percent(rate: float | None) -> str:
    return '–' if rate is None else f'{100 * rate:.0f} %'


_PARTS: dict[str, Callable[[Any], str]] = {
    'closed_loop': _closed_loop,
    'latency': _latency,
    'sac_vs_sb3': _sac,
    'ppo_vs_sb3': functools.partial(policy_tables.ppo_vs_sb3, table=_table),
    'dreamer_step': _dreamer_step,
    'dreamer_dmc': _dreamer_dmc,
    'dreamer_arena': _dreamer_arena,
    'waypoint_course': functools.partial(policy_tables.waypoint_course, table=_table),
    'open_loop': _open_loop,
    'scaling': _scaling,
    'bag_import': _bag_import,
    'offline_bags': _offline_bags,
    'recording': _recording,
    'export': _export,
    'swap_campaign': functools.partial(campaign_tables.swaps, table=_table),
    'crash_campaign': functools.partial(campaign_tables.crashes, table=_table),
    'crash_campaign_policy': functools.partial(campaign_tables.policy_deaths, table=_table),
    'soak': functools.partial(campaign_tables.soak, table=_table),
    **{
        name: functools.partial(getattr(language_tables, name), table=_table)
        for name in (
            'commands',
            'cancel_latency',
            'perception',
            'intent',
            'robot_code',
            'code_execution',
        )
    },
    'meta_learning': functools.partial(meta_tables.meta_learning, table=_table),
    'meta_learning_gpu': functools.partial(meta_tables.meta_learning_gpu, table=_table),
    'vision_language': functools.partial(vision_language_tables.vision_language, table=_table),
    'interactions': functools.partial(bench_tables.interactions, table=_table),
    **{
        f'nsca_{name}': functools.partial(getattr(nsca_tables, name), table=_table)
        for name in ('vision', 'audio', 'digits', 'loading', 'world', 'serving')
    },
    'aime': functools.partial(video_tables.aime, table=_table),
    'aime_imitation': functools.partial(video_tables.aime_imitation, table=_table),
}
_IN_README = ('closed_loop', 'latency')


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
