"""The Gazebo world against the embedded one, against SDFormat's rules and against what ships."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mujoco
import numpy as np
import pytest
import yaml
from robot_learning import contract as contracts
from robot_learning.commands import gazebo_files
from robot_learning.errors import ConfigError, ContractError, SimulationError
from robot_learning.simulation.gazebo_release import FORTRESS, HARMONIC, RELEASES
from robot_learning.simulation.gazebo_robot import build_robot, build_turtlebot3
from robot_learning.simulation.gazebo_world import build_world
from robot_learning.simulation.geometry import OBJECTS, WALLS
from robot_learning.simulation.scene import build_mjcf

WORLDS = Path(__file__).resolve().parents[2] / 'worlds'
# ROS type -> Gazebo type, of ros_gz_bridge's table of conversions (README of ros_gz 1.0).
CONVERSIONS = {
    'rosgraph_msgs/msg/Clock': 'Clock',
    'sensor_msgs/msg/LaserScan': 'LaserScan',
    'sensor_msgs/msg/Imu': 'IMU',
    'sensor_msgs/msg/CameraInfo': 'CameraInfo',
    'sensor_msgs/msg/JointState': 'Model',
    'nav_msgs/msg/Odometry': 'Odometry',
    'tf2_msgs/msg/TFMessage': 'Pose_V',
    'geometry_msgs/msg/Twist': 'Twist',
    'std_msgs/msg/Float64': 'Double',
}
KEYS = {
    'ros_topic_name',
    'gz_topic_name',
    'ros_type_name',
    'gz_type_name',
    'direction',
    'subscriber_queue',
    'publisher_queue',
    'lazy',
}


@pytest.fixture(scope='module')
def mujoco_model():
    return mujoco.MjModel.from_xml_string(build_mjcf(0.01))


@pytest.fixture(scope='module')
def world():
    return ElementTree.fromstring(build_world(HARMONIC)).find('world')


@pytest.fixture(scope='module')
def robot():
    return ElementTree.fromstring(build_robot(contracts.load('arena'), HARMONIC)).find('model')


def numbers(element, path):
    return [float(text) for text in element.findtext(path).split()]


@pytest.mark.parametrize('release', RELEASES)
@pytest.mark.parametrize('robot_name', ['arena', 'turtlebot3'])
def test_what_ships_is_what_the_generator_makes(tmp_path, release, robot_name):
    for path in gazebo_files.write(tmp_path, robot_name, release):
        assert path.read_text() == (WORLDS / path.name).read_text(), (
            f'{path.name} is old: python -m robot_learning.commands.gazebo_files '
            f'--robot {robot_name} --release {release} --out worlds'
        )


def test_nothing_has_to_be_downloaded(world, robot):
    for root in (world, robot):
        assert not list(root.iter('uri')) and not list(root.iter('include'))


def test_walls_stand_where_those_of_the_embedded_world_stand(world, mujoco_model):
    links = {link.get('name'): link for link in world.findall("model[@name='walls']/link")}
    assert set(links) == {wall.name for wall in WALLS}
    for name, link in links.items():
        geom = mujoco_model.geom(name)
        assert numbers(link, 'pose')[:3] == pytest.approx(geom.pos)
        assert numbers(link, 'collision/geometry/box/size') == pytest.approx(2 * geom.size)
        assert numbers(link, 'visual/geometry/box/size') == pytest.approx(2 * geom.size)


def test_objects_have_shape_mass_colour_and_place_of_the_embedded_ones(world, mujoco_model):
    for item in OBJECTS:
        model = world.find(f"model[@name='{item.name}']")
        geom, body = mujoco_model.geom(item.name), mujoco_model.body(item.name)
        shape = next(iter(model.find('link/collision/geometry')))
        if shape.tag == 'sphere':
            assert numbers(shape, 'radius') == pytest.approx(geom.size[:1])
        elif shape.tag == 'box':
            assert numbers(shape, 'size') == pytest.approx(2 * geom.size)
        else:
            assert numbers(shape, 'radius') == pytest.approx(geom.size[:1])
            assert numbers(shape, 'length') == pytest.approx(2 * geom.size[1:2])
        assert numbers(model, 'link/inertial/mass') == pytest.approx(body.mass)
        moments = [numbers(model, f'link/inertial/inertia/i{a}{a}')[0] for a in 'xyz']
        assert sorted(moments) == pytest.approx(sorted(body.inertia), rel=1e-5)
        diffuse = numbers(model, 'link/visual/material/diffuse')
        assert diffuse == pytest.approx(geom.rgba, abs=1e-6)
        assert numbers(model, 'pose')[:3] == pytest.approx(body.pos)


def test_the_robot_weighs_what_the_embedded_one_weighs(robot, mujoco_model):
    masses = [float(element.text) for element in robot.iter('mass')]
    sensors = 3 * 0.01  # Links of sensors must weigh something.
    casters = 2 * 0.02  # Too light to matter, left out.
    whole = float(mujoco_model.body_subtreemass[mujoco_model.body('base').id])
    assert sum(masses) - sensors == pytest.approx(whole - casters, abs=1e-6)


def test_bodies_can_exist_and_joints_join_them(robot, world):
    for link in [*robot.iter('link'), *world.iter('link')]:
        if (inertia := link.find('inertial/inertia')) is None:
            continue
        xx, yy, zz = (float(inertia.findtext(f'i{a}{a}')) for a in 'xyz')
        assert min(xx, yy, zz) > 0
        assert xx + yy >= zz * 0.9999 and yy + zz >= xx * 0.9999 and xx + zz >= yy * 0.9999
    links = {link.get('name') for link in robot.findall('link')}
    for joint in robot.findall('joint'):
        assert {joint.findtext('parent'), joint.findtext('child')} <= links
        assert joint.get('type') == 'fixed' or numbers(joint, 'axis/xyz')
    children = [joint.findtext('child') for joint in robot.findall('joint')]
    assert len(children) == len(set(children)) and set(children) | {'base_footprint'} == links
    joints = {joint.get('name') for joint in robot.findall('joint')}
    named = {e.text for e in robot.iter() if e.tag in ('joint_name', 'left_joint', 'right_joint')}
    assert named <= joints


def test_sensors_are_those_of_the_contract(robot):
    contract = contracts.load('arena')
    scan, camera = contract.observation['scan'], contract.observation['camera']
    lidar = robot.find("link/sensor[@type='gpu_lidar']")
    horizontal = lidar.find('lidar/scan/horizontal')
    assert int(horizontal.findtext('samples')) == scan.shape[0]
    assert numbers(horizontal, 'max_angle') == pytest.approx([scan.angle_max])
    assert numbers(lidar, 'lidar/range/max') == [scan.range_max]
    assert lidar.findtext('gz_frame_id') == scan.frame
    image = robot.find("link/sensor[@type='camera']/camera/image")
    assert (int(image.findtext('height')), int(image.findtext('width'))) == camera.shape[:2]
    flags = {int(e.text) for e in robot.iter('visibility_flags')}
    mask = int(lidar.findtext('lidar/visibility_mask'))
    assert flags and all(not mask & flag for flag in flags), 'the lidar looks through the robot'
    drive = robot.find("plugin[@name='gz::sim::systems::DiffDrive']")
    base = contract.actions['base']
    assert numbers(drive, 'max_linear_velocity') == [base.high[0]]
    assert numbers(drive, 'min_angular_velocity') == [base.low[1]]


def test_the_camera_looks_where_that_of_the_embedded_world_looks(robot, mujoco_model):
    data = mujoco.MjData(mujoco_model)
    mujoco.mj_forward(mujoco_model, data)
    looks = -data.cam('camera').xmat.reshape(3, 3)[:, 2]
    _, pitch, _ = numbers(robot, "link/sensor[@type='camera']/pose")[3:]
    assert [np.cos(pitch), 0, -np.sin(pitch)] == pytest.approx(looks, abs=1e-5)


def test_each_release_has_its_own_names():
    arena = contracts.load('arena')
    for release, other in ((HARMONIC, FORTRESS), (FORTRESS, HARMONIC)):
        text = build_world(release) + build_robot(arena, release) + build_turtlebot3(release)
        assert f'filename="{release.library}-physics-system"' in text
        assert f'name="{release.namespace}::systems::DiffDrive"' in text
        assert f'<{release.prefix}_frame_id>base_scan' in text
        for foreign in (f'"{other.library}-', f'"{other.namespace}::', f'<{other.prefix}_frame'):
            assert foreign not in text


@pytest.mark.parametrize('release', RELEASES.values(), ids=lambda release: release.name)
def test_the_bridge_has_the_keys_and_types_that_ros_gz_bridge_takes(tmp_path, release):
    entries = yaml.safe_load(
        gazebo_files.write(tmp_path, 'arena', release.name).bridge.read_text()
    )
    for entry in entries:
        assert set(entry) == KEYS
        assert entry['direction'] in ('GZ_TO_ROS', 'ROS_TO_GZ', 'BIDIRECTIONAL')
        package, _, kind = entry['gz_type_name'].rpartition('.')
        assert package == release.messages
        assert CONVERSIONS[entry['ros_type_name']] == kind
        assert isinstance(entry['lazy'], bool) and entry['subscriber_queue'] > 0
    names = [entry['ros_topic_name'] for entry in entries]
    assert '/clock' in names and all(not n.startswith('/') for n in names if n != '/clock')


def test_both_ends_of_every_crossing_exist(robot, world):
    topics = {element.text for element in robot.iter('topic')}
    topics |= {element.text for element in robot.iter('odom_topic')}
    topics |= {element.text for element in robot.iter('camera_info_topic')}
    topics |= {f'/model/{model.get("name")}/pose' for model in world.findall('model')}
    topics |= {'/model/robot/pose', 'clock'}
    entries = yaml.safe_load((WORLDS / 'gazebo_bridge.yaml').read_text())
    assert {entry['gz_topic_name'] for entry in entries} <= topics


@pytest.mark.parametrize(
    ('robot_name', 'release', 'error', 'reason'),
    [
        ('arena', 'citadel', ConfigError, 'expected one of harmonic, fortress'),
        ('nobody', 'harmonic', ContractError, 'nobody'),
        ('crazyflie', 'harmonic', SimulationError, 'Choose a robot that drives'),
    ],
)
def test_what_cannot_be_written_is_named_and_nothing_is(
    tmp_path, robot_name, release, error, reason
):
    with pytest.raises(error, match=reason):
        gazebo_files.write(tmp_path / 'out', robot_name, release)
    assert not (tmp_path / 'out').exists()


def test_the_command_names_what_it_wrote_and_what_is_wrong(tmp_path, capsys):
    assert gazebo_files.main(['--out', str(tmp_path)]) == 0
    assert str(tmp_path / 'learning_arena.sdf') in capsys.readouterr().out
    assert gazebo_files.main(['--out', str(tmp_path), '--robot', 'nobody']) == 2
    assert 'nobody' in capsys.readouterr().err
