"""How well pictures and words find each other: the embedded world, shop photographs, COCO.

    ./run benchmark vision_language --minutes 20     trains, measures; again: goes on
    ./run benchmark vision_language --quick          a few updates each, only to see it work

Three versions are trained from scratch by `train --mode vision_language`, on what MINUTES of wall
time allow (three fifths, three tenths, one tenth); each is measured by `evaluate` on pictures that
it has not learned from. Called again, training goes on where it was, until its updates are made.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from reporting import RESULTS, table, write

ROOT = Path(__file__).resolve().parent.parent
GOALS = {
    'world: caption of picture, recall at 1 of 50': 0.6,
    'world: grounding accuracy': 0.85,
    'grocery: top-1 by description, times chance': 5.0,
    'world: ms per picture and phrase, at most': 15.0,
}


class Task(NamedTuple):
    """One version."""

    name: str
    model: str  # In the model store.
    data: str  # Folder below --data; '': the world.
    share: float  # Of the minutes.
    options: tuple[str, ...]  # Of `train`.


TASKS = (
    Task('world', 'grounding', '', 0.6, ()),
    Task('grocery', 'grocery', 'grocery', 0.3, ('--config', 'vision_language_photographs.yaml')),
    Task(
        'coco_captions',
        'captions',
        'coco_captions',
        0.1,
        (
            *('--config', 'vision_language_photographs.yaml', '--held-out', '0.25'),
            *('--max-updates', '200', '--batch-size', '32'),
        ),
    ),
)


def trained(task: Task, arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Let training go on for its share of the minutes; return what it says."""
    said = out / f'{task.name}-train.json'
    command = [
        *(sys.executable, '-m', 'robot_learning.commands.train', '--mode', 'vision_language'),
        *('--name', task.model, '--models', str(out / 'models'), '--output', str(out)),
        *('--json', str(said)),
        *(str(ROOT / 'config' / 'phases' / o) if o.endswith('.yaml') else o for o in task.options),
    ]
    if task.data:
        command += ['--data', str(arguments.data / task.data)]
    if arguments.quick:
        command += ['--max-updates', '4']
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        process.wait(60 * arguments.minutes * task.share)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # It saves.
        process.wait()
    if process.returncode:
        raise SystemExit(f'{task.name}: train ended with code {process.returncode}')
    result: dict[str, Any] = json.loads(said.read_text('utf-8'))
    return result


def measured(task: Task, arguments: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Measure the best version so far."""
    said = out / f'{task.name}-evaluate.json'
    command = [
        *(sys.executable, '-m', 'robot_learning.commands.evaluate', '--mode', 'vision_language'),
        *('--model', task.model, '--models', str(out / 'models'), '--json', str(said)),
        *('--data', str(arguments.data / task.data) if task.data else 'world'),
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    result: dict[str, Any] = json.loads(said.read_text('utf-8'))['vision_language'][task.name]
    return result


def summary(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row per figure of the goals."""
    rows = []

    def row(figure: str, score: dict[str, Any], chance: float | None, goal: str) -> None:
        low, high = score['interval_95']
        rows.append(
            {
                'figure': figure,
                'value': score['value'],
                'low': low,
                'high': high,
                'count': score['count'],
                'chance': chance,
                'goal': goal,
            }
        )

    if 'world' in results:
        world = results['world']['measured']
        found, grounding = world['retrieval'], world['grounding']
        of_picture, of_caption = found['caption_of_picture'], found['picture_of_caption']
        row('world, caption of picture R@1', of_picture['recall_at_1'], found['chance'], '0.6')
        row('world, picture of caption R@1', of_caption['recall_at_1'], found['chance'], '0.6')
        row('world, grounding accuracy', grounding['accuracy'], None, '0.85')
        for name, score in grounding['accuracy_by_sort'].items():
            row(f'world, grounding by {name}', score, None, '')
        row('world, absent refused', grounding['refused_of_those_absent'], None, '')
    if 'grocery' in results:
        shop = results['grocery']['measured']
        chance, described = shop['chance'], shop['by_description']
        row('grocery, top-1', described['recall_at_1'], chance, f'{5 * chance:.3f}')
        row('grocery, top-5', described['recall_at_5'], 5 * chance, '')
    if 'coco_captions' in results:
        coco = results['coco_captions']['measured']
        for name in ('caption_of_picture', 'picture_of_caption'):
            score = coco[name]
            row(
                f'COCO, {name.replace("_", " ")} R@5',
                score['recall_at_5'],
                score['chance_at_5'],
                '',
            )
    return rows


def main() -> None:
    """Train what is not trained yet, measure everything, write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get('ROBOT_LEARNING_DATA', ROOT.parent / 'shared' / 'data')
    parser.add_argument('--data', type=Path, default=Path(default), help='holds grocery/, ...')
    parser.add_argument('--minutes', type=float, default=20.0, help='of training, wall time')
    parser.add_argument('--only', choices=[task.name for task in TASKS], nargs='+')
    parser.add_argument(
        '--out', type=Path, default=ROOT / 'runs' / 'benchmarks' / 'vision_language'
    )
    parser.add_argument('--quick', action='store_true', help='four updates each')
    arguments = parser.parse_args()
    out = (
        arguments.out.with_name(f'{arguments.out.name}_quick')
        if arguments.quick
        else arguments.out
    )
    path = RESULTS / f'vision_language{".quick" if arguments.quick else ""}.json'
    results = json.loads(path.read_text('utf-8'))['results']['tasks'] if path.exists() else {}
    for task in TASKS:
        if arguments.only and task.name not in arguments.only:
            continue
        training = trained(task, arguments, out)
        if training['version'] is None:
            print(f'{task.name}: no version yet. Call it again with more --minutes.')
            continue
        kept = ('update', 'version', 'state', 'wall_s', 'seed', 'training', 'held_out')
        results[task.name] = {
            'trained': {key: training[key] for key in kept},
            'measured': measured(task, arguments, out),
        }
        rows = summary(results)
        path = write(
            'vision_language', {'goals': GOALS, 'tasks': results, 'rows': rows}, arguments.quick
        )
    table(summary(results))
    print(f'Written to {path}')


if __name__ == '__main__':
    main()
