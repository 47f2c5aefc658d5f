"""What is exported: chosen episodes of a store, a session or a segment, and their contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from robot_learning import contract as contracts
from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError, ContractError, DataError, NotEnoughDataError
from robot_learning.trajectory import segment
from robot_learning.trajectory.contract_match import check_contract
from robot_learning.trajectory.episode import PER_FIELD, Episode
from robot_learning.trajectory.formats.chunks import is_continued
from robot_learning.trajectory.store import TrajectoryStore

Choice = Callable[[int], bool]


class EpisodeSource:
    """Reads the chosen trajectories piece by piece.

    Attributes:
        contract: of the robot that recorded them.
        num_steps: of all segments; an upper bound where only some episodes are chosen.
        skipped: segments that cannot be read, with the reason.
    """

    def __init__(
        self, path: Path | str, contract: RobotContract | None = None, chosen: str | None = None
    ):
        """Look at the headers; steps are read later.

        Args:
            path: a store, one session of it, or one segment.
            contract: None: the one that the segments name.
            chosen: numbers and ranges of trajectories in the order of the store, from 0:
                '0,3-5'; None: all.

        Raises:
            DataError: there is no segment at `path`, or none can be read.
            ContractError: the segments were made with different contracts, or another one.
            ConfigError: `chosen` is no list of numbers and ranges.
        """
        self.path = Path(path)
        self.skipped: list[str] = []
        self._is_chosen = parse_choice(chosen) if chosen is not None else None
        self._files = self._sound(_segments(self.path))
        self.contract = self._agreed(contract)
        self.num_steps = sum(info.num_steps for info in self._files)

    def pieces(self) -> Iterator[Episode]:
        """Yield the pieces of the chosen trajectories in order.

        Raises:
            NotEnoughDataError: none of the chosen trajectories exists.
        """
        number, found = -1, False
        previous: Episode | None = None
        for info in self._files:
            for piece in segment.read_segment(info.path):
                if not len(piece):
                    continue
                piece = self._of_contract(piece, info)
                number += not is_continued(previous, piece)
                previous = piece
                if self._is_chosen is None or self._is_chosen(number):
                    found = True
                    yield piece
        if not found:
            raise NotEnoughDataError(
                f'{self.path}: holds {number + 1} episodes, none of which is chosen. Choose '
                f'numbers from 0 to {number}.'
            )

    def _of_contract(self, piece: Episode, info: segment.SegmentInfo) -> Episode:
        """Keep the fields of the contract; note the session."""
        names = tuple(self.contract.observation)
        absent = [name for name in names if name not in piece.observations]
        if absent:
            raise DataError(
                f'{info.path}: episode {piece.episode} holds no {", ".join(absent)}, which its '
                f'contract {self.contract.robot!r} names. Remove the segment.'
            )
        groups: dict[str, Any] = {
            kind: {name: getattr(piece, kind)[name] for name in names} for kind in PER_FIELD
        }
        attributes = {'session': info.session, **piece.attributes}
        return replace(piece, attributes=attributes, **groups)

    def _sound(self, paths: list[Path]) -> list[segment.SegmentInfo]:
        infos = []
        for path in paths:
            try:
                infos.append(segment.read_info(path))
            except DataError as error:
                self.skipped.append(str(error))
        if not infos:
            raise DataError(self.skipped[0])
        return infos

    def _agreed(self, contract: RobotContract | None) -> RobotContract:
        kinds = {info.contract_hash: info for info in self._files}
        if contract is not None:
            for info in kinds.values():
                check_contract(info.path, info.contract, contract)
            return contract
        if len(kinds) > 1:
            found = ', '.join(f'{info.session} ({name})' for name, info in kinds.items())
            raise ContractError(
                f'{self.path}: holds episodes of {len(kinds)} contracts: {found}. Export one '
                f'session, or name the robot whose contract fits them all.'
            )
        info = next(iter(kinds.values()))
        return contracts.from_dict(info.contract, str(info.path))


def parse_choice(text: str) -> Choice:
    """Return whether a number is in a list such as '0,3-5,10-'.

    Raises:
        ConfigError: the text is no such list.
    """
    ranges: list[tuple[int, float]] = []
    for part in text.split(','):
        first, dash, last = part.strip().partition('-')
        if not first.isdecimal() or not (last.isdecimal() or not last):
            raise ConfigError(
                f'episodes: found {part!r}, expected numbers and ranges such as 0,3-5,10-. '
                f'Correct it.'
            )
        end = float(last) if last else float('inf') if dash else float(first)
        ranges.append((int(first), end))
    return lambda number: any(first <= number <= last for first, last in ranges)


def _segments(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    store = TrajectoryStore(path)
    paths = store.segments()
    if not paths:
        store = TrajectoryStore(path.parent)
        paths = store.segments(path.name)
    if not paths:
        found = 'no segments' if path.exists() else 'nothing'
        raise DataError(
            f'{path}: holds {found}, expected a trajectory store, a session of one or a '
            f'segment. Name one, or make one with "bags import".'
        )
    return paths
