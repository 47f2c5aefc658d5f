"""Records drives in the embedded world, tasks of DeepMind Control, or a bench, without ROS."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robot_learning import contract as contracts
from robot_learning.commands.argument_types import whole_number
from robot_learning.commands.collect_dmc import collect_dmc
from robot_learning.commands.collect_interactions import SetOptions, collect_interactions
from robot_learning.commands.progress import steps_progress
from robot_learning.commands.stored_driver import StoredDriver
from robot_learning.contract import RobotContract
from robot_learning.errors import EnvironmentSetupError, RobotLearningError, StoreError
from robot_learning.simulation.dmc_trajectories import DmcTask
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

Array = np.ndarray[Any, Any]

_EXAMPLES = """examples:
  ./run collect --driver geodesic --noise 0.3 --steps 15000 --out demonstrations
  ./run collect --driver random --steps 2000 --out exploration --seed 3
  ./run collect --steps 10000 --camera --out runs/watched       for models that see pictures
  ./run train --mode supervised --data demonstrations --robot arena --name cloned
  ./run collect --model navigator@12 --models runs/latest/models --out driven --explore
  ./run collect --dmc walker_walk --steps 10000 --out runs/walker --action-repeat 2
  ./run train --mode world_model --data runs/walker --robot runs/walker/dmc_walker_walk.yaml
  ./run collect --interactions 6000 --out runs/bench --processes 2    camera, sound, touch
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

    def __init__(self, world: World, driver: Driver | StoredDriver, recorder: Recorder):
        self._world, self._driver, self._recorder = world, driver, recorder

    def episode(self, number: int, seed: int) -> int:
        """Drive one episode; return its number of control steps."""
        world, recorder = self._world, self._recorder
        world.begin(seed)
        self._driver.begin(seed)
        recorder.mark(
            Mark(world.time_ns, True, number, 'collect', seed, info=dict(world.randomisation))
        )
        first = Outcome(world.time_ns, number, 0, True, 0.0, False, False, False)
        observation = self._arrive(number, first)
        reason = ''
        while not world.ended:
            decision = self._decide(observation)
            recorder.act(decision)
            self._apply(decision.executed)
            world.advance(world.contract.control_period_ns)
            verdict = world.judge()
            reason = verdict.reason
            outcome = Outcome(world.time_ns, number, world.num_steps, False, *verdict[:4])
            observation = self._arrive(number, outcome)
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

    def _decide(self, observation: Mapping[str, Array]) -> Decision:
        stamp_ns, driver = self._world.time_ns, self._driver
        if not isinstance(driver, StoredDriver):
            action = driver.act(self._world)
            return Decision(stamp_ns, action, action)
        action, log_prob = driver.answer(observation)
        return Decision(
            stamp_ns, action, action, driver.version, log_prob, exploring=driver.explore
        )

    def _arrive(self, number: int, outcome: Outcome) -> Mapping[str, Array]:
        """Tell the recorder what is observed now, and return it."""
        readings: dict[str, dict[str, Any]] = {}
        observation = self._world.observe()
        for name, value in observation.items():
            topic = self._world.contract.observation[name].topic
            readings.setdefault(topic, {})[name] = value
        for topic, values in readings.items():
            self._recorder.read(topic, self._world.time_ns, values)
        self._recorder.arrive(outcome)
        return observation

    def _apply(self, action: Any) -> None:
        start = 0
        for name, spec in self._world.contract.learned_actions.items():
            self._world.apply({name: action[start : start + spec.size]})
            start += spec.size


def collect(
    contract: RobotContract,
    driver: str | StoredDriver,
    num_steps: int,
    out: Path,
    seed: int = 0,
    noise: float = 0.3,
    on_progress: Callable[[int], None] = lambda num_steps: None,
    camera: bool = False,
) -> int:
    """Record whole episodes of at least `num_steps` control steps; return how many steps.

    Args:
        contract: the robot and its task.
        driver: 'geodesic', 'straight', 'random' or a model version.
        num_steps: control steps to record; the last episode is finished.
        out: trajectory store to write to, under the session `<driver>_<seed>`.
        seed: 0 to 9999; layouts, noise and physics follow from it.
        noise: of the geodesic driver, as a part of half the command range.
        on_progress: told the steps so far after each episode.
        camera: record the contract's camera, too.

    Raises:
        StoreError: the store cannot be written or has this session already.
        EnvironmentSetupError: pictures are wanted and cannot be drawn.
    """
    if isinstance(driver, StoredDriver):
        acting: Driver | StoredDriver = driver
        name, camera = driver.name, camera or bool(driver.image_fields)
    else:
        acting, name = _DRIVERS[driver](contract, noise, seed), driver
    store, session = TrajectoryStore(out), f'{name}_{seed:04d}'
    if store.segments(session):
        raise StoreError(
            f'{out}: holds a session {session} already, expected none. Choose another --seed or '
            f'--out, or remove it.'
        )
    world = World(contract, WorldConfig(camera='auto' if camera else 'off'))
    if camera and world.camera is None:
        raise EnvironmentSetupError(f'{name}: pictures are needed. {world.camera_status}')
    recorder = Recorder(contract, RecorderConfig())
    drive = RecordedDrive(world, acting, recorder)
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

    parser = _parser()
    options = parser.parse_args(argv)
    if options.model is None and options.explore:
        parser.error('--explore: only a --model can explore. Name one.')
    if options.dmc is not None and options.driver not in (None, 'random'):
        parser.error(f'--driver {options.driver}: knows only the embedded world, not --dmc.')
    try:
        if options.interactions is not None:
            return _collect_set(options)
        with tqdm(total=options.steps, unit='step', disable=not sys.stderr.isatty()) as bar:
            steps, name = _collect(options, lambda steps: bar.update(steps - bar.n) and None)
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        return 2
    print(f'{options.out}: {steps} steps of {name}')
    return 0


def _collect_set(options: argparse.Namespace) -> int:
    """Record interactions on the bench; return the exit code."""
    interventions = options.interventions
    wanted = SetOptions(
        options.interactions,
        options.interactions // 20 if interventions is None else interventions,
        options.seed,
        not options.no_camera,
        options.episodes,
        options.processes,
    )
    total = wanted.num_interactions + 4 * wanted.num_interventions
    with steps_progress(total, 'interactions') as advance:
        count = collect_interactions(wanted, options.out, lambda done: advance(1))
    print(f'{options.out}: {count} recordings of the simulated bench, synthetic')
    return 0


def _collect(options: argparse.Namespace, on_progress: Callable[[int], None]) -> tuple[int, str]:
    """Record what the options name; return the steps and what drove."""
    seed, out = options.seed, options.out
    if options.dmc is not None:
        task = DmcTask(options.dmc, options.image_size, action_repeat=options.action_repeat)
        stored = _stored(options, task.contract)
        steps = collect_dmc(task, options.steps, out, seed, stored, on_progress)
        return steps, options.model or 'random actions'
    contract = contracts.load(options.robot)
    stored = _stored(options, contract)
    driver = options.driver or 'geodesic'
    name = options.model or f'the {driver} driver'
    who, steps, noise = stored or driver, options.steps, options.noise
    return collect(contract, who, steps, out, seed, noise, on_progress, options.camera), name


def _stored(options: argparse.Namespace, contract: RobotContract) -> StoredDriver | None:
    if options.model is None:
        return None
    return StoredDriver(contract, options.models, options.model, options.explore)


def _write(
    store: TrajectoryStore, recorder: Recorder, session: str, contract: RobotContract
) -> None:
    pieces = recorder.collect()
    if pieces:
        store.write_segment(pieces, session, contract)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='./run collect',
        description='Record drives in the embedded world, tasks of DeepMind Control, or a bench.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--robot', default='arena', help='contract, a name or a file')
    parser.add_argument('--dmc', metavar='TASK', help='task of DeepMind Control, walker_walk')
    who = parser.add_mutually_exclusive_group()
    who.add_argument('--driver', choices=sorted(_DRIVERS), help='geodesic; with --dmc: random')
    who.add_argument('--model', metavar='NAME[@V]', help='model version that drives')
    parser.add_argument(
        '--models', type=Path, default=Path('runs/models'), metavar='DIR', help='model store'
    )
    parser.add_argument('--explore', action='store_true', help='draw the actions of --model')
    parser.add_argument('--camera', action='store_true', help='record what the camera sees, too')
    bench = parser.add_argument_group('recordings of a hand and an object on a bench')
    bench.add_argument(
        '--interactions', type=whole_number(1), metavar='N', help='record N, instead of drives'
    )
    bench.add_argument(
        '--interventions',
        type=whole_number(0),
        metavar='M',
        help='and M changes of one property, four recordings each (default: N / 20)',
    )
    bench.add_argument('--episodes', action='store_true', help='also as episodes, in OUT/episodes')
    bench.add_argument('--no-camera', action='store_true', help='without pictures')
    bench.add_argument(
        '--processes', type=whole_number(1, 64), default=1, metavar='K', help='that record (1)'
    )
    parser.add_argument(
        '--image-size',
        type=whole_number(0, 1024),
        default=64,
        metavar='PIXELS',
        help='of --dmc, height and width; 0: no pictures (64)',
    )
    parser.add_argument(
        '--action-repeat',
        type=whole_number(1, 100),
        default=1,
        metavar='N',
        help='of --dmc, simulation steps per action (1)',
    )
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
