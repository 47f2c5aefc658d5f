"""Trajectories as plain arrays in HDF5, as data sets of DeepMind Control videos often are.

```
frames | observations   [T, H, W, 3] or [T, 3, H, W] uint8   -> field `camera`
observations            [T, D] numbers                       -> field `observation`
actions [T, A]   rewards [T]   dones [T] | terminated [T], truncated [T]
```

The arrays lie at the root, several episodes behind each other (each ends where one of the last
three is True), or in one group per episode. Step t of such a file holds what was seen, what was
done then, and what that earned; ours holds what was received on arriving. So rewards and ends
move one step on, and the last action of an episode, whose result was not recorded, is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.errors import DataError
from robot_learning.trajectory import segment
from robot_learning.trajectory.episode import Array, Episode
from robot_learning.trajectory.formats.foreign import (
    DEFAULT_PERIOD_NS,
    regular_stamps,
    whole_episode,
)
from robot_learning.trajectory.hdf5_checks import Allowance

CAMERA, VECTOR = 'camera', 'observation'
_SEEN = ('frames', 'observations')
_ENDS = ('dones', 'terminated', 'truncated')


def is_plain(file: h5py.File) -> bool:
    """Tell a file of this layout."""
    return any(_is_trajectory(group) for group in [file, *_groups(file)[:1]])


def read_plain(
    path: Path | str,
    contract: RobotContract | None = None,
    fields: tuple[str, ...] | None = None,
) -> Iterator[Episode]:
    """Yield the episodes of a file.

    Args:
        path: the file.
        contract: of the robot; gives the period between steps.
        fields: those to read; None: all.

    Raises:
        DataError: arrays do not fit together, or a field is absent.
    """
    path = Path(path)
    period_ns = contract.control_period_ns if contract else DEFAULT_PERIOD_NS
    number = 0
    with segment.open_hdf5(path) as file:
        for group in [file] if _is_trajectory(file) else _groups(file):
            arrays = _arrays(path, group)
            for start, stop in _episodes(arrays):
                part = {name: values[start:stop] for name, values in arrays.items()}
                yield _episode(path, part, number, period_ns, fields)
                number += 1


def _arrays(path: Path, group: h5py.Group) -> dict[str, Array]:
    names = [name for name in (*_SEEN, 'actions', 'rewards', *_ENDS) if name in group]
    allowance = Allowance(path)
    for name in names:
        if not isinstance(group[name], h5py.Dataset):
            raise DataError(
                f'{path}: {group.name}: {name} is a group, expected an array. Choose another file.'
            )
        allowance.claim(group[name].id, f'{group.name}/{name}')
    arrays: dict[str, Array] = {name: group[name][()] for name in names}
    lengths = {name: len(values) if values.ndim else 0 for name, values in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        listed = ', '.join(f'{name} {length}' for name, length in lengths.items())
        raise DataError(
            f'{path}: {group.name} has arrays of different or no length ({listed}), expected one '
            f'step each. Choose another file.'
        )
    if arrays['actions'].ndim != 2:
        raise DataError(
            f'{path}: {group.name}: actions have shape {list(arrays["actions"].shape)}, expected '
            f'[T, A]. Choose another file.'
        )
    return arrays


def _episodes(arrays: dict[str, Array]) -> list[tuple[int, int]]:
    """Return [start, stop) of every episode."""
    count = len(arrays['actions'])
    ended = np.zeros(count, bool)
    for name in _ENDS:
        if name in arrays:
            ended |= arrays[name].reshape(count).astype(bool)
    stops = sorted({*(np.flatnonzero(ended) + 1).tolist(), count})
    return list(zip([0, *stops[:-1]], stops, strict=True))


def _episode(
    path: Path,
    arrays: dict[str, Array],
    number: int,
    period_ns: int,
    fields: tuple[str, ...] | None,
) -> Episode:
    seen: dict[str, Array] = {}
    for name in _SEEN:
        if name in arrays:
            field, values = _field(path, name, arrays[name])
            seen.setdefault(field, values)
    wanted = tuple(seen) if fields is None else fields
    absent = sorted(set(wanted) - set(seen))
    if absent:
        raise DataError(
            f'{path}: holds no {", ".join(absent)}, only {", ".join(seen)}. Choose from these.'
        )
    count = len(arrays['actions'])
    rewards = arrays.get('rewards', np.full(count, np.nan)).reshape(count).astype(np.float32)
    rewards = np.concatenate([np.zeros(1, np.float32), rewards[:-1]])
    terminated = bool(np.any(arrays.get('terminated', False)))
    stamps = regular_stamps(count, period_ns)
    observations = {name: seen[name] for name in wanted}
    actions = arrays['actions']
    return whole_episode(number, observations, actions, rewards, stamps, str(path), terminated)


def _field(path: Path, name: str, values: Array) -> tuple[str, Array]:
    """Return what an array is called here, images as [T, H, W, C]."""
    if values.ndim == 2 and values.dtype.kind in 'biuf':
        return VECTOR, values.astype(np.float32)
    if values.ndim == 4 and values.dtype == np.uint8:
        is_channel_first = values.shape[1] in (1, 3) and values.shape[3] not in (1, 3)
        return CAMERA, values.transpose(0, 2, 3, 1) if is_channel_first else values
    raise DataError(
        f'{path}: {name} is {values.dtype} {list(values.shape)}, expected uint8 pictures '
        f'[T, H, W, C] or numbers [T, D]. Choose another file.'
    )


def _is_trajectory(group: Any) -> bool:
    return (
        isinstance(group, h5py.Group)
        and 'actions' in group
        and any(name in group for name in _SEEN)
    )


def _groups(file: h5py.File) -> list[h5py.Group]:
    return [entry for _, entry in sorted(file.items()) if _is_trajectory(entry)]
