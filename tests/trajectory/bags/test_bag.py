import functools
import json
import shutil

import numpy as np
import pytest
from bag_files import (
    ODOMETRY,
    TWIST,
    TYPES,
    closed_loop,
    drive,
    odometry,
    twist,
    write_bag,
    write_ros1_bag,
)
from recordings import PERIOD_NS, assert_equal, robot
from robot_learning import contract as contracts
from robot_learning.errors import DataError, StoreError
from robot_learning.trajectory.bags.bag import bag_info, import_bag
from robot_learning.trajectory.intake import Intake
from robot_learning.trajectory.recorder import Recorder, RecorderConfig
from robot_learning.trajectory.store import TrajectoryStore, joined
from rosbags.rosbag2 import CompressionMode, StoragePlugin


def import_one(bag, store, contract=None, **options):
    report = import_bag(bag, contract or robot(), TrajectoryStore(store), **options)
    for topic in report.topics:
        assert topic.counts.get('unaccounted', 0) == 0
    return list(TrajectoryStore(store).episodes()), report


@pytest.mark.parametrize('seed', range(5))
def test_a_replayed_bag_gives_the_episodes_recorded_live(tmp_path, seed):
    entries = closed_loop([12, 7, 3, 20], seed)
    recorder = Recorder(robot(), RecorderConfig())
    intake = Intake(robot(), recorder)
    pieces = []
    for count, (topic, _, log_ns, message) in enumerate(entries):
        intake.take(topic.lstrip('/'), message, functools.partial(int, log_ns))
        if count % 11 == 0:
            pieces += recorder.collect()
    recorder.close()
    live = list(joined([*pieces, *recorder.collect()]))
    replayed, report = import_one(write_bag(tmp_path / 'bag', entries), tmp_path / 'store')
    assert report.actions_from == 'policy' and report.num_steps == 42
    assert len(live) == len(replayed) == 4
    for a, b in zip(live, replayed, strict=True):
        assert_equal(a, b)
        assert b.attributes['info'] == {'friction': 0.8} and b.attributes['seed'] == 7
        assert b.attributes['reason'] == 'goal' and b.attributes['bag'] == 'bag'


@pytest.mark.parametrize(
    ('storage', 'compression'),
    [
        (StoragePlugin.MCAP, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
    ],
)
def test_every_form_of_bag_gives_the_same_episode(tmp_path, storage, compression):
    (expected,), _ = import_one(write_ros1_bag(tmp_path / 'a.bag'), tmp_path / 'store1')
    bag = write_bag(tmp_path / 'bag', drive(), storage, compression)
    (episode,), report = import_one(bag, tmp_path / 'store2')
    assert_equal(episode, expected)
    assert report.actions_from == 'derived' and len(episode) == 15
    # Readings come twice per step: at tick k the newest is number 2 k.
    np.testing.assert_allclose(episode.action[:-1, 0], np.arange(2, 16) * 2 / 10, rtol=1e-6)


def test_a_single_file_is_a_bag_too(tmp_path):
    bag = write_bag(tmp_path / 'bag', drive())
    (episode,), report = import_one(bag / 'bag.mcap', tmp_path / 'store')
    assert len(episode) == 15 and report.segments[0].endswith('bag/segment_000000.hdf5')


def test_commands_in_the_bag_are_the_actions(tmp_path):
    entries = drive()
    for i in range(15):
        entries.append(('/cmd_vel', TWIST, i * PERIOD_NS + 7, twist(i / 100, 0.0)))
    bag = write_bag(tmp_path / 'bag', sorted(entries, key=lambda entry: entry[2]))
    (episode,), report = import_one(bag, tmp_path / 'store')
    assert report.actions_from == 'commands'
    np.testing.assert_allclose(episode.action[:-1, 0], np.arange(1, 15) / 100, rtol=1e-6)
    (derived,), _ = import_one(
        bag, tmp_path / 'other', config=RecorderConfig(actions_from='derived')
    )
    assert derived.action[0, 0] == pytest.approx(0.4)


def test_messages_without_header_take_the_recorded_clock(tmp_path):
    clock = 'rosgraph_msgs/msg/Clock'
    entries = []
    for i in range(1, 31):  # The wall clock runs ten times slower than simulated time.
        wall = 10**18 + i * PERIOD_NS // 10
        now = i * PERIOD_NS
        stamp = TYPES['builtin_interfaces/msg/Time'](now // 10**9, now % 10**9)
        entries.append(('/clock', clock, wall, TYPES[clock](stamp)))
        entries.append(('/odom', ODOMETRY, wall + 1, odometry(now, i)))
        entries.append(('/cmd_vel', TWIST, wall + 2, twist(i / 100, 0.0)))
    entries += [e for e in drive(1) if e[0] == '/goal_pose']
    bag = write_bag(tmp_path / 'bag', entries)
    (episode,), _ = import_one(bag, tmp_path / 'store')
    numbers = episode.stamp_ns // PERIOD_NS
    np.testing.assert_allclose(episode.action[:-1, 0], numbers[:-1] / 100, rtol=1e-6)


def test_nan_and_disorder_are_counted_and_gaps_named(tmp_path):
    entries = drive(60)
    broken = [
        (*e[:3], odometry(e[2], np.nan)) if 20 <= i < 32 else e for i, e in enumerate(entries)
    ]
    broken[5], broken[6] = (
        (*broken[5][:2], broken[6][2], broken[5][3]),
        (
            *broken[6][:2],
            broken[5][2],
            broken[6][3],
        ),
    )
    broken.sort(key=lambda entry: entry[2])
    episodes, report = import_one(write_bag(tmp_path / 'bag', broken), tmp_path / 'store')
    counts = next(t.counts for t in report.topics if t.topic == '/odom')
    assert counts['non_finite'] == 12 and counts['out_of_order'] == 1
    assert report.missing['pose'] > 0 and len(episodes) == 2
    assert report.endings == {'gap: action': 1, 'end_of_bag': 1}


def test_a_wrong_twist_type_is_read_and_a_wrong_sensor_type_is_named(tmp_path):
    data = robot().to_dict()
    data['actions']['base']['type'] = 'geometry_msgs/msg/TwistStamped'
    entries = [*drive(), ('/cmd_vel', TWIST, 3 * PERIOD_NS, twist(0.1, 0.0))]
    entries.sort(key=lambda entry: entry[2])
    bag = write_bag(tmp_path / 'bag', entries)
    (episode,), _ = import_one(bag, tmp_path / 'store', contract=robot(actions=data['actions']))
    # Before the first command nobody knows what was done, so nothing is recorded.
    np.testing.assert_array_equal(episode.stamp_ns // PERIOD_NS, range(3, 16))
    assert episode.action[0, 0] == pytest.approx(0.1)
    data['observation']['pose']['type'] = 'geometry_msgs/msg/PoseStamped'
    del data['observation']['velocity']
    data['actions']['base']['derive_from'] = None
    wrong = robot(observation=data['observation'], actions=data['actions'])
    with pytest.raises(DataError, match=r"holds no usable /odom.*contract 'tiny' requires"):
        import_one(bag, tmp_path / 'other', contract=wrong)


def test_a_namespace_finds_the_topics(tmp_path):
    entries = [(f'/robot1{topic}', *rest) for topic, *rest in drive()]
    bag = write_bag(tmp_path / 'bag', entries)
    with pytest.raises(DataError, match='or give its namespace'):
        import_one(bag, tmp_path / 'none')
    (episode,), _ = import_one(bag, tmp_path / 'store', namespace='robot1')
    assert len(episode) == 15


def test_undecodable_bytes_are_refused_and_counted(tmp_path):
    entries = drive()
    entries[4] = (*entries[4][:3], b'\x00\x01\x00\x00\x01')
    (episode,), report = import_one(write_bag(tmp_path / 'bag', entries), tmp_path / 'store')
    counts = next(t.counts for t in report.topics if t.topic == '/odom')
    assert counts['refused'] == 1 and 'Could not deserialize' in report.warnings[0]
    assert len(episode) == 15


def test_empty_cut_and_absent_bags_are_one_clear_error(tmp_path):
    store = tmp_path / 'store'
    empty = write_bag(tmp_path / 'empty', [])
    with pytest.raises(DataError, match='holds no messages'):
        import_one(empty, store)
    bag = write_bag(tmp_path / 'bag', drive())
    content = (bag / 'bag.mcap').read_bytes()
    (bag / 'bag.mcap').write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r'damaged or cut off.*bags recover'):
        import_one(bag, store)
    (bag / 'metadata.yaml').unlink()
    with pytest.raises(DataError, match=r'no metadata.yaml.*bags recover'):
        import_one(bag, store)
    with pytest.raises(DataError, match='there is no such bag'):
        import_one(tmp_path / 'nowhere', store)
    (tmp_path / 'zero.mcap').write_bytes(b'')
    with pytest.raises(DataError, match='damaged or cut off'):
        import_one(tmp_path / 'zero.mcap', store)
    assert not store.exists()


def test_an_import_is_complete_or_absent_and_never_overwrites(tmp_path):
    bag = write_bag(tmp_path / 'bag', drive())
    store = tmp_path / 'store'
    import_one(bag, store)
    with pytest.raises(StoreError, match=r'store/bag: the session exists already'):
        import_one(bag, store)
    import_one(bag, store, session='again')
    assert TrajectoryStore(store).sessions() == ['again', 'bag']
    assert [p.name for p in store.iterdir() if p.name.startswith('.')] == []


def test_the_report_is_plain_data(tmp_path):
    _, report = import_one(write_bag(tmp_path / 'bag', drive()), tmp_path / 'store')
    assert json.loads(json.dumps(report.to_dict()))['num_steps'] == 15


def _shared_bag(data_directory, name, tmp_path):
    path = data_directory / 'rosbags' / name
    if not path.is_dir():
        pytest.skip(f'{path} is not there')
    return path


def test_unknown_types_of_a_real_drone_bag_are_skipped_by_name(data_directory, tmp_path):
    bag = _shared_bag(data_directory, 'x500_drone_uwb', tmp_path)
    data = robot().to_dict()
    for name in ('wheels', 'goal'):
        del data['observation'][name]
    for name in ('pose', 'velocity'):
        data['observation'][name] |= {'topic': 'X500_2/UkfPositioning/Odometry'}
    contract = contracts.from_dict(data)
    episodes, report = import_one(bag, tmp_path / 'store', contract)
    assert sum(map(len, episodes)) == report.num_steps > 30
    warnings = ' '.join(report.warnings)
    assert '/uwb_sensor_tag_0: 747 messages skipped, ros2_px4_interfaces/msg/UwbSensor' in warnings
    assert 'px4_msgs/msg/VehicleVisualOdometry is not defined in the bag' in warnings


def test_a_real_compressed_bag_is_read(data_directory, tmp_path):
    bag = _shared_bag(data_directory, 'nav2_collision_sim', tmp_path)
    info = bag_info(bag)
    topics = {topic['topic']: topic for topic in info['topics']}
    assert topics['/cmd_vel_smoothed']['messages'] == 231
    copy = tmp_path / 'copy'
    shutil.copytree(bag, copy)
    for file in copy.glob('*.zstd'):
        file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(DataError, match='damaged or cut off'):
        bag_info(copy)


@pytest.mark.parametrize(
    ('name', 'contract', 'steps'),
    [
        ('husky_outdoor_gps_imu', 'husky', 3953),
        ('freiburg079_pioneer', 'pioneer', 1062),
        ('crazyflie_vicon/pitch-45bag', 'crazyflie', 399),
    ],
)
def test_real_robot_bags_become_episodes(data_directory, tmp_path, name, contract, steps):
    bag = _shared_bag(data_directory, name, tmp_path)
    episodes, report = import_one(bag, tmp_path / 'store', contracts.load(contract))
    assert report.num_steps == sum(map(len, episodes)) == steps
    assert TrajectoryStore(tmp_path / 'store').verify() == []
    period_s = 1 / contracts.load(contract).control_rate_hz
    assert steps * period_s == pytest.approx(report.duration_s, rel=0.02)


def test_nan_of_a_failed_estimator_is_counted(data_directory, tmp_path):
    bag = _shared_bag(data_directory, 'crazyflie_vicon/yx4bag', tmp_path)
    _, report = import_one(bag, tmp_path / 'store', contracts.load('crazyflie'))
    counts = {topic.topic: topic.counts for topic in report.topics}
    assert counts['/cf_logpos']['non_finite'] == counts['/cf_logpos']['received'] == 236
