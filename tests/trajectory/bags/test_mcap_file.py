import errno

import pytest
from limited_disk import LimitedDisk
from mcap.exceptions import EndOfFile
from mcap.reader import NonSeekingReader, make_reader
from mcap.records import Message
from mcap.stream_reader import StreamReader
from raw_bags import loop_messages, read_mcap
from robot_learning.trajectory.bags import mcap_file
from robot_learning.trajectory.bags.mcap_file import McapFile


def write_loop(path, compression='', chunk_bytes=4000, lengths=(20, 30)):
    topics, messages = loop_messages(lengths)
    file = McapFile(path, compression, chunk_bytes)
    channels = {
        t.name: file.add_channel(t.name, t.type, t.definition, t.channel_metadata())
        for t in topics
    }
    for m in messages:
        file.write(channels[m.topic], m.log_ns, m.data, m.publish_ns, m.sequence)
    return file, messages


@pytest.mark.parametrize('compression', ['', 'zstd'])
def test_the_reference_reader_finds_everything_with_and_without_the_index(tmp_path, compression):
    path = tmp_path / 'a.mcap'
    file, messages = write_loop(path, compression)
    file.complete({'rosbag2': {'serialized_metadata': 'text'}})
    assert read_mcap(path) == messages
    with path.open('rb') as opened:
        found = NonSeekingReader(opened, validate_crcs=True).iter_messages()
        assert sum(1 for _ in found) == len(messages)
    with path.open('rb') as opened:
        reader = make_reader(opened, validate_crcs=True)
        summary = reader.get_summary()
        assert summary.statistics.message_count == len(messages)
        assert summary.statistics.chunk_count == len(summary.chunk_indexes) > 3
        assert {index.compression for index in summary.chunk_indexes} == {compression}
        assert {s.encoding for s in summary.schemas.values()} == {'ros2msg'}
        assert [m.metadata for m in reader.iter_metadata()] == [{'serialized_metadata': 'text'}]
        assert reader.get_header().profile == 'ros2'


def test_a_topic_can_come_late(tmp_path):
    topics, messages = loop_messages()
    file = McapFile(tmp_path / 'a.mcap', chunk_bytes=3000)
    channels = {}
    for m in messages:
        if m.topic not in channels:
            t = next(t for t in topics if t.name == m.topic)
            channels[m.topic] = file.add_channel(t.name, t.type, t.definition, {})
        file.write(channels[m.topic], m.log_ns, m.data, m.publish_ns, m.sequence)
    file.complete({})
    assert read_mcap(tmp_path / 'a.mcap') == messages


def test_a_refused_chunk_leaves_the_file_whole_and_is_written_when_there_is_space(
    tmp_path, monkeypatch
):
    disk = LimitedDisk(tmp_path, capacity=20_000)
    monkeypatch.setattr(mcap_file, 'os', disk)
    topics, messages = loop_messages()
    file = McapFile(tmp_path / 'a.mcap', chunk_bytes=4000)
    channels = {t.name: file.add_channel(t.name, t.type, t.definition, {}) for t in topics}
    refused = 0
    for m in messages:
        try:
            file.write(channels[m.topic], m.log_ns, m.data, m.publish_ns, m.sequence)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            refused += 1
            size = (tmp_path / 'a.mcap').stat().st_size
            assert size < 20_000 and sum(file.counts.values()) + file.num_waiting > 0
    assert refused
    with pytest.raises(OSError, match='No space'):
        file.complete({})
    disk.capacity = float('inf')
    file.complete({})
    assert read_mcap(tmp_path / 'a.mcap') == messages


def test_without_an_end_everything_but_the_open_chunk_can_be_read(tmp_path):
    file, messages = write_loop(tmp_path / 'a.mcap')
    in_file = sum(file.counts.values())
    assert 0 < in_file == len(messages) - file.num_waiting
    found = []
    with (tmp_path / 'a.mcap').open('rb') as opened, pytest.raises(EndOfFile):
        for record in StreamReader(opened, validate_crcs=True).records:
            found += [record] if isinstance(record, Message) else []
    assert [m.log_time for m in found] == [m.log_ns for m in messages[:in_file]]
    file.abandon()
