"""Where tasks of --mode meta come from: curves, the embedded world, pictures, recordings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from robot_learning import contract as contracts
from robot_learning.errors import ConfigError
from robot_learning.trajectory.character_files import SUFFIXES, PictureClasses, read_classes
from robot_learning.trajectory.datasets import read_episodes
from robot_learning.trajectory.driving_examples import (
    FIELDS,
    Drive,
    drives_of,
    driving_examples,
)

if TYPE_CHECKING:
    from robot_learning.contract import RobotContract

Kind = Literal['sinusoids', 'robots', 'pictures']

SINUSOIDS, ROBOTS = 'sinusoids', 'robots'  # Data by name.
_FIRST_LEARNED, _FIRST_MEASURED = 1000, 9_000_000  # Seeds of robots; no two ever meet.


class Robots(NamedTuple):
    """How each robot of the embedded world is recorded."""

    number: int
    seconds: float


def kind_of(data: Sequence[Path] | None) -> Kind:
    """Tell what the data are; nothing means curves.

    Raises:
        ConfigError: they are of several kinds.
    """
    kinds = {_kind(path) for path in data or [Path(SINUSOIDS)]}
    if len(kinds) > 1 or (len(data or ()) > 1 and kinds != {'robots'}):
        raise ConfigError(
            f'--data: found {", ".join(map(str, data or ()))}, expected one set of pictures, '
            f'{SINUSOIDS}, or recordings of robots. Train on one after the other.'
        )
    return kinds.pop()


def pictures(path: Path, size: int, colours: Literal['gray', 'rgb']) -> PictureClasses:
    """Read pictures in classes; see `read_classes` for the errors."""
    return read_classes(path, size, colours)


def drives(
    data: Sequence[Path], robot: str, robots: Robots, seed: int, is_measured: bool
) -> list[Drive]:
    """Return a drive of each robot: of the embedded world, or of each recorded episode.

    Args:
        data: stores, bags or files, or `robots`.
        robot: contract.
        robots: how many drive in the embedded world, and for how long.
        seed: of these.
        is_measured: whether they are to measure on; others than those to learn from.

    Raises:
        DataError: recordings are broken or of a robot that does not drive.
    """
    contract = contracts.load(robot)
    found: list[Drive] = []
    for path in data:
        if str(path) == ROBOTS:
            first = _FIRST_MEASURED if is_measured else _FIRST_LEARNED
            found += _driven(contract, robots, first + seed * robots.number)
            continue
        for episode in read_episodes(path, contract, FIELDS):
            found += drives_of(episode, contract.control_period_ns, str(path))
    return found


def _driven(contract: RobotContract, robots: Robots, first_seed: int) -> list[Drive]:
    from robot_learning.simulation.changed_robots import RobotFleet

    fleet = RobotFleet(contract)
    try:
        records = [fleet.drive(first_seed + n, robots.seconds) for n in range(robots.number)]
    finally:
        fleet.close()
    return [driving_examples(each.pose, each.velocity, each.command) for each in records]


def _kind(path: Path) -> Kind:
    if str(path) in (SINUSOIDS, ROBOTS):
        return 'sinusoids' if str(path) == SINUSOIDS else 'robots'
    if path.is_dir():
        below = (file for file in path.rglob('*') if file.suffix.lower() in SUFFIXES)
        return 'robots' if next(below, None) is None and any(path.iterdir()) else 'pictures'
    is_recording = path.suffix in ('.hdf5', '.h5', '.bag', '.mcap', '.db3')
    return 'robots' if is_recording else 'pictures'
