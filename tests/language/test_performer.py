import math

import pytest
from errand_world import PATHS, PLACES, ErrandWorld
from robot_learning.language import skills
from robot_learning.language.motions import Ended, wrapped
from robot_learning.language.performer import SKILLS
from robot_learning.language.planner import Zone
from robot_learning.language.senses import Order, Outcome

CUBE = {'cube_red': (0.5, 0.3, 0.0)}


def distance(world, name, point):
    return math.dist(world.world.physics.object_position(name)[:2], point)


def test_every_verb_of_the_table_can_be_done():
    assert SKILLS.keys() == skills.VERBS.keys()


@pytest.mark.parametrize('seed', range(2))
def test_drives_and_turns_as_far_as_told(seed):
    world = ErrandWorld(seed, (-1.0, 0.0, -0.1), {})
    x, y, yaw = world.pose
    assert world.do('robot.move_forward', distance=1.0).success
    assert math.dist(world.pose[:2], (x + math.cos(yaw), y + math.sin(yaw))) < 0.05
    assert world.do('robot.turn', angle=90).success
    assert abs(math.degrees(wrapped(world.pose[2] - yaw))) == pytest.approx(90, abs=5)
    x, y, yaw = world.pose
    assert world.do('robot.move_backward', distance=0.3).success
    assert math.dist(world.pose[:2], (x - 0.3 * math.cos(yaw), y - 0.3 * math.sin(yaw))) < 0.05


def test_goes_to_points_places_and_home_round_the_walls():
    world = ErrandWorld(0, (-1.0, 0.0, 0.0), {})
    assert world.do('navigation.go_to_room', room='kitchen', timeout=90.0).success
    assert math.dist(world.pose[:2], PLACES['kitchen']) < 0.3
    assert world.do('robot.move_to', x=1.0, y=-0.3).success
    assert math.dist(world.pose[:2], (1.0, -0.3)) < 0.2
    assert world.do('navigation.return_home').success
    assert math.dist(world.pose[:2], PLACES['home']) < 0.3
    assert world.world.task.summary()['steps_touching'] == 0


def test_a_named_path_is_driven_point_by_point():
    world = ErrandWorld(0, (0.0, 0.0, 0.0), {})
    visited = []
    world.performer.begin(
        skills.Step(skills.verb('navigation.follow_path'), {'path': 'square', 'timeout': 60.0})
    )
    while isinstance(answer := world.performer.tick(world.senses()), Order):
        world.live(answer)
        visited.append(world.pose[:2])
    assert answer == Outcome(True)
    for point in PATHS['square']:
        assert min(math.dist(point, place) for place in visited) < 0.15


def test_fetches_an_object_and_puts_it_down_elsewhere():
    world = ErrandWorld(1, (-1.0, 0.0, 0.0), CUBE)
    assert world.do('gripper.pick_up', object_type='cube', color='red').success
    assert world.performer.is_holding and world.performer.held_color == 'red'
    assert world.world.physics.object_position('cube_red')[2] > 0.2
    assert not world.do('gripper.pick_up', object_type='cube').success  # The hand is full.
    assert world.do('gripper.drop_at', room='kitchen').success
    assert not world.performer.is_holding and world.performer.held_color == ''
    assert world.world.physics.object_position('cube_red')[2] < 0.1
    assert distance(world, 'cube_red', PLACES['kitchen']) < 0.45


@pytest.mark.parametrize('name', ['ball_blue', 'can_yellow', 'cube_green'])
def test_all_kinds_of_objects_are_grasped(name):
    world = ErrandWorld(2, (-1.0, 0.0, 0.0), {name: (0.2, -0.3, 0.4)})
    kind, color = name.split('_')
    outcome = world.do('gripper.pick_up', object_type=kind, color=color)
    assert outcome == Outcome(True)
    assert world.world.physics.object_position(name)[2] > 0.2
    assert world.do('gripper.put_down') == Outcome(True)
    assert world.world.physics.object_position(name)[2] < 0.1


def test_an_object_out_of_view_is_looked_for_and_gone_to():
    world = ErrandWorld(3, (0.0, 0.0, 0.0), {'can_blue': (-1.2, 0.2, 0.0)})
    outcome = world.do('sensors.look_for', object_type='can')
    assert outcome.value is True and 'a blue can, 1.2 m away' in outcome.said
    assert world.do('navigation.go_to_object', object_type='can', color='blue').success
    assert distance(world, 'can_blue', world.pose[:2]) == pytest.approx(0.48, abs=0.12)


def test_what_is_not_there_is_said_to_be_missing():
    world = ErrandWorld(3, (0.0, 0.0, 0.0), {})
    outcome = world.do('sensors.look_for', object_type='ball', color='red')
    assert outcome.success and outcome.value is False and 'no red ball' in outcome.said
    for name in ('navigation.go_to_object', 'gripper.pick_up'):
        outcome = world.do(name, object_type='ball', color='red')
        assert not outcome.success and outcome.reason == 'I see no red ball here'


def test_sensors_tell_numbers_and_truths():
    world = ErrandWorld(
        3, (0.0, 0.0, 0.0), {'can_blue': (1.0, 0.0, 0.0), 'ball_red': (-1.0, 0, 0)}
    )
    assert world.do('sensors.detect', object_type='can').value is True
    assert world.do('sensors.detect', object_type='ball').value is False
    assert world.do('sensors.measure_distance').value == pytest.approx(0.94, abs=0.05)
    assert world.do('sensors.measure_distance', direction='left').value > 0.6
    assert world.do('sensors.scan').value == 2.0


def test_reports_say_what_is_known_and_what_is_not():
    world = ErrandWorld(3, (0.5, 0.0, 0.0), {'can_blue': (1.5, 0.0, 0.0)})
    said = {
        about: world.do('robot.report', about=about).said
        for about in ('battery', 'pose', 'distance', 'view')
    }
    assert 'nothing publishes battery_state' in said['battery']
    assert 'x 0.5' in said['pose'] and 'a blue can 1.0 m away' in said['view']
    assert ' m front' in said['distance']


def test_waiting_takes_its_time_and_stopping_none():
    world = ErrandWorld(0)
    assert world.do('robot.wait', duration=2.0).success and world.time_s > 2.0
    before_s = world.time_s
    assert world.do('robot.stop').success and world.time_s < before_s + 0.5


def test_a_canceled_call_is_forgotten():
    world = ErrandWorld(0, (-1.0, 0.0, 0.0), {})
    forward = skills.verb('robot.move_forward')
    world.performer.begin(skills.Step(forward, forward.completed({'distance': 1.0})))
    assert isinstance(world.performer.tick(world.senses()), Order)
    world.performer.cancel()
    with pytest.raises(AssertionError):
        world.performer.tick(world.senses())


class Policy:
    """A navigator that says after a while that it has arrived, or not."""

    def __init__(self, ended, num_polls=3):
        self.ended, self.num_polls, self.calls = ended, num_polls, []

    def begin(self, x, y, timeout_s):
        self.calls.append(('begin', x, y))
        return True

    def poll(self):
        self.num_polls -= 1
        return self.ended if self.num_polls < 0 else None

    def cancel(self):
        self.calls.append('cancel')


def test_a_policy_drives_where_there_is_one_and_is_completed_by_the_plan():
    policy = Policy(Ended(False, 'time_limit'))
    world = ErrandWorld(0, (-1.0, 0.0, 0.0), {}, policy)
    assert world.do('robot.move_to', x=-0.2, y=0.0).success
    assert policy.calls == [('begin', -0.2, 0.0), 'cancel']
    assert [order.drive for order in world.orders[:3]] == [None] * 3  # The policy drives.
    assert math.dist(world.pose[:2], (-0.2, 0.0)) < 0.2  # It did not arrive: the plan did.


def test_canceling_also_stops_the_policy():
    policy = Policy(Ended(True), num_polls=1000)
    world = ErrandWorld(0, (-1.0, 0.0, 0.0), {}, policy)
    move_to = skills.verb('robot.move_to')
    world.performer.begin(skills.Step(move_to, move_to.completed({'x': 1.0, 'y': 0.0})))
    world.performer.tick(world.senses())
    world.performer.cancel()
    assert policy.calls[-1] == 'cancel'


def test_it_does_not_drive_where_it_must_not_be():
    carpet = Zone('the carpet', 0.3, -0.4, 1.5, 0.6)
    policy = Policy(Ended(True))
    world = ErrandWorld(0, (-0.5, 0.0, 0.0), {}, policy, (carpet,))
    outcome = world.do('robot.move_forward', distance=1.0)
    assert not outcome.success and 'into the carpet, which is forbidden' in outcome.reason
    assert not world.do('robot.move_backward', distance=2.5).success  # Out of the arena.
    assert math.dist(world.pose[:2], (-0.5, 0.0)) < 0.02
    world.performer.begin(
        skills.Step(skills.verb('robot.move_to'), {'x': 2.0, 'y': 0.0, 'timeout': 60.0})
    )
    places = []
    while isinstance(answer := world.performer.tick(world.senses()), Order):
        world.live(answer)
        places.append(world.pose[:2])
    assert answer.success and not any(carpet.holds(*place) for place in places)
    assert policy.calls == []  # It knows nothing of carpets.
