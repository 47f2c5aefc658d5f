"""Learning from few examples: accuracy, error, and tasks per second.

omniglot  config/phases/meta.yaml on the background set, a fifth of its alphabets held out by
          seed 0; 600 tasks of characters that were never seen, not turned; each query is
          judged for itself. Learns for --minutes of processor time and goes on from its
          checkpoint when called again; the learning rate falls over --updates in all.
          Beside it: the nearest class mean of pixels
speed     one outer update with all tasks at once, and task after task; second and first order
sinusoids the same number of updates with second order, first order, and without adapting
robots    20 robots of the embedded world with friction, payload, motors and wheels that no
          training saw: the next control step before and after adapting to 5 s of driving.
          Beside it a network of the same size that learned to answer without adapting
service   from examples in arrays to a published version, 20 times

python benchmarks/meta_learning.py [--quick] [--only PART ...] [--minutes M] [--updates N]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting import RESULTS, machine, table, write

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

from robot_learning.commands import meta_data  # noqa: E402
from robot_learning.commands.evaluate_meta import evaluate_meta  # noqa: E402
from robot_learning.commands.meta_data import Robots  # noqa: E402
from robot_learning.commands.stop_requests import StopRequests  # noqa: E402
from robot_learning.commands.train_meta import Settings, load_settings, prepare  # noqa: E402
from robot_learning.evaluation.means import mean_interval  # noqa: E402
from robot_learning.model_store import ModelStore  # noqa: E402
from robot_learning.phases.checkpoint import CheckpointFolder  # noqa: E402
from robot_learning.phases.meta import MetaConfig, MetaObjective  # noqa: E402
from robot_learning.phases.meta_tasks import (  # noqa: E402
    DriveTasks,
    PictureTasks,
    Shots,
    SinusoidTasks,
    Tasks,
)
from robot_learning.phases.passes import Origin, Passes  # noqa: E402
from robot_learning.phases.publishing import plain  # noqa: E402
from robot_learning.serving.adaptation import publish_adapted  # noqa: E402

GOALS = {'5-way 1-shot': 0.93, '5-way 5-shot': 0.98}
DATA = Path(os.environ.get('ROBOT_LEARNING_DATA', ROOT.parent / 'shared' / 'data'))
ARCHIVE = DATA / 'omniglot' / 'omniglot_background_28.npz'


def omniglot(
    quick: bool, minutes: float, runs: Path, updates: int | None = None
) -> dict[str, Any]:
    """Learn for some minutes of processor time, or until Ctrl-C; measure what there is."""
    settings = load_settings()
    if updates is not None:
        passes_config = dataclasses.replace(settings.phase.passes, max_updates=updates)
        phase = dataclasses.replace(settings.phase, passes=passes_config)
        settings = settings._replace(phase=phase)
    folder = runs / ('omniglot_quick' if quick else 'omniglot')
    options = argparse.Namespace(data=[ARCHIVE], held_out=0.2, seed=0)
    prepared = prepare(options, settings, 'pictures')
    clock = folder / 'cpu_s.json'
    before = json.loads(clock.read_text()) if clock.is_file() else 0.0
    passes = Passes(
        prepared.objective,
        prepared.training,
        prepared.held_out,
        settings.phase.passes,
        None,
        CheckpointFolder(folder),
        Origin(prepared.sources),
    )
    passes.resume()
    started = time.process_time()
    with StopRequests() as requests:
        progress = passes.run(
            lambda: requests.is_requested or time.process_time() - started > 60 * minutes
        )
    spent = before + time.process_time() - started
    clock.write_text(json.dumps(spent))
    tensors, policy = prepared.objective.policy()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    manifest = {'policy': policy, 'config': plain(settings.phase)}
    num_tasks = 50 if quick else 600
    found = evaluate_meta(arrays, manifest, 'omniglot', [ARCHIVE], num_tasks=num_tasks)
    return {
        'cpu_minutes': round(spent / 60, 2),
        'updates': progress.update,
        'of_updates': passes.num_updates,
        'tasks': progress.update * settings.phase.passes.batch_size,
        'held_out_alphabets': found['groups'],
        'classes': found['classes'],
        'goals': GOALS,
        'rows': found['rows'],
    }


def speed(quick: bool) -> list[dict[str, Any]]:
    """Time an outer update of 25 tasks, of pictures 16."""
    curves = load_settings(None, 'sinusoids').phase
    pictures = load_settings().phase
    made = _made_pictures()
    cases: list[tuple[str, MetaConfig, Tasks, int]] = []
    for order in ('second', 'first'):
        config = dataclasses.replace(curves, order=order)
        cases.append(
            (f'sine curves, {order} order', config, SinusoidTasks(Shots(10, 10), 99, 0), 25)
        )
    for adapts in ('all', 'head'):
        learner = dataclasses.replace(pictures.learner, adapts=adapts)
        config = dataclasses.replace(pictures, learner=learner)
        tasks = PictureTasks(made, 5, Shots(1, 5), 99, 0)
        cases.append((f'pictures, adapts {adapts}, second order', config, tasks, 16))
    rows = []
    for name, config, tasks, count in cases:
        objective = MetaObjective(config, tasks.shape, 0)
        batch = tasks.read(np.arange(count))
        rates = []
        for is_looped in (False, True):

            def update(objective: Any = objective, batch: Any = batch, looped: bool = is_looped):
                loss = objective.judge(batch, is_looped=looped).loss.mean()
                torch.autograd.grad(loss, list(objective.module.parameters()))

            rates.append(count / _median_s(update, 2 if quick else 5))
        rows.append(
            {
                'tasks': name,
                'steps': config.learner.inner_steps,
                'at once, tasks/s': rates[0],
                'one after the other, tasks/s': rates[1],
                'times as fast': rates[0] / rates[1],
            }
        )
    return rows


def sinusoids(quick: bool) -> list[dict[str, Any]]:
    """Compare second order, first order and no adapting in training."""
    settings = load_settings(None, 'sinusoids')
    rows = []
    for name, order, adapts in (
        ('second order', 'second', True),
        ('first order', 'first', True),
        ('without adapting', 'second', False),
    ):
        config = dataclasses.replace(settings.phase, order=order)
        tasks = SinusoidTasks(Shots(10, 10), config.num_tasks, 0)
        objective = MetaObjective(config, tasks.shape, 0)
        _learn(objective, tasks, 20 if quick else 500, 25, 3e-3, adapts)
        batch = SinusoidTasks(Shots(10, 50), 600, 12_345).read(np.arange(600))
        found = objective.judge(batch)
        before = objective.judge(batch, 0)
        rows.append(
            {
                'learned with': name,
                'updates': 20 if quick else 500,
                'error before': _value(before.right),
                'error after 3 steps': _value(found.right),
            }
        )
    return rows


def robots(quick: bool) -> dict[str, Any]:
    """Adapt the dynamics to robots that nobody has driven."""
    settings = load_settings(None, 'robots')
    if quick:
        settings = Settings(settings.phase, Robots(6, 12.0))
    options = argparse.Namespace(
        data=[Path(meta_data.ROBOTS)], robot='arena', held_out=0.1, seed=0
    )
    prepared = prepare(options, settings, 'robots')
    assert isinstance(prepared.training, DriveTasks), 'of robots'
    plain_one = MetaObjective(settings.phase, prepared.training.shape, 0)
    plain_one.prepare(prepared.training.statistics())
    count = 10 if quick else 400
    _learn(prepared.objective, prepared.training, count, 20, 2e-3, adapts=True)
    _learn(plain_one, prepared.training, count, 20, 2e-3, adapts=False)
    measured = Robots(3 if quick else 20, 20.0)
    drives = meta_data.drives(options.data, 'arena', measured, 0, is_measured=True)
    shots = Shots(settings.phase.shots, settings.phase.queries)
    losses: dict[str, list[float]] = {'before': [], 'after': [], 'never adapted': []}
    for drive in drives:
        batch = DriveTasks([drive], shots, 25, 0).read(np.arange(25))
        losses['before'].append(float(prepared.objective.judge(batch, 0).loss.mean().detach()))
        losses['after'].append(float(prepared.objective.judge(batch).loss.mean().detach()))
        losses['never adapted'].append(float(plain_one.judge(batch, 0).loss.mean().detach()))
    rows = []
    for against in ('before', 'never adapted'):
        ratio = [a / b for a, b in zip(losses['after'], losses[against], strict=True)]
        rows.append(
            {
                'robots': len(drives),
                'beside': against,
                'its error': float(np.mean(losses[against])),
                'error after adapting': float(np.mean(losses['after'])),
                'ratio': float(np.mean(ratio)),
                'low': mean_interval(ratio)[0],
                'high': mean_interval(ratio)[1],
                'better on': sum(each < 1 for each in ratio),
            }
        )
    return {'robots_learned_from': settings.robots.number, 'updates': count, 'rows': rows}


def service(quick: bool) -> dict[str, Any]:
    """Time what the adapt service does but for ROS."""
    settings = load_settings(None, 'robots').phase
    rng = np.random.default_rng(0)
    drives = [
        meta_data.Drive(
            rng.standard_normal((60, 6)).astype(np.float32),
            rng.standard_normal((60, 5)).astype(np.float32),
        )
        for _ in range(2)
    ]
    tasks = DriveTasks(drives, Shots(25, 25), 10, 0)
    tensors, policy = MetaObjective(settings, tasks.shape, 0).policy()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore(Path(folder))
        store.publish('robot', arrays, {'policy': policy, 'phase': 'meta'})
        drive = drives[0]
        wall = [
            publish_adapted(store, 'robot', 1, drive.inputs[:25], drive.targets[:25]).wall_s
            for _ in range(3 if quick else 20)
        ]
    return {
        'examples': 25,
        'p50 ms': 1e3 * float(np.median(wall)),
        'max ms': 1e3 * max(wall),
        'goal ms': 1000,
    }


PARTS: dict[str, Callable[[bool], Any]] = {
    'speed': speed,
    'service': service,
    'sinusoids': sinusoids,
    'robots': robots,
}


def _learn(
    objective: MetaObjective, tasks: Tasks, updates: int, batch: int, rate: float, adapts: bool
) -> None:
    """Take plain Adam steps down a cosine, with or without adapting inside."""
    parameters = [p for p in objective.module.parameters() if p is not objective.module.rates]
    if adapts:
        parameters = list(objective.module.parameters())
    optimizer = torch.optim.Adam(parameters, rate)
    rng = np.random.default_rng(0)
    for update in range(updates):
        for group in optimizer.param_groups:
            group['lr'] = rate * 0.5 * (1 + np.cos(np.pi * update / updates))
        found = tasks.read(rng.integers(len(tasks), size=batch))
        loss = objective.judge(found, None if adapts else 0).loss.mean()
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()


def _made_pictures() -> Any:
    """Return noise in classes; only its size matters."""
    from robot_learning.trajectory.character_files import PictureClasses

    images = np.random.default_rng(0).integers(0, 256, (240, 28, 28, 1)).astype(np.uint8)
    names = tuple(map(str, range(20)))
    return PictureClasses(images, np.repeat(np.arange(20), 12), names, np.zeros(20, int), (), '')


def _median_s(call: Callable[[], None], repeats: int) -> float:
    """Return the median of the processor time of a call."""
    call()
    spent = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        spent.append(time.process_time() - started)
    return float(np.median(spent))


def _value(each: torch.Tensor) -> str:
    low, high = mean_interval(each.tolist())
    return f'{float(each.detach().mean()):.3f} ({low:.3f} to {high:.3f})'


def main() -> int:
    """Measure, print tables and write the JSON file; parts not asked for keep their numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--quick', action='store_true')
    parser.add_argument(
        '--only', nargs='+', choices=[*PARTS, 'omniglot'], default=[*PARTS, 'omniglot']
    )
    parser.add_argument('--minutes', type=float, default=20.0, help='of omniglot, now (20)')
    parser.add_argument('--updates', type=int, help='of omniglot, in all (those of its settings)')
    parser.add_argument('--runs', type=Path, default=ROOT / 'runs' / 'meta_learning')
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / f'meta_learning{".quick" if options.quick else ""}.json'
    results = json.loads(path.read_text())['results'] if path.is_file() else {}
    for name in options.only:
        print(f'\n{name}')
        minutes = min(options.minutes, 0.1) if options.quick else options.minutes
        if name == 'omniglot':
            found = omniglot(options.quick, minutes, options.runs, options.updates)
        else:
            found = PARTS[name](options.quick)
        rows = found if isinstance(found, list) else found.get('rows', [found])
        if name != 'omniglot':  # Its rows are printed by evaluate.
            table(rows)
        results[name] = {'found': found, 'machine': machine()}
        write('meta_learning', results, options.quick)
    return 0


if __name__ == '__main__':
    sys.exit(main())
