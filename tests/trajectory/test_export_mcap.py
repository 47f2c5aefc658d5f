"""A store becomes a bag whose import gives the same episodes through the same recorder."""

from __future__ import annotations

import math

import numpy as np
import pytest
from camera_robot import camera_robot, fill, make_episode
from recordings import assert_equal, goal, lock_step, odom, record, robot, wheels
from robot_learning import contract as contracts
from robot_learning.message_types import PARTS
from robot_learning.trajectory.bags.bag import bag_info, import_bag
from robot_learning.trajectory.bags.bag_types import known_types
from robot_learning.trajectory.formats.exporting import export
from robot_learning.trajectory.formats.ros_messages import make_message_maker
from robot_learning.trajectory.formats.source import EpisodeSource
from robot_learning.trajectory.messages import make_converter
from robot_learning.trajectory.signals import Mark, Outcome
from robot_learning.trajectory.store import TrajectoryStore

START = 3 * 10**9


def there_and_back(tmp_path, episodes, contract):
    """Store, export, import; return the report of the export and what came back."""
    store = TrajectoryStore(tmp_path / 'store')
    for episode in episodes:
        store.write_segment([episode], 'recorded', contract)
    report = export(EpisodeSource(store.root), 'mcap', tmp_path / 'bag')
    back = TrajectoryStore(tmp_path / 'back')
    imported = import_bag(tmp_path / 'bag', contract, back)
    return report, imported, list(back.episodes())


def test_recorded_episodes_come_back_with_values_stamps_ends_and_gaps(tmp_path):
    script = lock_step([6, 4, 1, 9], first=START)
    readings = [m for m in script if isinstance(m, tuple) and m[0] == 'joint_states']
    lost = [id(m) for m in readings[2:5]]
    outcomes = [m for m in script if isinstance(m, Outcome)]
    lost.append(id(outcomes[2]))  # Its reward is unknown.
    episodes, recorder = record([m for m in script if id(m) not in lost])
    assert recorder.gaps['wheels'] > 0 and np.isnan(episodes[0].reward[2])
    report, imported, back = there_and_back(tmp_path, episodes, robot())
    assert report.facts['bags'] == ['.'] and imported.warnings == []
    for found, expected in zip(back, episodes, strict=True):
        assert_equal(found, expected)
        for name in ('source', 'seed', 'success', 'reason', 'source_episode'):
            assert found.attributes[name] == expected.attributes[name]


def test_a_drive_without_policy_and_task_comes_back(tmp_path):
    script = [goal(START - 10**9)]
    for i in range(40):
        script += [odom(START + i * 50_000_000, float(i)), wheels(START + i * 50_000_000, i)]
    episodes, _ = record(script, actions_from='derived')
    report, _, back = there_and_back(tmp_path, episodes, robot())
    assert len(back) == len(episodes) == 1 and np.isnan(back[0].reward).all()
    assert_equal(back[0], episodes[0])
    assert back[0].attributes['reason'] == episodes[0].attributes['reason'] == 'shutdown'
    assert 'unknown reward' not in ' '.join(report.losses)


def test_an_end_by_an_operator_keeps_its_reason(tmp_path):
    script = [m for m in lock_step([5], first=START) if not isinstance(m, (Mark, Outcome))]
    begin = Mark(START, is_begin=True)
    end = Mark(START + 400_000_000, is_begin=False, reason='enough', success=True, terminated=True)
    episodes, _ = record([begin, *script, end])
    _, _, back = there_and_back(tmp_path, episodes, robot())
    assert_equal(back[0], episodes[0])
    assert back[0].attributes['reason'] == 'enough' and back[0].attributes['success']


def test_images_scans_and_gps_come_back(tmp_path):
    episodes = [make_episode(0, 21, 10**9, True)]
    for episode in episodes:  # One stamp per topic, as a recorder would have it.
        episode.field_stamp_ns['velocity'] = episode.field_stamp_ns['pose']
        episode.attributes |= {'source_episode': episode.episode}
        for name in ('altered', 'exploring', 'intervention'):
            getattr(episode, name)[-1] = False  # The last action was not executed.
        _let_gaps_repeat(episode)
    report, imported, back = there_and_back(tmp_path, episodes, camera_robot())
    assert imported.missing == {}
    for found, expected in zip(back, episodes, strict=True):
        assert_equal(found, expected)
    assert not any('contradict' in text or 'left out' in text for text in report.losses)


def _let_gaps_repeat(episode):
    """Make values and stamps at gaps those of the reading before, as recorders do."""
    for name, present in episode.present.items():
        values, stamps = episode.observations[name], episode.field_stamp_ns[name]
        for t in range(len(episode)):
            if stamps[t] == -1 or t == 0:
                if t == 0 and not present[t]:
                    values[t], stamps[t] = 0, -1
            elif not present[t]:
                values[t], stamps[t] = values[t - 1], stamps[t - 1]
                age_ns = episode.stamp_ns[t] - stamps[t]
                limit_s = camera_robot().observation[name].max_age_s
                present[t] = stamps[t] >= 0 and age_ns <= limit_s * 1e9


def test_time_that_goes_back_begins_another_bag(tmp_path):
    store = fill(tmp_path / 'store')
    report = export(EpisodeSource(store.root), 'mcap', tmp_path / 'bag')
    assert report.facts['bags'] == ['bag', 'bag_001']
    assert any(text.startswith('one timeline: there are 2 bags') for text in report.losses)
    steps = 0
    for name in report.facts['bags']:
        path = tmp_path / 'bag' / name
        assert bag_info(path)['messages'] > 0
        back = TrajectoryStore(tmp_path / 'back')
        steps += import_bag(path, camera_robot(), back, name).num_steps
    assert steps == report.num_steps == 30


def test_what_a_bag_cannot_give_back_is_named(tmp_path):
    episode = make_episode(3, 9, 10**9, True)
    episode.reward[-1] = np.nan
    episode.stamp_ns[5:] += 5 * 10**9
    store = TrajectoryStore(tmp_path / 'store')
    store.write_segment([episode], 'recorded', camera_robot())
    told = ' '.join(export(EpisodeSource(store.root), 'mcap', tmp_path / 'bag').losses)
    for text in (
        'episode numbers: the import counts from 0',
        '1 pauses are longer than the recorder waits',
        '1 episodes end with an unknown reward after known ones',
        'steps lack a required field',
    ):
        assert text in told, text


@pytest.mark.parametrize('name', ['turtlebot3', 'husky', 'pioneer', 'crazyflie', 'arena'])
def test_every_field_of_the_shipped_robots_survives_its_message(name):
    rng = np.random.default_rng(0)
    topics: dict = {}
    for field, spec in contracts.load(name).observation.items():
        topics.setdefault(spec.topic, {})[field] = spec
    for fields in topics.values():
        check_topic(fields, rng)


ONE_OF_EACH = {
    'sensor_msgs/msg/Image': ([4, 6, 4], 'uint8'),
    'sensor_msgs/msg/CompressedImage': ([4, 6, 3], 'uint8'),
    'sensor_msgs/msg/PointCloud2': ([5, 3], 'float64'),
    'sensor_msgs/msg/NavSatFix': ([3], 'float64'),
    'sensor_msgs/msg/LaserScan': ([12], 'float32'),
    'std_msgs/msg/Float32MultiArray': ([2, 3], 'float32'),
    'std_msgs/msg/Float64MultiArray': ([2, 3], 'float64'),
    'std_msgs/msg/Int32MultiArray': ([4], 'int32'),
    'std_msgs/msg/UInt8MultiArray': ([4], 'uint8'),
}


@pytest.mark.parametrize(('kind', 'part'), [(k, p) for k, parts in PARTS.items() for p in parts])
def test_every_part_of_every_message_type_can_be_made(kind, part):
    default = [size or 4 for size in PARTS[kind][part].shape or (4,)]
    shape, dtype = ONE_OF_EACH.get(kind, (default, 'float32'))
    spec = {'topic': 't', 'type': kind, 'part': part, 'shape': shape, 'dtype': dtype}
    spec |= {'names': ['a', 'b', 'c', 'd']} if kind.endswith('JointState') else {}
    field = contracts.ObservationField(**spec)
    check_topic({'field': field}, np.random.default_rng(1))


def test_grey_of_16_bits_survives_in_both_kinds_of_images():
    for kind in ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'):
        field = contracts.ObservationField(topic='t', type=kind, shape=(4, 6, 1), dtype='int32')
        check_topic({'depth': field}, np.random.default_rng(2))
    field = contracts.ObservationField(
        topic='t', type='sensor_msgs/msg/Image', shape=(4, 6, 3), dtype='float32'
    )
    maker = make_message_maker({'picture': field})
    assert maker.made == () and 'no encoding holds float32 images' in maker.unmade['picture']


@pytest.mark.parametrize('yaw', [math.pi, -math.pi, 0.0, 3.0, -3.0])
def test_headings_survive_the_quaternion(yaw):
    kind = 'geometry_msgs/msg/PoseStamped'
    field = contracts.ObservationField(topic='t', type=kind, part='pose2d', shape=(3,))
    values = {'pose': np.array([1.0, 2.0, yaw], np.float32)}
    check_topic({'pose': field}, None, values)


def check_topic(fields, rng, values=None):
    """Make one message, serialise it, read it: the arrays are the same, bit by bit."""
    maker = make_message_maker(fields)
    assert maker.made == tuple(fields) and not maker.unmade
    if values is None:
        values = {name: _random(rng, spec) for name, spec in fields.items()}
    kind = next(iter(fields.values())).type
    store = known_types()
    message = maker.make(123_456_789_012, values)
    read = store.deserialize_cdr(store.serialize_cdr(message, kind), kind)
    for name, spec in fields.items():
        found = make_converter(spec, name)(read)
        assert found.dtype == values[name].dtype
        np.testing.assert_array_equal(found, values[name])


def _random(rng, spec):
    if spec.dtype.startswith('float'):
        return rng.normal(size=spec.shape).astype(np.float32).astype(spec.dtype)
    top = 255 if spec.dtype == 'uint8' else 60_000
    return rng.integers(0, top, spec.shape).astype(spec.dtype)


def test_every_session_has_a_bag_of_its_own(tmp_path):
    store = TrajectoryStore(tmp_path / 'store')
    for place, session in enumerate(('monday', 'tuesday')):
        episodes, _ = record(lock_step([4, 5], first=START + place * 10**12))
        store.write_segment(episodes, session, robot())
    report = export(EpisodeSource(store.root), 'mcap', tmp_path / 'bag')
    back = TrajectoryStore(tmp_path / 'back')
    for name in report.facts['bags']:
        import_bag(tmp_path / 'bag' / name, robot(), back, name)
    for found, expected in zip(back.episodes(), store.episodes(), strict=True):
        assert_equal(found, expected)
