import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bag_files import closed_loop, drive, write_bag
from damaged_bags import FORMS, QOS, write_mcap
from raw_bags import loop_messages, read_mcap, wait_for, write
from recordings import robot
from robot_learning.errors import DataError, StoreError
from robot_learning.trajectory.bags import bag_metadata
from robot_learning.trajectory.bags.bag import import_bag
from robot_learning.trajectory.bags.bag_metadata import BagNotes
from robot_learning.trajectory.bags.bag_recovery import recover_bag
from robot_learning.trajectory.bags.bag_types import known_types
from robot_learning.trajectory.bags.bag_writer import BagWriter, BagWriterConfig
from robot_learning.trajectory.store import TrajectoryStore
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionMode, Reader, StoragePlugin
from rosbags.rosbag2.metadata import parse_qos


def read(path):
    with AnyReader([path]) as reader:
        return [
            (c.topic, c.msgtype, c.digest, stamp, bytes(data))
            for c, stamp, data in reader.messages()
        ]


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def long_bag(path, compression=CompressionMode.NONE):
    """Write 1.6 MB or so: two chunks."""
    return write_bag(path, closed_loop([60] * 40), compression=compression)


def split_bag(folder, **config):
    """Write a bag of several files with our recorder's writer; return its folder."""
    topics, messages = loop_messages()
    write(folder, topics, messages, max_file_bytes=12_000, **config)
    return folder


@pytest.mark.parametrize('compression', [CompressionMode.NONE, CompressionMode.STORAGE])
def test_a_whole_bag_is_copied_as_it_is(tmp_path, compression):
    bag = long_bag(tmp_path / 'bag', compression)
    before = content(bag)
    recovery = recover_bag(bag, tmp_path / 'sound')
    expected = read(bag)
    assert recovery.is_sound and recovery.saved.total() == len(expected)
    assert recovery.lost == {} and recovery.notes == []
    assert read(tmp_path / 'sound') == expected
    assert content(bag) == before
    again = recover_bag(tmp_path / 'sound', tmp_path / 'again')
    assert again.is_sound and read(tmp_path / 'again') == expected


@pytest.mark.parametrize('form', FORMS)
def test_definitions_and_qos_are_kept(tmp_path, form):
    written = write_mcap(tmp_path / 'a.mcap', form)
    recovery = recover_bag(tmp_path / 'a.mcap', tmp_path / 'sound')
    assert recovery.is_sound and recovery.files[0].unchecked == 0
    with Reader(tmp_path / 'sound') as reader:
        found = [(c.topic, stamp, bytes(data)) for c, stamp, data in reader.messages()]
        for connection in reader.connections:
            assert connection.ext.offered_qos_profiles == parse_qos(QOS)
            assert connection.digest == known_types().hash_rihs01(connection.msgtype)
            definition, _ = known_types().generate_msgdef(connection.msgtype, ros_version=2)
            assert connection.msgdef.data == definition
    assert sorted(found) == sorted(tuple(entry) for entry in written)


@pytest.mark.parametrize('compression', [CompressionMode.NONE, CompressionMode.STORAGE])
@pytest.mark.parametrize('share', [0.4, 0.75, 0.9])
def test_of_a_cut_file_everything_before_the_cut_is_saved(tmp_path, share, compression):
    bag = long_bag(tmp_path / 'bag', compression)
    expected = read(bag)
    cut = tmp_path / 'cut.mcap'
    whole = (bag / 'bag.mcap').read_bytes()
    cut.write_bytes(whole[: int(share * len(whole))])
    recovery = recover_bag(cut, tmp_path / 'sound')
    saved = read(tmp_path / 'sound')
    assert not recovery.is_sound and recovery.saved.total() == len(saved)
    assert set(saved) <= set(expected)
    if compression == CompressionMode.NONE:
        assert len(saved) > (share - 0.05) * len(expected)
    report = import_bag(tmp_path / 'sound', robot(), TrajectoryStore(tmp_path / 'store'))
    assert report.num_steps > 0


def test_a_split_bag_without_metadata_gives_all_its_files_in_order(tmp_path):
    bag = split_bag(tmp_path / 'bag')
    expected = read(bag)
    (bag / 'metadata.yaml').unlink()
    recovery = recover_bag(bag, tmp_path / 'sound')
    numbers = [int(file.path.stem.rpartition('_')[2]) for file in recovery.files]
    assert numbers == sorted(numbers) and len(numbers) > 3
    assert recovery.is_sound and 'there was no metadata.yaml' in recovery.notes[0]
    assert sorted(read(tmp_path / 'sound')) == sorted(expected)


def test_missing_files_are_named_and_their_messages_counted(tmp_path):
    bag = split_bag(tmp_path / 'bag')
    names = sorted(path.name for path in bag.glob('*.mcap'))
    expected = read(bag)
    gone = Reader(bag / names[1])
    with gone:
        count = gone.message_count
    (bag / names[1]).unlink()
    recovery = recover_bag(bag, tmp_path / 'sound')
    assert recovery.missing_files == [names[1]] and not recovery.is_sound
    assert recovery.lost.total() == count
    assert len(read(tmp_path / 'sound')) == len(expected) - count
    (bag / 'metadata.yaml').unlink()
    recovery = recover_bag(bag, tmp_path / 'by_number')
    assert recovery.missing_files == [names[1]]


@pytest.mark.parametrize('damage', ['half', 'empty', 'binary', 'other', 'counts'])
def test_metadata_that_is_broken_or_wrong_is_named_and_costs_nothing(tmp_path, damage):
    bag = write_bag(tmp_path / 'bag', drive())
    expected, path = read(bag), bag / 'metadata.yaml'
    text = path.read_text()
    if damage == 'counts':
        path.write_text(text.replace('31', '44'))
    else:
        broken = {'half': text[: len(text) // 2], 'empty': '', 'other': 'a: [1, 2]'}
        path.write_bytes(broken.get(damage, '\udcff\x00').encode('utf-8', 'surrogateescape'))
    recovery = recover_bag(bag, tmp_path / 'sound')
    assert recovery.is_sound and 'metadata.yaml' in recovery.notes[0]
    assert read(tmp_path / 'sound') == expected
    sound = yaml.safe_load((tmp_path / 'sound' / 'metadata.yaml').read_text())
    assert sound['rosbag2_bagfile_information']['message_count'] == 31


def test_the_open_file_that_a_killed_writer_leaves_is_read_too(tmp_path):
    bag = split_bag(tmp_path / 'bag')
    names = sorted(path.name for path in bag.glob('*.mcap'))
    part = bag / f'bag_{len(names)}.mcap'
    whole = (bag / names[0]).read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    recovery = recover_bag(bag, tmp_path / 'sound')
    assert not recovery.is_sound and not recovery.missing_files
    assert recovery.files[-1].path == part
    assert any('does not name' in note for note in recovery.notes)


@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_bags_that_rosbag2_packed_are_unpacked(tmp_path, mode):
    bag = write_bag(tmp_path / 'bag', closed_loop([60] * 20), compression=mode)
    expected = read(bag)
    assert recover_bag(bag, tmp_path / 'sound').is_sound
    assert read(tmp_path / 'sound') == expected
    if mode == CompressionMode.FILE:
        (packed,) = bag.glob('*.zstd')
        packed.write_bytes(packed.read_bytes()[:-5000])
        recovery = recover_bag(bag, tmp_path / 'cut')
        assert not recovery.is_sound and recovery.saved.total() > 0


def test_what_cannot_be_recovered_is_named(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match=r'holds no \.mcap or \.db3 file'):
        recover_bag(tmp_path / 'empty', tmp_path / 'sound')
    with pytest.raises(DataError, match='there is no such file or folder'):
        recover_bag(tmp_path / 'nowhere', tmp_path / 'sound')
    (tmp_path / 'junk.mcap').write_bytes(b'no MCAP at all')
    with pytest.raises(DataError, match='nothing in it can be read'):
        recover_bag(tmp_path / 'junk.mcap', tmp_path / 'sound')
    (tmp_path / 'empty.mcap').write_bytes(b'')
    with pytest.raises(DataError, match='nothing in it can be read'):
        recover_bag(tmp_path / 'empty.mcap', tmp_path / 'sound')
    assert not (tmp_path / 'sound').exists()
    bag = write_bag(tmp_path / 'bag', drive())
    with pytest.raises(StoreError, match='exists already'):
        recover_bag(bag, tmp_path / 'empty')
    with pytest.raises(StoreError, match='lies inside the bag'):
        recover_bag(bag, bag / 'sound')


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    bag = write_bag(tmp_path / 'bag', drive())

    def refuse(descriptor, data):
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(os, 'write', refuse)
        with pytest.raises(StoreError, match=r'No space left on device.*Free space'):
            recover_bag(bag, tmp_path / 'sound')
    assert [path.name for path in tmp_path.iterdir()] == ['bag']
    (tmp_path / '.recovering_sound').mkdir()  # Left by a recovery that was killed.
    assert recover_bag(bag, tmp_path / 'sound').is_sound
    assert sorted(path.name for path in tmp_path.iterdir()) == ['bag', 'sound']


def test_sqlite_bags_become_mcap_bags(tmp_path):
    bag = write_bag(tmp_path / 'bag', drive(), StoragePlugin.SQLITE3)
    assert recover_bag(bag, tmp_path / 'sound').is_sound
    assert sorted(read(tmp_path / 'sound')) == sorted(read(bag))
    shutil.move(bag / 'bag.db3', tmp_path / 'lonely.db3')
    assert recover_bag(tmp_path / 'lonely.db3', tmp_path / 'from_file').is_sound


def test_stamps_of_sending_and_sequence_numbers_are_kept(tmp_path):
    topics, messages = loop_messages()
    write(tmp_path / 'bag', topics, messages)
    recover_bag(tmp_path / 'bag', tmp_path / 'sound', 'zstd')
    assert read_mcap(tmp_path / 'sound' / 'sound_0.mcap') == messages


def test_a_bag_that_is_being_recorded_is_refused(tmp_path):
    topics, messages = loop_messages()
    writer = BagWriter(tmp_path / 'bag', BagWriterConfig(flush_s=0.01))
    for each in topics:
        writer.set_topic(each)
    for message in messages:
        writer.put(message)
    assert wait_for(lambda: sum(c.written for c in writer.counts().values()) == len(messages))
    with pytest.raises(DataError, match=r'is being written by a recorder\. Stop that first'):
        recover_bag(tmp_path / 'bag', tmp_path / 'sound')
    writer.close()
    recovery = recover_bag(tmp_path / 'bag', tmp_path / 'sound')
    assert recovery.is_sound and recovery.saved.total() == len(messages)
    custom = bag_metadata.read(tmp_path / 'sound')['custom_data']
    assert BagNotes.from_custom_data(custom).state == bag_metadata.COMPLETE


def test_a_topic_with_two_offers_of_quality_keeps_both(tmp_path):
    write_mcap(tmp_path / 'a.mcap', 'plain', 5)
    write_bag(tmp_path / 'b', drive(7))
    folder = tmp_path / 'both'
    folder.mkdir()
    shutil.copy(tmp_path / 'a.mcap', folder)
    shutil.copy(tmp_path / 'b' / 'b.mcap', folder)
    assert recover_bag(folder, tmp_path / 'sound').is_sound
    with Reader(tmp_path / 'sound') as reader:
        counts = sorted(c.msgcount for c in reader.connections)
        assert counts == [1, 1, 5, 7] and len(list(reader.messages())) == 14


_KILLED = """
import os, signal, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from raw_bags import loop_messages
from robot_learning.trajectory.bags.bag_writer import BagWriter, BagWriterConfig
topics, messages = loop_messages()
writer = BagWriter(Path(sys.argv[1]), BagWriterConfig(flush_s=0.001, max_file_bytes=20_000))
for topic in topics:
    writer.set_topic(topic)
for number in range(10**9):
    writer.put(messages[number % len(messages)]._replace(sequence=number, log_ns=number))
    if number > 400 and sum(c.written for c in writer.counts().values()) > 300:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_of_a_recorder_killed_with_9_every_message_that_was_in_a_file_is_saved(tmp_path):
    bag = tmp_path / 'bag'
    folders = [str(Path(__file__).parent), *sys.path]
    result = subprocess.run([sys.executable, '-c', _KILLED, str(bag), *folders], timeout=120)
    assert result.returncode == -signal.SIGKILL
    recovery = recover_bag(bag, tmp_path / 'sound')
    found = read_mcap(tmp_path / 'sound' / 'sound_0.mcap')
    assert [message.sequence for message in found] == list(range(len(found)))
    assert len(found) == recovery.saved.total() > 300
    _, messages = loop_messages()
    assert all(m.data == messages[m.sequence % len(messages)].data for m in found)
