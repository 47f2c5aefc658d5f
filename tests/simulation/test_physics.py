import math

import mujoco
import numpy as np
import pytest
from robot_learning.errors import SimulationError
from robot_learning.simulation.geometry import ROBOT_RADIUS
from robot_learning.simulation.physics import Physics
from robots import FIXED


@pytest.fixture(scope='module')
def physics():
    return Physics(0.01)


def live(physics, seconds):
    physics.advance(round(seconds / physics.timestep_s))
    physics.settle()


def test_robot_drives_straight_at_the_commanded_speed(physics):
    physics.randomise(FIXED)
    physics.place((-2.0, 0.0, 0.0), {})
    physics.drive(0.4, 0.0)
    live(physics, 1.0)
    start = physics.robot_pose()
    live(physics, 2.0)
    x, y, yaw = physics.robot_pose()
    assert x - start[0] == pytest.approx(0.8, rel=0.02)
    assert abs(y) < 1e-3
    assert abs(yaw) < 1e-3


def test_robot_turns_on_the_spot_by_the_commanded_angle(physics):
    physics.randomise(FIXED)
    physics.place((0.0, 0.0, 0.3), {})
    physics.drive(0.0, 1.0)
    live(physics, 1.5)
    physics.drive(0.0, 0.0)
    live(physics, 0.5)
    x, y, yaw = physics.robot_pose()
    assert yaw - 0.3 == pytest.approx(1.5, rel=0.03)
    assert math.hypot(x, y) < 0.01


def test_robot_stops_within_two_hundred_milliseconds(physics):
    physics.randomise(FIXED)
    physics.place((0.0, 0.0, 0.0), {})
    physics.drive(0.5, 0.0)
    live(physics, 1.0)
    physics.drive(0.0, 0.0)
    live(physics, 0.2)
    assert abs(physics.robot_velocity()[0]) < 0.02


def test_stowed_robot_fits_in_its_circle(physics):
    physics.place((0.0, 0.0, 0.0), {})
    model, data = physics.model, physics.data
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    reach = 0.0
    for geom in range(model.ngeom):
        body = model.geom_bodyid[geom]
        solid = model.geom_contype[geom] != 0
        if model.body_rootid[body] != model.body('base').id or not solid:
            continue
        kind, size = model.geom_type[geom], model.geom_size[geom]
        centre, rotation = data.geom_xpos[geom], data.geom_xmat[geom].reshape(3, 3)
        if kind == mujoco.mjtGeom.mjGEOM_BOX:
            points = centre + (corners * size) @ rotation.T
            reach = max(reach, np.hypot(points[:, 0], points[:, 1]).max())
        else:
            assert kind == mujoco.mjtGeom.mjGEOM_SPHERE
            reach = max(reach, math.hypot(centre[0], centre[1]) + size[0])
    assert 0.15 < reach <= ROBOT_RADIUS


def test_free_driving_touches_nothing(physics):
    physics.place((-1.5, 0.0, 0.0), {'cube_red': (1.5, 0.0, 0.5)})
    physics.touched.clear()
    physics.drive(0.5, 0.0)
    live(physics, 2.0)
    assert physics.touched == set()


@pytest.mark.parametrize(
    ('pose', 'objects', 'hit'),
    [
        ((2.0, 0.0, 0.0), {}, 'wall_east'),
        ((-1.0, 0.4, math.pi / 2), {}, 'wall_left'),
        ((0.0, 0.0, 0.0), {'ball_red': (0.4, 0.0, 0.0)}, 'ball_red'),
        ((0.0, 0.0, 0.0), {'cube_blue': (0.4, 0.1, 0.7)}, 'cube_blue'),
        ((0.0, 0.0, 0.0), {'can_yellow': (0.4, -0.1, 0.0)}, 'can_yellow'),
    ],
)
def test_driving_into_something_is_noted_by_name(physics, pose, objects, hit):
    physics.place(pose, objects)
    physics.touched.clear()
    physics.drive(0.5, 0.0)
    live(physics, 1.5)
    assert hit in physics.touched


def test_pushed_object_moves_and_an_untouched_one_stays(physics):
    physics.place((0.0, 0.0, 0.0), {'cube_red': (0.4, 0.0, 0.0), 'can_red': (0.4, 1.0, 0.0)})
    physics.drive(0.3, 0.0)
    live(physics, 2.0)
    assert physics.object_position('cube_red')[0] > 0.55
    assert physics.object_position('can_red')[:2] == pytest.approx((0.4, 1.0), abs=1e-3)


@pytest.mark.parametrize('name', ['cube_red', 'can_red'])
def test_gripper_lifts_and_carries_an_object(physics, name):
    physics.randomise(FIXED)
    physics.place((0.0, 0.0, 0.0), {name: (0.3, 0.0, 0.0)})
    ground = physics.object_position(name)[2]
    physics.set_lift(0.0)
    live(physics, 1.0)
    physics.drive(0.1, 0.0)
    while physics.object_position(name)[0] - physics.robot_pose()[0] > 0.152:
        live(physics, 0.05)
    physics.drive(0.0, 0.0)
    physics.set_gripper(0.0)
    live(physics, 0.7)
    assert physics.gripper_opening() == pytest.approx(0.12, abs=0.005)  # The object's width.
    physics.set_lift(0.15)
    live(physics, 1.0)
    physics.drive(0.3, 0.8)
    live(physics, 2.0)
    x, y, z = physics.object_position(name)
    robot = physics.robot_pose()
    assert z - ground > 0.12
    assert math.hypot(x - robot[0], y - robot[1]) == pytest.approx(0.15, abs=0.02)
    assert math.hypot(robot[0], robot[1]) > 0.3
    physics.drive(0.0, 0.0)
    physics.set_gripper(0.16)
    live(physics, 1.0)
    assert physics.object_position(name)[2] < ground + 0.03


def test_randomised_values_change_the_model_and_do_not_pile_up(physics):
    physics.randomise(FIXED)
    nominal = physics.model.body('base').mass[0]
    for _ in range(2):
        physics.randomise({**FIXED, 'robot_mass_scale': 1.1})
    assert physics.model.body('base').mass[0] == pytest.approx(1.1 * nominal)
    physics.randomise(FIXED)
    assert physics.model.body('base').mass[0] == nominal


def test_a_sleeping_object_can_be_moved_and_is_then_seen_there(physics):
    physics.place((0.0, 0.0, 0.0), {'ball_red': (1.0, 0.0, 0.0)})
    live(physics, 1.0)
    physics.move_object('ball_red', (0.0, -2.0, 0.0))
    assert physics.data.geom('ball_red').xpos[:2] == pytest.approx((0.0, -2.0))
    live(physics, 0.1)
    assert physics.data.geom('ball_red').xpos[:2] == pytest.approx((0.0, -2.0), abs=1e-3)
    with pytest.raises(SimulationError, match=r"'ball_pink'.*ball_red"):
        physics.move_object('ball_pink', (0.0, 0.0, 0.0))


def test_the_camera_turns_with_the_robot_and_not_a_step_behind(physics):
    physics.place((0.0, 0.0, 0.0), {})
    physics.drive(0.0, 1.5)
    live(physics, 1.0)
    forward = -physics.data.cam('camera').xmat.reshape(3, 3)[:, 2]  # It looks along its -z.
    yaw = math.atan2(forward[1], forward[0])
    assert math.remainder(yaw - physics.robot_pose()[2], 2 * math.pi) == pytest.approx(0, abs=1e-4)
