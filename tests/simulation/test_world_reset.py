"""Resets against a fake simulator with all the faults that Gazebo has shown."""

import math
import tracemalloc

import pytest
from robot_learning.errors import WorldControlError
from robot_learning.simulation.world_reset import (
    Placement,
    ResetConfig,
    Sighting,
    WorldReset,
)

START = {'robot': Placement(1.0, 0.5, 0.0, 0.3), 'ball_red': Placement(-1.0, 0.2, 0.065, 0.0)}
STEP_NS = 1_000_000


class FakeWorld:
    """A simulator, what it is told and what it says; time passes only when somebody waits.

    Like gz-sim it agrees to steps before it has lived them, and holds time at their end whatever
    it was told meanwhile (SimulationRunner's pendingSimIterations). Its clock is heard late.
    """

    def __init__(self):
        self.wall_s = 0.0
        self.time_ns_true = 5_000_000_000
        self.heard_ns = self.time_ns_true
        self.pending_steps = 0
        self.is_held = False
        self.calls = []
        self.places = dict.fromkeys(START, Placement(0.0, 0.0, 0.0, 0.0))
        self.pending = {}
        self.stamps = {'scan': -1, 'imu': -1}
        self.seen = {}
        self.frozen = set()  # Sensors that say nothing.
        self.stuck = set()  # Models that do not move.
        self.unseen = set()  # Models whose poses are not published.
        self.faults = {}  # Call -> errors that it still raises.
        self.servers = 1
        self.speed = 0.0  # Of the robot, m/s; a stop takes `stop_delay_s` to arrive.
        self.stop_delay_s, self.stops_s = 0.1, float('inf')
        self.late = []  # Poses that are heard only now, from before.
        self.live(1)

    def live(self, num_steps):
        self.places |= {n: p for n, p in self.pending.items() if n not in self.stuck}
        self.pending = {}
        self.time_ns_true += num_steps * STEP_NS
        if self.wall_s >= self.stops_s:
            self.speed = 0.0
        robot = self.places['robot']
        self.places['robot'] = robot._replace(x=robot.x + self.speed * num_steps * 1e-3)
        for name, place in self.places.items():
            if name not in self.unseen:
                self.seen[name] = Sighting(self.time_ns_true, place)
        for name in self.stamps:
            if name not in self.frozen:
                self.stamps[name] = self.time_ns_true

    def _called(self, call, *details):
        self.calls.append((call, *details))
        if self.faults.get(call):
            raise WorldControlError(self.faults[call].pop(0))

    def stop_robot(self):
        self._called('stop_robot')
        self.stops_s = min(self.stops_s, self.wall_s + self.stop_delay_s)

    def hold(self, is_held):
        self._called('hold', is_held)
        self.is_held = is_held

    def step(self, num_steps):
        self._called('step', num_steps)
        assert self.is_held
        self.pending_steps += num_steps

    def place(self, placements):
        self._called('place')
        assert self.is_held
        self.pending = dict(placements)

    def sighting(self, name):
        return self.seen.get(name)

    def sensor_stamps(self):
        return dict(self.stamps)

    def time_ns(self):
        return self.heard_ns

    def num_servers(self):
        return self.servers

    def now_s(self):
        return self.wall_s

    def wait(self, seconds):
        self.wall_s += seconds
        self.heard_ns = self.time_ns_true
        if self.late:
            self.seen['robot'] = self.late.pop(0)
        num_steps = round(seconds * 1e9 / STEP_NS)
        if self.pending_steps:
            num_steps = min(num_steps, self.pending_steps)
            self.pending_steps -= num_steps
            self.live(num_steps)
            self.is_held |= self.pending_steps == 0
        elif not self.is_held:
            self.live(num_steps)


@pytest.fixture
def world():
    return FakeWorld()


@pytest.fixture
def reset(world):
    return WorldReset(world, world, ResetConfig(), world.now_s, world.wait)


def test_a_reset_stops_holds_places_steps_and_goes_on(world, reset):
    before_ns = world.time_ns_true
    report = reset.reset(START)
    assert [call[0] for call in world.calls] == ['stop_robot', 'hold', 'place', 'step', 'hold']
    assert world.calls[1] == ('hold', True) and world.calls[-1] == ('hold', False)
    assert world.calls[3] == ('step', 60)  # 0.06 s of 1 ms.
    assert world.places == START
    assert report.num_attempts == 1 and report.faults == ()
    assert before_ns < report.stamp_ns <= world.time_ns_true, 'time never goes back'


def test_a_driving_robot_comes_to_rest_before_time_is_held(world, reset):
    world.speed = 0.5  # In the 0.06 s of the steps it would leave the tolerance.
    assert reset.reset(START).num_attempts == 1
    assert world.places['robot'].x == START['robot'].x
    assert 0.1 <= world.wall_s < 0.3


def test_where_time_is_held_already_nobody_waits_for_a_standstill(world, reset):
    reset.reset(START, runs_after=False)
    before_s = world.wall_s
    reset.reset(START, runs_after=False)
    assert world.wall_s - before_s < 0.5, 'wall seconds; the patience for a standstill'


def test_poses_that_were_still_on_their_way_are_not_taken_for_the_new_ones(world, reset):
    step = world.step

    def step_and_hear_late(num_steps):
        before = Sighting(world.time_ns_true + 1, Placement(2.0, 2.0, 0.0, 0.0))
        after = Sighting(world.time_ns_true + num_steps * STEP_NS, START['robot'])
        step(num_steps)
        world.late, world.unseen = [*[before] * 12, after], {'robot'}

    world.step = step_and_hear_late
    assert reset.reset(START).num_attempts == 1
    assert world.late == [], 'the last one was waited for'


def test_time_goes_on_after_a_reset_although_steps_take_their_time(world, reset):
    reset.reset(START)
    before_ns = world.time_ns_true
    world.wait(1.0)
    assert not world.is_held
    assert world.time_ns_true == before_ns + 1_000_000_000


def test_a_world_that_holds_time_once_more_is_told_again_to_go_on(world, reset):
    hold = world.hold

    def hold_and_step(is_held):
        hold(is_held)
        world.pending_steps = 0 if is_held else 5  # Of somebody else.
        world.hold = hold if not is_held else hold_and_step

    world.frozen = {'scan'}
    waited = world.wait

    def wait(seconds):
        waited(seconds)
        world.frozen = {'scan'} if world.pending_steps or world.is_held else set()

    world.hold = hold_and_step
    report = WorldReset(world, world, ResetConfig(), world.now_s, wait).reset(START)
    assert report.num_attempts == 1 and not world.is_held
    assert world.calls.count(('hold', False)) == 2


def test_a_clock_that_does_not_come_is_named(world, reset):
    world.time_ns = lambda: 5_000_000_000
    with pytest.raises(WorldControlError, match=r'is at 5\.000 s, 60 steps after .*at 5\.060 s'):
        reset.reset(START)


def test_in_lock_step_time_stands_when_a_reset_is_over(world, reset):
    reset.reset(START, runs_after=False)
    before_ns = world.time_ns_true
    world.wait(1.0)
    assert world.is_held and world.time_ns_true == before_ns


def test_a_ball_that_rolls_is_near_enough_but_not_one_that_is_elsewhere(world, reset):
    live, speed = world.live, 0.5

    def roll(num_steps):
        live(num_steps)
        ball = world.places['ball_red']
        world.places['ball_red'] = ball._replace(x=ball.x + speed * num_steps * 1e-3, yaw=1.0)

    world.live = roll
    assert reset.reset(START).num_attempts == 1
    speed = 5.0
    with pytest.raises(WorldControlError, match=r'ball_red is 0\.\d+ m .*0\.1 m is allowed'):
        reset.reset(START)


def test_in_lock_step_time_stays_held_and_sensors_are_heard_all_the_same(world, reset):
    reset.reset(START, runs_after=False)
    assert world.is_held
    assert ('hold', False) not in world.calls
    assert min(world.stamps.values()) > 0


def test_many_resets_leave_nothing_behind(world, reset):
    last_ns = 0
    for number in range(600):
        place = START | {'robot': Placement(math.sin(number), 0.0, 0.0, 0.1 * number)}
        world.faults['place'] = ['refused'] * (number % 3)
        stamp_ns = reset.reset(place).stamp_ns
        assert stamp_ns > last_ns
        last_ns = stamp_ns
        world.calls.clear()
        if number == 300:
            tracemalloc.start()  # What is kept once, such as compiled patterns, is there.
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reset.num_resets == 600 and reset.num_faults == 600
    assert kept < 30_000, 'bytes; not so much as 100 for each of 300'


@pytest.mark.parametrize('call', ['stop_robot', 'hold', 'place', 'step'])
@pytest.mark.parametrize(
    'fault', ['/world/w/control: no such service', 'no answer in 2 s', 'refused']
)
def test_a_service_that_fails_once_is_asked_again_and_it_is_reported(world, reset, call, fault):
    world.faults[call] = [fault]
    report = reset.reset(START)
    assert report.num_attempts == 2 and report.faults == (fault,)
    assert world.places == START and not world.is_held
    assert reset.num_faults == 1


@pytest.mark.parametrize('call', ['stop_robot', 'hold', 'place', 'step'])
def test_a_service_that_keeps_failing_is_named_and_the_robot_left_safe(world, reset, call):
    world.faults[call] = ['/world/w/set_pose: no such service'] * 3
    with pytest.raises(WorldControlError, match=r'failed 3 times.*set_pose: no such service'):
        reset.reset(START)
    assert world.calls[-2:] == [('stop_robot',), ('hold', True)]


def test_even_a_simulator_that_is_gone_ends_in_one_error(world, reset):
    world.faults = {call: ['gone'] * 99 for call in ('stop_robot', 'hold', 'place', 'step')}
    with pytest.raises(WorldControlError, match='gone'):
        reset.reset(START)


def test_a_model_that_does_not_move_is_named_with_its_distance(world, reset):
    world.stuck = {'ball_red'}
    with pytest.raises(WorldControlError, match=r'ball_red is 1\.020 m and 0\.000 rad'):
        reset.reset(START)
    assert world.is_held


def test_a_wrong_heading_is_a_wrong_pose(world, reset):
    world.places['robot'] = START['robot']._replace(yaw=0.5)
    world.stuck = {'robot'}
    with pytest.raises(WorldControlError, match=r'robot is 0\.000 m and 0\.200 rad'):
        reset.reset(START)


def test_headings_are_compared_round_the_circle(world, reset):
    wanted = START['robot']._replace(yaw=math.pi - 0.01)
    world.places['robot'] = wanted._replace(yaw=-math.pi + 0.01)
    world.stuck = {'robot'}
    assert reset.reset({'robot': wanted}).num_attempts == 1


def test_a_model_whose_pose_is_not_published_is_named(world, reset):
    world.unseen = {'ball_red'}
    with pytest.raises(WorldControlError, match=r'no true pose of ball_red came within 2 s'):
        reset.reset(START)


def test_a_sensor_that_is_frozen_once_is_reset_again_and_reported(world):
    world.frozen = {'scan'}
    waited = world.wait

    def wait(seconds):
        waited(seconds)
        if reset.num_faults:  # The first attempt has given up.
            world.frozen = set()

    reset = WorldReset(world, world, ResetConfig(), world.now_s, wait)
    report = reset.reset(START)
    assert report.num_attempts == 2
    assert 'the sensor scan said nothing for 5 s' in report.faults[0]


@pytest.mark.parametrize('runs_after', [True, False])
def test_sensors_that_stay_frozen_are_named(world, reset, runs_after):
    world.frozen = {'scan', 'imu'}
    with pytest.raises(WorldControlError, match=r'sensors scan, imu said nothing.*start it again'):
        reset.reset(START, runs_after)
    assert world.is_held


def test_a_sensor_that_repeats_its_old_stamp_is_frozen_too(world, reset):
    world.live(10)
    world.frozen = {'imu'}
    assert world.stamps['imu'] > 0
    with pytest.raises(WorldControlError, match='the sensor imu'):
        reset.reset(START)


def test_a_reset_that_is_given_up_ends_at_once_and_tells_nobody_anything_more(world):
    world.frozen = {'scan'}
    waited = world.wait

    def wait(seconds):
        waited(seconds)
        if ('hold', False) in world.calls:
            reset.give_up()

    reset = WorldReset(world, world, ResetConfig(), world.now_s, wait)
    with pytest.raises(WorldControlError, match='given up'):
        reset.reset(START)
    assert world.calls[-1] == ('hold', False) and world.wall_s < 1.0


def test_a_second_server_is_found_before_anything_is_moved(world, reset):
    world.servers = 2
    with pytest.raises(WorldControlError, match=r'found 2 simulators.*GZ_PARTITION'):
        reset.reset(START)
    assert world.calls == []


def test_a_second_server_shows_by_time_that_goes_back(world, reset):
    hold = world.hold

    def hold_both(is_held):
        hold(is_held)
        world.seen['robot'] = Sighting(world.time_ns_true + 10**12, START['robot'])

    world.hold = hold_both
    with pytest.raises(WorldControlError, match=r'time went back from 1005\.'):
        reset.reset(START)


def test_a_simulator_that_was_started_again_is_taken_as_it_is(world, reset):
    world.faults['place'] = ['gone for a moment']
    world.time_ns_true, world.stamps = 0, dict.fromkeys(world.stamps, 10**10)
    report = reset.reset(START)
    assert report.stamp_ns < 5_000_000_000
    assert world.places == START


def test_it_stops_trying_when_a_second_server_appears(world, reset):
    world.faults['place'] = ['refused']

    def place(placements):
        world.servers = 2
        FakeWorld.place(world, placements)

    world.place = place
    with pytest.raises(WorldControlError, match='found 2 simulators'):
        reset.reset(START)
    assert reset.num_faults == 1


def test_a_server_number_that_is_not_known_is_no_fault(world, reset):
    world.servers = 0
    assert reset.reset(START).num_attempts == 1
