"""Reads robomimic's HDF5: our own files exactly, those of others with stated assumptions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.errors import DataError
from robot_learning.trajectory import segment
from robot_learning.trajectory.contract_match import check_contract
from robot_learning.trajectory.episode import FLAT, LATER, Array, Episode
from robot_learning.trajectory.formats.foreign import (
    DEFAULT_PERIOD_NS,
    regular_stamps,
    whole_episode,
)
from robot_learning.trajectory.hdf5_checks import Allowance

_BLOCK_BYTES = 64 << 20  # Observations read at a time.
ASSUMPTIONS = (
    'stamps: the file has none; steps follow in the period of the contract.',
    'every field was read at every step.',
    'actions are in units of the contract, and were executed as they stand.',
    'dones do not say why a demonstration ends: its last step is truncated.',
)


def is_export(file: h5py.File) -> bool:
    """Tell our exports from other robomimic files."""
    return 'robot_learning' in file.attrs and 'steps' in file


def read_robomimic(
    path: Path | str,
    contract: RobotContract | None = None,
    fields: tuple[str, ...] | None = None,
) -> Iterator[Episode]:
    """Yield the demonstrations of a file, large ones in pieces.

    Args:
        path: the file.
        contract: of the robot; gives the period of files without stamps.
        fields: observation fields to read; None: all.

    Raises:
        DataError: the file is broken or has another layout, or a field is absent.
        ContractError: the file names another contract.
    """
    path = Path(path)
    with segment.open_hdf5(path) as file:
        if is_export(file):
            stored = json.loads(file.attrs['robot_learning'])
            if contract is not None:
                check_contract(path, stored['contract'], contract)
            for name in _by_number(file['steps']):
                yield from _exported(file, name, fields)
            return
        is_segment = segment.is_segment(file)
        names = segment.demo_names(file)
        for number, name in enumerate(() if is_segment else names):
            yield _foreign(path, file['data'][name], number, contract, fields)


def _exported(file: h5py.File, name: str, fields: tuple[str, ...] | None) -> Iterator[Episode]:
    steps = file['steps'][name]
    allowance = Allowance(file.filename)
    allowance.claim_all(steps)
    if name in file['data']:  # Not there for a single step.
        allowance.claim_all(file['data'][name])
    header = json.loads(steps.attrs['piece'])
    names = tuple(steps['last_obs']) if fields is None else fields
    flat = {key: steps[key][()] for key in FLAT if key not in LATER or key in steps}
    stamps = {field: steps['field_stamp_ns'][field][()] for field in names}
    present = {field: steps['present'][field][()] for field in names}
    count = len(flat['stamp_ns'])
    row = sum(steps['last_obs'][field].nbytes for field in names)
    block = max(1, _BLOCK_BYTES // max(row, 1))
    for start in range(0, count, block):
        stop = min(start + block, count)
        yield Episode(
            episode=header['episode'],
            offset=header['offset'] + start,
            observations={f: _observed(file, name, f, start, stop, count) for f in names},
            field_stamp_ns={field: values[start:stop] for field, values in stamps.items()},
            present={field: values[start:stop] for field, values in present.items()},
            is_complete=header['is_complete'] and stop == count,
            attributes=header['attributes'],
            **{key: values[start:stop] for key, values in flat.items()},
        )


def _observed(file: h5py.File, name: str, field: str, start: int, stop: int, count: int) -> Array:
    """Return a field at steps `start` to `stop`; the last step's stands apart."""
    parts = []
    if start < count - 1:
        parts.append(file['data'][name]['obs'][field][start : min(stop, count - 1)])
    if stop == count:
        parts.append(file['steps'][name]['last_obs'][field][()])
    return np.concatenate(parts)


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
    Allowance(path).claim_all(group)
    action = np.asarray(group['actions'], np.float32)
    names = tuple(group['obs']) if fields is None else fields
    absent = [name for name in names if name not in group['obs']]
    if absent:
        raise DataError(
            f'{path}: {group.name} holds no {", ".join(absent)}, only '
            f'{", ".join(group["obs"])}. Choose from these.'
        )
    observations = {name: np.asarray(group['obs'][name]) for name in names}
    _check_lengths(path, group, {**observations, 'actions': action})
    reward = _rewards(group, len(action))
    if 'next_obs' in group:
        observations = {
            name: np.concatenate([values, np.asarray(group['next_obs'][name])[-1:]])
            for name, values in observations.items()
        }
        stop = np.zeros_like(action[:1])
        if contract is not None and contract.action_size == action.shape[1]:
            stop = contract.action_stop[None]
        action = np.concatenate([action, stop])
    else:
        reward = reward[:-1]
    reward = np.concatenate([np.zeros(1, np.float32), reward])
    period_ns = contract.control_period_ns if contract else DEFAULT_PERIOD_NS
    stamp_ns = regular_stamps(len(action), period_ns)
    return whole_episode(number, observations, action, reward, stamp_ns, str(path))


def _check_lengths(path: Path, group: h5py.Group, arrays: dict[str, Any]) -> None:
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        listed = ', '.join(f'{name} {length}' for name, length in lengths.items())
        raise DataError(
            f'{path}: {group.name} has arrays of different or no length ({listed}), expected '
            f'one step each. Remove the demonstration or write it again.'
        )


def _rewards(group: h5py.Group, count: int) -> Array:
    if 'rewards' in group:
        return np.asarray(group['rewards'], np.float32)
    return np.full(count, np.nan, np.float32)


def _by_number(group: h5py.Group) -> list[str]:
    return sorted(group, key=lambda name: int(name.rpartition('_')[2]))
