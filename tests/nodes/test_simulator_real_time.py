"""Real time where the process is kept from running for a while."""

from unittest.mock import MagicMock

import pytest
from robot_learning import contract as contracts
from robot_learning.nodes import simulator_real_time
from robot_learning.nodes.drive_commands import DriveCommand
from robot_learning.nodes.simulator_real_time import RealTimeLoop
from robot_learning.simulation.episodes import Episodes
from robot_learning.simulation.schedule import RateSchedule
from robot_learning.simulation.world import World, WorldConfig

FORWARD = DriveCommand(None, 0.5, 0.0)
TICK_S = 0.01


class Wall:
    """A clock that passes when it is told to."""

    def __init__(self, monkeypatch):
        self.now_s = 100.0
        monkeypatch.setattr(simulator_real_time.time, 'monotonic', lambda: self.now_s)


@pytest.fixture
def wall(monkeypatch):
    return Wall(monkeypatch)


@pytest.fixture
def loop(wall):
    contract = contracts.load('arena')
    world = World(contract, WorldConfig(camera='off'))

    schedule = RateSchedule(contract, world.physics.timestep_s)
    loop = RealTimeLoop(
        world, Episodes(world, 0), MagicMock(), schedule, 0.1, 1.0, lambda text: None
    )
    loop.start()
    yield loop
    world.close()


def run(loop, wall, seconds, commands_every_s=None):
    """Let wall time pass tick by tick; return the largest step of the world, in seconds."""
    largest, next_command_s = 0.0, wall.now_s
    for _ in range(round(seconds / TICK_S)):
        wall.now_s += TICK_S
        if commands_every_s is not None and wall.now_s >= next_command_s:
            next_command_s += commands_every_s
            loop.on_command(FORWARD)
        before_ns = loop._world.time_ns
        loop.on_tick()
        largest = max(largest, (loop._world.time_ns - before_ns) * 1e-9)
    return largest


def speed(loop):
    return loop._world.physics.robot_velocity()[0]


def test_commands_that_keep_coming_keep_the_robot_driving(loop, wall):
    run(loop, wall, 1.0, commands_every_s=0.05)
    assert speed(loop) > 0.3
    assert loop.statistics().num_timeouts == 0


def test_after_a_pause_of_the_process_the_world_does_not_drive_on_blindly(loop, wall):
    run(loop, wall, 1.0, commands_every_s=0.05)
    commanded_ns = loop._commanded_ns
    wall.now_s += 0.4  # The process did not run; whoever commanded may be gone since.
    stopped_ns = None
    while stopped_ns is None:
        wall.now_s += TICK_S
        loop.on_tick()
        if loop._is_stopped:
            stopped_ns = loop._world.time_ns
    assert stopped_ns - commanded_ns <= 0.15e9
    run(loop, wall, 0.6)
    assert abs(speed(loop)) < 0.02


def test_the_wheels_stop_at_the_timeout_of_the_world_to_the_physics_step(loop, wall):
    run(loop, wall, 1.0, commands_every_s=0.05)
    wall.now_s += 0.3
    loop.on_command(FORWARD)  # The last one; the world has 0.3 s to catch up at once.
    commanded_ns = loop._world.time_ns
    moments = []
    loop._world.stop = lambda: moments.append(loop._world.time_ns)
    for _ in range(6):
        wall.now_s += 0.001
        loop.on_tick()
    (moment,) = moments
    assert 0.1e9 <= moment - commanded_ns <= 0.1e9 + 5e6


def test_a_world_that_fell_behind_catches_up_in_turns_between_which_commands_are_heard(loop, wall):
    begun_ns = loop._world.time_ns
    run(loop, wall, 0.5, commands_every_s=0.05)
    wall.now_s += 0.3
    assert 0.04 < run(loop, wall, 0.2, commands_every_s=0.02) <= 0.06
    assert (loop._world.time_ns - begun_ns) * 1e-9 == pytest.approx(1.0, abs=0.06)
    assert speed(loop) > 0.3
