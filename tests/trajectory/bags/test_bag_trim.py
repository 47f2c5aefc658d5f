import pytest
from bag_files import drive, write_bag, write_ros1_bag
from raw_bags import LATCHED, plain, read, read_mcap, topic, write
from robot_learning.errors import ConfigError, DataError, StoreError
from robot_learning.trajectory.bags import bag_metadata
from robot_learning.trajectory.bags.bag_trim import trim_bag
from robot_learning.trajectory.bags.bag_types import known_types
from robot_learning.trajectory.bags.bag_writer import RawMessage
from rosbags.rosbag2 import StoragePlugin

S = 1_000_000_000
STRING = 'std_msgs/msg/String'
BEGIN = 1_700_000_000 * S


def message(name, seconds, text='x'):
    data = bytes(known_types().serialize_cdr(known_types().types[STRING](data=text), STRING))
    at = BEGIN + round(seconds * S)
    return RawMessage(name, at, data, at - 99, round(seconds * 10))


@pytest.fixture
def bag(tmp_path):
    """Ten seconds of talk at 10 Hz in several files; a map at 0 s and 1 s."""
    topics = [
        topic('/talk', STRING),
        topic('/noise', STRING),
        topic('/map', STRING, qos=(LATCHED,)),
    ]
    messages = [message('/map', 0, 'walls')]
    for i in range(1, 101):
        messages += [message('/talk', i / 10, f'{i}'), message('/noise', i / 10, 5000 * 'n')]
    messages.insert(21, message('/map', 1.05, 'doors'))
    write(tmp_path / 'bag', topics, messages, max_file_bytes=200_000)
    return tmp_path / 'bag', messages


def test_a_piece_keeps_bytes_times_numbers_definitions_and_qos(bag, tmp_path):
    source, messages = bag
    trimmed = trim_bag(source, tmp_path / 'piece', 4.0, 6.0)
    wanted = [m for m in messages if 4.0 <= (m.log_ns - BEGIN) / S < 6.0]
    old = [
        m._replace(log_ns=BEGIN + 4 * S) for m in messages if m.topic == '/map'
    ]  # The time of publication stays.
    found = [m for file in sorted((tmp_path / 'piece').glob('*.mcap')) for m in read_mcap(file)]
    assert sorted(found) == sorted(old + wanted) and found[:2] == old
    assert trimmed.messages == {'/talk': 20, '/noise': 20, '/map': 2}
    assert trimmed.latched == {'/map': 2}
    before, after = (bag_metadata.read(p) for p in (source, tmp_path / 'piece'))

    def metadata(information):
        return {t['topic_metadata']['name']: t['topic_metadata']
                for t in information['topics_with_message_count']}  # fmt: skip

    assert metadata(before) == metadata(after)
    assert [p.name for p in (tmp_path / 'piece').iterdir() if p.suffix == '.mcap'] == [
        'piece_0.mcap'
    ]


def test_the_last_seconds_and_single_topics(bag, tmp_path):
    source, messages = bag
    trim_bag(source, tmp_path / 'piece', last_s=1.0, is_wanted=lambda topic: topic == '/talk')
    talk = [m for m in messages if m.topic == '/talk']
    assert read(tmp_path / 'piece') == plain(talk[-10:])
    assert len(bag_metadata.read(tmp_path / 'piece')['topics_with_message_count']) == 1


def test_the_whole_bag_stays_what_it_was(bag, tmp_path):
    source, _ = bag
    trim_bag(source, tmp_path / 'copy')
    assert read(tmp_path / 'copy') == read(source)


def test_a_sqlite3_bag_can_be_trimmed_too(tmp_path):
    source = write_bag(tmp_path / 'old', drive(40), StoragePlugin.SQLITE3)
    stamps = [stamp for _, stamp, _ in read(source)]
    middle_s = (stamps[20] - stamps[0]) * 1e-9
    trim_bag(source, tmp_path / 'piece', start_s=middle_s)
    assert read(tmp_path / 'piece') == read(source)[20:]


def test_what_cannot_be_trimmed_is_named_and_leaves_nothing(bag, tmp_path):
    source, _ = bag
    with pytest.raises(
        DataError, match=r'nothing lies between 20 s and the end; .*10\.000 s long'
    ):
        trim_bag(source, tmp_path / 'piece', start_s=20.0)
    with pytest.raises(DataError, match=r'none of the topics asked for. It holds: /map, /noise'):
        trim_bag(source, tmp_path / 'piece', is_wanted=lambda topic: topic == '/tlak')
    with pytest.raises(StoreError, match='exists already'):
        trim_bag(source, source)
    for times in ({'start_s': float('nan')}, {'last_s': float('inf')}):
        with pytest.raises(ConfigError, match='expected a finite time'):
            trim_bag(source, tmp_path / 'piece', **times)
    ros1 = tmp_path / 'old.bag'
    write_ros1_bag(ros1)
    with pytest.raises(DataError, match='is a ROS 1 bag'):
        trim_bag(ros1, tmp_path / 'piece')
    assert {p.name for p in tmp_path.iterdir()} == {'bag', 'old.bag'}
