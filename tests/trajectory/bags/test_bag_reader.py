"""However a bag is damaged, every tool ends in a result or in one error that names the bag."""

import random

import pytest
from bag_files import drive, write_bag, write_ros1_bag
from damaged_bags import FORMS, write_mcap
from recordings import robot
from robot_learning.errors import DataError, RobotLearningError
from robot_learning.trajectory.bags.bag import import_bag
from robot_learning.trajectory.bags.bag_reader import open_bag, read_messages
from robot_learning.trajectory.bags.bag_recovery import recover_bag
from robot_learning.trajectory.bags.bag_summary import summarise
from robot_learning.trajectory.bags.bag_trim import trim_bag
from robot_learning.trajectory.store import TrajectoryStore
from rosbags.rosbag2 import StoragePlugin


def write(folder, form):
    if form in FORMS:
        write_mcap(folder / 'bag.mcap', form)
        return folder / 'bag.mcap'
    if form == 'ros1':
        return write_ros1_bag(folder / 'bag.bag')
    bag = write_bag(folder / 'bag', drive(30), StoragePlugin.SQLITE3)
    return bag / 'metadata.yaml' if form == 'metadata' else next(bag.glob('*.db3'))


def damaged(content, rng):
    """Cut, flip bits or write over a piece."""
    content, at = bytearray(content), rng.randrange(len(content))
    kind = rng.randrange(3)
    if kind == 0:
        return content[:at]
    if kind == 1:
        for _ in range(rng.choice([1, 1, 3, 10])):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    else:
        length = len(content[at : at + rng.randrange(1, 200)])
        content[at : at + length] = rng.randbytes(length)
    return content


@pytest.mark.parametrize('form', [*FORMS, 'sqlite3', 'ros1', 'metadata'])
def test_damage_never_ends_in_a_traceback(tmp_path, form):
    file = write(tmp_path, form)
    path = file.parent if form == 'metadata' else file
    sound, rng = file.read_bytes(), random.Random(3)
    for number in range(6):
        file.write_bytes(damaged(sound, rng))
        for tool, *more in (
            (summarise,),
            (import_bag, robot(), TrajectoryStore(tmp_path / f'store_{number}')),
            (trim_bag, tmp_path / f'piece_{number}', 0.1, 0.5),
            (recover_bag, tmp_path / f'sound_{number}'),
        ):
            try:
                tool(path, *more)
            except RobotLearningError as error:
                assert str(path) in str(error)


def test_a_chunk_whose_checksum_is_wrong_is_named_in_the_middle_of_an_import(tmp_path):
    write_mcap(tmp_path / 'bag.mcap', 'plain', 30)
    content = bytearray((tmp_path / 'bag.mcap').read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / 'bag.mcap').write_bytes(content)
    with pytest.raises(DataError, match=r'bag\.mcap: is damaged .*[Cc]hecksum.*bags recover'):
        import_bag(tmp_path / 'bag.mcap', robot(), TrajectoryStore(tmp_path / 'store'))
    assert list((tmp_path / 'store').glob('*')) == []


def test_a_database_page_that_is_damaged_is_named(tmp_path):
    file = write(tmp_path, 'sqlite3')
    content = bytearray(file.read_bytes())
    content[3 * 4096 :] = b'\x05' * (len(content) - 3 * 4096)
    file.write_bytes(content)
    with (
        pytest.raises(DataError, match='is damaged'),
        open_bag(file) as reader,
    ):
        list(read_messages(file, reader, reader.connections))


def test_fewer_messages_than_the_bag_says_are_told(tmp_path):
    """rosbags passes over messages of a file that describes their topic otherwise."""
    bag = write_bag(tmp_path / 'bag', drive(30))
    text = (bag / 'metadata.yaml').read_text()
    (bag / 'metadata.yaml').write_text(text.replace('message_count: 30', 'message_count: 35'))
    report = import_bag(bag, robot(), TrajectoryStore(tmp_path / 'store'))
    assert any(
        '/odom: 30 messages were read, the bag says that it holds 35' in text
        for text in report.warnings
    )


def test_a_definition_that_lacks_a_type_costs_its_topic_and_is_told(tmp_path):
    file = tmp_path / 'bag.mcap'
    write_mcap(file, 'unchunked', 10)
    content = file.read_bytes()
    assert content.count(b'geometry_msgs/Twist twist') == 2
    file.write_bytes(content.replace(b'geometry_msgs/Twist twist', b'geometry_msgs/Twixt twist'))
    report = import_bag(file, robot(), TrajectoryStore(tmp_path / 'store'))
    assert report.num_steps == 0
    assert any('odom: KeyError' in t and 'Twixt' in t for t in report.warnings), report.warnings
