"""robomimic's HDF5: one file of whole demonstrations, with our own facts in a group beside.

```
/                    attribute: robot_learning (JSON: contract, session ...)
data/                attributes: total, env_args
data/demo_0/         attribute: num_samples = N
  obs/<field>        [N, ...]      next_obs/<field>  [N, ...]
  actions rewards dones            [N]: of the action, and what it led to
mask/train, valid    names of demonstrations
steps/demo_0/        attribute: piece (JSON); robomimic does not look here
  stamp_ns action ... [N + 1]      all flat arrays of an episode
  field_stamp_ns present           groups of [N + 1] arrays
  last_obs/<field>   [1, ...]      what was seen after the last action
```
An episode of N + 1 steps has N actions. Large arrays are written once: their `next_obs` is a
virtual data set made of `obs` and `last_obs`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pydantic import NonNegativeFloat
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.contract import RobotContract
from robot_learning.errors import NotEnoughDataError
from robot_learning.trajectory.episode import FLAT, Array, Episode
from robot_learning.trajectory.formats.chunks import Chunk, Headers, Pairing, Transitions
from robot_learning.trajectory.formats.losses import Tally

FORMAT = 1
STREAMED_BYTES = 8 << 10  # Arrays with rows this large go to disk chunk by chunk.
_CHUNK_BYTES = 64 << 10  # Windows are read at random: small chunks.
_GYM = 2  # robomimic's number for environments of that kind.


@dataclass(frozen=True, config=STRICT)
class RobomimicConfig:
    """How a robomimic file is written."""

    valid_ratio: NonNegativeFloat = 0.1  # Of the demonstrations, for the mask `valid`.
    normalize_actions: bool = False  # To -1 .. 1 by the contract's limits, as robomimic learns.


class RobomimicWriter:
    """Writes one file; `close` completes it."""

    def __init__(self, path: Path, contract: RobotContract, config: RobomimicConfig):
        self._contract = contract
        self._config = config
        self._file = h5py.File(path, 'w')
        self._data = self._file.create_group('data')
        self._steps = self._file.create_group('steps')
        self._pairing = Pairing()
        self._headers = Headers()
        self._tally = Tally()
        self._demo: _Demonstration | None = None
        self._lengths: dict[str, int] = {}  # Demonstration -> actions.

    def add(self, chunk: Chunk) -> None:
        """Write one chunk."""
        self._headers.note(chunk)
        self._tally.note(chunk)
        if chunk.begins:
            self._demo = _Demonstration(f'demo_{chunk.trajectory}', self._data, self._steps)
        assert self._demo is not None
        self._demo.add(self._pairing.pair(chunk))
        if chunk.ends:
            name, header = self._demo.name, self._headers.entries[-1]
            count = self._demo.close(header, self._scaled)
            if count:
                self._lengths[name] = count

    def close(self) -> tuple[list[str], dict[str, Any]]:
        """Complete the file; return what robomimic does not hold, and facts.

        Raises:
            NotEnoughDataError: no episode has an action.
        """
        if not self._lengths:
            raise NotEnoughDataError(
                'robomimic: no episode has two steps, so there is no action to learn from. '
                'Choose longer episodes.'
            )
        self._data.attrs['total'] = sum(self._lengths.values())
        environment = {'env_name': self._contract.robot, 'type': _GYM, 'env_kwargs': {}}
        self._data.attrs['env_args'] = json.dumps(environment)
        masks = self._masks()
        for name, demos in masks.items():
            self._file[f'mask/{name}'] = np.array(demos, dtype='S')
        ours = {
            'format': FORMAT,
            'contract_hash': self._contract.hash,
            'contract': self._contract.to_dict(),
        }
        self._file.attrs['robot_learning'] = json.dumps(ours)
        self._file.close()
        return self._losses(), {name: len(demos) for name, demos in masks.items()}

    def abort(self) -> None:
        """Give up; the file is worthless."""
        self._file.close()

    def _masks(self) -> dict[str, list[str]]:
        """Draw whole demonstrations for validation; the same ones every time."""
        names = list(self._lengths)
        count = min(round(len(names) * self._config.valid_ratio), len(names) - 1)
        drawn = np.random.default_rng(0).permutation(len(names))[: max(count, 0)]
        valid = {names[i] for i in drawn}
        return {
            'train': [name for name in names if name not in valid],
            'valid': [name for name in names if name in valid],
        }

    def _scaled(self, action: Array) -> Array:
        if not self._config.normalize_actions:
            return action
        low, high = self._contract.action_low, self._contract.action_high
        scaled: Array = 2 * (action - low) / (high - low) - 1
        return scaled

    def _losses(self) -> list[str]:
        tally = self._tally
        losses = [
            'measured stamps, gap masks, model versions, commands before the gate and the marks '
            'of a step: robomimic has no place for them. They stand in the group steps/, which '
            '"bags import" reads.',
            'terminated and truncated are one in dones; steps/ keeps them apart.',
            'states: there are none, so a simulator cannot be set to a step.',
        ]
        if not self._config.normalize_actions:
            losses.append(
                'actions are in units of the contract; robomimic learns actions within -1 and '
                '1. Export with --normalize-actions for its policies.'
            )
        else:
            losses.append('actions are scaled to -1 .. 1; steps/ holds them in contract units.')
        return [*losses, *tally.gaps(), *tally.unknown_rewards(), *self._of_trajectories()]

    def _of_trajectories(self) -> list[str]:
        losses = []
        single = len(self._headers.entries) - len(self._lengths)
        if single:
            losses.append(f'{single} episodes of one step have no action: only in steps/.')
        if self._headers.num_partial:
            losses.append(
                f'{self._headers.num_partial} episodes lack their start or end; robomimic takes '
                f'them for whole ones.'
            )
        return losses


class _Demonstration:
    """One demonstration while it is written."""

    def __init__(self, name: str, data: h5py.Group, steps: h5py.Group):
        self.name = name
        self._data = data
        self._steps = steps.create_group(name)
        self._obs: dict[str, list[Array]] = {}
        self._streams: dict[str, h5py.Dataset] = {}
        self._parts: list[Episode] = []  # Without observations.
        self._last: Episode | None = None

    def add(self, transitions: Transitions) -> None:
        before = transitions.before
        if len(before):
            for field, values in before.observations.items():
                if values[0].nbytes >= STREAMED_BYTES:
                    self._stream(field, values)
                else:
                    self._obs.setdefault(field, []).append(values)
            self._parts.append(_without_observations(before))
        if transitions.last is not None:
            self._last = transitions.last
            self._parts.append(_without_observations(transitions.last))

    def close(self, header: Mapping[str, Any], scaled: Any) -> int:
        """Write what was gathered; return the number of actions."""
        assert self._last is not None
        whole = {name: _joined(getattr(part, name) for part in self._parts) for name in FLAT}
        for name, values in whole.items():
            self._steps[name] = values
        for kind in ('field_stamp_ns', 'present'):
            for field in getattr(self._last, kind):
                values = _joined(getattr(part, kind)[field] for part in self._parts)
                self._steps[f'{kind}/{field}'] = values
        for field, values in self._last.observations.items():
            self._steps[f'last_obs/{field}'] = values
        self._steps.attrs['piece'] = json.dumps(header)
        count = len(whole['stamp_ns']) - 1
        if count:
            self._write_transitions(whole, count, scaled)
        return count

    def _write_transitions(self, whole: dict[str, Array], count: int, scaled: Any) -> None:
        demo = self._data.require_group(self.name)
        demo.attrs['num_samples'] = count
        demo['actions'] = scaled(whole['action'][:-1])
        demo['rewards'] = whole['reward'][1:]
        demo['dones'] = (whole['terminated'] | whole['truncated'])[1:].astype(np.int64)
        assert self._last is not None
        for field, parts in self._obs.items():
            values = _joined([*parts, self._last.observations[field]])
            demo[f'obs/{field}'] = values[:-1]
            demo[f'next_obs/{field}'] = values[1:]
        for field in self._streams:
            self._point_to_next(demo, field, count)

    def _point_to_next(self, demo: h5py.Group, field: str, count: int) -> None:
        here, last = self._streams[field], self._steps[f'last_obs/{field}']
        layout = h5py.VirtualLayout(here.shape, here.dtype)
        if count > 1:
            source = h5py.VirtualSource('.', here.name, here.shape, here.dtype)
            layout[: count - 1] = source[1:]
        layout[count - 1 :] = h5py.VirtualSource('.', last.name, last.shape, last.dtype)
        demo.require_group('next_obs').create_virtual_dataset(field, layout)

    def _stream(self, field: str, values: Array) -> None:
        stream = self._streams.get(field)
        if stream is None:
            rows = max(1, _CHUNK_BYTES // values[0].nbytes)
            stream = self._data.create_dataset(
                f'{self.name}/obs/{field}',
                (0, *values.shape[1:]),
                values.dtype,
                maxshape=(None, *values.shape[1:]),
                chunks=(rows, *values.shape[1:]),
            )
            self._streams[field] = stream
        start = len(stream)
        stream.resize(start + len(values), axis=0)
        stream[start:] = values


def _without_observations(steps: Episode) -> Episode:
    """Copy the small arrays: slices would keep the images of their piece in memory."""
    parts: dict[str, Any] = {name: np.array(getattr(steps, name)) for name in FLAT}
    for kind in ('field_stamp_ns', 'present'):
        parts[kind] = {field: np.array(v) for field, v in getattr(steps, kind).items()}
    return Episode(steps.episode, steps.offset, observations={}, **parts)


def _joined(parts: Any) -> Array:
    return np.concatenate(list(parts))
