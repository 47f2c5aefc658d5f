"""A trainer that is killed -9 again and again against one that is left alone, on the same data."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from point_mass import episodes, point_contract, write_store
from robot_learning.model_store import ModelStore
from robot_learning.phases.checkpoint import Checkpoint, CheckpointFolder

PATIENCE_S = 120.0
_NUM_EPISODES = 60
_GRANTED_UPDATES = 50
_MODEL = 'walker'
_LEARNING = """
phase: sac
config:
  {{hidden: [64, 64], batch_size: 64, n_step: 3, layer_norm: true, publish_rate: 0.01,
    imitation_weight: 0.5, actor_update_period: 2}}
trainer:
  {{train_ratio: {ratio}, max_saved_updates: 1000000, initial_updates: {granted},
    warmup_steps: 60, demonstration_ratio: 0.25, publish_every_s: 0.5, checkpoint_every_s: 0.15,
    report_every_updates: 7, report_every_s: 0.2}}
"""


class Comparison(NamedTuple):
    """What two trainers came to on the same data."""

    kills: int
    kills_while_starting: int
    updates: int
    expected_updates: int
    different: tuple[str, ...]  # Tensors and counters that are not equal bit by bit.


class TrainerRun:
    """One trainer node with directories of its own, over data that it shares."""

    def __init__(self, folder: Path, name: str):
        self._own = folder / name
        self._own.mkdir()
        self._parameters = {
            'robot': folder / 'point.yaml',
            'store': folder / 'store',
            'demonstrations': folder / 'demonstrations',
            'config': folder / 'learning.yaml',
            'models': self._own / 'models',
            'output': self._own,
            'model_name': _MODEL,
            'seed': 3,
        }
        self._checkpoints = CheckpointFolder(self._own / 'checkpoints' / f'{_MODEL}-sac')
        self._num_starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node; each of its lives has a log."""
        self._num_starts += 1
        command = [sys.executable, '-m', 'robot_learning.nodes.trainer_node', '--ros-args']
        for name, value in self._parameters.items():
            command += ['-p', f'{name}:={value}']
        with self._log.open('w') as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        """Kill -9, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def await_progress(self) -> None:
        """Wait until it has saved more than before its start."""
        before = self._saved_update()
        self._wait(lambda: self._saved_update() > before or self._is_done)

    def finish(self) -> Checkpoint:
        """Wait until all that the data is worth is learned; end in order, return its state."""
        self._wait(lambda: self._is_done)
        assert self._process is not None, 'it was started'
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(PATIENCE_S) == 0, self._log.read_text()
        checkpoint = self._checkpoints.newest()
        assert checkpoint is not None, 'it saves at the end'
        return checkpoint

    def weights(self) -> dict[str, bytes]:
        """Return what the newest version holds."""
        tensors, _ = ModelStore(self._own / 'models').load(_MODEL)
        return {name: tensor.tobytes() for name, tensor in tensors.items()}

    @property
    def _log(self) -> Path:
        return self._own / f'life_{self._num_starts}.log'

    @property
    def _is_done(self) -> bool:
        log = self._log.read_text()
        return any(text in log for text in ('Ahead of the robot', 'No new steps'))

    def _saved_update(self) -> int:
        names = [path.name for path in self._checkpoints.folder.glob('[0-9]*')]
        return max(map(int, names), default=-1)

    def _wait(self, is_there) -> None:
        assert self._process is not None, 'it was started'
        end_s = time.monotonic() + PATIENCE_S
        while not is_there():
            alive = self._process.poll() is None and time.monotonic() < end_s
            assert alive, self._log.read_text()
            time.sleep(0.02)


def compare(folder: Path, num_kills: int, seed: int, updates_per_step: int = 6) -> Comparison:
    """Let both learn from the same steps until these are used up; kill one on the way.

    One kill in four comes while the trainer starts, at a random moment of its first seconds.
    """
    num_steps = _write_data(folder, updates_per_step)
    alone, killed = TrainerRun(folder, 'alone'), TrainerRun(folder, 'killed')
    rng = random.Random(seed)
    num_while_starting = 0
    try:
        alone.start()
        for _ in range(num_kills):
            killed.start()
            if rng.random() < 0.25:
                num_while_starting += 1
                time.sleep(rng.uniform(0, 4))
            else:
                killed.await_progress()
                time.sleep(rng.uniform(0, 0.4))
            killed.kill()
        killed.start()
        found, expected = killed.finish(), alone.finish()
    finally:
        alone.kill()
        killed.kill()
    weights = [run.weights() for run in (alone, killed)]
    return Comparison(
        num_kills,
        num_while_starting,
        found.content['update'],
        num_steps * updates_per_step + _GRANTED_UPDATES,
        (*_differences(found, expected), *(() if weights[0] == weights[1] else ('version',))),
    )


def _write_data(folder: Path, updates_per_step: int) -> int:
    """Write store, demonstrations, contract and settings; return the steps in the store."""
    write_store(folder / 'store', _NUM_EPISODES, seed=0)
    write_store(folder / 'demonstrations', 10, seed=1)
    # JSON is YAML.
    (folder / 'point.yaml').write_text(json.dumps(point_contract().to_dict()))
    settings = _LEARNING.format(ratio=updates_per_step, granted=_GRANTED_UPDATES)
    (folder / 'learning.yaml').write_text(settings)
    return sum(len(episode) for episode in episodes(_NUM_EPISODES, 0))


def _differences(found: Checkpoint, expected: Checkpoint) -> list[str]:
    keys = sorted(found.tensors.keys() | expected.tensors.keys())
    different = [
        key
        for key in keys
        if key not in found.tensors
        or key not in expected.tensors
        or not torch.equal(found.tensors[key], expected.tensors[key])
    ]
    counters = ('update', 'is_prepared', 'governor', 'experience')
    return different + [c for c in counters if found.content[c] != expected.content[c]]
