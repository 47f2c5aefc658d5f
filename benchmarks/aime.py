"""How well AIME's small configuration draws and foresees DeepMind Control video, on one core.

Parts, each by itself or all; what was measured before stays in the results:

- `train`: the small configuration on walker frames (random actions, whole episodes held out) for
  at most `--minutes` of CPU time in all calls together; it goes on where it stopped.
- `priors`: the mixture prior against the same model with a single Gaussian, seeds in pairs, at
  32 x 32 pixels and few updates; the difference of evidence bounds with its interval.
- `step`: time of one forward and backward pass against a plain implementation that takes one step
  of a window after the other, and whether both give the same.

    python benchmarks/aime.py [train] [priors] [step] [--minutes M] [--quick]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aime_references import named, one_by_one
from reporting import RESULTS, table, write

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

from robot_learning.commands.collect_dmc import collect_dmc  # noqa: E402
from robot_learning.commands.train_aime import (  # noqa: E402
    Videos,
    load_settings,
    num_epochs,
    split_videos,
)
from robot_learning.evaluation.means import mean_interval  # noqa: E402
from robot_learning.model_store import ModelStore  # noqa: E402
from robot_learning.models.aime.config import AimeModelConfig  # noqa: E402
from robot_learning.models.aime.model import AimeModel  # noqa: E402
from robot_learning.phases import cpu  # noqa: E402
from robot_learning.phases.aime import AimeConfig, AimeTraining  # noqa: E402
from robot_learning.phases.aime_losses import aggregate, terms_of  # noqa: E402
from robot_learning.phases.checkpoint import CheckpointFolder  # noqa: E402
from robot_learning.phases.passes import Origin, Passes  # noqa: E402
from robot_learning.phases.passes_config import PassesConfig  # noqa: E402
from robot_learning.phases.publishing import Publisher  # noqa: E402
from robot_learning.phases.trainer import Progress  # noqa: E402
from robot_learning.simulation.dmc_trajectories import DmcTask  # noqa: E402
from robot_learning.trajectory.datasets import read_episodes  # noqa: E402
from robot_learning.trajectory.episode import Episode  # noqa: E402

FOLDER = ROOT / 'runs' / 'aime_benchmark'
SMALL = ROOT / 'config' / 'phases' / 'aime_small.yaml'
NAME = 'aime'
PARTS = ('train', 'priors', 'step')
TINY = AimeModelConfig(
    image_size=32, depth=12, hidden=128, latent=16, slot_size=24, codes=64, code_size=24,
    context_size=32, context_layers=1,
)  # fmt: skip
Array = np.ndarray[Any, Any]


class Budget:
    """CPU seconds that may still be used."""

    def __init__(self, seconds: float):
        self._end_s = time.process_time() + seconds

    def is_spent(self) -> bool:
        """Tell whether none are left."""
        return time.process_time() >= self._end_s


def walker(size: int, steps: int) -> list[Episode]:
    """Return episodes of random actions, recorded at the first call."""
    out = FOLDER / f'walker_{size}_{steps}'
    if not out.exists():
        repeat = 10 if steps < 1000 else 1  # Episodes are a thousand simulation steps.
        collect_dmc(DmcTask('walker_walk', size, action_repeat=repeat), steps, out, seed=0)
    return list(read_episodes(out, fields=('camera',)))


def train(args: argparse.Namespace, budget: Budget) -> dict[str, Any]:
    """Train the small configuration on; return where it stands."""
    passes, config = load_settings(SMALL)
    videos = videos_of(walker(64, 200 if args.quick else 20_000), config, seed=0)
    epochs = num_epochs(passes, len(videos.training))
    objective = AimeTraining(config, videos.training.dataset, epochs)
    spent_file = FOLDER / 'spent.json'
    spent = (
        json.loads(spent_file.read_text()) if spent_file.exists() else {'cpu_s': 0, 'curve': []}
    )
    store = ModelStore(FOLDER / 'models')
    training = Passes(
        objective,
        videos.training,
        videos.held_out,
        passes,
        Publisher(store, NAME, 'aime', 0, 2, 1),
        CheckpointFolder(FOLDER / 'checkpoints'),
        Origin(['walker_walk, random actions']),
    )
    training.resume()
    before, begun = spent['cpu_s'], time.process_time()
    total_s = 60.0 * (1 if args.quick else args.total_minutes)

    def report(progress: Progress) -> None:
        spent['cpu_s'] = before + time.process_time() - begun
        held = {k: v for k, v in progress.metrics.items() if k.startswith('held_out/')}
        spent['curve'].append({'update': progress.update, 'cpu_s': spent['cpu_s'], **held})

    def should_stop() -> bool:
        return budget.is_spent() or before + time.process_time() - begun >= total_s

    progress = training.run(should_stop, report)
    spent['cpu_s'] = before + time.process_time() - begun
    spent_file.write_text(json.dumps(spent))
    objective.module.eval()
    torch.manual_seed(0)
    with torch.no_grad():
        held = objective.measure(_batches(videos, passes.batch_size))
    row = {
        'updates': progress.update,
        'of': training.num_updates,
        'CPU minutes': spent['cpu_s'] / 60,
        'PSNR dB': held['held_out/reconstruction_psnr'],
        'one step ahead dB': held['held_out/one_step_psnr'],
        '10 steps ahead dB': held['held_out/open_loop_psnr'],
        'persistence dB': held['held_out/persistence_psnr'],
        'mean frame dB': held['held_out/mean_frame_psnr'],
        'components': held['held_out/components'],
        'perplexity': held['held_out/perplexity'],
    }
    table([row])
    first = next(
        (p['cpu_s'] for p in spent['curve'] if p.get('held_out/reconstruction_psnr', 0) >= 24),
        None,
    )
    return {
        'summary': row,
        'cpu_s_until_24_db': first,
        'held_out': held,
        'windows': {'training': len(videos.training), 'held_out': len(videos.held_out)},
        'collapsed': objective.collapsed,
        'curve': _thinned(spent['curve']),
    }


def priors(args: argparse.Namespace, budget: Budget) -> dict[str, Any]:
    """Compare mixture and single Gaussian in pairs of seeds; goes on with pairs that lack."""
    file = FOLDER / 'priors.json'
    rows: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    updates = 4 if args.quick else args.prior_updates
    episodes = walker(32, 200 if args.quick else 3000)
    for seed in range(1 if args.quick else 5):
        for components in (15, 1):
            key = {'seed': seed, 'components': components, 'updates': updates}
            if budget.is_spent() or any(key.items() <= row.items() for row in rows):
                continue
            rows.append({**key, **_evidence(episodes, components, updates, seed)})
            file.write_text(json.dumps(rows))
    rows = [row for row in rows if row['updates'] == updates]
    table(rows)
    by_seed = {(row['seed'], row['components']): row['elbo'] for row in rows}
    gains = [
        by_seed[seed, 15] - by_seed[seed, 1]
        for seed in range(5)
        if {(seed, 15), (seed, 1)} <= set(by_seed)
    ]
    low, high = mean_interval(gains)
    return {
        'rows': rows,
        'pairs': len(gains),
        'gain_nats_per_frame': float(np.mean(gains)) if gains else None,
        'interval': [low, high] if len(gains) > 1 else None,
    }


def step(args: argparse.Namespace, budget: Budget) -> dict[str, Any]:
    """Time a pass of windows at once against one step after the other."""
    config = load_settings(SMALL)[1]
    torch.manual_seed(0)
    model = AimeModel(config.model, 6)
    frames, actions = torch.rand(8, 16, 3, 64, 64), torch.rand(8, 16, 6)
    model.eval()
    apart = 0.0
    with torch.no_grad():
        torch.manual_seed(1)
        fast = model(frames, actions)
        torch.manual_seed(1)
        plain = one_by_one(model, frames, actions)
        for name, value in plain.items():
            apart = max(apart, float((value - named(fast)[name]).abs().max()))
    model.train()

    def windows() -> None:
        terms = terms_of(model(frames, actions), frames, 2.0, 0.1)
        sum(aggregate(terms, config.losses, 1.0).values()).backward()

    def single() -> None:
        drawn = one_by_one(model, frames, actions)
        sum(value.square().mean() for value in drawn.values()).backward()

    seconds = {name: _seconds(f, 2 if args.quick else 5) for name, f in (
        ('windows at once', windows), ('one step after the other', single))}  # fmt: skip
    rows = [{'implementation': name, 'CPU s': value} for name, value in seconds.items()]
    table(rows)
    return {
        'rows': rows,
        'ratio': seconds['one step after the other'] / seconds['windows at once'],
        'largest_difference': apart,
    }


def learn(
    objective: Any,
    videos: Videos,
    updates: int,
    learning_rate: float,
    budget: Budget,
    batch_size: int = 8,
) -> dict[str, Any]:
    config = PassesConfig(
        epochs=10_000, max_updates=updates, batch_size=batch_size, learning_rate=learning_rate,
        weight_decay=0.0, warmup_updates=20, gradient_norm=5.0, report_updates=10_000,
        measure_epochs=10_000,
    )  # fmt: skip
    begun = time.process_time()
    passes = Passes(objective, videos.training, videos.held_out, config, None, None, Origin([]))
    progress = passes.run(budget.is_spent)
    objective.module.eval()
    torch.manual_seed(0)
    with torch.no_grad():
        held = objective.measure(_batches(videos, 8))
    return {'updates': progress.update, 'cpu_s': time.process_time() - begun, **held}


def _evidence(
    episodes: Sequence[Episode], components: int, updates: int, seed: int
) -> dict[str, Any]:
    config = AimeConfig(model=dataclasses.replace(TINY, components=components), stride=4)
    videos = videos_of(episodes, config, seed=0)
    rows_per_epoch = max(len(videos.training) // 8, 1)
    losses = dataclasses.replace(config.losses, beta_epochs=0.3 * updates / rows_per_epoch)
    config = dataclasses.replace(config, losses=losses)
    epochs = updates / rows_per_epoch
    objective = AimeTraining(config, videos.training.dataset, epochs, seed)
    held = learn(objective, videos, updates, 1e-3, Budget(1e9))
    return {
        'elbo': -held['held_out/negative_elbo'],
        'kl': held['held_out/kl'],
        'kl sampled': held['held_out/kl_sampled'],
        'PSNR dB': held['held_out/reconstruction_psnr'],
        'in use': held['held_out/components'],
        'cpu_s': held['cpu_s'],
    }


def videos_of(episodes: Sequence[Episode], config: AimeConfig, seed: int) -> Videos:
    size = config.model.image_size
    return split_videos(episodes, config.length, config.stride, size, config.camera, 0.2, seed)


def _batches(videos: Videos, size: int) -> Any:
    held_out = videos.held_out
    for start in range(0, len(held_out), size):
        yield held_out.read(np.arange(start, min(start + size, len(held_out))))


def _seconds(f: Callable[[], None], count: int) -> float:
    times = []
    for _ in range(count + 1):
        begun = time.process_time()
        f()
        times.append(time.process_time() - begun)
    return float(np.median(times[1:]))


def _thinned(curve: list[dict[str, Any]]) -> list[dict[str, Any]]:
    measured: list[dict[str, Any]] = []
    for point in curve:  # Between measurements the last one is repeated.
        held = {name: value for name, value in point.items() if name.startswith('held_out/')}
        if held and not (measured and held.items() <= measured[-1].items()):
            measured.append(point)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('parts', nargs='*', choices=[*PARTS, []], help='all, if none is named')
    parser.add_argument('--minutes', type=float, default=30.0, help='CPU minutes of this call')
    parser.add_argument(
        '--total-minutes', type=float, default=30.0, help='of `train`, in all calls'
    )
    parser.add_argument('--prior-updates', type=int, default=100, help='of each model of `priors`')
    parser.add_argument('--quick', action='store_true', help='a few updates: does it run?')
    args = parser.parse_args()
    global FOLDER
    FOLDER = FOLDER.with_name(f'{FOLDER.name}_quick') if args.quick else FOLDER
    FOLDER.mkdir(parents=True, exist_ok=True)
    cpu.settle()
    budget = Budget(60 * args.minutes)
    file = RESULTS / ('aime.quick.json' if args.quick else 'aime.json')
    results = json.loads(file.read_text())['results'] if file.exists() else {}
    functions = {'train': train, 'priors': priors, 'step': step}
    for name in args.parts or PARTS:
        results[name] = functions[name](args, budget)
        print(write('aime', results, args.quick))


if __name__ == '__main__':
    main()
