"""What the embedded world costs, and how the scripted drivers do on fixed layouts.

CPU milliseconds of one process: a reset, a control step without camera, a 64 x 64 picture;
control steps a second over real DDS with a driver that only answers; success of the yardsticks.

    python benchmarks/simulation.py [--layouts N] [--without-ros]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from reporting import table, write

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

from robot_learning import contract as contracts  # noqa: E402
from robot_learning.contract import RobotContract  # noqa: E402
from robot_learning.features import FeatureBuilder  # noqa: E402
from robot_learning.simulation.drivers import (  # noqa: E402
    Driver,
    GeodesicDriver,
    RandomDriver,
    StraightDriver,
)
from robot_learning.simulation.world import World, WorldConfig  # noqa: E402

FIRST_SEED = 10_000_000  # Layouts that learning never meets.
RESPONDER = ROOT / 'tests' / 'nodes' / 'lock_step_responder.py'


def cpu_ms(action: Callable[[], Any], times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - start) * 1e3 / times


def measure_costs(robot: RobotContract) -> dict[str, float]:
    costs: dict[str, float] = {}
    for timestep_s in (0.005, 0.01):
        config = WorldConfig(camera='off', timestep_s=timestep_s)
        world = World(robot, config, FeatureBuilder(robot).fields)
        seeds = iter(range(10_000))
        costs['reset_ms'] = cpu_ms(lambda w=world, s=seeds: w.reset(next(s)), 50)
        rng = np.random.default_rng(0)

        def step(world: World = world, rng: np.random.Generator = rng, seeds: Any = seeds) -> None:
            if world.ended:
                world.reset(next(seeds))
            world.step({'base': rng.uniform(robot.action_low, robot.action_high)})

        costs[f'step_{timestep_s * 1e3:g}ms_ms'] = cpu_ms(step, 2000)
    world = World(robot, WorldConfig(), ('scan',))
    if world.camera is not None:
        world.reset(0)
        world.camera.image()  # The first one compiles shaders.
        costs['picture_64x64_ms'] = cpu_ms(world.camera.image, 300)
    costs['scan_ms'] = cpu_ms(lambda: world.sense(('scan',)), 1000)
    return costs


def measure_drivers(robot: RobotContract, num_layouts: int) -> dict[str, dict[str, float]]:
    drivers: dict[str, Driver] = {
        'geodesic': GeodesicDriver(robot),
        'geodesic, noise 0.3': GeodesicDriver(robot, noise=0.3),
        'straight': StraightDriver(robot),
        'random': RandomDriver(robot),
    }
    world = World(robot, WorldConfig(camera='off'), ('pose',))
    scores = {}
    for name, driver in drivers.items():
        ends: Counter[str] = Counter()
        steps = 0
        for index in range(num_layouts):
            world.reset(FIRST_SEED + index)
            driver.begin(index)
            while not world.ended:
                reason = world.step({'base': driver.act(world)}).reason
            ends[reason] += 1
            steps += world.num_steps
        scores[name] = {
            **{end: ends[end] / num_layouts for end in ('goal', 'collision', 'time_limit')},
            'mean_steps': steps / num_layouts,
        }
    return scores


def measure_lock_step(num_steps: int) -> float:
    """Return control steps a second between two processes over DDS."""
    environment = {
        **os.environ,
        'PYTHONPATH': os.pathsep.join(
            [str(ROOT / 'ros_ws' / 'src'), os.environ.get('PYTHONPATH', '')]
        ),
        'FASTRTPS_DEFAULT_PROFILES_FILE': str(ROOT / 'config' / 'fastdds.xml'),
        'ROS_DOMAIN_ID': str(os.getpid() % 100 + 1),
    }
    node = [sys.executable, '-m', 'robot_learning.nodes.simulator_node', '--ros-args']
    node += ['--params-file', str(ROOT / 'config' / 'simulator.yaml')]
    with subprocess.Popen(node, env=environment) as simulator:
        try:
            command = [sys.executable, str(RESPONDER), str(num_steps), '0.3', '0.5']
            done = subprocess.run(command, env=environment, capture_output=True, check=True)
        finally:
            simulator.terminate()
    return float(json.loads(done.stdout)['steps_per_second'])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--layouts', type=int, default=100)
    parser.add_argument('--without-ros', action='store_true')
    arguments = parser.parse_args()
    robot = contracts.load('arena')
    costs = measure_costs(robot)
    if not arguments.without_ros:
        costs['lock_step_steps_per_second'] = measure_lock_step(3000)
    drivers = measure_drivers(robot, arguments.layouts)
    table([{'what': name, 'value': value} for name, value in costs.items()])
    table([{'driver': name, **scores} for name, scores in drivers.items()])
    write('simulation', {'costs': costs, 'drivers': drivers, 'layouts': arguments.layouts})
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
