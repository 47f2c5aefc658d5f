import shutil

import pytest
from bag_files import drive, write_bag
from raw_bags import loop_messages, wait_for, write
from robot_learning.errors import DataError
from robot_learning.trajectory.bags.bag_summary import summarise
from robot_learning.trajectory.bags.bag_writer import BagWriter, BagWriterConfig


def test_a_complete_bag_has_our_counts(tmp_path):
    topics, messages = loop_messages()
    write(tmp_path / 'bag', topics, messages)
    info = summarise(tmp_path / 'bag')
    assert info['state'] == 'complete' and info['messages'] == len(messages)
    assert sum(c['received'] for c in info['counts'].values()) == len(messages)


def test_a_bag_of_somebody_else_has_none(tmp_path):
    info = summarise(write_bag(tmp_path / 'bag', drive(40)))
    assert info['state'] == 'complete' and 'counts' not in info


def test_a_bag_that_is_being_written_is_shown_with_its_open_file(tmp_path):
    topics, messages = loop_messages()
    writer = BagWriter(tmp_path / 'bag', BagWriterConfig(flush_s=0.01))
    for each in topics:
        writer.set_topic(each)
    for message in messages[:30]:
        writer.put(message)
    assert wait_for(lambda: sum(c.written for c in writer.counts().values()) == 30)
    info = summarise(tmp_path / 'bag')  # No metadata.yaml yet.
    assert info['state'] == 'being written' and info['messages'] == 30
    assert {t['topic'] for t in info['topics']} == {t.name for t in topics}
    writer.split()
    for message in messages[30:]:
        writer.put(message)
    assert wait_for(lambda: summarise(tmp_path / 'bag')['messages'] == len(messages))
    assert summarise(tmp_path / 'bag')['state'] == 'being written'
    writer.close()
    assert summarise(tmp_path / 'bag')['state'] == 'complete'


def test_what_a_killed_recorder_left_is_shown_and_named(tmp_path):
    topics, messages = loop_messages([60] * 60)
    bag = tmp_path / 'bag'
    write(bag, topics, messages, max_file_bytes=2_000_000)
    cut = bag / 'bag_9.mcap'
    shutil.copy(bag / 'bag_0.mcap', cut)
    with cut.open('r+b') as file:
        file.truncate(cut.stat().st_size - 50)
    for path in (bag, cut):
        info = summarise(path)
        assert info['state'] == 'never completed' and info['open_files'] == [str(cut)]
        assert info['messages'] > 1000 and info['duration_s'] > 1.0
    assert summarise(bag)['messages'] > len(messages)


def test_a_folder_without_a_bag_is_named(tmp_path):
    with pytest.raises(DataError, match='holds no bag'):
        summarise(tmp_path)
