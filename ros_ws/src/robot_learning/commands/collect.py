"""Drives a scripted driver through the embedded world and records it, without ROS."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robot_learning import contract as contracts
from robot_learning.commands.argument_types import whole_number
from robot_learning.contract import RobotContract
from robot_learning.errors import RobotLearningError, StoreError
from robot_learning.simulation.drivers import (
    Driver,
    GeodesicDriver,
    RandomDriver,
    StraightDriver,
)
from robot_learning.simulation.episodes import SEED_LIMIT
from robot_learning.simulation.world import World, WorldConfig
from robot_learning.trajectory.recorder import Recorder, RecorderConfig
from robot_learning.trajectory.signals import Decision, Mark, Outcome
from robot_learning.trajectory.store import TrajectoryStore

_EXAMPLES = """examples:
  ./run collect --driver geodesic --noise 0.3 --steps 15000 --out demonstrations
  ./run collect --driver random --steps 2000 --out exploration --seed 3
  ./run train --mode supervised --data demonstrations --robot arena --name cloned
The geodesic driver knows the true map. What it does is recorded, what it knows is not."""

_EPISODES_PER_SEGMENT = 50
# Loops drive layouts below the limit, evaluation the next ones; no run learns from the latter.
_FIRST_SEED = 2 * SEED_LIMIT
_SEED_STRIDE = 1_000

_DRIVERS: dict[str, Callable[[RobotContract, float, int], Driver]] = {
    'geodesic': lambda contract, noise, seed: GeodesicDriver(contract, noise),
    'straight': lambda contract, noise, seed: StraightDriver(contract),
    'random': lambda contract, noise, seed: RandomDriver(contract, seed),
}


class RecordedDrive:
    """Lets a driver act in a world and tells a recorder, as the topics of a robot would."""

    def __init__(self, world: World, driver: Driver, recorder: Recorder):
        self._world, self._driver, self._recorder = world, driver, recorder

    def episode(self, number: int, seed: int) -> int:
        """Drive one episode; return its number of control steps."""
        world, recorder = self._world, self._recorder
        world.begin(seed)
        self._driver.begin(seed)
        recorder.mark(
            Mark(world.time_ns, True, number, 'collect', seed, info=dict(world.randomisation))
        )
        self._arrive(number, Outcome(world.time_ns, number, 0, True, 0.0, False, False, False))
        reason = ''
        while not world.ended:
            action = self._driver.act(world)
            recorder.act(Decision(world.time_ns, action, action))
            self._apply(action)
            world.advance(world.contract.control_period_ns)
            verdict = world.judge()
            reason = verdict.reason
            outcome = Outcome(world.time_ns, number, world.num_steps, False, *verdict[:4])
            self._arrive(number, outcome)
        stop = world.contract.action_stop
        recorder.act(Decision(world.time_ns, stop, stop))
        recorder.mark(
            Mark(
                world.time_ns,
                False,
                number,
                'collect',
                seed,
                outcome.terminated,
                outcome.truncated,
                outcome.success,
                reason,
            )
        )
        return world.num_steps

    def _arrive(self, number: int, outcome: Outcome) -> None:
        readings: dict[str, dict[str, Any]] = {}
        for name, value in self._world.observe().items():
            topic = self._world.contract.observation[name].topic
            readings.setdefault(topic, {})[name] = value
        for topic, values in readings.items():
            self._recorder.read(topic, self._world.time_ns, values)
        self._recorder.arrive(outcome)

    def _apply(self, action: Any) -> None:
        start = 0
        for name, spec in self._world.contract.learned_actions.items():
            self._world.apply({name: action[start : start + spec.size]})
            start += spec.size


def collect(
    contract: RobotContract,
    driver: str,
    num_steps: int,
    out: Path,
    seed: int = 0,
    noise: float = 0.3,
    on_progress: Callable[[int], None] = lambda num_steps: None,
) -> int:
    """Record whole episodes of at least `num_steps` control steps; return how many steps.

    Args:
        contract: the robot and its task.
        driver: 'geodesic', 'straight' or 'random'.
        num_steps: control steps to record; the last episode is finished.
        out: trajectory store to write to, under the session `<driver>_<seed>`.
        seed: 0 to 9999; layouts, noise and physics follow from it.
        noise: of the geodesic driver, as a part of half the command range.
        on_progress: told the steps so far after each episode.

    Raises:
        StoreError: the store cannot be written or has this session already.
    """
    store, session = TrajectoryStore(out), f'{driver}_{seed:04d}'
    if store.segments(session):
        raise StoreError(
            f'{out}: holds a session {session} already, expected none. Choose another --seed or '
            f'--out, or remove it.'
        )
    world = World(contract, WorldConfig(camera='off'))
    recorder = Recorder(contract, RecorderConfig())
    drive = RecordedDrive(world, _DRIVERS[driver](contract, noise, seed), recorder)
    steps = episode = 0
    while steps < num_steps:
        steps += drive.episode(episode, _FIRST_SEED + seed * _SEED_STRIDE + episode)
        episode += 1
        on_progress(steps)
        if episode % _EPISODES_PER_SEGMENT == 0:
            _write(store, recorder, session, contract)
    recorder.close()
    _write(store, recorder, session, contract)
    return steps


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    from tqdm import tqdm

    options = _parser().parse_args(argv)
    try:
        contract = contracts.load(options.robot)
        with tqdm(total=options.steps, unit='step', disable=not sys.stderr.isatty()) as bar:
            steps = collect(
                contract,
                options.driver,
                options.steps,
                options.out,
                options.seed,
                options.noise,
                lambda steps: bar.update(steps - bar.n) and None,
            )
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        return 2
    print(f'{options.out}: {steps} steps of the {options.driver} driver')
    return 0


def _write(
    store: TrajectoryStore, recorder: Recorder, session: str, contract: RobotContract
) -> None:
    pieces = recorder.collect()
    if pieces:
        store.write_segment(pieces, session, contract)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='./run collect',
        description='Record a scripted driver in the embedded world, for example to learn from.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--robot', default='arena', help='contract, a name or a file')
    parser.add_argument('--driver', choices=sorted(_DRIVERS), default='geodesic')
    parser.add_argument(
        '--steps', type=whole_number(1), default=5000, help='control steps (default: 5000)'
    )
    parser.add_argument('--out', type=Path, required=True, help='trajectory store to write to')
    parser.add_argument(
        '--seed', type=whole_number(0, 9999), default=0, help='0 to 9999 (default: 0)'
    )
    parser.add_argument(
        '--noise',
        type=_share,
        default=0.3,
        help='of the geodesic driver, part of half the command range (default: 0.3)',
    )
    return parser


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'found {text!r}, expected a number from 0 to 1')
    return value


if __name__ == '__main__':
    sys.exit(main())
