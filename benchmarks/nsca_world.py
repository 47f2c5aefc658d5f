"""NSCA on the embedded world's own data, end to end: data, five phases, six evaluations.

The bench makes interactions and matched interventions; the small settings train all phases on
split `train`; `evaluate --suite all` measures on split `val` (objects never seen) and on the
interventions. Properties are those of objects: the mean of what the recordings of an object say,
as no single interaction shows everything; those of single recordings stand beside them. What a map
from the truth finds stands beside retrieval, see `nsca_truth`. Processor seconds of each part are
those of its process and its children. What is finished in --out is not done again, so a run may be
stopped and gone on with.

    python benchmarks/nsca_world.py [--quick] [--out DIR] [--interactions N] [--interventions N]
        [--seed N]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from nsca_truth import ceilings
from reporting import table, write

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = ROOT / 'config' / 'phases' / 'nsca_small.yaml'
PHASES = ('vision', 'audio', 'fusion', 'dynamics', 'full')
GOALS = {
    'R@5 over chance': 5.0,
    'error at 10 steps over persistence': 0.5,
    'calibration error': 0.05,
    'mean Spearman, of objects': 0.7,
    'causal accuracy': 0.85,
    'CPU minutes of all phases': 40.0,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--out', type=Path, help='kept between runs (default: temporary)')
    parser.add_argument('--interactions', type=int, default=1260)
    parser.add_argument('--interventions', type=int, default=72)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    if options.out is not None:
        measured(options.out, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        measured(Path(folder), options)


def measured(out: Path, options: argparse.Namespace) -> None:
    data, models = out / 'bench', out / 'models'
    count = 60 if options.quick else options.interactions
    changes = 4 if options.quick else options.interventions
    parts = Parts(out / 'cpu_s.json')
    parts.do(
        'collect',
        ['collect', '--interactions', count, '--interventions', changes,
         '--seed', options.seed, '--out', data],
    )  # fmt: skip
    common = ['--mode', 'nsca', '--data', data, '--models', models]
    short = ['--max-updates', 4] if options.quick else []
    settings = SETTINGS if not options.quick else _unwatched(out / 'settings.yaml')
    for phase in PHASES:
        parts.do(
            phase,
            ['train', *common, '--phase', phase, '--name', 'senses', '--seed', options.seed,
             '--config', settings,
             '--json', out / f'fit_{phase}.json', *short],
        )  # fmt: skip
    parts.do(
        'evaluate',
        ['evaluate', *common, '--model', 'senses-full', '--suite', 'all',
         '--json', out / 'score.json', '--pictures', out / 'pictures'],
    )  # fmt: skip
    found = json.loads((out / 'score.json').read_text())['nsca']
    figures = found['figures']
    phases = [_speed(out / f'fit_{phase}.json', phase, parts.cpu_s[phase]) for phase in PHASES]
    print('\n## Phases\n')
    table(phases)
    goals = _goals(figures, sum(parts.cpu_s[phase] for phase in PHASES) / 60)
    print('\n## Goals\n')
    table(goals)
    print('\n## Pictures and sounds, R@5 over chance\n')
    retrieved = ceilings(data, models, 'senses-full')
    table(retrieved)
    print('\n## Figures\n')
    table([_row(figure) for figure in figures])
    results = {
        'goals': goals,
        'phases': phases,
        'retrieved': retrieved,
        'figures': figures,
        'left_out': found['left_out'],
        'cpu_s': parts.cpu_s,
        'interactions': count,
        'interventions': changes,
        'seed': options.seed,
    }
    write('nsca_world', results, options.quick)


def _unwatched(path: Path) -> Path:
    """Write the settings without the watch over collapse: four updates spread nothing."""
    content = yaml.safe_load(SETTINGS.read_text())
    config = content['config']
    loose = {'smallest_rank': 1.0, 'smallest_std': 0.0}
    for phase, block in (
        ('vision', 'contrast'),
        ('audio', 'contrast'),
        ('fusion', 'loss'),
        ('full', 'fusion'),
    ):
        config[phase][block] = {**config[phase].get(block, {}), **loose}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


class Parts:
    """Commands that are done once, with the processor seconds they took."""

    def __init__(self, path: Path):
        self._path = path
        self.cpu_s: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    def do(self, part: str, command: list[Any]) -> None:
        """Run a command of the package, unless it was done before."""
        if part in self.cpu_s:
            return
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        name, *arguments = map(str, command)
        module = f'robot_learning.commands.{name}'
        subprocess.run([sys.executable, '-m', module, *arguments], cwd=ROOT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        self.cpu_s[part] = round(taken, 1)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.cpu_s))


def _speed(path: Path, phase: str, cpu_s: float) -> dict[str, Any]:
    fit = json.loads(path.read_text())
    return {
        'phase': phase,
        'updates': fit['update'],
        'rows': fit['training']['rows'],
        'ms per update': 1e3 / fit['updates_per_second'] if fit['updates_per_second'] else None,
        'waited for data': fit['metrics']['trainer/waited_share'],
        'CPU s of the command': cpu_s,
    }


def _goals(figures: list[dict[str, Any]], cpu_minutes: float) -> list[dict[str, Any]]:
    def of(suite: str, what: str, features: str = 'learned') -> dict[str, Any]:
        return next(
            (
                figure
                for figure in figures
                if (figure['suite'], figure['what'], figure['features']) == (suite, what, features)
            ),
            {'value': None, 'chance': None},
        )

    recalls = [
        of('retrieval', f'{direction}, same sample, R@5')
        for direction in ('sound by picture', 'picture by sound')
    ]
    ratios = [r['value'] / r['chance'] for r in recalls if r['value'] is not None]
    values = {
        'R@5 over chance': min(ratios, default=None),
        'error at 10 steps over persistence': of(
            'dynamics', 'error relative to persistence, 10 steps'
        )['value'],
        'calibration error': of('dynamics', 'expected calibration error')['value'],
        'mean Spearman, of objects': of(
            'properties', 'mean of Spearman over properties of objects'
        )['value'],
        'causal accuracy': of('causal', 'all properties')['value'],
        'CPU minutes of all phases': cpu_minutes,
    }
    rows = [
        {'what': name, 'goal': GOALS[name], 'measured': value} for name, value in values.items()
    ]
    beside = {
        'mean Spearman, of recordings': of('properties', 'mean of Spearman over properties'),
        'mean Spearman, of objects, correlational': of(
            'properties', 'mean of Spearman over properties of objects', 'correlational'
        ),
        'causal accuracy, correlational': of('causal', 'all properties', 'correlational'),
    }
    rows += [
        {'what': name, 'goal': None, 'measured': found['value']} for name, found in beside.items()
    ]
    return rows


def _row(figure: dict[str, Any]) -> dict[str, Any]:
    names = ('suite', 'what', 'features', 'value', 'low', 'high', 'chance', 'count')
    return {name: figure[name] for name in names}


if __name__ == '__main__':
    main()
