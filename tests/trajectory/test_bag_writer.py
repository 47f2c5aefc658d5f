import errno

import pytest
import yaml
from bag_files import ODOMETRY, POSE, closed_loop, goal_pose, odometry
from recordings import PERIOD_NS
from robot_learning.errors import ConfigError, StoreError
from robot_learning.trajectory import bag_writer
from robot_learning.trajectory.bag_types import known_types
from robot_learning.trajectory.bag_writer import BagWriter, BagWriterConfig
from rosbags.highlevel import AnyReader


def serialised(entries):
    for topic, kind, log_ns, message in entries:
        yield topic, log_ns, bytes(known_types().serialize_cdr(message, kind))


def topics_of(entries):
    return {topic: kind for topic, kind, _, _ in entries}


def read(path):
    with AnyReader([path]) as reader:
        return [(c.topic, stamp, bytes(data)) for c, stamp, data in reader.messages()]


def test_every_message_comes_back_from_all_files(tmp_path):
    entries = closed_loop([20, 30])
    config = BagWriterConfig(max_file_bytes=20_000)
    writer = BagWriter(tmp_path / 'bag', config, topics_of(entries))
    messages = list(serialised(entries))
    for message in messages:
        writer.put(*message)
    writer.close()
    assert read(tmp_path / 'bag') == messages
    assert sum(writer.written.values()) == len(messages) and not writer.dropped
    metadata = yaml.safe_load((tmp_path / 'bag' / 'metadata.yaml').read_text())
    information = metadata['rosbag2_bagfile_information']
    assert information['storage_identifier'] == 'mcap'
    assert len(information['relative_file_paths']) == len(information['files']) > 2
    assert information['message_count'] == len(messages)
    assert sum(file['message_count'] for file in information['files']) == len(messages)
    stamps = [log_ns for _, log_ns, _ in messages]
    assert information['starting_time']['nanoseconds_since_epoch'] == min(stamps)
    assert information['duration']['nanoseconds'] == max(stamps) - min(stamps)
    assert {p.suffix for p in (tmp_path / 'bag').iterdir()} == {'.mcap', '.yaml'}


def test_stray_bytes_behind_a_message_are_cut(tmp_path):
    message = odometry(PERIOD_NS, 3.0)
    data = bytes(known_types().serialize_cdr(message, ODOMETRY))
    writer = BagWriter(tmp_path / 'bag', BagWriterConfig(), {'/odom': ODOMETRY})
    writer.put('/odom', 1, data + b'\xd0\x1c\xdfV')
    writer.close()
    assert read(tmp_path / 'bag') == [('/odom', 1, data)]


def test_too_much_at_once_is_dropped_and_counted_and_never_blocks(tmp_path, monkeypatch):
    data = bytes(known_types().serialize_cdr(goal_pose(5), POSE))
    config = BagWriterConfig(max_waiting_bytes=3 * len(data))
    monkeypatch.setattr(bag_writer.threading.Thread, 'start', lambda thread: None)
    writer = BagWriter(tmp_path / 'bag', config, {'/goal_pose': POSE})
    for _ in range(10):
        writer.put('/goal_pose', 1, data)
    assert writer.dropped['/goal_pose'] == 7


def test_complete_files_are_a_sound_bag_while_the_next_is_written(tmp_path):
    entries = closed_loop([40])
    config = BagWriterConfig(max_file_bytes=10_000)
    writer = BagWriter(tmp_path / 'bag', config, topics_of(entries))
    messages = list(serialised(entries))
    for message in messages:
        writer.put(*message)
    # What kill -9 would leave: no close(). Only wait until the thread has taken everything.
    for _ in range(1000):
        if sum(writer.written.values()) == len(messages):
            break
        writer._thread.join(timeout=0.01)
    found = read(tmp_path / 'bag')
    assert 0 < len(found) <= len(messages) and found == messages[: len(found)]
    writer.close()


def test_a_full_disk_is_named_and_what_it_cost_is_counted(tmp_path, monkeypatch):
    data = bytes(known_types().serialize_cdr(goal_pose(5), POSE))
    is_full = [True]
    sound_write = bag_writer._Part.write

    def write(part, topic, log_ns, data):
        if is_full[0]:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return sound_write(part, topic, log_ns, data)

    monkeypatch.setattr(bag_writer._Part, 'write', write)
    config = BagWriterConfig(retry_s=1e-9)
    writer = BagWriter(tmp_path / 'bag', config, {'/goal_pose': POSE})
    writer.put('/goal_pose', 1, data)
    for _ in range(1000):
        if writer.dropped:
            break
        writer._thread.join(timeout=0.01)
    assert 'No space left on device' in writer.error
    is_full[0] = False
    writer.put('/goal_pose', 2, data)
    writer.close()
    assert writer.error == '' and writer.dropped['/goal_pose'] == 1
    assert read(tmp_path / 'bag') == [('/goal_pose', 2, data)]


def test_wrong_folders_and_types_are_named_before_anything_is_recorded(tmp_path):
    with pytest.raises(StoreError, match='exists already'):
        BagWriter(tmp_path, BagWriterConfig(), {})
    (tmp_path / 'file').write_text('')
    with pytest.raises(StoreError, match='cannot be made'):
        BagWriter(tmp_path / 'file' / 'bag', BagWriterConfig(), {})
    with pytest.raises(ConfigError, match="type 'px4_msgs/msg/Timesync' has no known definition"):
        BagWriter(tmp_path / 'bag', BagWriterConfig(), {'/t': 'px4_msgs/msg/Timesync'})
