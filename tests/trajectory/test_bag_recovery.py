import shutil

import pytest
from bag_files import closed_loop, drive, write_bag
from recordings import robot
from robot_learning.errors import DataError, StoreError
from robot_learning.trajectory.bag import import_bag
from robot_learning.trajectory.bag_recovery import recover_bag
from robot_learning.trajectory.bag_types import known_types
from robot_learning.trajectory.store import TrajectoryStore
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionMode, StoragePlugin


def read(path):
    with AnyReader([path]) as reader:
        return [
            (c.topic, c.msgtype, c.digest, stamp, bytes(data))
            for c, stamp, data in reader.messages()
        ]


def long_bag(path, compression=CompressionMode.NONE):
    """Write 3 MB or so: several chunks."""
    return write_bag(path, closed_loop([60] * 80), compression=compression)


@pytest.mark.parametrize('compression', [CompressionMode.NONE, CompressionMode.STORAGE])
def test_a_whole_bag_is_copied_as_it_is(tmp_path, compression):
    bag = long_bag(tmp_path / 'bag', compression)
    (found,) = recover_bag(bag, tmp_path / 'sound')
    expected = read(bag)
    assert found.is_whole and found.messages == len(expected)
    assert sorted(read(tmp_path / 'sound')) == sorted(expected)


@pytest.mark.parametrize('compression', [CompressionMode.NONE, CompressionMode.STORAGE])
@pytest.mark.parametrize('share', [0.4, 0.75, 0.99])
def test_of_a_cut_file_everything_before_the_cut_is_saved(tmp_path, share, compression):
    bag = long_bag(tmp_path / 'bag', compression)
    expected = read(bag)
    cut = tmp_path / 'cut.mcap'
    content = (bag / 'bag.mcap').read_bytes()
    cut.write_bytes(content[: int(share * len(content))])
    (found,) = recover_bag(cut, tmp_path / 'sound')
    saved = read(tmp_path / 'sound')
    assert not found.is_whole and found.messages == len(saved)
    assert set(saved) <= set(expected)
    if compression == CompressionMode.NONE:  # Of a packed chunk that is cut nothing remains.
        assert len(saved) > (share - 0.3) * len(expected)
    report = import_bag(tmp_path / 'sound', robot(), TrajectoryStore(tmp_path / 'store'))
    assert report.num_steps > 0


def test_a_folder_without_metadata_is_recovered_with_all_its_files(tmp_path):
    bag = tmp_path / 'bag'
    for number in (2, 10):
        write_bag(tmp_path / f'part_{number}', drive(10 * number))
        bag.mkdir(exist_ok=True)
        shutil.copy(tmp_path / f'part_{number}' / f'part_{number}.mcap', bag)
    found = recover_bag(bag, tmp_path / 'sound')
    assert [(f.path.name, f.messages) for f in found] == [
        ('part_2.mcap', 21),
        ('part_10.mcap', 101),
    ]
    assert len(read(tmp_path / 'sound')) == 122


def test_type_hashes_are_those_of_ros(tmp_path):
    recover_bag(write_bag(tmp_path / 'bag', drive()), tmp_path / 'sound')
    for topic, kind, digest, *_ in read(tmp_path / 'sound'):
        assert digest == known_types().hash_rihs01(kind), topic


def test_what_cannot_be_recovered_is_named(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match=r'holds no \.mcap file'):
        recover_bag(tmp_path / 'empty', tmp_path / 'sound')
    database = write_bag(tmp_path / 'database', drive(), StoragePlugin.SQLITE3)
    with pytest.raises(DataError, match='sqlite3 bags cannot be recovered'):
        recover_bag(database, tmp_path / 'sound')
    (tmp_path / 'junk.mcap').write_bytes(b'no MCAP at all')
    with pytest.raises(DataError, match='nothing in it can be read'):
        recover_bag(tmp_path / 'junk.mcap', tmp_path / 'sound')
    assert not (tmp_path / 'sound').exists()
    bag = write_bag(tmp_path / 'bag', drive())
    with pytest.raises(StoreError, match='exists already'):
        recover_bag(bag, tmp_path / 'empty')
