"""Takes the sound pieces out of a damaged segment, in a process of its own.

HDF5 trusts what it reads: damaged bytes can make it crash or never end. So it reads a damaged
file where that harms nobody, and every piece is compared with its checksums afterwards.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import h5py

from robot_learning import contract as contracts
from robot_learning import durable_files
from robot_learning.contract import RobotContract
from robot_learning.errors import RobotLearningError
from robot_learning.trajectory import segment, store_files
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.hdf5_checks import Allowance
from robot_learning.trajectory.segment_checks import piece_problems
from robot_learning.trajectory.segment_seal import is_sealed

PATIENCE_S = 60.0  # HDF5 may never come back from damaged bytes; a large segment takes a second.
_DISK_REFUSES = 2  # Exit code of the other process.
_END_ADDRESS = 40  # Where HDF5's first block says how long the file is, in its oldest version.
_BROKEN = (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, MemoryError)
_Place = tuple[int, int]  # Episode and offset.


def salvage(
    path: Path, target: Path, unwanted: Collection[_Place], fallback: dict[str, Any] | None
) -> bool:
    """Write the sound pieces of `path` as a new segment to `target`.

    Args:
        path: the damaged segment; its name gives the number of the new one.
        target: the new file.
        unwanted: pieces to leave out, by episode and offset.
        fallback: contract of the session, for a segment whose own is damaged.

    Returns:
        False: no piece is sound, and nothing was written.

    Raises:
        OSError: the disk refuses.
    """
    with tempfile.TemporaryDirectory(prefix='salvage_') as folder:
        copy, result = Path(folder) / 'copy.hdf5', Path(folder) / 'result.hdf5'
        shutil.copyfile(path, copy)
        process = multiprocessing.get_context('spawn').Process(
            target=_run, args=(path, copy, result, frozenset(unwanted), fallback), daemon=True
        )
        process.start()
        process.join(PATIENCE_S)
        if process.is_alive():
            process.kill()
            process.join()
        if process.exitcode == _DISK_REFUSES:
            raise OSError(errno.ENOSPC, 'no space for the sound pieces', str(result))
        if process.exitcode != 0 or not result.is_file():
            return False
        durable_files.write(target, result.read_bytes())
    return True


def _run(
    path: Path,
    copy: Path,
    result: Path,
    unwanted: Collection[_Place],
    fallback: dict[str, Any] | None,
) -> None:
    """Rewrite a copy of `path`; runs in the other process."""
    try:
        content = _rewritten(path, copy, unwanted, fallback)
    except (*_BROKEN, RobotLearningError):
        sys.exit(1)
    try:
        if content:
            result.write_bytes(content)
    except OSError:
        sys.exit(_DISK_REFUSES)


def _rewritten(
    path: Path, copy: Path, unwanted: Collection[_Place], fallback: dict[str, Any] | None
) -> bytes:
    """Return a segment of the sound pieces; nothing if there are none."""
    must_have_checksums = not _seems_whole(path)
    _extend(copy)
    with h5py.File(copy, 'r', locking=False) as file:
        contract = _contract(file, fallback)
        pieces = [
            piece
            for piece in _pieces(file, copy, contract, must_have_checksums)
            if (piece.episode, piece.offset) not in unwanted
        ]
    if not pieces:
        return b''
    return segment.encode(pieces, path.parent.name, store_files.number(path), contract)


def _seems_whole(path: Path) -> bool:
    """Tell whether a file's pieces may be used although they have no checksums."""
    try:
        is_sealed(path)
        with segment.open_hdf5(path):
            return True
    except RobotLearningError:
        return False


def _extend(path: Path) -> None:
    """Give a file that is cut its length back; HDF5 does not open it otherwise."""
    with path.open('rb') as file:
        head = file.read(_END_ADDRESS + 8)
    if len(head) == _END_ADDRESS + 8 and head.startswith(b'\x89HDF\r\n\x1a\n\0'):
        (size,) = struct.unpack_from('<Q', head, _END_ADDRESS)
        if path.stat().st_size < size < 1 << 40:
            os.truncate(path, size)


def _contract(file: h5py.File, fallback: dict[str, Any] | None) -> RobotContract:
    """Return the contract that stands in the file, or the session's.

    Raises:
        ContractError: neither can be used.
    """
    try:
        contract = contracts.from_dict(segment.stored_contract(file))
        if contract.hash == str(file.attrs['contract_hash']):
            return contract
    except (*_BROKEN, RobotLearningError):
        pass
    return contracts.from_dict(fallback or {})


def _pieces(
    file: h5py.File, path: Path, contract: RobotContract, must_have_checksums: bool
) -> Iterator[Episode]:
    """Yield every piece that is whole and does not contradict itself, in order."""
    for name in segment.demo_names(file):
        try:
            _check_links(file['data'], name)
            group = file['data'][name]
            header = segment.read_header(group, is_checked=False)
            if must_have_checksums and 'checksums' not in header:
                continue
            piece = segment.read_piece(group, None, False, Allowance(path))
            if not list(piece_problems(piece, contract, is_deep=False)):
                yield piece
        except (*_BROKEN, RobotLearningError):
            continue


def _check_links(data: h5py.Group, name: str) -> None:
    """Refuse a piece that leads to other files (ValueError); others may be damaged there."""
    kinds = [data.id.links.get_info(name.encode()).type]
    group = data[name]  # Its links can be visited as long as it lives.
    group.id.links.visit(lambda _, info: kinds.append(info.type), info=True)
    if set(kinds) != {h5py.h5l.TYPE_HARD}:
        raise ValueError(f'{name} leads elsewhere')
