"""Takes the sound pieces out of a damaged segment, in a process of its own.

HDF5 trusts what it reads: damaged bytes can make it crash or never end. So it reads a damaged
file where that harms nobody, and every piece is compared with its checksums afterwards.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import struct
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
from robot_learning.trajectory.hdf5_checks import Allowance, check_links
from robot_learning.trajectory.segment_checks import piece_problems
from robot_learning.trajectory.segment_seal import is_sealed

_PATIENCE_S = 120.0
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
    """
    process = multiprocessing.get_context('spawn').Process(
        target=_run, args=(path, target, frozenset(unwanted), fallback), daemon=True
    )
    process.start()
    process.join(_PATIENCE_S)
    if process.is_alive():
        process.kill()
        process.join()
    if process.exitcode != 0:
        target.unlink(missing_ok=True)
    return target.is_file()


def _run(
    path: Path, target: Path, unwanted: Collection[_Place], fallback: dict[str, Any] | None
) -> None:
    with tempfile.TemporaryDirectory(prefix='salvage_') as folder:
        copy = Path(folder) / 'copy.hdf5'
        shutil.copyfile(path, copy)
        must_have_checksums = not _seems_whole(path)
        _extend(copy)
        with h5py.File(copy, 'r', locking=False) as file:
            check_links(file)
            contract = _contract(file, fallback)
            pieces = [
                piece
                for piece in _pieces(file, copy, contract, must_have_checksums)
                if (piece.episode, piece.offset) not in unwanted
            ]
    if pieces:
        session = path.parent.name
        content = segment.encode(pieces, session, store_files.number(path), contract)
        durable_files.write(target, content)


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
            group = file['data'][name]
            header = segment.read_header(group, is_checked=False)
            if must_have_checksums and 'checksums' not in header:
                continue
            piece = segment.read_piece(group, None, False, Allowance(path))
            if not list(piece_problems(piece, contract, is_deep=False)):
                yield piece
        except (*_BROKEN, RobotLearningError):
            continue
