"""Behavioural cloning on one robot's log, measured on another's that it has never seen.

The Intel Lab log (a Pioneer driven through offices) trains, the Freiburg 079 log (another
Pioneer, another building) tests. Neither holds commands: the action of step t is the motion
from its odometry pose to that of step t + 1, and is predicted from what was known at t: the
scan, and the motion from t - 1 to t as the velocity now. Beside it stand the mean action of the
training data, persistence (the velocity now), and the same network without the scan.

    python benchmarks/offline_bags.py [--quick] [--seeds N] [--data DIR]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from reporting import table, write

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

from robot_learning import contract as contracts  # noqa: E402
from robot_learning.contract import RobotContract  # noqa: E402
from robot_learning.features import FeatureBuilder  # noqa: E402
from robot_learning.phases.behavior_cloning import (  # noqa: E402
    BehaviorCloning,
    BehaviorCloningConfig,
)
from robot_learning.phases.phase import PolicySpace, TrainingData  # noqa: E402
from robot_learning.trajectory.bag import BagReplay  # noqa: E402
from robot_learning.trajectory.episode import Episode, join  # noqa: E402

Array = np.ndarray[Any, Any]
TRAIN, TEST = 'intel_lab_pioneer', 'freiburg079_pioneer'
SPLIT = (0.7, 0.85)  # Of the training log by time: training, validation, held out.
SPEEDS = (0.5, 2.0)  # Other robots are slower and faster; training sees the log at such speeds.
EVALUATE_EVERY = 25  # Updates.
# Chosen on the validation stretch: some 800 steps ask for a small, restrained network.
NETWORK = BehaviorCloningConfig(
    hidden=(64, 64), loss='squared_error', learning_rate=1e-3, weight_decay=0.3
)


class Rows(NamedTuple):
    """One row per predicted action."""

    scan: Array  # [N, D] features of the scan, right to left.
    velocity: Array  # [N, 2] forward speed and yaw rate now.
    action: Array  # [N, 2] those of the next step.

    def part(self, start: float, stop: float) -> Rows:
        """Return a stretch of time, given as fractions."""
        first, last = round(start * len(self.action)), round(stop * len(self.action))
        return Rows(*(values[first:last] for values in self))


def read(path: Path, contract: RobotContract) -> Rows:
    """Play a bag through the recorder and take the steps whose past and future are known."""
    pieces: dict[int, list[Episode]] = defaultdict(list)
    for piece in BagReplay(path, contract).pieces():
        pieces[piece.episode].append(piece)
    builder = FeatureBuilder(contract)
    rows = []
    for parts in pieces.values():
        episode = join(parts)
        scan = builder.build_batch(episode.observations)
        # Neighbours in time, and no action of a last step, which was never carried out.
        t = np.arange(1, len(episode) - 1)
        near = np.diff(episode.stamp_ns) == contract.control_period_ns
        t = t[near[t - 1] & near[t] & np.isfinite(scan[t]).all(axis=1)]
        rows.append(Rows(scan[t], episode.action[t - 1], episode.action[t]))
    return Rows(*map(np.concatenate, zip(*rows, strict=True)))


def varied(rows: Rows, rng: np.random.Generator) -> Rows:
    """Mirror half of the rows left to right, and drive each at another speed."""
    scan, velocity, action = (values.copy() for values in rows)
    mirrored = rng.random(len(scan)) < 0.5
    scan[mirrored] = scan[mirrored, ::-1]
    velocity[mirrored, 1] *= -1
    action[mirrored, 1] *= -1
    speed = np.exp(rng.uniform(*np.log(SPEEDS), len(scan))).astype(np.float32)
    velocity[:, 0] *= speed
    action[:, 0] *= speed
    return Rows(scan, velocity, action)


def clone(
    contract: RobotContract, train: Rows, validation: Rows, seed: int, updates: int, see: bool
) -> Callable[[Rows], Array]:
    """Train the phase, keep the version best on validation, and return its prediction."""

    def inputs(rows: Rows) -> Array:
        return np.concatenate([rows.scan if see else rows.scan[:, :0], rows.velocity], axis=1)

    low, high = contract.action_low, contract.action_high
    config = NETWORK
    space = PolicySpace(inputs(train).shape[1], low, high)
    phase = BehaviorCloning(config, space, seed)
    phase.prepare(TrainingData(inputs(train), space.normalised(train.action), np.zeros(0)))

    def batch(rows: Rows) -> dict[str, torch.Tensor]:
        arrays = {'observation': inputs(rows), 'action': space.normalised(rows.action)}
        return {name: torch.from_numpy(value) for name, value in arrays.items()}

    rng = np.random.default_rng(seed)
    held_out = batch(varied(Rows(*(np.repeat(v, 8, axis=0) for v in validation)), rng))
    best_loss, best_state = np.inf, phase.state_dict()
    for update in range(1, updates + 1):
        index = rng.integers(0, len(train.action), config.batch_size)
        phase.update(batch(varied(Rows(*(values[index] for values in train)), rng)))
        if update % EVALUATE_EVERY == 0:
            loss = float(phase.evaluate(held_out)['loss'])
            if loss < best_loss:
                state = phase.state_dict()
                best_loss, best_state = loss, {key: value.clone() for key, value in state.items()}
    phase.load_state_dict(best_state)

    @torch.no_grad()
    def predict(rows: Rows) -> Array:
        mean, _ = phase.actor(torch.from_numpy(inputs(rows)))
        return low + (np.tanh(mean.numpy()) + 1) / 2 * (high - low)

    return predict


def errors(predicted: Array, action: Array) -> dict[str, float]:
    """Root mean square errors, and the share of the actions' variance left unexplained."""
    squared = np.square(predicted - action).mean(axis=0)
    return {
        'speed_rmse_m_s': float(np.sqrt(squared[0])),
        'yaw_rate_rmse_rad_s': float(np.sqrt(squared[1])),
        'unexplained': float((squared / action.var(axis=0)).mean()),
    }


def measure(data: Path, seeds: int, updates: int) -> list[dict[str, Any]]:
    """Return one row per test set and predictor; means and deviations over seeds."""
    contract = contracts.load('pioneer')
    log = read(data / TRAIN, contract)
    train, validation = log.part(0, SPLIT[0]), log.part(*SPLIT)
    tests = {
        f'{TRAIN}, last {1 - SPLIT[1]:.0%}': log.part(SPLIT[1], 1),
        TEST: read(data / TEST, contract),
    }
    print(f'{len(train.action)} steps to train, {len(validation.action)} to validate.')
    mean = train.action.mean(axis=0)
    predictors: dict[str, list[Callable[[Rows], Array]]] = {
        'mean action': [lambda rows: np.broadcast_to(mean, rows.action.shape)],
        'persistence': [lambda rows: rows.velocity],
    }
    for name, see in (('cloning, no scan', False), ('behavioural cloning', True)):
        predictors[name] = [
            clone(contract, train, validation, seed, updates, see) for seed in range(seeds)
        ]
    results = []
    for test, rows in tests.items():
        for name, versions in predictors.items():
            found = [errors(version(rows), rows.action) for version in versions]
            row: dict[str, Any] = {'test on': test, 'steps': len(rows.action), 'predictor': name}
            for key in found[0]:
                row[key] = float(np.mean([one[key] for one in found]))
            row['unexplained_std'] = float(np.std([one['unexplained'] for one in found]))
            row['seeds'] = len(found)
            results.append(row)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get('ROBOT_LEARNING_DATA', ROOT.parent / 'shared' / 'data')
    parser.add_argument('--data', type=Path, default=Path(default), help='holds rosbags/')
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--quick', action='store_true', help='2 seeds, a tenth of the updates')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds, updates = (2, 100) if arguments.quick else (arguments.seeds, 1000)
    rows = measure(arguments.data / 'rosbags', seeds, updates)
    table(rows)
    print(
        f'Written to {write("offline_bags", {"updates": updates, "rows": rows}, arguments.quick)}'
    )


if __name__ == '__main__':
    main()
