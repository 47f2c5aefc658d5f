import shutil

import pytest
from bag_files import drive, write_bag
from raw_bags import loop_messages, write
from robot_learning.errors import DataError
from robot_learning.trajectory.bags.mcap_stream import McapStream
from rosbags.rosbag2 import CompressionMode


def all_messages(path):
    with McapStream(path) as stream:
        found = [
            (m.channel.topic, m.log_ns, m.data, m.publish_ns, m.sequence)
            for chunk in stream.chunks()
            for m in stream.messages(chunk)
        ]
        return found, stream.is_whole


@pytest.mark.parametrize('compression', ['', 'zstd'])
def test_everything_is_read_in_the_order_of_the_file(tmp_path, compression):
    topics, messages = loop_messages()
    write(tmp_path / 'bag', topics, messages, compression=compression)
    found, is_whole = all_messages(tmp_path / 'bag' / 'bag_0.mcap')
    assert is_whole and found == [tuple(m) for m in messages]


@pytest.mark.parametrize('compression', [CompressionMode.NONE, CompressionMode.STORAGE])
def test_counts_come_without_reading_where_there_is_an_index(tmp_path, compression):
    bag = write_bag(tmp_path / 'bag', drive(40), compression=compression)
    with McapStream(bag / 'bag.mcap') as stream:
        (chunk,) = stream.chunks()
        assert chunk.counts == {'/goal_pose': 1, '/odom': 40}
        assert stream.counts(chunk._replace(counts=None)) == chunk.counts
        channel = next(c for c in stream.channels.values() if c.topic == '/odom')
        assert channel.type == 'nav_msgs/msg/Odometry' and 'child_frame_id' in channel.definition


def test_a_cut_file_is_read_up_to_the_cut(tmp_path):
    topics, messages = loop_messages([60] * 60)
    write(tmp_path / 'bag', topics, messages)
    whole = tmp_path / 'bag' / 'bag_0.mcap'
    cut = tmp_path / 'cut.mcap'
    shutil.copy(whole, cut)
    with cut.open('r+b') as file:
        file.truncate(whole.stat().st_size * 3 // 4)
    found, is_whole = all_messages(cut)
    assert not is_whole
    assert len(messages) // 3 < len(found) < len(messages)
    assert found == [tuple(m) for m in messages[: len(found)]]


def test_what_is_no_mcap_file_is_named(tmp_path):
    (tmp_path / 'a.mcap').write_text('hello')
    with pytest.raises(DataError, match='is no MCAP file'):
        all_messages(tmp_path / 'a.mcap')
    with pytest.raises(DataError, match='cannot be read'):
        all_messages(tmp_path / 'none.mcap')


def test_a_damaged_chunk_is_named(tmp_path):
    topics, messages = loop_messages()
    write(tmp_path / 'bag', topics, messages)
    path = tmp_path / 'bag' / 'bag_0.mcap'
    content = bytearray(path.read_bytes())
    at = content.index(messages[10].data)
    content[at + 8] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match='checksum of the chunk is wrong'):
        all_messages(path)
