import math

import numpy as np
import pytest
from robot_learning.simulation.geometry import KINDS, LIDAR_HEIGHT, OBJECTS, WALLS
from robot_learning.simulation.physics import Physics
from robot_learning.simulation.sensors import (
    Imu,
    Lidar,
    Localisation,
    SensorConfig,
    WheelOdometry,
    wrap,
)
from robots import FIXED, arena, make_world


@pytest.fixture(scope='module')
def physics():
    return Physics(0.01)


def live(physics, seconds):
    physics.advance(round(seconds / physics.timestep_s))
    physics.settle()


def ray_to_segment(origin, direction, a, b):
    """Distance along a ray to the segment a-b, by solving the 2 x 2 system; inf if missed."""
    edge = b - a
    matrix = np.array([[direction[0], -edge[0]], [direction[1], -edge[1]]])
    if abs(np.linalg.det(matrix)) < 1e-12:
        return math.inf
    along, share = np.linalg.solve(matrix, a - origin)
    return along if along > 0 and 0 <= share <= 1 else math.inf


def ray_to_circle(origin, direction, centre, radius):
    offset = origin - centre
    b, c = offset @ direction, offset @ offset - radius**2
    root = b * b - c
    return -b - math.sqrt(root) if root >= 0 and -b - math.sqrt(root) > 0 else math.inf


def box_edges(x, y, half_x, half_y, yaw=0.0):
    rotation = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (half_x, half_y)
    corners = corners @ rotation.T + (x, y)
    return list(zip(corners, np.roll(corners, -1, axis=0), strict=True))


def brute_force_scan(pose, objects, angles):
    """Cut the scene at the lidar's height and intersect every ray with every shape."""
    kinds = {item.name: item.kind for item in OBJECTS}
    edges = [e for w in WALLS for e in box_edges(w.x, w.y, w.half_x, w.half_y)]
    circles = []
    for name, (x, y, yaw) in objects.items():
        kind = KINDS[kinds[name]]
        if kinds[name] == 'cube':
            edges += box_edges(x, y, kind.half_width, kind.half_width, yaw)
        elif kinds[name] == 'ball':
            height = LIDAR_HEIGHT - kind.radius
            circles.append((np.array((x, y)), math.sqrt(kind.radius**2 - height**2)))
        else:
            circles.append((np.array((x, y)), kind.radius))
    origin = np.array(pose[:2])
    ranges = []
    for angle in angles:
        direction = np.array((math.cos(angle + pose[2]), math.sin(angle + pose[2])))
        hits = [ray_to_segment(origin, direction, a, b) for a, b in edges]
        hits += [ray_to_circle(origin, direction, centre, r) for centre, r in circles]
        ranges.append(min(hits))
    return np.array(ranges)


@pytest.mark.parametrize('pose', [(0.0, 0.0, 0.0), (-1.3, 1.6, 2.0), (1.9, -1.9, -0.7)])
def test_lidar_equals_brute_force_geometry(physics, pose):
    objects = {
        'ball_red': (0.6, 0.3, 0.0),
        'cube_green': (-0.5, -0.4, 0.4),
        'can_blue': (-2.0, 1.9, 0.0),
        'cube_red': (1.2, -1.5, 1.1),
    }
    physics.place(pose, objects)
    lidar = Lidar(physics, arena().observation['scan'])
    scan = lidar.scan(np.random.default_rng(0), 0.0)
    angles = np.linspace(0.0, 6.28, 360)
    expected = brute_force_scan(pose, objects, angles)
    expected[expected > 3.5] = np.inf
    assert np.isinf(scan).sum() > 0 or pose[0] == 0.0
    # The beams' plane tilts with the robot by a fraction of a degree; edges may be missed by it.
    agree = np.isclose(scan, expected, atol=0.01) | (scan == expected)
    assert agree.mean() > 0.99


def test_lidar_does_not_see_the_robot_itself(physics):
    physics.place((0.0, 0.0, 0.0), {})
    physics.set_lift(0.0)
    live(physics, 1.0)
    scan = Lidar(physics, None).scan(np.random.default_rng(0), 0.0)
    assert scan.min() > 0.7  # The inner walls are 0.75 m away.


def test_lidar_reports_too_near_as_minus_infinity(physics):
    physics.place((0.0, 0.0, 0.0), {'can_red': (0.15, 0.0, 0.0)})
    scan = Lidar(physics, None).scan(np.random.default_rng(0), 0.0)
    assert scan[0] == -np.inf


def test_lidar_noise_has_the_stated_deviation(physics):
    physics.place((0.0, 0.0, 0.0), {})
    lidar, rng = Lidar(physics, None), np.random.default_rng(1)
    exact = lidar.scan(rng, 0.0)
    seen = exact < 3.3  # Beyond that, noise pushes some readings out of range.
    error = np.stack([lidar.scan(rng, 0.02)[seen] - exact[seen] for _ in range(50)])
    assert error.std() == pytest.approx(0.02, rel=0.1)
    assert abs(error.mean()) < 0.001


def test_odometry_follows_truth_when_wheels_are_known(physics):
    physics.randomise(FIXED)
    physics.place((0.0, 0.0, 0.0), {})
    odometry = WheelOdometry(physics, 4096)
    physics.drive(0.3, 0.5)
    for _ in range(60):
        live(physics, 0.05)
        odometry.update()
    assert odometry.pose() == pytest.approx(physics.robot_pose(), abs=0.05)
    assert odometry.velocity() == pytest.approx(physics.robot_velocity(), abs=0.03)


def test_odometry_drifts_by_its_wheel_errors(physics):
    physics.randomise(FIXED)
    physics.place((-1.5, 0.0, 0.0), {})
    exact, wrong = WheelOdometry(physics, 4096), WheelOdometry(physics, 4096)
    wrong.reset({'wheel_radius_error': 0.02, 'wheel_separation_error': 0.0})
    physics.drive(0.5, 0.0)
    for _ in range(80):
        live(physics, 0.05)
        exact.update()
        wrong.update()
    assert exact.pose()[0] == pytest.approx(physics.robot_pose()[0] + 1.5, rel=0.02)
    assert wrong.pose()[0] == pytest.approx(1.02 * exact.pose()[0], rel=1e-6)


def test_localisation_error_has_the_stated_size_and_wanders_slowly():
    config = SensorConfig()
    localisation, rng = Localisation(config), np.random.default_rng(2)
    localisation.reset(rng)
    errors = []
    for _ in range(20_000):
        localisation.update(0.2, rng)
        errors.append(localisation.pose((0.0, 0.0, 0.0)))
    errors = np.stack(errors)
    assert errors.std(axis=0) == pytest.approx([0.02, 0.02, 0.0175], rel=0.15)
    lag1 = np.corrcoef(errors[:-1, 0], errors[1:, 0])[0, 1]
    assert lag1 == pytest.approx(math.exp(-0.2 / 3.0), abs=0.02)


def test_imu_at_rest_feels_gravity_and_knows_its_heading(physics):
    physics.place((0.0, 0.0, 0.8), {})
    live(physics, 1.0)
    quiet = SensorConfig(gyro_noise_rad_s=0.0, gyro_bias_rad_s=0.0, acceleration_noise_m_s2=0.0)
    reading = Imu(physics, quiet).read(1.0, np.random.default_rng(0))
    assert 2 * math.atan2(reading[2], reading[3]) == pytest.approx(0.8, abs=0.01)
    assert np.linalg.norm(reading[:4]) == pytest.approx(1.0)
    assert reading[4:7] == pytest.approx([0, 0, 0], abs=1e-3)
    assert reading[7:] == pytest.approx([0, 0, 9.81], abs=0.1)


def test_imu_heading_drifts_with_the_gyro_bias(physics):
    physics.place((0.0, 0.0, 0.0), {})
    imu, rng = Imu(physics, SensorConfig(gyro_bias_rad_s=0.01, gyro_noise_rad_s=0.0)), None
    rng = np.random.default_rng(3)
    imu.reset(rng)
    spin = imu.read(0.0, rng)[6]
    late = imu.read(10.0, rng)
    yaw = 2 * math.atan2(late[2], late[3])
    assert yaw == pytest.approx(10 * (spin - physics.data.qvel[5]), abs=1e-3)
    assert yaw != 0.0


def test_sensed_imu_measures_the_turn_rate():
    world = make_world(random=False)
    world.reset(0, (0.0, 0.0, 0.0), (2.0, 2.0, 0.0))
    for _ in range(5):
        result = world.step({'base': np.array([0.0, 1.0])})
    assert result.observation['imu'][6] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize('angle', [0.0, 3.0, -3.0, 3.5, 7.0, -10.0])
def test_wrapped_angles_point_the_same_way_within_half_a_turn(angle):
    wrapped = wrap(angle)
    assert -math.pi <= wrapped < math.pi
    assert math.cos(wrapped) == pytest.approx(math.cos(angle))
    assert math.sin(wrapped) == pytest.approx(math.sin(angle))
