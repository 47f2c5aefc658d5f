"""Behavioural cloning on one robot's log, measured on another's that it has never seen.

The Intel Lab log (a Pioneer driven through offices) trains, the Freiburg 079 log (another
Pioneer, another building) tests. Neither holds commands: the action of step t is the motion
from its odometry pose to that of step t + 1, and is predicted from what was known at t: the
scan, and the motion from t - 1 to t as the velocity now. Beside it stand the mean action of the
training data, persistence (the velocity now), and the same network without the scan. What is
cloned is the change of velocity, so that no change is persistence.

The logs give one step a second. For training they are read five times with the control grid
moved by a fifth of a second, which makes use of the scans between; they are cut by time, so that
no test or validation step overlaps a training step.

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
from robot_learning.trajectory.bags.bag_reader import open_bag  # noqa: E402
from robot_learning.trajectory.episode import Episode, join  # noqa: E402
from robot_learning.trajectory.intake import Intake  # noqa: E402
from robot_learning.trajectory.messages import stamp_ns  # noqa: E402
from robot_learning.trajectory.recorder import Recorder, RecorderConfig  # noqa: E402

Array = np.ndarray[Any, Any]
TRAIN, TEST = 'intel_lab_pioneer', 'freiburg079_pioneer'
SPLIT = (0.7, 0.85)  # Of the training log by time: training, validation, held out.
SCAN_NOISE = 0.2  # Added to the scan's features in training: other buildings look different.
# Training sees the log at half to twice its speed: other robots are slower or faster.
LOG_SPEEDS = (float(np.log(0.5)), float(np.log(2.0)))
EVALUATE_EVERY = 25  # Updates.
# Chosen on the validation stretch: some 800 steps ask for a small, restrained network.
NETWORK = BehaviorCloningConfig(
    hidden=(64, 64), loss='squared_error', learning_rate=1e-3, weight_decay=0.3
)


class Rows(NamedTuple):
    """One row per predicted action."""

    second: Array  # [N] of the log.
    scan: Array  # [N, D] features of the scan, right to left.
    velocity: Array  # [N, 2] forward speed and yaw rate now.
    action: Array  # [N, 2] those of the next step.

    def between(self, first: float, last: float) -> Rows:
        """Return the rows that lie, with the second before and after, in this stretch."""
        inside = (self.second - 1 >= first) & (self.second + 1 < last)
        return self.at(np.flatnonzero(inside))

    def at(self, index: Array) -> Rows:
        """Return some rows."""
        return Rows(*(values[index] for values in self))


def joined(parts: list[Rows]) -> Rows:
    """Return all rows of the parts."""
    return Rows(*map(np.concatenate, zip(*parts, strict=True)))


def episodes(path: Path, contract: RobotContract, shift_ns: int) -> list[Episode]:
    """Play a bag through the recorder, every stamp later by `shift_ns`."""
    recorder = Recorder(contract, RecorderConfig(actions_from='derived'))
    intake = Intake(contract, recorder)
    pieces: dict[int, list[Episode]] = defaultdict(list)

    def collect() -> None:
        for piece in recorder.collect():
            pieces[piece.episode].append(piece)

    with open_bag(path) as reader:
        wanted = [c for c in reader.connections if c.topic.lstrip('/') in intake.sources]
        for count, (connection, log_ns, data) in enumerate(reader.messages(wanted)):
            message: Any = reader.deserialize(data, connection.msgtype)
            stamp = message.header.stamp
            stamp.sec, stamp.nanosec = divmod((stamp_ns(message) or 0) + shift_ns, 10**9)
            intake.take(connection.topic.lstrip('/'), message, log_ns + shift_ns)
            if count % 1000 == 0:
                collect()
    recorder.close('end_of_bag')
    collect()
    return [join(parts) for parts in pieces.values()]


def read(path: Path, contract: RobotContract, num_grids: int = 1) -> Rows:
    """Return the steps of a bag whose past and future are known, on one or more grids."""
    builder = FeatureBuilder(contract)
    rows, start_ns = [], None
    for shift_ns in range(0, 10**9, 10**9 // num_grids):
        for episode in episodes(path, contract, shift_ns):
            start_ns = int(episode.stamp_ns[0]) if start_ns is None else start_ns
            second = (episode.stamp_ns - shift_ns - start_ns) * 1e-9
            scan = builder.build_batch(episode.observations)
            # Neighbours in time, and no action of a last step, which was never carried out.
            t = np.arange(1, len(episode) - 1)
            near = np.diff(episode.stamp_ns) == contract.control_period_ns
            t = t[near[t - 1] & near[t] & np.isfinite(scan[t]).all(axis=1)]
            rows.append(Rows(second[t], scan[t], episode.action[t - 1], episode.action[t]))
    return joined(rows)


def varied(rows: Rows, rng: np.random.Generator) -> Rows:
    """Mirror half of the rows, drive each at another speed, and blur what the laser saw."""
    second, scan, velocity, action = (values.copy() for values in rows)
    mirrored = rng.random(len(scan)) < 0.5
    scan[mirrored] = scan[mirrored, ::-1]
    velocity[mirrored, 1] *= -1
    action[mirrored, 1] *= -1
    scan += np.asarray(rng.normal(0, SCAN_NOISE, scan.shape), np.float32)
    factor: Array = np.exp(rng.uniform(*LOG_SPEEDS, size=len(scan)))
    velocity[:, 0] *= factor
    action[:, 0] *= factor
    return Rows(second, scan, velocity, action)


def clone(
    contract: RobotContract, train: Rows, validation: Rows, seed: int, updates: int, see: bool
) -> Callable[[Rows], Array]:
    """Train the phase, keep the version best on validation, and return its prediction."""

    def inputs(rows: Rows) -> Array:
        return np.concatenate([rows.scan if see else rows.scan[:, :0], rows.velocity], axis=1)

    span = contract.action_high - contract.action_low
    config = NETWORK
    space = PolicySpace(inputs(train).shape[1], -span, span)
    phase = BehaviorCloning(config, space, seed)
    change = space.normalised(train.action - train.velocity)
    phase.prepare(TrainingData(inputs(train), change, np.zeros(0)))

    def batch(rows: Rows) -> dict[str, torch.Tensor]:
        change = space.normalised(rows.action - rows.velocity)
        arrays = {'observation': inputs(rows), 'action': change}
        return {name: torch.from_numpy(value) for name, value in arrays.items()}

    rng = np.random.default_rng(seed)
    held_out = batch(varied(joined([validation] * 8), rng))
    best_loss, best_state = np.inf, phase.state_dict()
    for update in range(1, updates + 1):
        index = rng.integers(0, len(train.action), config.batch_size)
        phase.update(batch(varied(train.at(index), rng)))
        if update % EVALUATE_EVERY == 0:
            loss = float(phase.evaluate(held_out)['loss'])
            if loss < best_loss:
                state = phase.state_dict()
                best_loss, best_state = loss, {key: value.clone() for key, value in state.items()}
    phase.load_state_dict(best_state)

    @torch.no_grad()
    def predict(rows: Rows) -> Array:
        mean, _ = phase.actor(torch.from_numpy(inputs(rows)))
        predicted: Array = rows.velocity + np.tanh(mean.numpy()) * span
        return predicted

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
    log, dense = read(data / TRAIN, contract), read(data / TRAIN, contract, num_grids=5)
    end = float(log.second.max())
    train = dense.between(0, SPLIT[0] * end)
    validation = log.between(SPLIT[0] * end, SPLIT[1] * end)
    tests = {
        f'{TRAIN}, last {1 - SPLIT[1]:.0%}': log.between(SPLIT[1] * end, np.inf),
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
