"""Writes what Gazebo needs of our world: the world, the robot's model, the bridge's file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from robot_learning import contract as contracts
from robot_learning import durable_files
from robot_learning.errors import RobotLearningError
from robot_learning.simulation.gazebo_bridge import build_bridge
from robot_learning.simulation.gazebo_release import RELEASES, WORLD_NAME, release_of
from robot_learning.simulation.gazebo_robot import build_robot, build_turtlebot3
from robot_learning.simulation.gazebo_world import build_world

_INSTALLED_ELSEWHERE = 'turtlebot3'  # The robot whose model is the user's.


class GazeboFiles(NamedTuple):
    """Where the files are."""

    world: Path
    robot: Path
    bridge: Path


def write(folder: Path, robot: str, release_name: str = 'harmonic') -> GazeboFiles:
    """Write the three files into `folder`, each complete or not at all.

    Args:
        folder: made if it is not there.
        robot: contract, a name in config/robots or the path of a YAML file.
        release_name: of Gazebo.

    Raises:
        ContractError: the contract is not there or wrong.
        ConfigError: there is no such release.
        SimulationError: the robot has no differential drive.
    """
    release, contract = release_of(release_name), contracts.load(robot)
    suffix = '' if release_name == 'harmonic' else f'.{release_name}'
    files = GazeboFiles(
        folder / f'{WORLD_NAME}{suffix}.sdf',
        folder / f'{contract.robot}{suffix}.sdf',
        folder / f'gazebo_bridge{suffix}.yaml',
    )
    is_turtlebot3 = contract.robot == _INSTALLED_ELSEWHERE
    model = build_turtlebot3(release) if is_turtlebot3 else build_robot(contract, release)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in zip(
        files, (build_world(release), model, build_bridge(release)), strict=True
    ):
        durable_files.write(path, text.encode())
    return files


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog='gazebo_files',
        description='Write the world, the model of a robot and the configuration of the bridge '
        'for Gazebo, from the same description as the embedded world.',
    )
    parser.add_argument('--robot', default='arena', help='contract (default: %(default)s)')
    parser.add_argument('--release', default='harmonic', choices=RELEASES)
    parser.add_argument('--out', type=Path, required=True, help='folder')
    options = parser.parse_args(argv)
    try:
        for path in write(options.out, options.robot, options.release):
            print(path)
    except (RobotLearningError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
