"""Bags that would unpack to far more than they are are refused by name, and cost no memory."""

import bz2
import multiprocessing
import re
import resource
import struct
import sys
import zlib
from pathlib import Path

import lz4.frame
import pytest
import yaml
from bag_files import drive, write_bag
from raw_bags import read
from recordings import robot
from robot_learning.errors import DataError, RobotLearningError
from robot_learning.trajectory.bags import bag_metadata, unpacking
from robot_learning.trajectory.bags.bag import import_bag
from robot_learning.trajectory.bags.bag_reader import open_bag, read_messages
from robot_learning.trajectory.bags.bag_recovery import recover_bag
from robot_learning.trajectory.bags.bag_summary import summarise
from robot_learning.trajectory.bags.bag_trim import trim_bag
from robot_learning.trajectory.bags.mcap_file import McapFile
from robot_learning.trajectory.bags.unpacking import TooLargeError, unpack, unpack_part
from robot_learning.trajectory.store import TrajectoryStore
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionMode
from rosbags.typesys import Stores, get_typestore

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MEMORY = 400 << 20  # Bytes that a reader may take on top of what it has.
PACK = {'zstd': zstd.compress, 'lz4': lz4.frame.compress, 'bz2': bz2.compress}
# A frame of 8192 blocks which each repeat a zero 131072 times: 32 kB that unpack to 1 GiB.
_BLOCK = (131072 << 3 | 1 << 1).to_bytes(3, 'little') + b'\0'
_LAST = (1 << 1 | 1).to_bytes(3, 'little') + b'\0'
BOMB = b'\x28\xb5\x2f\xfd\x00\x38' + _BLOCK * 8192 + _LAST


@pytest.fixture(autouse=True)
def limits(monkeypatch):
    """Allow less than a real bag may have, so that bombs can be small."""
    monkeypatch.setattr(unpacking, 'LEAST_ALLOWED', 40 << 20)
    monkeypatch.setattr(unpacking, 'LARGEST_PIECE', 20 << 20)


def in_little_memory(action, *arguments):
    """Run an action in a process that gets little memory; return the error it ended in."""
    context = multiprocessing.get_context('fork')
    ours, theirs = context.Pipe()
    process = context.Process(target=_limited, args=(theirs, action, arguments))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def _limited(pipe, action, arguments):
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    used = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
    try:
        pipe.send(('', repr(action(*arguments))[:200]))
    except RobotLearningError as error:
        pipe.send((type(error).__name__, str(error)))
    except BaseException as error:
        pipe.send((f'not ours: {type(error).__name__}', str(error)))


def mcap_with(path, packed, stated_size, is_indexed):
    """Write a bag of one packed chunk whose size is stated as we like."""
    write_bag(path, drive(3))
    file = next(path.glob('*.mcap'))
    body = struct.pack('<QQQII', 5, 9, stated_size, 0, 4) + b'zstd'
    body += struct.pack('<Q', len(packed)) + packed
    made = McapFile(path / 'made', '')
    made.add_channel('/odom', 'std_msgs/msg/Empty', '', {})
    made.flush()
    at = made.num_bytes
    chunk = struct.pack('<BQ', 6, len(body)) + body
    index = struct.pack('<QQQQIQI', 5, 9, at, len(chunk), 0, 0, 4) + b'zstd'
    index += struct.pack('<QQ', len(packed), stated_size)
    statistics = struct.pack('<QHIIIIQQIHQ', 3, 1, 1, 0, 0, 1, 5, 9, 10, 0, 3)
    data_end = struct.pack('<BQI', 15, 4, 0)
    start = at + len(chunk) + len(data_end)
    schema, channel = made._schemas['std_msgs/msg/Empty'], made._channels[0]
    summary = b''
    if is_indexed:
        summary = schema + channel + struct.pack('<BQ', 8, len(index)) + index
        summary += struct.pack('<BQ', 11, len(statistics)) + statistics
    footer = struct.pack('<BQQQI', 2, 20, start if is_indexed else 0, 0, 0)
    content = (path / 'made').read_bytes() + chunk + data_end + summary + footer
    made.abandon()
    (path / 'made').unlink()
    file.write_bytes(content + b'\x89MCAP0\r\n')
    return file


def tools(path, tmp_path):
    return {
        'info': (summarise, path),
        'import': (import_bag, path, robot(), TrajectoryStore(tmp_path / 'store')),
        'trim': (trim_bag, path, tmp_path / 'piece'),
        'recover': (recover_bag, path, tmp_path / 'sound'),
    }


@pytest.mark.parametrize('kind', PACK)
def test_what_is_packed_comes_back_and_no_more_than_is_allowed(kind):
    content = bytes(range(256)) * 1000
    packed = PACK[kind](content)
    assert unpack(packed, kind, len(content)) == content
    assert unpack(packed * 2, kind, 2 * len(content)) == content * 2
    with pytest.raises(TooLargeError, match='more than the 255999 allowed'):
        unpack(packed, kind, len(content) - 1)
    with pytest.raises(TooLargeError):
        unpack(packed * 2, kind, 2 * len(content) - 1)
    with pytest.raises(EOFError, match='end in the middle'):
        unpack(packed[:-5], kind, len(content))
    assert unpack_part(memoryview(packed), kind, 1000)[0] == content[:1000]


def test_the_bomb_is_one():
    packer = zstd.ZstdDecompressor()
    assert len(BOMB) < 40_000 and packer.decompress(BOMB, max_length=1 << 20) == bytes(1 << 20)


@pytest.mark.parametrize('is_indexed', [True, False])
@pytest.mark.parametrize('stated', [1 << 30, 1000])
def test_a_chunk_that_unpacks_to_a_gigabyte_is_refused(tmp_path, is_indexed, stated):
    file = mcap_with(tmp_path / 'bag', BOMB, stated, is_indexed)
    for name, call in tools(file, tmp_path).items():
        if name == 'info' and is_indexed and stated == 1000:
            continue  # It reads no chunk, only what the index says of it.
        kind, text = in_little_memory(*call)
        assert kind == 'DataError' and str(file) in text, (name, kind, text)
    assert {'store', 'piece', 'sound'}.isdisjoint(p.name for p in tmp_path.iterdir())


@pytest.mark.parametrize('tool', ['import', 'recover'])
def test_a_packed_file_that_unpacks_to_a_gigabyte_is_refused(tmp_path, tool):
    bag = write_bag(tmp_path / 'bag', drive(3), compression=CompressionMode.FILE)
    next(bag.glob('*.zstd')).write_bytes(BOMB)
    kind, text = in_little_memory(*tools(bag, tmp_path)[tool])
    assert kind == 'DataError' and str(bag) in text, (kind, text)


@pytest.mark.parametrize('tool', ['import', 'recover'])
def test_packed_messages_that_unpack_to_a_gigabyte_are_refused(tmp_path, tool):
    entries = [(topic, kind, stamp, BOMB) for topic, kind, stamp, _ in drive(1)]
    bag = write_bag(tmp_path / 'bag', entries)
    text = (bag / 'metadata.yaml').read_text()
    text = re.sub('compression_mode:.*', 'compression_mode: message', text)
    (bag / 'metadata.yaml').write_text(
        re.sub('compression_format:.*', 'compression_format: zstd', text)
    )
    kind, text = in_little_memory(*tools(bag, tmp_path)[tool])
    assert kind == 'DataError' and str(bag) in text, (kind, text)


def test_a_ros1_chunk_that_unpacks_to_far_more_is_refused(tmp_path):
    typestore = get_typestore(Stores.ROS1_NOETIC)
    writer = Writer1(tmp_path / 'one.bag')
    writer.set_compression(Writer1.CompressionFormat.BZ2)
    with writer:
        connection = writer.add_connection('/odom', 'std_msgs/msg/String', typestore=typestore)
        writer.write(connection, 5, bytes(25 << 20))
    assert writer.path.stat().st_size < 20_000
    with (
        pytest.raises(DataError, match=r'one\.bag: .* unpack to more than the 20971520 allowed'),
        open_bag(writer.path) as reader,
    ):
        list(read_messages(writer.path, reader, reader.connections))


def test_of_honest_bags_nothing_is_refused(tmp_path):
    """Zeros pack well: 15 MB of them in a message of a few kilobytes."""
    made = McapFile(tmp_path / 'zeros.mcap', 'zstd')
    number = made.add_channel('/zeros', 'std_msgs/msg/Empty', '', {})
    made.write(number, 5, bytes(15 << 20))
    made.complete({})
    assert made.path.stat().st_size < 10_000
    found = read(recover_bag(made.path, tmp_path / 'sound').target)
    assert [(topic, zlib.crc32(data)) for topic, _, data in found] == [
        ('/zeros', zlib.crc32(bytes(15 << 20)))
    ]


METADATA_TRAPS = {
    'aliases': lambda text: (
        text
        + '  custom_data: {a: &a [x,x,x,x,x,x,x,x,x], b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a],'
        + ' c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b], d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c],'
        + ' e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d], f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e],'
        + ' g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f], h: [*g,*g,*g,*g,*g,*g,*g,*g,*g]}\n'
    ),
    'depth': lambda text: text + '  custom_data: ' + '[' * 200 + ']' * 200 + '\n',
    'size': lambda text: text + '#' * (2 << 20),
    'dates': lambda text: text + '  custom_data: {a: 2001-99-99}\n',
    'list': lambda text: '- 1\n- 2\n',
    'files': lambda text: text.replace('relative_file_paths:', 'relative_file_paths: 7\nx:'),
    'counts': lambda text: text.replace('message_count: ', 'message_count: x'),
}


@pytest.mark.parametrize('trap', METADATA_TRAPS)
def test_metadata_that_are_a_trap_are_refused_and_recovered_without(tmp_path, trap):
    bag = write_bag(tmp_path / 'bag', drive(3))
    expected, file = read(bag), bag / 'metadata.yaml'
    lines = [line for line in file.read_text().splitlines() if 'custom_data' not in line]
    file.write_text(METADATA_TRAPS[trap]('\n'.join(lines) + '\n'))
    for tool in ('info', 'import', 'trim'):
        kind, text = in_little_memory(*tools(bag, tmp_path)[tool])
        assert kind == 'DataError' and f'{file}: ' in text and 'bags recover' in text, (kind, text)
        assert len(text) < 1000
    recovery = recover_bag(bag, tmp_path / 'sound')
    assert recovery.is_sound and read(tmp_path / 'sound') == expected


def test_what_is_no_count_of_ours_in_metadata_is_ignored():
    for value in ('{', '[]', '{"received": "many"}', '{"strange": 1}', 7, None, '[' * 100_000):
        notes = bag_metadata.BagNotes.from_custom_data({'counts /scan': value})
        assert notes.counts == {}


def test_a_bag_whose_copy_of_metadata_is_a_trap_is_recovered_without(tmp_path):
    made = McapFile(tmp_path / 'bag.mcap', '')
    number = made.add_channel('/odom', 'std_msgs/msg/Empty', '', {})
    made.write(number, 5, b'\0\1\0\0')
    trap = METADATA_TRAPS['aliases']('custom: 1\n').replace('  custom_data', 'custom_data')
    assert yaml.safe_load(trap)
    made.complete({'rosbag2': {'serialized_metadata': trap}})
    recovery = recover_bag(made.path, tmp_path / 'sound')
    assert recovery.files[0].notes == ['its copy of metadata.yaml cannot be read']
    assert recovery.saved == {'/odom': 1}
