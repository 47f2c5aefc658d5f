import shutil

import pytest
from bag_files import drive, write_bag
from raw_bags import loop_messages, wait_for, write
from robot_learning.errors import DataError
from robot_learning.trajectory.bags import bag_summary
from robot_learning.trajectory.bags.bag_summary import summarise
from robot_learning.trajectory.bags.bag_writer import BagWriter, BagWriterConfig
from robot_learning.trajectory.bags.mcap_file import McapFile


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


@pytest.mark.parametrize('tail', [b'', b'\0' * 5, b'\0' * 300_000])
def test_an_open_file_of_nothing_or_zeros_is_shown_as_far_as_it_goes(tmp_path, tail):
    """What a power cut or a full disk leaves: a file without content, or zeros at its end."""
    topics, messages = loop_messages()
    bag = tmp_path / 'bag'
    write(bag, topics, messages)
    (bag / 'bag_1.mcap').write_bytes(tail)
    cut = (bag / 'bag_0.mcap').read_bytes()[:-50]
    for file in ('bag_2.mcap', 'bag_3.mcap'):
        (bag / file).write_bytes(cut + tail if file == 'bag_2.mcap' else b'')
    if len(tail) > 8:
        (bag / 'bag_1.mcap').unlink()
    info = summarise(bag)
    assert info['state'] == 'never completed' and info['messages'] == 2 * len(messages)


def test_a_damaged_open_file_is_one_clear_error(tmp_path):
    topics, messages = loop_messages()
    bag = tmp_path / 'bag'
    write(bag, topics, messages)
    content = bytearray((bag / 'bag_0.mcap').read_bytes()[:-50])
    at = content.index(b'/odom')
    content[at - 4] = 255  # A name that ends behind its record.
    (bag / 'bag_1.mcap').write_bytes(content)
    with pytest.raises(DataError, match=r'bag_1\.mcap: a record cannot be read .*bags recover'):
        summarise(bag)


def test_a_file_completed_while_the_bag_is_shown_counts_once(tmp_path, monkeypatch):
    topics, messages = loop_messages()
    writer = BagWriter(tmp_path / 'bag', BagWriterConfig(flush_s=0.001))
    for each in topics:
        writer.set_topic(each)

    def put_and_split(part):
        for message in part:
            writer.put(message)
        assert writer.split()

    put_and_split(messages[:20])
    for message in messages[20:50]:
        writer.put(message)
    assert wait_for(lambda: sum(c.written for c in writer.counts().values()) == 50)
    splits = iter([writer.split])
    unwatched = bag_summary.bag_info

    def bag_info(path):  # Called between the two looks at the folder.
        next(splits, lambda: '')()
        return unwatched(path)

    monkeypatch.setattr(bag_summary, 'bag_info', bag_info)
    assert summarise(tmp_path / 'bag')['messages'] == 50
    writer.close()


def test_a_topic_with_two_channels_in_a_chunk_is_counted_whole(tmp_path):
    file = McapFile(tmp_path / 'two.mcap')
    for qos in ('a', 'b'):
        file.add_channel('/odom', 'std_msgs/msg/Empty', '', {'offered_qos_profiles': qos})
    for number in (0, 1, 1):
        file.write(number, 5, b'\0\1\0\0')
    file.flush()
    file.abandon()
    assert summarise(file.path)['messages'] == 3


def test_folders_in_the_names_of_an_old_bag_are_passed_over(tmp_path):
    """rosbag2 before version 4 wrote the bag's folder in front of its files."""
    bag = write_bag(tmp_path / 'bag', drive(40))
    text = (bag / 'metadata.yaml').read_text()
    (bag / 'metadata.yaml').write_text(text.replace('- bag.mcap', '- bag/bag.mcap'))
    assert 'bag/bag.mcap' in (bag / 'metadata.yaml').read_text()
    info = summarise(bag)
    assert info['state'] == 'complete' and info['messages'] == 41
