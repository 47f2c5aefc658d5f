"""One reader for all that holds episodes: stores, segments, data sets of others, bags."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from robot_learning.contract import RobotContract
from robot_learning.errors import ContractError, DataError
from robot_learning.trajectory import segment
from robot_learning.trajectory.bags.bag import BagReplay
from robot_learning.trajectory.contract_match import check_contract
from robot_learning.trajectory.episode import PER_FIELD, Episode
from robot_learning.trajectory.formats import importing, mapping, plain_arrays
from robot_learning.trajectory.store import TrajectoryStore, joined

_LOG = logging.getLogger(__name__)
_BAGS = ('.bag', '.mcap', '.db3')
_HDF5 = ('.hdf5', '.h5')


def read_episodes(
    path: Path | str,
    contract: RobotContract | None = None,
    fields: Iterable[str] | None = None,
) -> Iterator[Episode]:
    """Yield the episodes of whatever `path` is, one after the other.

    Args:
        path: a store, one session of it, one segment, a robomimic file, an HDF5 file of plain
            arrays, a LeRobot data set, a folder of npz archives, or a bag.
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
    elif (kind := importing.detect(path)) is not None:
        yield from _from_folder(path, kind, contract, wanted)
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
            f'file, a LeRobot data set, npz archives or a bag. Name one of these.'
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
            info = next(store.infos(name), None)  # A session has one recorder, one contract.
            if info is not None:
                check_contract(info.path, info.contract, contract)
    found = False
    for name in sessions:
        for episode in store.episodes(fields, name):
            found = True
            yield episode
    if store.skipped and not found:
        raise DataError(
            f'{store.root}: none of its segments can be read. The first: {store.skipped[0].text}'
        )
    if store.skipped:
        _LOG.warning(
            '%s: %d damaged segments were left out. "./run store repair" saves what is in them.',
            store.root,
            len(store.skipped),
        )


def _from_file(
    path: Path, contract: RobotContract | None, fields: tuple[str, ...] | None
) -> Iterator[Episode]:
    with segment.open_hdf5(path) as file:
        is_ours = segment.is_segment(file)
        is_plain = plain_arrays.is_plain(file)
    if is_ours:
        info = segment.read_info(path)
        if contract is not None:
            check_contract(path, info.contract, contract)
        for episode in joined(segment.read_segment(path, fields)):
            episode.attributes.setdefault('session', info.session)
            yield episode
        return
    pieces = (
        plain_arrays.read_plain(path, contract, fields)
        if is_plain
        else importing.read(path, 'robomimic', contract, fields)
    )
    for episode in joined(pieces):
        size = episode.action.shape[1]
        if contract is not None and size != contract.action_size:
            raise ContractError(
                f'{path}: actions have {size} components, contract {contract.robot!r} has '
                f'{contract.action_size}. Choose the contract of the robot that recorded them.'
            )
        yield episode


def _from_folder(
    path: Path, kind: str, contract: RobotContract | None, fields: tuple[str, ...] | None
) -> Iterator[Episode]:
    """Read a data set whose fields may be called otherwise than in the contract."""
    fit = None if contract is None else mapping.Fit(str(path), contract, {})
    for episode in joined(importing.read(path, kind, contract)):
        yield _only(episode if fit is None else fit.apply(episode), fields)


def _only(episode: Episode, fields: tuple[str, ...] | None) -> Episode:
    if fields is not None:
        for kind in PER_FIELD:
            group = getattr(episode, kind)
            setattr(episode, kind, {name: group[name] for name in fields if name in group})
    return episode


def _from_bag(
    path: Path, contract: RobotContract | None, fields: tuple[str, ...] | None
) -> Iterator[Episode]:
    if contract is None:
        raise ContractError(
            f'{path}: is a bag, which needs a robot contract to become episodes. Name the robot.'
        )
    for episode in joined(BagReplay(path, contract).pieces()):
        yield _only(episode, fields)
