"""What a world model expects to see when it knows only what the robot did, 50 steps ahead.

Two models are trained by the phase `world_model`, as `./run train --mode world_model` does, and
imagine stretches that no update saw: five steps are seen, then actions alone. The errors stand
beside those of persistence (the last observation, repeated) and of a constant (the mean of the
training data), with 95 % intervals over stretches.

- `intel`: the first 70 % of the Intel Lab log (a Pioneer driven through offices, one step a
  second, read on five grids, mirrored, and in frames of odometry drawn at random); the next 15 %
  choose the version, the last 15 % and the Freiburg 079 log (another robot and building) test.
- `arena`: the embedded world with camera, lidar, pose and velocity; the test drives in layouts
  of other seeds.

    python benchmarks/open_loop.py [intel] [arena] [--quick] [--data DIR] [--pictures DIR]
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from offline_bags import SPLIT, TEST, TRAIN
from offline_bags import episodes as episodes_of_bag
from reporting import RESULTS, table, write

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

from robot_learning import contract as contracts  # noqa: E402
from robot_learning.commands.collect import collect  # noqa: E402
from robot_learning.contract import Feature, RobotContract, Task  # noqa: E402
from robot_learning.errors import EnvironmentSetupError  # noqa: E402
from robot_learning.evaluation import open_loop_pictures  # noqa: E402
from robot_learning.evaluation.open_loop import (  # noqa: E402
    OpenLoop,
    errors,
    open_loop,
    stretches,
)
from robot_learning.features import FeatureBuilder  # noqa: E402
from robot_learning.model_store import ModelStore  # noqa: E402
from robot_learning.models.world_model import WorldModel  # noqa: E402
from robot_learning.phases import recipe  # noqa: E402
from robot_learning.phases.training_session import Destination, learn_offline  # noqa: E402
from robot_learning.phases.validation import Split  # noqa: E402
from robot_learning.trajectory.datasets import read_episodes  # noqa: E402
from robot_learning.trajectory.episode import Episode  # noqa: E402

Array = np.ndarray[Any, Any]
CONTEXT, HORIZON = 5, 50
TITLES = {'intel': 'Pioneer', 'arena': 'embedded world'}
NUM_GRIDS = 5  # Of the training log, a fifth of a second apart.
PIECE = 64  # Steps of training that share a frame of odometry.
FAR_M = 3.0  # Standard deviation of where such a frame begins.
# Windows as long as what is imagined: after 32 steps of training, imagined scans drifted away.
SETTINGS = {  # Small enough for one core; the guide's sizes are in config/phases.
    'intel': '{config: {model: {deter: 256, hidden: 128, groups: 16, classes: 8, blocks: 4}, '
    'batch_size: 16, batch_length: 50, learning_rate: 1.0e-3}, '
    'trainer: {validate_every_updates: 50}}',
    'arena': '{config: {model: {deter: 256, hidden: 128, depth: 4, groups: 16, classes: 8, '
    'blocks: 4}, batch_size: 8, batch_length: 32, learning_rate: 1.0e-3}, '
    'trainer: {images: [camera], validate_every_updates: 100}}',
}
UPDATES = {'intel': 700, 'arena': 1000}
# Free places of the arena that drives visit in an order drawn by the seed.
PLACES = ((1.5, 1.65), (1.5, 0.0), (-1.5, 0.0), (-1.5, -1.65), (1.5, -1.65), (-1.5, 1.65))
NUM_COURSES, STEPS_PER_COURSE, TEST_COURSES, VALIDATION_COURSES = 10, 1000, 4, 1


class Subject(NamedTuple):
    """A robot, what its model learns from, and what it is tested on."""

    contract: RobotContract
    split: Split  # Held out here: what chooses the version.
    tests: dict[str, list[Episode]]
    images: tuple[str, ...]


def moved(episode: Episode, origin: Array, yaw: float, at: Array, mirrored: bool) -> Episode:
    """Return a drive as if odometry had begun elsewhere, or through a mirror.

    Args:
        episode: of the Pioneer.
        origin: pose [3] that comes to lie at `at`.
        yaw: heading there.
        at: place [2].
        mirrored: left becomes right.
    """
    pose, action = episode.observations['odometry'].astype(np.float64), episode.action.copy()
    scan = episode.observations['scan']
    turn = yaw - origin[2]
    cos, sin = np.cos(turn), np.sin(turn)
    place = (pose[:, :2] - origin[:2]) @ np.array([[cos, sin], [-sin, cos]]) + at
    pose = np.concatenate([place, pose[:, 2:] + turn], 1)
    if mirrored:
        scan = scan[:, ::-1]
        pose[:, 1:] *= -1
        action[:, 1] *= -1
    seen = {'scan': scan, 'odometry': pose.astype(np.float32)}
    return dataclasses.replace(episode, observations=seen, action=action)


def pieces(episode: Episode, length: int, every: int) -> list[Episode]:
    """Cut an episode into whole pieces that begin `every` so many steps."""
    starts = range(0, len(episode) - length + 1, every)
    return [episode.slice(start, start + length) for start in starts]


def tested(episode: Episode) -> list[Episode]:
    """Cut an episode into stretches whose odometry begins at zero."""
    cut = pieces(episode, CONTEXT + HORIZON, CONTEXT + HORIZON)
    return [moved(p, p.observations['odometry'][0], 0.0, np.zeros(2), False) for p in cut]


def intel(options: argparse.Namespace, folder: Path) -> Subject:
    """Read the two logs."""
    base = contracts.load('pioneer')
    pose = Feature(kind='pose', fields=('odometry',), parameters={'scale_m': 2.5})
    contract = dataclasses.replace(base, features=(*base.features, pose))
    bags = options.data / 'rosbags'
    rng = np.random.default_rng(0)
    grids = [
        episodes_of_bag(bags / TRAIN, contract, shift_ns)
        for shift_ns in range(0, 10**9, 10**9 // NUM_GRIDS)
    ]
    start_ns = min(int(episode.stamp_ns[0]) for episode in grids[0])
    end_ns = max(int(episode.stamp_ns[-1]) for episode in grids[0])
    first_ns, second_ns = (start_ns + int(share * (end_ns - start_ns)) for share in SPLIT)

    def between(found: Sequence[Episode], low_ns: int, high_ns: int) -> list[Episode]:
        cuts = [np.searchsorted(e.stamp_ns, [low_ns, high_ns]) for e in found]
        parts = [e.slice(int(a), int(b)) for e, (a, b) in zip(found, cuts, strict=True)]
        return [part for part in parts if len(part) > 1]

    training = [
        moved(
            piece,
            piece.observations['odometry'][rng.integers(PIECE)],
            rng.uniform(-np.pi, np.pi),
            rng.normal(0, FAR_M, 2),
            mirrored,
        )
        # Stamps of a moved grid are up to a second late: nothing of validation is learned from.
        for episode in itertools.chain(*(between(g, 0, first_ns - 10**9) for g in grids))
        for piece in pieces(episode, PIECE, PIECE // 2)
        for mirrored in (False, True)
    ]
    validation = between(grids[0], first_ns, second_ns)
    tests = {
        f'{TRAIN}, last {1 - SPLIT[1]:.0%}': between(grids[0], second_ns, end_ns + 1),
        TEST: episodes_of_bag(bags / TEST, contract, 0),
    }
    cut = {name: [s for e in found for s in tested(e)] for name, found in tests.items()}
    return Subject(contract, Split(training, [s for e in validation for s in tested(e)]), cut, ())


def arena(options: argparse.Namespace, folder: Path) -> Subject:
    """Drive through the embedded world."""
    base = contracts.load('arena')
    seen = tuple(f for f in base.features if 'goal' not in f.fields)
    contract = dataclasses.replace(base, features=seen)
    fields = (*FeatureBuilder(contract).fields, 'camera')
    steps = STEPS_PER_COURSE // 5 if options.quick else STEPS_PER_COURSE
    found = []
    for seed in range(NUM_COURSES + VALIDATION_COURSES + TEST_COURSES):
        rng = np.random.default_rng([seed, 7])
        waypoints = [PLACES[i] for i in rng.permutation(len(PLACES))]
        task = Task('waypoint_course', 40.0, {'waypoints': waypoints})
        robot = dataclasses.replace(contract, task=task)
        store = folder / f'course_{seed:02d}'
        collect(robot, 'geodesic', steps, store, seed, noise=0.4, camera=True)
        found.append(list(read_episodes(store, contract, fields)))
    held_out = NUM_COURSES + VALIDATION_COURSES
    split = Split([*itertools.chain(*found[:NUM_COURSES])], found[NUM_COURSES])
    tests = {'layouts of other seeds': [*itertools.chain(*found[held_out:])]}
    return Subject(contract, split, tests, ('camera',))


SUBJECTS: dict[str, Callable[[argparse.Namespace, Path], Subject]] = {
    'intel': intel,
    'arena': arena,
}


def train(
    name: str, subject: Subject, overrides: str, updates: int, folder: Path
) -> tuple[WorldModel, dict[str, Any]]:
    """Train the phase; return the version that was best on held-out data, and its making."""
    plan = recipe.load('world_model', overrides=overrides)
    destination = Destination(folder / 'models', name)
    trainer = learn_offline(subject.contract, plan, subject.split, name, destination, seed=0)
    started, cpu = time.perf_counter(), time.process_time()
    trainer.run(updates, on_progress=lambda p: print(f'{name}: update {p.update}', end='\r'))
    spent = {'wall_s': time.perf_counter() - started, 'cpu_s': time.process_time() - cpu}
    tensors, manifest = ModelStore(folder / 'models').load(name)
    weights = {key: torch.from_numpy(np.array(value)) for key, value in tensors.items()}
    model = WorldModel.from_published(weights, manifest['policy'], name)
    best = manifest['provenance'].get('update', manifest.get('update'))
    return model.requires_grad_(False).eval(), {'updates': updates, 'best_update': best, **spent}


def constant(subject: Subject, model: WorldModel) -> dict[str, Array]:
    """Return the mean of the training data, per block and image."""
    builder = FeatureBuilder(subject.contract)
    features = np.concatenate(
        [builder.build_batch(episode.observations) for episode in subject.split.training]
    )
    means = {name: features[:, part].mean(0) for name, part in model.blocks.items()}
    for name in subject.images:
        pictures = (episode.observations[name] for episode in subject.split.training)
        means[f'image/{name}'] = np.mean([p.mean(0) / 255 for p in pictures], 0)
    return means


def measure(
    subject: Subject, model: WorldModel
) -> tuple[list[dict[str, Any]], dict[str, list[OpenLoop]]]:
    """Return a row per test, block and horizon, and what was imagined."""
    rows, imagined = [], {}
    means = constant(subject, model)
    for test, recorded in subject.tests.items():
        length = CONTEXT + HORIZON
        found = list(stretches(recorded, subject.contract, subject.images, length))
        runs = open_loop(model, found, CONTEXT, torch.Generator().manual_seed(0))
        imagined[test] = runs
        still = [
            run._replace(
                predicted={k: np.repeat(means[k][None], HORIZON, 0) for k in run.predicted}
            )
            for run in runs
        ]
        for ours, mean in zip(errors(runs), errors(still), strict=True):
            assert (ours.name, ours.horizon) == (mean.name, mean.horizon)
            rows.append(
                {
                    'test on': test,
                    'stretches': len(runs),
                    'block': ours.name,
                    'steps': ours.horizon,
                    'model': ours.model,
                    'persistence': ours.persistence,
                    'constant': mean.model,
                    'to persistence': ours.ratio,
                    'low': ours.interval[0],
                    'high': ours.interval[1],
                    'to constant': ours.model / max(mean.model, 1e-12),
                }
            )
    return rows, imagined


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = os.environ.get('ROBOT_LEARNING_DATA', ROOT.parent / 'shared' / 'data')
    parser.add_argument('subjects', nargs='*', metavar='SUBJECT', help='intel, arena; none: both')
    parser.add_argument('--data', type=Path, default=Path(default), help='holds rosbags/')
    parser.add_argument('--pictures', type=Path, default=Path('runs/open_loop'), help='folder')
    parser.add_argument('--quick', action='store_true', help='a tenth of the updates, less data')
    options = parser.parse_args()
    unknown = sorted(set(options.subjects) - set(SUBJECTS))
    if unknown:
        parser.error(f'{", ".join(unknown)}: unknown, expected some of {", ".join(SUBJECTS)}.')
    torch.set_num_threads(1)
    options.pictures.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    for name in options.subjects or SUBJECTS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                subject = SUBJECTS[name](options, Path(folder))
            except EnvironmentSetupError as error:
                print(f'{name}: left out. {error}')
                continue
            updates = UPDATES[name] // 10 if options.quick else UPDATES[name]
            model, making = train(name, subject, SETTINGS[name], updates, Path(folder))
        rows, imagined = measure(subject, model)
        print(f'{name}: {making}')
        table(rows)
        steps = sum(len(episode) for episode in subject.split.training)
        results[name] = {**making, 'training_steps': steps, 'rows': rows}
        draw(name, subject.contract, imagined, options.pictures)
    results = {**kept(options.quick), **results}  # Of subjects that ran beside or before.
    print(f'Written to {write("open_loop", results, options.quick)}')
    return 0


def kept(quick: bool) -> dict[str, Any]:
    """Return what earlier runs wrote, so that subjects can run one by one."""
    path = RESULTS / f'open_loop{".quick" if quick else ""}.json'
    return json.loads(path.read_text())['results'] if path.is_file() else {}


def draw(
    name: str, contract: RobotContract, imagined: dict[str, list[OpenLoop]], folder: Path
) -> None:
    """Draw of every test the stretch in the middle by error: neither the best nor the worst."""
    for number, (test, runs) in enumerate(imagined.items(), 1):
        middle = sorted(runs, key=_error)[len(runs) // 2]
        path = folder / f'{name}_{number}'
        title = f'Imagined by a world model: {TITLES[name]}, {test}'
        open_loop_pictures.write_strip(path.with_suffix('.png'), middle, title, contract)
        open_loop_pictures.write_film(path.with_suffix('.gif'), middle, title, contract)


def _error(run: OpenLoop) -> float:
    return errors([run])[-1].model


if __name__ == '__main__':
    sys.exit(main())
