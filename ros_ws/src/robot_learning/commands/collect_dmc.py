"""Records tasks of the DeepMind Control Suite into a trajectory store.

Each segment is an HDF5 file in robomimic's layout like those of a robot: `data/demo_0/obs/camera`
[T, 64, 64, 3], the task's own observations beside it, `actions`, `rewards`, `terminated`,
`truncated`. `<out>/dmc_<task>.yaml` is the contract to train with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from robot_learning import durable_files
from robot_learning.commands.stored_driver import StoredDriver
from robot_learning.contract import RobotContract
from robot_learning.errors import StoreError
from robot_learning.simulation.dmc_trajectories import DmcTask, DmcTrajectory
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.store import TrajectoryStore

Array = np.ndarray[Any, Any]
Progress = Callable[[int], None]
_SEED_STRIDE = 1000  # Episodes of one collection.
_SEGMENT_BYTES = 64 << 20
_PAUSE_PERIODS = 10  # Between episodes, so that none seems to continue another.


def collect_dmc(
    task: DmcTask,
    num_steps: int,
    out: Path,
    seed: int = 0,
    driver: StoredDriver | None = None,
    on_progress: Progress = lambda num_steps: None,
) -> int:
    """Record whole episodes of at least `num_steps` actions; return how many.

    Segments become visible complete or not at all; what was written before a kill stays.

    Args:
        task: what is driven.
        num_steps: actions to record; the last episode is finished.
        out: trajectory store to write to, under the session `<driver>_<seed>`.
        seed: starts and chance follow from it.
        driver: a model version; None: uniform random actions.
        on_progress: told the steps so far after each episode.

    Raises:
        StoreError: the store cannot be written or has this session already.
    """
    store = TrajectoryStore(out)
    session = f'{task.name}_{driver.name if driver else "random"}_{seed:04d}'
    if store.segments(session):
        raise StoreError(
            f'{out}: holds a session {session} already, expected none. Choose another --seed or '
            f'--out, or remove it.'
        )
    write_contract(task.contract, out)
    waiting: list[Episode] = []
    steps = number = start_ns = 0
    while steps < num_steps:
        episode = _drive(task, driver, number, seed * _SEED_STRIDE + number, start_ns)
        waiting.append(episode)
        steps += len(episode) - 1
        number += 1
        start_ns = int(episode.stamp_ns[-1]) + _PAUSE_PERIODS * task.contract.control_period_ns
        on_progress(steps)
        if sum(map(_num_bytes, waiting)) >= _SEGMENT_BYTES:
            store.write_segment(waiting, session, task.contract)
            waiting = []
    if waiting:
        store.write_segment(waiting, session, task.contract)
    return steps


def write_contract(contract: RobotContract, out: Path) -> Path:
    """Write the contract to `<out>/<robot>.yaml` and return the path.

    Raises:
        StoreError: the folder cannot be written.
    """
    path = out / f'{contract.robot}.yaml'
    try:
        out.mkdir(parents=True, exist_ok=True)
        durable_files.replace(path, yaml.safe_dump(contract.to_dict(), sort_keys=False).encode())
    except OSError as error:
        raise StoreError(
            f'{path}: cannot be written ({error.strerror}). Choose another --out.'
        ) from error
    return path


def as_episode(
    trajectory: DmcTrajectory,
    contract: RobotContract,
    number: int,
    start_ns: int = 0,
    attributes: Mapping[str, Any] | None = None,
) -> Episode:
    """Return a trajectory as a recorder would have recorded it: every field at every step."""
    count = len(trajectory.action)
    stamp = start_ns + np.arange(count, dtype=np.int64) * contract.control_period_ns
    names = list(trajectory.observations)
    return Episode(
        episode=number,
        offset=0,
        stamp_ns=stamp,
        observations=trajectory.observations,
        field_stamp_ns=dict.fromkeys(names, stamp),
        present={name: np.ones(count, bool) for name in names},
        action=trajectory.action,
        commanded=trajectory.action,
        altered=np.zeros(count, bool),
        log_prob=np.full(count, np.nan, np.float32),
        model_version=np.full(count, -1, np.int64),
        reward=trajectory.reward,
        terminated=trajectory.terminated,
        truncated=trajectory.truncated,
        is_first=np.arange(count) == 0,
        is_complete=True,
        attributes=dict(attributes or {}),
    )


def _drive(
    task: DmcTask, driver: StoredDriver | None, number: int, seed: int, start_ns: int
) -> Episode:
    """Drive one episode; the model's answers keep their version and likelihood."""
    contract = task.contract
    rng = np.random.default_rng([seed, 101])
    log_probs: list[float] = []
    if driver is not None:
        driver.begin(seed)

    def choose(observation: Mapping[str, Array]) -> Array:
        if driver is None:
            return rng.uniform(contract.action_low, contract.action_high).astype(np.float32)
        answer = driver.answer(observation)
        log_probs.append(answer.log_prob)
        return answer.action

    trajectory = task.trajectory(choose, seed)
    attributes = {'seed': seed, 'source': f'dm_control {task.name}'}
    episode = as_episode(trajectory, contract, number, start_ns, attributes)
    if driver is not None:
        episode.model_version[:-1] = driver.version
        episode.log_prob[:-1] = log_probs
        episode.exploring[:-1] = driver.explore
    return episode


def _num_bytes(episode: Episode) -> int:
    return sum(values.nbytes for values in episode.observations.values())
