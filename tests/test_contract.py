import copy
import json
import math
from pathlib import Path

import pytest
from robot_learning import contract as contracts
from robot_learning.config import load_yaml
from robot_learning.errors import ContractError

ROBOTS = ['arena', 'crazyflie', 'errands', 'husky', 'pioneer', 'turtlebot3']

TOY = {
    'robot': 'toy',
    'description': 'two wheels and a laser',
    'control_rate_hz': 10,
    'observation': {
        'scan': {
            'topic': 'scan',
            'type': 'sensor_msgs/msg/LaserScan',
            'shape': [8],
            'unit': 'm',
            'frame': 'laser',
            'rate_hz': 10,
            'max_age_s': 0.2,
            'angle_min': -1.5,
            'angle_max': 1.5,
        },
        'velocity': {
            'topic': 'odom',
            'type': 'nav_msgs/msg/Odometry',
            'part': 'twist2d',
            'shape': [2],
            'unit': ['m/s', 'rad/s'],
        },
    },
    'actions': {
        'base': {
            'topic': 'cmd_vel',
            'type': 'geometry_msgs/msg/Twist',
            'components': ['linear.x', 'angular.z'],
            'unit': ['m/s', 'rad/s'],
            'low': [-0.5, -1.0],
            'high': [0.5, 1.0],
            'stop': [0, 0],
            'derive_from': 'velocity',
        }
    },
    'features': [{'kind': 'vector', 'fields': ['velocity']}],
}


def changed(path: str, value):
    """Return the toy contract with one key set; `value` None removes it."""
    data = copy.deepcopy(TOY)
    *parents, last = path.split('.')
    place = data
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return data


def refused(data) -> str:
    with pytest.raises(ContractError) as caught:
        contracts.from_dict(data, 'toy')
    return str(caught.value)


@pytest.mark.parametrize('robot', ROBOTS)
def test_shipped_contracts_are_sound_and_survive_a_round_trip(robot):
    contract = contracts.load(robot)
    assert contract.robot == robot
    again = contracts.from_dict(json.loads(json.dumps(contract.to_dict())))
    assert again == contract and again.hash == contract.hash


def test_every_shipped_contract_is_tested():
    assert sorted(path.stem for path in contracts.robots_directory().glob('*.yaml')) == ROBOTS


def test_the_toy_contract_gives_its_vectors():
    contract = contracts.from_dict(TOY)
    assert contract.action_size == 2 and contract.control_period_ns == 100_000_000
    assert contract.action_low.tolist() == [-0.5, -1] and contract.action_stop.tolist() == [0, 0]
    assert contract.action_high.dtype == 'float32'


def test_actions_of_skills_are_no_part_of_the_policy_vector():
    arena = contracts.load('arena')
    assert set(arena.actions) == {'base', 'lift', 'gripper'}
    assert list(arena.learned_actions) == ['base'] and arena.action_size == 2


def test_the_hash_of_given_content_never_changes():
    # Computed once; a change here orphans every segment and model on disk.
    assert contracts.from_dict(TOY).hash == 'b4e66a5c23322151'


def test_the_hash_counts_promises_not_prose_spelling_or_defaults():
    first = contracts.from_dict(TOY).hash
    assert contracts.from_dict(changed('description', 'other words')).hash == first
    assert contracts.from_dict(changed('control_rate_hz', 10.0)).hash == first
    assert contracts.from_dict(changed('observation.scan.required', True)).hash == first
    assert contracts.from_dict(dict(reversed(TOY.items()))).hash == first
    for path, value in (
        ('observation.scan.max_age_s', 0.3),
        ('observation.scan.frame', 'base'),
        ('actions.base.high', [0.6, 1.0]),
        ('features.0.scale', [1.0, 2.0]),
        ('control_rate_hz', 9),
    ):
        assert contracts.from_dict(changed(path, value)).hash != first, path


SCAN, BASE = 'observation.scan.', 'actions.base.'
MISTAKES = [
    ('observation.scan.topic', '/scan', "found '/scan', expected a relative name"),
    (SCAN + 'topic', '1st', "found '1st', expected a ROS topic name"),
    (SCAN + 'topic', 'a__b', 'single underscores'),
    (SCAN + 'topic', 'scan/', 'expected a ROS topic name'),
    (SCAN + 'topic', None, 'scan.topic: is missing'),
    (SCAN + 'type', 'sensor_msgs/LaserScan', 'there is no converter. Choose one of: geometry_'),
    (SCAN + 'part', 'depth', "found 'depth', expected a part of .*: ranges, intensities"),
    (SCAN + 'shape', [8, 1], r'found \[8, 1\], expected \[any\] for ranges'),
    (SCAN + 'shape', [0], 'scan.shape.0: found 0'),
    (SCAN + 'shape', [2**40], 'scan.shape: found .*, expected at most 134217728 values'),
    (SCAN + 'shape', [], 'scan.shape: is empty'),
    (SCAN + 'dtype', 'float16', "found 'float16'"),
    (SCAN + 'dtype', 'uint8', 'found uint8, which cannot hold ranges'),
    (SCAN + 'unit', 'feet', "found 'feet', expected SI units"),
    (SCAN + 'unit', 'rad', "found 'rad', expected 'm' for ranges"),
    (SCAN + 'qos', 'best_effort', "found 'best_effort'"),
    (SCAN + 'rate_hz', -1, 'found -1'),
    (SCAN + 'rate_hz', math.inf, 'rate_hz: found inf, expected: .*finite'),
    (SCAN + 'rate_hz', 4, r'max_age_s: found 0.2 s, .* 0.25 s at 4 Hz: every step .* a gap'),
    (SCAN + 'max_age_s', 0.05, 'expected at least one period of the topic, 0.1 s at 10 Hz'),
    (SCAN + 'qos', 'latched', 'max_age_s: found 0.2 s on a latched topic'),
    (SCAN + 'names', ['left'], 'LaserScan has no joints'),
    (SCAN + 'angle_min', None, 'angle_max: stands alone'),
    (SCAN + 'angle_max', -2, 'found -2 with angle_min -1.5 for 8 beams'),
    (SCAN + 'angle_max', 180, 'found a field of view of 181.5 rad'),
    (SCAN + 'range_min', -1, 'expected 0 <= range_min'),
    ('observation.velocity.range_min', 0.1, 'has no meaning for nav_msgs/msg/Odometry'),
    ('observation.velocity.shape', [3], r'found \[3\], expected \[2\] for twist2d'),
    ('observation.velocity.unit', ['m/s'], 'holds 1 units for 2 values'),
    ('observation.velocity.unit', 'm/s', r"found 'm/s', expected \['m/s', 'rad/s'\]"),
    ('observation.velocity.topic', 'scan', "on topic 'scan', which observation.scan says carries"),
    (BASE + 'topic', 'odom', "on topic 'odom', which observation.velocity says carries"),
    (BASE + 'type', 'std_msgs/msg/Bool', 'cannot be commanded'),
    (BASE + 'components', ['linear.x', 'yaw'], "found 'yaw', which geometry_msgs/msg/Twist does"),
    (BASE + 'components', ['linear.x', 'linear.x'], 'expected different ones'),
    (BASE + 'unit', ['m/s', 'deg'], "angular.z: found 'deg', expected 'rad/s'"),
    (BASE + 'unit', ['m/s'], 'unit: holds 1 values for 2 components'),
    (BASE + 'high', [0.5], 'high: holds 1 values for 2 components'),
    (BASE + 'low', [0.5, -1], 'linear.x: low 0.5 is not below high 0.5'),
    (BASE + 'low', [-math.inf, -1], r'low\.0: found -inf, expected: .*finite'),
    (BASE + 'stop', [0, 2], r'angular.z: stop 2 lies outside \[-1, 1\]'),
    (BASE + 'max_rate', [1, 0], 'max_rate.1: found 0'),
    (BASE + 'max_age_s', 0.05, 'expected at least the control period of 0.1 s'),
    (BASE + 'derive_from', 'scan', r"found 'scan' with shape \[8\], expected 2 values"),
    (BASE + 'derive_from', 'wheels', "found 'wheels', expected an observation field"),
    ('features.0.fields', ['speed'], "features.0.fields: found 'speed', expected an observation"),
    ('features.0.kind', 'scalar', "features.0.kind: found 'scalar'"),
    ('control_rate_hz', 0, 'control_rate_hz: found 0'),
    ('task', {'name': 'g', 'time_limit_s': 0.01}, 'task.time_limit_s: found 0.01 s'),
    ('task', {'name': 'g', 'parameters': {'goal_radius_m': 'a'}}, "found 'a', expected a number"),
    (
        'task',
        {'name': 'g', 'parameters': {'limit_s': -1}},
        'expected a finite non-negative number',
    ),
    ('colour', 'red', 'colour: unknown key'),
]


@pytest.mark.parametrize(('path', 'value', 'named'), MISTAKES)
def test_every_mistake_is_named(path, value, named):
    with pytest.raises(ContractError, match=named):
        contracts.from_dict(changed(path, value), 'toy')


def test_a_feature_of_a_field_as_large_as_an_image_is_named():
    data = changed(SCAN + 'shape', [2**20])
    data['features'] = [{'kind': 'vector', 'fields': ['scan']}]
    assert 'features.0.fields: found a field of 1048576 values' in refused(data)


def test_a_rate_that_acceleration_never_allows_is_named():
    data = changed(BASE + 'max_rate', [3.0, 3.0])
    # Over 1 m/s and 2 rad/s at 4 per s^2 the rate peaks at sqrt(4 * 1) = 2 and sqrt(4 * 2) = 2.83.
    data['actions']['base']['max_acceleration'] = [4.0, 4.0]
    found = refused(data)
    assert 'linear.x: 3 per s is never reached' in found and 'at most 2.' in found
    assert 'angular.z: 3 per s is never reached' in found and 'at most 2.828' in found
    data['actions']['base']['max_acceleration'] = [9.0, 4.5]
    contracts.from_dict(data)


def test_a_slow_required_field_that_expires_within_a_step_is_named():
    data = changed('control_rate_hz', 2)
    data['actions']['base']['max_age_s'] = 1.0
    scan = data['observation']['scan']
    scan.update(rate_hz=1.9, max_age_s=0.4)
    found = refused(data)
    assert 'slower than the control rate of 2 Hz' in found
    scan['required'] = False
    assert 'slower' not in refused(data)  # Still less than a period, so still refused.


def test_one_part_of_a_topic_is_one_field():
    data = changed('observation.speed', dict(TOY['observation']['velocity']))
    assert "speed.topic: takes twist2d of 'odom' like field 'velocity'" in refused(data)
    data['observation']['speed'].update(part='pose2d', shape=[3], unit=['m', 'm', 'rad'])
    contracts.from_dict(data)


def test_joints_need_one_different_name_each():
    joints = {'topic': 'joints', 'type': 'sensor_msgs/msg/JointState', 'shape': [2], 'unit': 'm'}
    data = changed('observation.joints', {**joints, 'names': ['left', 'left']})
    assert "found 1 different names in ['left', 'left'] for shape [2]" in refused(data)
    data['observation']['joints']['names'] = ['left', 'right']
    contracts.from_dict(data)


def test_a_pose_stands_for_a_planar_twist_only():
    pose = {'topic': 'odom', 'type': 'nav_msgs/msg/Odometry', 'part': 'pose2d', 'shape': [3]}
    data = changed('observation.odometry', pose)
    data['actions']['base']['derive_from'] = 'odometry'
    contracts.from_dict(data)
    data['actions']['base']['components'] = ['linear.x', 'linear.y']
    data['actions']['base']['unit'] = ['m/s', 'm/s']
    assert 'derive_from' in refused(data)


def test_positions_need_double_precision_in_degrees():
    fix = {'topic': 'fix', 'type': 'sensor_msgs/msg/NavSatFix', 'shape': [3]}
    assert 'found float32, which cannot hold fix' in refused(changed('observation.fix', fix))
    contracts.from_dict(changed('observation.fix', {**fix, 'dtype': 'float64'}))


def test_a_frame_needs_a_header():
    pose = {'topic': 'p', 'type': 'geometry_msgs/msg/Pose', 'shape': [3], 'frame': 'map'}
    assert 'has no header to check' in refused(changed('observation.pose', pose))


def test_names_that_cannot_name_an_array_are_refused():
    data = changed('observation.Front-Scan', dict(TOY['observation']['scan'], topic='front'))
    assert "found the name 'Front-Scan', expected lower-case" in refused(data)


def test_wrong_types_do_not_hide_contradictions():
    data = changed(SCAN + 'shape', 'eight')
    data['actions']['base']['stop'] = [0, 9]
    data['features'][0]['fields'] = ['scan']  # Exists, though it could not be read.
    found = refused(data)
    assert 'scan.shape: found' in found and 'stop 9 lies outside' in found
    assert 'features' not in found


def test_what_is_not_a_mapping_is_refused():
    with pytest.raises(ContractError, match='found a list, expected a mapping'):
        contracts.from_dict([1, 2])
    with pytest.raises(ContractError, match='observation: found 5'):
        contracts.from_dict({**TOY, 'observation': 5})


# --- files -------------------------------------------------------------------------------


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / f'{name}.yaml'
    path.write_text(text, encoding='utf-8')
    return path


PARENT = """robot: parent
description: ''
control_rate_hz: 10
observation:
  scan:
    topic: scan
    type: sensor_msgs/msg/LaserScan
    shape: [8]
    unit: feet
  velocity: {topic: odom, type: nav_msgs/msg/Odometry, part: twist2d, shape: [2]}
actions: {}
features:
  - {kind: vector, fields: [velocity]}
"""


def test_errors_of_an_extended_contract_point_into_the_right_file(tmp_path):
    parent = write(tmp_path, 'parent', PARENT)
    child = write(
        tmp_path,
        'child',
        'extends: parent\n'
        'robot: child\n'
        'observation:\n'
        '  scan:\n'
        '    topic: /scan\n'
        'features:\n'
        '  - kind: vector\n',
    )
    with pytest.raises(ContractError) as caught:
        contracts.load(child)
    problems = str(caught.value).splitlines()
    assert len(problems) == 3
    assert any(p.startswith(f'{parent}:9: observation.scan.unit') for p in problems)
    assert any(p.startswith(f'{child}:5: observation.scan.topic') for p in problems)
    assert any(p.startswith(f'{child}:7: features.0.fields: is missing') for p in problems)


def test_mappings_merge_lists_replace_and_null_removes(tmp_path):
    write(tmp_path, 'parent', PARENT.replace('feet', 'm'))
    child = write(
        tmp_path,
        'child',
        'extends: parent\nobservation: {scan: {shape: [4], unit: null}, velocity: null}\n'
        'features: [{kind: vector, fields: [scan]}]\n',
    )
    contract = contracts.load(child)
    assert list(contract.observation) == ['scan']
    assert contract.observation['scan'].shape == (4,) and contract.observation['scan'].unit == ''
    assert contract.observation['scan'].topic == 'scan'
    assert [feature.fields for feature in contract.features] == [('scan',)]


def test_a_contract_elsewhere_may_extend_a_shipped_one(tmp_path):
    child = write(tmp_path, 'mine', 'extends: turtlebot3\nrobot: mine\n')
    assert contracts.load(child).observation == contracts.load('turtlebot3').observation


@pytest.mark.parametrize('ring', [['a'], ['a', 'b'], ['a', 'b', 'c']])
def test_circular_extensions_are_named(tmp_path, ring):
    for name, base in zip(ring, ring[1:] + ring[:1], strict=True):
        write(tmp_path, name, f'extends: {base}\n')
    with pytest.raises(ContractError, match=r'extends itself \(a.yaml -> .*a.yaml\)'):
        contracts.load('a', tmp_path)


def test_unknown_robots_parents_and_files_are_named(tmp_path):
    with pytest.raises(ContractError, match=r"robot 'r2d2': no contract .* arena, crazyflie"):
        contracts.load('r2d2')
    path = write(tmp_path, 'a', 'robot: a\nextends: r2d2\n')
    with pytest.raises(ContractError, match=rf"{path}:2: extends: robot 'r2d2': no contract"):
        contracts.load(path)
    with pytest.raises(ContractError, match=r'absent\.yaml: cannot be read'):
        contracts.load(tmp_path / 'absent.yaml')
    path = write(tmp_path, 'a', 'robot: a\nextends: [b]\n')
    with pytest.raises(ContractError, match=r"2: extends: found \['b'\], expected the name"):
        contracts.load(path)


@pytest.mark.parametrize('text', ['- 1\n', 'robot: a\nrobot: b\n', 'robot: [\n', '', 'words\n'])
def test_files_that_are_no_contract_are_refused_by_name(tmp_path, text):
    path = write(tmp_path, 'broken', text)
    with pytest.raises(ContractError, match=rf'^{path}'):
        contracts.load(path)


@pytest.mark.parametrize('robot', ROBOTS)
def test_misspelled_keys_of_shipped_files_are_named_with_their_line(robot, tmp_path):
    path = contracts.robots_directory() / f'{robot}.yaml'
    lines = path.read_text(encoding='utf-8').splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith('    topic:'))
    lines[number] = lines[number].replace('topic', 'topik')
    broken = write(tmp_path, robot, '\n'.join(lines))
    with pytest.raises(ContractError, match=rf'{broken}:{number + 1}: \S+\.topik: unknown key'):
        contracts.load(broken)


@pytest.mark.parametrize('robot', ROBOTS)
def test_tasks_of_shipped_contracts_are_known_to_the_simulation(robot):
    tasks = pytest.importorskip('robot_learning.simulation.tasks')
    contract = contracts.load(robot)
    if contract.task is not None:
        assert tasks.build_task(contract) is not None
    else:
        assert 'task' not in load_yaml(contracts.robots_directory() / f'{robot}.yaml')[0]
