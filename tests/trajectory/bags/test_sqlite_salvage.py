import random
import sqlite3

import pytest
from bag_files import drive, write_bag
from robot_learning.errors import DataError
from robot_learning.trajectory.bags.bag_recovery import recover_bag
from robot_learning.trajectory.bags.salvage import NO_METADATA, FileReport
from robot_learning.trajectory.bags.sqlite_salvage import SqliteSalvage
from rosbags.rosbag2 import StoragePlugin

COUNT = 401


@pytest.fixture
def database(tmp_path):
    return write_bag(tmp_path / 'bag', drive(COUNT - 1), StoragePlugin.SQLITE3) / 'bag.db3'


def salvage(path):
    report = FileReport(path, path.stat().st_size)
    messages = SqliteSalvage(path, report, NO_METADATA).messages()
    return [(m.channel.topic, m.log_ns, m.data) for m in messages], report


def test_every_cut_gives_whole_messages_only_and_names_what_is_cut_off(database, tmp_path):
    whole, report = salvage(database)
    assert report.is_sound and len(whole) == COUNT
    content, cut = database.read_bytes(), tmp_path / 'cut.db3'
    rng = random.Random(0)
    for size in [0, 50, 100, *rng.sample(range(len(content)), 60)]:
        cut.write_bytes(content[:size])
        found, report = salvage(cut)
        assert set(found) <= set(whole), size
        assert not report.is_sound, size
        share = (size - 12 * 4096) / len(content)  # Beside tables, indices and the last page.
        assert len(found) >= share * COUNT, size
        assert cut.read_bytes() == content[:size]


def test_flipped_bytes_never_end_in_a_traceback(database, tmp_path):
    content, broken = database.read_bytes(), tmp_path / 'broken.db3'
    rng = random.Random(1)
    for number in range(60):
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 50))):
            damaged[rng.randrange(200 if number % 3 else len(content))] ^= rng.randrange(1, 256)
        broken.write_bytes(damaged)
        found, report = salvage(broken)
        assert report.unchecked == len(found)
        assert len(found) == COUNT or not report.is_sound


def test_a_journal_left_by_a_killed_recorder_is_rolled_back_in_a_copy(tmp_path):
    bag = write_bag(tmp_path / 'bag', drive(20), StoragePlugin.SQLITE3)
    path = bag / 'bag.db3'
    connection = sqlite3.connect(path)
    connection.execute('PRAGMA cache_size = 1')  # Uncommitted pages go to the file.
    connection.execute('BEGIN')
    for number in range(200):
        row = (1, 10**12 + number, b'\0\1\0\0' + bytes(2000))
        connection.execute('INSERT INTO messages(topic_id, timestamp, data) VALUES(?,?,?)', row)
    killed = tmp_path / 'killed'
    killed.mkdir()
    for file in bag.glob('bag.db3*'):
        (killed / file.name).write_bytes(file.read_bytes())
    connection.rollback()
    connection.close()
    assert (killed / 'bag.db3-journal').stat().st_size
    before = {file: file.read_bytes() for file in killed.iterdir()}
    recovery = recover_bag(killed, tmp_path / 'sound')
    assert recovery.saved.total() == 21 and not recovery.is_sound
    assert 'its recorder was killed' in ' '.join(recovery.files[0].notes)
    assert {file: file.read_bytes() for file in killed.iterdir()} == before


def test_a_write_ahead_log_is_applied(tmp_path):
    bag = write_bag(tmp_path / 'bag', drive(20), StoragePlugin.SQLITE3)
    path, killed = bag / 'bag.db3', tmp_path / 'killed'
    connection = sqlite3.connect(path)
    connection.execute('PRAGMA journal_mode = WAL')
    row = (1, 10**12, b'\0\1\0\0')
    connection.execute('INSERT INTO messages(topic_id, timestamp, data) VALUES(?,?,?)', row)
    connection.commit()
    killed.mkdir()
    for file in bag.glob('bag.db3*'):
        if not file.name.endswith('-shm'):
            (killed / file.name).write_bytes(file.read_bytes())
    connection.close()
    assert (killed / 'bag.db3-wal').stat().st_size
    assert recover_bag(killed, tmp_path / 'sound').saved.total() == 22


def test_a_file_without_topics_is_refused_with_the_reason(tmp_path):
    path = tmp_path / 'other.db3'
    connection = sqlite3.connect(path)
    connection.execute('CREATE TABLE messages (id INTEGER PRIMARY KEY, x)')
    connection.commit()
    connection.close()
    with pytest.raises(DataError, match='no topic is named in it'):
        recover_bag(path, tmp_path / 'sound')
