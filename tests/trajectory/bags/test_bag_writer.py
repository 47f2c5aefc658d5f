import resource
import time

import pytest
from limited_disk import LimitedDisk
from raw_bags import LATCHED, loop_messages, plain, read, read_mcap, topic, wait_for, write
from robot_learning.errors import StoreError
from robot_learning.trajectory.bags import bag_metadata, bag_writer, mcap_file
from robot_learning.trajectory.bags.bag_metadata import BagNotes
from robot_learning.trajectory.bags.bag_writer import BagWriter, BagWriterConfig, RawMessage

POSE = 'geometry_msgs/msg/PoseStamped'
IMAGE = 'sensor_msgs/msg/Image'


def images(count, size=100_000):
    return [
        RawMessage('/image', 1000 + i, i.to_bytes(4, 'big') * (size // 4)) for i in range(count)
    ]


def sums(writer):
    counts = writer.counts().values()
    return {
        name: sum(getattr(c, name) for c in counts)
        for name in ('received', 'written', 'dropped', 'waiting')
    }


@pytest.fixture
def disk(tmp_path, monkeypatch):
    disk = LimitedDisk(tmp_path)
    monkeypatch.setattr(mcap_file, 'os', disk)
    yield disk
    disk.release()


@pytest.mark.parametrize('compression', ['', 'zstd'])
def test_every_message_comes_back_from_all_files(tmp_path, compression):
    topics, messages = loop_messages()
    bag = tmp_path / 'bag'
    writer = write(bag, topics, messages, max_file_bytes=20_000, compression=compression)
    assert read(bag) == plain(messages)
    assert sums(writer) == {
        'received': len(messages), 'written': len(messages), 'dropped': 0, 'waiting': 0,
    }  # fmt: skip
    files = sorted(bag.glob('*.mcap'), key=lambda f: int(f.stem.split('_')[-1]))
    assert [m for file in files for m in read_mcap(file)] == messages
    information = bag_metadata.read(bag)
    assert information['relative_file_paths'] == [file.name for file in files]
    assert len(files) > 2 and {p.suffix for p in bag.iterdir()} == {'.mcap', '.yaml'}
    assert [f['message_count'] for f in information['files']] == [len(read_mcap(f)) for f in files]


def test_a_file_is_complete_after_its_time(tmp_path):
    topics, messages = loop_messages()
    writer = BagWriter(tmp_path / 'bag', BagWriterConfig(max_file_s=0.05))
    for each in topics:
        writer.set_topic(each)
    writer.put(messages[0])
    assert wait_for(lambda: (tmp_path / 'bag' / 'metadata.yaml').exists())
    assert read(tmp_path / 'bag') == plain(messages[:1])
    writer.put(messages[1])
    writer.close()
    assert len(list((tmp_path / 'bag').glob('*.mcap'))) == 2


def test_split_completes_the_open_file_and_names_it(tmp_path):
    topics, messages = loop_messages()
    writer = BagWriter(tmp_path / 'bag', BagWriterConfig())
    for each in topics:
        writer.set_topic(each)
    assert writer.split() == ''
    for message in messages[:7]:
        writer.put(message)
    assert writer.split() == 'bag_0.mcap'
    assert read_mcap(tmp_path / 'bag' / 'bag_0.mcap') == messages[:7]
    writer.close()


def test_a_slow_disk_costs_messages_that_are_counted_and_never_time(tmp_path, disk):
    disk.stick()
    writer = BagWriter(tmp_path / 'bag', BagWriterConfig(max_waiting_bytes=1_000_000))
    writer.set_topic(topic('/image', IMAGE))
    sent = images(50)
    began_s = time.monotonic()
    for message in sent:
        writer.put(message)
    assert time.monotonic() - began_s < 5.0  # The disk is stuck for longer.
    assert writer.counts()['/image'].dropped >= 40
    disk.release()
    writer.close()
    found = read(tmp_path / 'bag')
    assert set(found) <= set(plain(sent)) and 0 < len(found) <= 10
    assert sums(writer) == {
        'received': 50, 'written': len(found), 'dropped': 50 - len(found), 'waiting': 0,
    }  # fmt: skip


def test_a_full_disk_is_named_and_costs_nothing_while_memory_lasts(tmp_path, disk):
    disk.capacity = bag_writer._RESERVE_BYTES + 500_000
    config = BagWriterConfig(retry_s=0.01, flush_s=0.01)
    writer = BagWriter(tmp_path / 'bag', config)
    writer.set_topic(topic('/image', IMAGE))
    sent = images(30)
    for message in sent:
        writer.put(message)
    assert wait_for(lambda: 'No space left on device' in writer.error)
    disk.capacity = float('inf')
    assert wait_for(lambda: sums(writer)['written'] == 30)
    assert writer.error == ''
    writer.close()
    assert read(tmp_path / 'bag') == plain(sent)


def test_a_bag_ends_soundly_on_a_full_disk_and_says_what_is_missing(tmp_path, disk):
    bag = tmp_path / 'bag'
    disk.capacity = bag_writer._RESERVE_BYTES + 3_500_000
    writer = BagWriter(bag, BagWriterConfig(retry_s=0.01, flush_s=0.01))
    writer.set_topic(topic('/image', IMAGE))
    sent = images(60)
    for message in sent:
        writer.put(message)
    assert wait_for(lambda: writer.error)
    writer.close()
    found = read(bag)
    assert 20 < len(found) < 40 and found == plain(sent)[: len(found)]
    notes = BagNotes.from_custom_data(bag_metadata.read(bag)['custom_data'])
    assert 'No space left on device' in notes.problem and notes.state == 'complete'
    counts = notes.counts['/image']
    assert (counts.received, counts.written, counts.dropped) == (60, len(found), 60 - len(found))
    assert not (bag / '.reserve').exists()


def test_a_write_that_the_kernel_refuses_is_taken_back(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = BagWriter(tmp_path / 'bag', BagWriterConfig(retry_s=0.01, flush_s=0.01))
    writer.set_topic(topic('/image', IMAGE))
    sent = images(40)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_300_000, hard))
    try:
        for message in sent:
            writer.put(message)
        assert wait_for(lambda: 'File too large' in writer.error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.close()
    assert writer.error == '' and read(tmp_path / 'bag') == plain(sent)


def test_complete_files_are_a_sound_bag_while_the_next_is_written(tmp_path):
    topics, messages = loop_messages([40])
    writer = BagWriter(tmp_path / 'bag', BagWriterConfig(max_file_bytes=10_000, flush_s=60.0))
    for each in topics:
        writer.set_topic(each)
    for message in messages:
        writer.put(message)
    # What kill -9 would leave: no close(). Only wait until the thread has taken everything.
    assert wait_for(lambda: not writer._queue and len(writer._files) > 1)
    found = read(tmp_path / 'bag')
    assert 0 < len(found) <= len(messages) and found == plain(messages)[: len(found)]
    assert (
        bag_metadata.read(tmp_path / 'bag')['custom_data']['robot_learning.state'] == 'recording'
    )
    writer.close()


def test_a_bag_without_messages_is_sound_and_knows_its_topics(tmp_path):
    write(tmp_path / 'bag', [topic('/goal', POSE, qos=(LATCHED,))], [])
    information = bag_metadata.read(tmp_path / 'bag')
    assert information['message_count'] == 0 and len(information['files']) == 1
    assert read_mcap(tmp_path / 'bag' / 'bag_0.mcap') == []


def test_wrong_folders_are_named_before_anything_is_recorded(tmp_path):
    with pytest.raises(StoreError, match='exists already'):
        BagWriter(tmp_path, BagWriterConfig())
    (tmp_path / 'file').write_text('')
    with pytest.raises(StoreError, match='cannot be made'):
        BagWriter(tmp_path / 'file' / 'bag', BagWriterConfig())


def test_publishers_that_change_after_a_rotation_hide_no_message(tmp_path):
    """Readers join the channels of several files only when they are described alike."""
    topics, messages = loop_messages()
    half = len(messages) // 2
    writer = BagWriter(tmp_path / 'bag', BagWriterConfig())
    for each in topics:
        writer.set_topic(each)
    writer.put_all(messages[:half])
    assert writer.split()
    for each in topics:
        writer.set_topic(each._replace(qos=(LATCHED,)))
    writer.put_all(messages[half:])
    writer.close()
    assert len(read(tmp_path / 'bag')) == len(messages)
