import math

import numpy as np
import pytest
from robot_learning import contract as contracts
from robot_learning.language.motions import (
    Command,
    Ended,
    Limits,
    Straight,
    ToPoint,
    Turn,
    View,
    Wait,
    wrapped,
)
from robot_learning.simulation.world import World, WorldConfig

PERIOD_S = 0.2
LIMITS = Limits(0.1, 0.5, 1.5)


class Unicycle:
    """Obeys a step late and no faster than its acceleration; a wall may stand at some x."""

    def __init__(self, wall_x=math.inf, yaw=0.0):
        self.time_s, self.x, self.y, self.yaw = 0.0, 0.0, 0.0, yaw
        self.v = self.w = 0.0
        self.wall_x = wall_x
        self._late = Command(0.0, 0.0)

    def view(self):
        front = (self.wall_x - self.x) / math.cos(self.yaw) if math.cos(self.yaw) > 0 else math.inf
        return View(self.time_s, self.x, self.y, self.yaw, self.v, self.w, front)

    def live(self, command):
        now, self._late = self._late, command
        for _ in range(20):
            self.v += np.clip(now.forward_m_s - self.v, -0.01, 0.01)  # 1 m/s^2
            self.w += np.clip(now.turn_rad_s - self.w, -0.03, 0.03)
            self.x += 0.01 * self.v * math.cos(self.yaw)
            self.y += 0.01 * self.v * math.sin(self.yaw)
            self.yaw = wrapped(self.yaw + 0.01 * self.w)
        self.time_s += PERIOD_S


def drive(motion, robot, num_steps=2000):
    for _ in range(num_steps):
        answer = motion.tick(robot.view())
        if isinstance(answer, Ended):
            return answer
        assert -LIMITS.backward_m_s <= answer.forward_m_s <= LIMITS.forward_m_s
        assert abs(answer.turn_rad_s) <= LIMITS.turn_rad_s
        robot.live(answer)
    pytest.fail('it never ended')


@pytest.mark.parametrize('yaw', [0.0, 2.0, -3.1])
@pytest.mark.parametrize('distance', [0.05, 1.0, 3.0, -0.5])
def test_straight_ends_where_it_was_told(distance, yaw):
    robot = Unicycle(yaw=yaw)
    motion = Straight(distance, 0.5, LIMITS)
    assert drive(motion, robot) == Ended(True)
    assert robot.x == pytest.approx(distance * math.cos(yaw), abs=0.02)
    assert robot.y == pytest.approx(distance * math.sin(yaw), abs=0.02)
    assert wrapped(robot.yaw - yaw) == pytest.approx(0, abs=0.02)
    assert motion.progress == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize('degrees', [90, -90, 180, -180, 360, 5, -270])
def test_turns_by_as_much_as_it_was_told_and_stays_where_it_is(degrees):
    robot = Unicycle(yaw=3.0)
    turned, before = 0.0, robot.yaw
    motion = Turn(math.radians(degrees), math.radians(45), LIMITS)
    while not isinstance(answer := motion.tick(robot.view()), Ended):
        robot.live(answer)
        turned, before = turned + wrapped(robot.yaw - before), robot.yaw
    assert answer == Ended(True)
    assert math.degrees(turned) == pytest.approx(degrees, abs=3)
    assert (robot.x, robot.y) == pytest.approx((0, 0), abs=1e-6)


@pytest.mark.parametrize('target', [(1.0, 0.5), (-1.0, 0.2), (0.0, -2.0)])
def test_goes_to_a_point_wherever_it_looks(target):
    robot = Unicycle()
    assert drive(ToPoint(*target, LIMITS, timeout_s=60.0), robot) == Ended(True)
    assert math.dist((robot.x, robot.y), target) < 0.15


def test_stands_before_what_is_in_the_way_and_says_so():
    for motion in (Straight(2.0, 0.5, LIMITS), ToPoint(2.0, 0.0, LIMITS, timeout_s=60.0)):
        robot = Unicycle(wall_x=1.0)
        ended = drive(motion, robot)
        assert not ended.success and 'the path is blocked' in ended.reason
        assert 0.3 < robot.x < 0.85


def test_a_distance_that_is_not_known_is_no_free_way():
    view = View(0.0, 0.0, 0.0, 0.0, front_m=math.nan)
    for motion in (Straight(2.0, 0.5, LIMITS), ToPoint(2.0, 0.0, LIMITS, timeout_s=60.0)):
        assert motion.tick(view).forward_m_s == 0.0


def test_turning_away_from_what_is_near_is_not_blocked():
    robot = Unicycle(wall_x=0.2)
    slow = Limits(0.1, 0.5, 0.3)  # Turning takes longer than it would wait before an obstacle.
    assert drive(ToPoint(-1.0, 0.0, slow, timeout_s=60.0), robot) == Ended(True)


def test_goes_on_when_the_way_is_free_again():
    robot, motion = Unicycle(wall_x=1.0), Straight(2.0, 0.5, LIMITS)
    for _ in range(30):
        robot.live(motion.tick(robot.view()))
    robot.wall_x = math.inf
    assert drive(motion, robot) == Ended(True)
    assert robot.x == pytest.approx(2.0, abs=0.03)


def test_what_does_not_move_ends_with_its_time():
    held = Unicycle()
    held.live = lambda command: setattr(held, 'time_s', held.time_s + PERIOD_S)
    for motion in (Straight(1.0, 0.5, LIMITS), Turn(1.0, 0.5, LIMITS)):
        held.time_s = 0.0
        ended = drive(motion, held)
        assert not ended.success and 'took longer than 11 s' in ended.reason
    one_way = Limits(0.0, 0.5, 1.5)
    assert Straight(-1.0, 0.5, one_way).tick(held.view()).reason.startswith('this robot does not')


def test_waits_as_long_as_told():
    robot = Unicycle()
    assert drive(Wait(1.5), robot) == Ended(True)
    assert robot.time_s == pytest.approx(1.6, abs=0.21)


@pytest.mark.parametrize(
    'motion_of',
    [
        lambda limits: (Straight(1.0, 0.3, limits), (1.0, 0.0, 0.0)),
        lambda limits: (Straight(-0.5, 0.3, limits), (-0.5, 0.0, 0.0)),
        lambda limits: (Turn(math.pi / 2, math.radians(45), limits), (0.0, 0.0, math.pi / 2)),
        lambda limits: (Turn(-math.pi, math.radians(60), limits), (0.0, 0.0, -math.pi)),
    ],
    ids=['1 metre ahead', 'half a metre back', 'left 90 degrees', 'right 180 degrees'],
)
@pytest.mark.parametrize('seed', range(4))
def test_in_the_embedded_world_wheels_and_gyro_are_good_enough(seed, motion_of):
    """Within 5 cm and 5 degrees of the ground truth, with slip, noise and latency of the seed.

    Wheels tell how far it went; how far it turned the gyro knows better.
    """
    contract = contracts.load('arena')
    world = World(contract, WorldConfig(camera='off'), fields={'odometry', 'velocity', 'imu'})
    world.begin(seed)
    low, high = contract.action_low, contract.action_high
    motion, (ahead, aside, turned) = motion_of(Limits(-low[0], high[0], high[1]))
    world.set_state(
        robot=(-1.6, -0.8, 0.0),
        objects={name: (2.2, 2.2 - 0.2 * n, 0.0) for n, name in enumerate(world.layout.objects)},
    )
    start = world.physics.robot_pose()
    for step in range(200):
        seen = world.observe()
        x, y, yaw = map(float, seen['odometry'])
        if isinstance(motion, Turn):
            yaw = 2 * math.atan2(seen['imu'][2], seen['imu'][3])
        answer = motion.tick(View(step * PERIOD_S, x, y, yaw, *map(float, seen['velocity'])))
        if isinstance(answer, Ended):
            break
        world.apply({'base': np.array(answer, np.float32)})
        world.advance(contract.control_period_ns)
    assert answer == Ended(True)
    end = world.physics.robot_pose()
    assert math.hypot(end[0] - start[0] - ahead, end[1] - start[1] - aside) < 0.05
    assert abs(math.degrees(wrapped(end[2] - start[2] - turned))) < 5
