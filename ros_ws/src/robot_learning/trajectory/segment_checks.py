"""Checks one segment: what it says about itself, its arrays, and its contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from robot_learning import contract as contracts
from robot_learning.contract import RobotContract
from robot_learning.errors import ContractError, DataError
from robot_learning.trajectory import segment, store_files
from robot_learning.trajectory.episode import FLAT, Episode
from robot_learning.trajectory.hdf5_checks import Allowance
from robot_learning.trajectory.segment_seal import is_sealed

_DTYPES = {
    'stamp_ns': 'int64',
    'action': 'float32',
    'commanded': 'float32',
    'altered': 'bool',
    'log_prob': 'float32',
    'model_version': 'int64',
    'reward': 'float32',
    'terminated': 'bool',
    'truncated': 'bool',
    'is_first': 'bool',
    'exploring': 'bool',
    'intervention': 'bool',
}
_MAY_BE_INFINITE = ('sensor_msgs/msg/LaserScan', 'sensor_msgs/msg/PointCloud2')  # No echo.


class PieceSpan(NamedTuple):
    """Which steps of which episode a piece holds."""

    episode: int
    offset: int
    length: int
    is_complete: bool

    def __str__(self) -> str:
        last = self.offset + self.length - 1
        return f'episode {self.episode}, steps {self.offset} to {last}'


@dataclass
class SegmentCheck:
    """What was found in one segment.

    Attributes:
        spans: its pieces, as far as they can be read.
        problems: what is wrong with it, without the path.
        notes: what is worth knowing.
    """

    path: Path
    spans: list[PieceSpan] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    num_bytes: int = 0
    contract_hash: str = ''
    is_sealed: bool = False
    is_old: bool = False  # Written before there were checksums.

    @property
    def num_steps(self) -> int:
        """Steps of all pieces."""
        return sum(span.length for span in self.spans)


def check_segment(path: Path, is_deep: bool) -> SegmentCheck:
    """Check a segment; with `is_deep` every value of it is read."""
    check = SegmentCheck(path)
    try:
        check.num_bytes = path.stat().st_size
        check.is_sealed = is_sealed(path)
        with segment.open_hdf5(path) as file:
            if not segment.is_segment(file):
                check.problems.append('is a foreign HDF5 file. Move it out of the store.')
                return check
            contract = _check_head(check, file)
            for name in segment.demo_names(file):
                group = file['data'][name]
                check.problems += list(_piece_problems(check, group, contract, is_deep))
            _check_total(check, int(file['data'].attrs['total']))
    except DataError as error:
        check.problems.append(str(error).removeprefix(f'{path}: '))
    except OSError as error:
        check.problems.append(f'cannot be read ({error.strerror}). Check the disk and its rights.')
    return check


def piece_problems(piece: Episode, contract: RobotContract | None, is_deep: bool) -> Iterator[str]:
    """Yield what in a piece contradicts itself or its contract, without where and what to do."""
    lengths = {len(array) for _, array in segment.arrays_of(piece)}
    if len(lengths) != 1:
        yield f'arrays have lengths {sorted(lengths)}, expected one length'
        return
    if lengths == {0}:
        yield 'holds no step, expected one or more'
        return
    for name in FLAT:
        found = str(getattr(piece, name).dtype)
        if found != _DTYPES[name]:
            yield f'{name} is {found}, expected {_DTYPES[name]}'
    if not np.all(np.diff(piece.stamp_ns) > 0):
        yield 'stamps do not increase'
    for name in ('action', 'commanded'):
        if not np.isfinite(getattr(piece, name)).all():
            yield f'{"actions" if name == "action" else name} are not finite'
    if np.isinf(piece.reward).any():
        yield 'rewards are infinite'
    yield from _end_problems(piece)
    if contract is not None:
        yield from _contract_problems(piece, contract, is_deep)


def _check_head(check: SegmentCheck, file: h5py.File) -> RobotContract | None:
    number, expected = int(file.attrs['number']), store_files.number(check.path)
    if number != expected >= 0:
        check.problems.append(
            f'says that it is segment {number}, expected {expected}. Give it its name back.'
        )
    check.contract_hash = str(file.attrs['contract_hash'])
    check.is_old = int(file.attrs['format']) < 2
    if not check.is_sealed and not check.is_old:
        check.notes.append('its seal is gone: it was changed, or cut right behind its content')
    try:
        contract = contracts.from_dict(segment.stored_contract(file), str(check.path))
    except (ContractError, ValueError) as error:
        check.problems.append(f'its contract cannot be read ({error}). Repair the store.')
        return None
    if contract.hash != check.contract_hash:
        check.problems.append(
            f'its contract has hash {contract.hash}, expected {check.contract_hash} as it says. '
            f'Repair the store.'
        )
        return None
    return contract


def _check_total(check: SegmentCheck, total: int) -> None:
    if check.num_steps != total:
        check.problems.append(
            f'holds {check.num_steps} steps, expected {total} by its header. Repair the store.'
        )


def _piece_problems(
    check: SegmentCheck, group: h5py.Group, contract: RobotContract | None, is_deep: bool
) -> Iterator[str]:
    """Yield the problems of one piece and note its span."""
    try:
        header = segment.read_header(group, check.is_sealed)
        must_read = is_deep or not (check.is_sealed or check.is_old)
        fields = None if must_read else ()
        allowance = Allowance(check.path)
        # What is read is compared with its checksum even where the seal is sound.
        piece = segment.read_piece(group, fields, False, allowance)
        span = PieceSpan(
            int(header['episode']), int(header['offset']), len(piece), bool(header['is_complete'])
        )
        check.spans.append(span)
        texts = list(piece_problems(piece, contract, is_deep))
        texts += list(_shape_problems(group, contract, len(piece)))
        dones = (piece.terminated | piece.truncated).astype(np.uint8)
        if not np.array_equal(group['dones'], dones):
            texts.append("robomimic's dones are not those of its ends")
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        yield f'{group.name}: cannot be read ({error}). Repair the store.'
        return
    for text in texts:
        yield f'{span}: {text}. Remove the file or repair the store.'


def _end_problems(piece: Episode) -> Iterator[str]:
    """Yield contradictions between ends: only an episode's last step has one."""
    ends = piece.terminated | piece.truncated
    if ends[:-1].any() or (ends[-1] and not piece.is_complete):
        yield 'an end stands before the last step of the episode'
    if piece.is_complete and not ends[-1]:
        yield 'the last step of the episode has no end'
    if (piece.terminated & piece.truncated).any():
        yield 'a step is both terminated and truncated'
    starts = np.flatnonzero(piece.is_first).tolist()
    if starts != ([0] if piece.offset == 0 else []):
        yield f'steps {starts} are marked as first, the piece begins at step {piece.offset}'


def _contract_problems(piece: Episode, contract: RobotContract, is_deep: bool) -> Iterator[str]:
    for name in ('action', 'commanded'):
        shape = getattr(piece, name).shape[1:]
        if shape != (contract.action_size,):
            yield f'{name} has shape {list(shape)}, expected [{contract.action_size}]'
    if not is_deep:
        return
    for name, values in piece.observations.items():
        spec = contract.observation.get(name)
        may_be_infinite = spec is None or spec.type in _MAY_BE_INFINITE
        if values.dtype.kind == 'f' and not may_be_infinite and not np.isfinite(values).all():
            yield f'{name} is not finite'
        present, stamp_ns = piece.present[name], piece.field_stamp_ns[name]
        if (present & (stamp_ns < 0)).any():
            yield f'{name} is present at steps before its first reading'


def _shape_problems(
    group: h5py.Group, contract: RobotContract | None, length: int
) -> Iterator[str]:
    """Compare names, shapes and types of observations with the contract, reading no values."""
    fields = set(group['obs'])
    for part in ('field_stamp_ns', 'present', 'field_age_s'):
        if set(group[part]) != fields:
            yield f'{part} has fields {sorted(group[part])}, expected {sorted(fields)}'
        for name, dataset in group[part].items():
            if dataset.shape != (length,):
                yield f'{part} of {name} has shape {list(dataset.shape)}, expected [{length}]'
    if contract is None:
        return
    if fields != set(contract.observation):
        yield f'has observations {sorted(fields)}, expected {sorted(contract.observation)}'
    for name, spec in contract.observation.items():
        if name in fields:
            dataset = group['obs'][name]
            expected: tuple[Any, ...] = (length, *spec.shape)
            if dataset.shape != expected or dataset.dtype != np.dtype(spec.dtype):
                yield (
                    f'{name} is {dataset.dtype} {list(dataset.shape)}, '
                    f'expected {spec.dtype} {list(expected)}'
                )
