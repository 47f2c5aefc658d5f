"""One segment file: pieces of episodes in robomimic's HDF5 layout, with our own fields.

```
/                      attributes: contract_hash, contract (JSON), session, number, format
data/                  attributes: total (steps), env_args (JSON, what robomimic looks for)
data/demo_0/           attributes: num_samples, piece (JSON: episode, offset, checksums of the
                       arrays, ...), piece_crc32 (of that JSON)
  obs/<field>          [T, ...]
  actions rewards dones                             robomimic's; dones: terminated or truncated
  commanded altered log_prob model_version stamp_ns terminated truncated is_first
  exploring intervention                            absent in segments of before: False
  field_stamp_ns present field_age_s                groups with one [T] array per field
```
Written beside a running control loop, so h5py's low-level calls are used where there are many
small arrays: 250 of them take 7 ms instead of 30. A seal stands behind the content, see
`segment_seal`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.errors import DataError
from robot_learning.foreign_files import printable
from robot_learning.trajectory import hdf5_checks
from robot_learning.trajectory.episode import FLAT, LATER, PER_FIELD, Array, Episode
from robot_learning.trajectory.hdf5_checks import Allowance
from robot_learning.trajectory.segment_seal import array_checksum, is_sealed, seal

FORMAT = 2  # 1: without checksums.
_MEMORY_STEP = 1 << 20  # The file is laid out in memory; it grows by this many bytes.
_IMAGE_BYTES = 1024  # uint8 readings at least this large are compressed.
_IMAGE_CHUNK = 16  # Steps per compressed chunk.
_BROKEN = (  # What h5py and JSON make of files that are not what they seem.
    OSError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    RuntimeError,
)
_RENAMED = {'action': 'actions', 'reward': 'rewards'}  # Ours -> robomimic's.


class SegmentInfo(NamedTuple):
    """What a segment says about itself."""

    path: Path
    session: str
    number: int
    contract_hash: str
    contract: dict[str, Any]  # Plain data for `contract.from_dict`; empty in foreign files.
    num_steps: int
    first_episode: int
    last_episode: int


def encode(pieces: Sequence[Episode], session: str, number: int, contract: RobotContract) -> bytes:
    """Return the bytes of a segment file holding `pieces`."""
    with h5py.File(
        f'{session}/{number}', 'w', driver='core', backing_store=False, block_size=_MEMORY_STEP
    ) as file:
        file.attrs['format'] = FORMAT
        file.attrs['session'] = session
        file.attrs['number'] = number
        file.attrs['contract_hash'] = contract.hash
        file.attrs['contract'] = json.dumps(contract.to_dict())
        data = file.create_group('data')
        data.attrs['total'] = sum(len(piece) for piece in pieces)
        data.attrs['env_args'] = json.dumps(
            {'env_name': contract.robot, 'type': 2, 'env_kwargs': {}}
        )
        for index, piece in enumerate(pieces):
            _write_piece(data, f'demo_{index}', piece)
        file.flush()
        return seal(file.id.get_file_image())


def read_segment(path: Path | str, fields: Iterable[str] | None = None) -> list[Episode]:
    """Return the pieces of a segment in the order they were written.

    Args:
        path: the file.
        fields: observation fields to read; None: all. The others are not touched on disk.

    Raises:
        DataError: the file is truncated, no HDF5 or has another layout; or a field is absent.
    """
    wanted = None if fields is None else tuple(fields)
    with open_segment(path) as (file, is_checked):
        allowance = Allowance(path)
        pieces = [
            read_piece(file['data'][name], wanted, is_checked, allowance)
            for name in demo_names(file)
        ]
        total, expected = sum(map(len, pieces)), int(file['data'].attrs['total'])
        if total != expected:
            raise ValueError(f'holds {total} steps, expected {expected} by its header')
        return pieces


def read_info(path: Path | str) -> SegmentInfo:
    """Return what a segment says about itself, reading no steps.

    Raises:
        DataError: the file is truncated, no HDF5 or has another layout.
    """
    with open_segment(path) as (file, is_checked):
        headers = [read_header(file['data'][name], is_checked) for name in demo_names(file)]
        episodes = [header['episode'] for header in headers]
        return SegmentInfo(
            path=Path(path),
            session=str(file.attrs['session']),
            number=int(file.attrs['number']),
            contract_hash=str(file.attrs['contract_hash']),
            contract=stored_contract(file),
            num_steps=int(file['data'].attrs['total']),
            first_episode=min(episodes, default=0),
            last_episode=max(episodes, default=0),
        )


def stored_contract(file: h5py.File) -> dict[str, Any]:
    """Return the contract that stands in a segment, as plain data."""
    contract: dict[str, Any] = json.loads(file.attrs['contract'])
    return contract


def is_segment(file: h5py.File) -> bool:
    """Tell our segments from other robomimic files."""
    return 'format' in file.attrs and 'contract_hash' in file.attrs


def demo_names(file: h5py.File) -> list[str]:
    """Return the names of all demonstrations by number: demo_2 before demo_10."""
    return sorted(file['data'], key=lambda name: int(name.rpartition('_')[2]))


@contextmanager
def open_hdf5(path: Path | str) -> Iterator[h5py.File]:
    """Open a robomimic file for reading; every way in which it is broken is one `DataError`."""
    with open_segment(path) as (file, _):
        yield file


@contextmanager
def open_segment(path: Path | str) -> Iterator[tuple[h5py.File, bool]]:
    """Open as `open_hdf5` does; give also whether the file's seal vouches for all of it."""
    if not Path(path).is_file():
        raise DataError(f'{path}: there is no such file. Name an existing segment.')
    try:
        is_checked = is_sealed(path)
        with h5py.File(path, 'r', locking=False) as file:
            hdf5_checks.check_links(file)
            yield file, is_checked
    except _BROKEN as error:
        raise DataError(
            f'{path}: is truncated, damaged or of another layout ({printable(str(error))}), '
            f'expected a trajectory file in robomimic layout. Remove it or record it again.'
        ) from error


def _write_piece(data: h5py.Group, name: str, piece: Episode) -> None:
    group = data.create_group(name)
    group.attrs['num_samples'] = len(piece)
    header = {
        'episode': piece.episode,
        'offset': piece.offset,
        'is_complete': piece.is_complete,
        'attributes': piece.attributes,
        'checksums': {name: array_checksum(array) for name, array in arrays_of(piece)},
    }
    text = json.dumps(header, default=_plain)
    group.attrs['piece'] = text
    group.attrs['piece_crc32'] = zlib.crc32(text.encode())
    for ours in FLAT:
        _write(group, _RENAMED.get(ours, ours), getattr(piece, ours))
    _write(group, 'dones', (piece.terminated | piece.truncated).astype(np.uint8))
    for theirs, values in (
        ('obs', piece.observations),
        ('field_stamp_ns', piece.field_stamp_ns),
        ('present', piece.present),
        ('field_age_s', piece.field_age_s),
    ):
        subgroup = group.create_group(theirs)
        for field, array in values.items():
            _write(subgroup, field, array)


def _write(group: h5py.Group, name: str, array: Array) -> None:
    if array.dtype == np.uint8 and array[:1].nbytes >= _IMAGE_BYTES:
        chunks = (min(len(array), _IMAGE_CHUNK), *array.shape[1:])
        dataset = group.create_dataset(
            name, array.shape, array.dtype, chunks=chunks, compression='lzf'
        )
        if array.any():  # A camera that is off costs nothing: zeros are what is not written.
            dataset[...] = array
        return
    kind, space = _kind(array.dtype), _space(array.shape)
    dataset = h5py.h5d.create(group.id, name.encode(), kind, space)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(array))


@lru_cache(maxsize=32)
def _kind(dtype: np.dtype[Any]) -> h5py.h5t.TypeID:
    return h5py.h5t.py_create(dtype, logical=True)


@lru_cache(maxsize=256)
def _space(shape: tuple[int, ...]) -> h5py.h5s.SpaceID:
    return h5py.h5s.create_simple(shape)


def _read(group: h5py.h5g.GroupID, name: str, allowance: Allowance) -> Array:
    try:
        dataset = h5py.h5d.open(group, name.encode())
    except KeyError as error:
        known = ', '.join(key.decode() for key in group)
        raise KeyError(f'holds no {name!r}, only: {known}') from error
    allowance.claim(dataset, name)
    array = np.empty(dataset.shape, dataset.dtype)
    if array.size:
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
    return array


def read_piece(
    group: h5py.Group, fields: tuple[str, ...] | None, is_checked: bool, allowance: Allowance
) -> Episode:
    """Return one piece.

    Args:
        group: of the piece.
        fields: observation fields to read; None: all.
        is_checked: the file's seal vouches for it; else its checksums are compared.
        allowance: how much may be read.

    Raises:
        ValueError: a checksum is wrong.
        KeyError: an array is not there.
    """
    header = read_header(group, is_checked)
    checksums = header.pop('checksums', {})
    names = tuple(group['obs']) if fields is None else fields
    parts: dict[str, Any] = {
        ours: _read(group.id, _RENAMED.get(ours, ours), allowance)
        for ours in FLAT
        if ours not in LATER or ours in group
    }
    for ours, theirs in (
        ('observations', 'obs'),
        ('field_stamp_ns', 'field_stamp_ns'),
        ('present', 'present'),
    ):
        subgroup = h5py.h5g.open(group.id, theirs.encode())
        parts[ours] = {name: _read(subgroup, name, allowance) for name in names}
    piece = Episode(**header, **parts)
    if checksums and not is_checked:
        _compare(piece, checksums, group.name, fields is None)
    return piece


def read_header(group: h5py.Group, is_checked: bool) -> dict[str, Any]:
    """Return what a piece says about itself.

    Raises:
        ValueError: its checksum is wrong.
    """
    text = group.attrs['piece']
    checksum = group.attrs.get('piece_crc32')
    if not is_checked and checksum is not None and zlib.crc32(text.encode()) != checksum:
        raise ValueError(f'the checksum of the header of {group.name} is wrong')
    header: dict[str, Any] = json.loads(text)
    return header


def arrays_of(piece: Episode) -> Iterator[tuple[str, Array]]:
    """Yield all arrays of a piece by name, as they are named in its checksums."""
    for name in FLAT:
        yield name, getattr(piece, name)
    for group in PER_FIELD:
        for field, array in getattr(piece, group).items():
            yield f'{group}/{field}', array


def _compare(piece: Episode, checksums: dict[str, int], where: str, is_all: bool) -> None:
    found = dict(arrays_of(piece))
    absent = [name for name in checksums if name not in found]
    if is_all and absent:
        raise KeyError(f'{where} holds no {", ".join(absent)}')
    for name, array in found.items():
        if name in checksums and array_checksum(array) != checksums[name]:
            raise ValueError(f'the checksum of {name} in {where} is wrong')


def _plain(value: Any) -> Any:
    """Turn numpy values in an episode's attributes into JSON."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f'attribute of type {type(value).__name__} cannot be stored as JSON')
