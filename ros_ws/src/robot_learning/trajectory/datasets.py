"""One reader for all that holds episodes: our stores and segments, robomimic's HDF5, bags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.errors import ContractError, DataError
from robot_learning.trajectory import segment
from robot_learning.trajectory.bag import BagReplay
from robot_learning.trajectory.episode import Array, Episode
from robot_learning.trajectory.store import TrajectoryStore, joined

_BAGS = ('.bag', '.mcap', '.db3')
_HDF5 = ('.hdf5', '.h5')


def read_episodes(
    path: Path | str,
    contract: RobotContract | None = None,
    fields: Iterable[str] | None = None,
) -> Iterator[Episode]:
    """Yield the episodes of whatever `path` is, one after the other.

    Args:
        path: a store, one session of it, one segment, a robomimic file, or a bag.
        contract: of the robot; a bag cannot be read without it. Where files name the contract
            they were made with, fields and actions must agree with this one.
        fields: observation fields to read; None: all that are there.

    Raises:
        DataError: there is nothing readable at `path`.
        ContractError: the data do not follow `contract`, or it is needed and missing.
    """
    path = Path(path)
    wanted = None if fields is None else tuple(fields)
    if path.is_file() and path.suffix in _HDF5:
        yield from _from_file(path, contract, wanted)
    elif path.suffix in _BAGS or (path / 'metadata.yaml').is_file():
        yield from _from_bag(path, contract, wanted)
    elif any(path.glob('segment_*.hdf5')):
        yield from _from_store(TrajectoryStore(path.parent), path.name, contract, wanted)
    elif any(path.glob('*/segment_*.hdf5')):
        yield from _from_store(TrajectoryStore(path), None, contract, wanted)
    elif any(file.suffix in _BAGS for file in path.glob('*')):
        yield from _from_bag(path, contract, wanted)
    else:
        found = 'nothing' if not path.exists() else 'no episodes'
        raise DataError(
            f'{path}: holds {found}, expected a store, a session, a segment, a robomimic HDF5 '
            f'file or a bag. Name one of these.'
        )


def _from_store(
    store: TrajectoryStore,
    session: str | None,
    contract: RobotContract | None,
    fields: tuple[str, ...] | None,
) -> Iterator[Episode]:
    sessions = store.sessions() if session is None else [session]
    if contract is not None:
        for name in sessions:
            for path in store.segments(name)[:1]:  # A session has one recorder, one contract.
                _check(path, store.read_info(path).contract, contract)
    for name in sessions:
        yield from store.episodes(fields, name)


def _from_file(
    path: Path, contract: RobotContract | None, fields: tuple[str, ...] | None
) -> Iterator[Episode]:
    with segment.open_hdf5(path) as file:
        is_ours = segment.is_segment(file)
    if is_ours:
        info = segment.read_info(path)
        if contract is not None:
            _check(path, info.contract, contract)
        for episode in joined(segment.read_segment(path, fields)):
            episode.attributes.setdefault('session', info.session)
            yield episode
        return
    with segment.open_hdf5(path) as file:
        for number, name in enumerate(segment.demo_names(file)):
            yield _foreign(path, file['data'][name], number, contract, fields)


def _from_bag(
    path: Path, contract: RobotContract | None, fields: tuple[str, ...] | None
) -> Iterator[Episode]:
    if contract is None:
        raise ContractError(
            f'{path}: is a bag, which needs a robot contract to become episodes. Name the robot.'
        )
    for episode in joined(BagReplay(path, contract).pieces()):
        if fields is not None:
            for group in (episode.observations, episode.field_stamp_ns, episode.present):
                for name in set(group) - set(fields):
                    del group[name]
        yield episode


def _foreign(
    path: Path,
    group: h5py.Group,
    number: int,
    contract: RobotContract | None,
    fields: tuple[str, ...] | None,
) -> Episode:
    """Read one demonstration of a plain robomimic file.

    robomimic's reward belongs to the step whose action earned it, ours to the step after; its
    `dones` ends a demonstration without saying why, so that the last step is truncated and the
    observation after the last action, `next_obs`, becomes the last step where it is there.
    """
    action = np.asarray(group['actions'], np.float32)
    names = tuple(group['obs']) if fields is None else fields
    absent = [name for name in names if name not in group['obs']]
    if absent:
        raise DataError(
            f'{path}: {group.name} holds no {", ".join(absent)}, only '
            f'{", ".join(group["obs"])}. Choose from these.'
        )
    if contract is not None and action.shape[1] != contract.action_size:
        raise ContractError(
            f'{path}: actions have {action.shape[1]} components, contract {contract.robot!r} '
            f'has {contract.action_size}. Choose the contract of the robot that recorded them.'
        )
    observations = {name: np.asarray(group['obs'][name]) for name in names}
    reward = _rewards(group, len(action))
    if 'next_obs' in group:
        observations = {
            name: np.concatenate([values, np.asarray(group['next_obs'][name])[-1:]])
            for name, values in observations.items()
        }
        stop = np.zeros((1, action.shape[1]), np.float32)
        action = np.concatenate([action, stop if contract is None else contract.action_stop[None]])
    else:
        reward = reward[:-1]
    reward = np.concatenate([np.zeros(1, np.float32), reward])
    period_ns = contract.control_period_ns if contract else 1_000_000_000 // 20
    return _whole_episode(number, observations, action, reward, period_ns, str(path))


def _rewards(group: h5py.Group, count: int) -> Array:
    if 'rewards' in group:
        return np.asarray(group['rewards'], np.float32)
    return np.full(count, np.nan, np.float32)


def _whole_episode(
    number: int,
    observations: dict[str, Array],
    action: Array,
    reward: Array,
    period_ns: int,
    source: str,
) -> Episode:
    count = len(action)
    stamp_ns = np.arange(count, dtype=np.int64) * period_ns
    is_last = np.arange(count) == count - 1
    attributes: dict[str, Any] = {'source': source, 'reason': 'end_of_demonstration'}
    return Episode(
        episode=number,
        offset=0,
        stamp_ns=stamp_ns,
        observations=observations,
        field_stamp_ns={name: stamp_ns.copy() for name in observations},
        present={name: np.ones(count, bool) for name in observations},
        action=action,
        commanded=action.copy(),
        altered=np.zeros(count, bool),
        log_prob=np.full(count, np.nan, np.float32),
        model_version=np.full(count, -1, np.int64),
        reward=reward,
        terminated=np.zeros(count, bool),
        truncated=is_last,
        is_first=np.arange(count) == 0,
        is_complete=True,
        attributes=attributes,
    )


def _check(path: Path, stored: dict[str, Any], contract: RobotContract) -> None:
    """Name every observation field and action that means something else in the data."""
    plain = contract.to_dict()
    differing = [
        f'{kind}.{name}'
        for kind in ('observation', 'actions')
        for name, spec in plain[kind].items()
        if not _agree(kind, stored.get(kind, {}).get(name), spec)
    ]
    if differing:
        raise ContractError(
            f'{path}: was recorded with another contract ({stored.get("robot")!r}) than '
            f'{contract.robot!r}; they differ in {", ".join(differing)}. Choose the contract '
            f'of the robot that recorded it.'
        )


def _agree(kind: str, stored: dict[str, Any] | None, spec: dict[str, Any]) -> bool:
    if stored is None:
        return False
    keys = ('shape', 'part', 'dtype', 'unit') if kind == 'observation' else ('components', 'unit')
    return all(stored.get(key) == spec[key] for key in keys)
