"""Bags that would unpack to far more than they are are refused by name, and cost no memory."""

import bz2
import multiprocessing
import resource
import shutil
import struct
import sys
import zlib

import lz4.frame
import pytest
import yaml
from bag_files import drive, write_bag, write_ros1_bag
from raw_bags import read
from recordings import robot
from robot_learning.errors import DataError, RobotLearningError
from robot_learning.trajectory.bags import bag_metadata
from robot_learning.trajectory.bags.bag import import_bag
from robot_learning.trajectory.bags.bag_recovery import recover_bag
from robot_learning.trajectory.bags.bag_summary import summarise
from robot_learning.trajectory.bags.bag_trim import trim_bag
from robot_learning.trajectory.bags.mcap_file import McapFile
from robot_learning.trajectory.bags.unpacking import TooLargeError, unpack, unpack_part
from robot_learning.trajectory.store import TrajectoryStore
from rosbags.rosbag2 import CompressionMode

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MEMORY = 1 << 30  # Bytes that a reader may take on top of what it has, in these tests.
_ZEROS = bytes(64 << 20)
PACK = {'zstd': zstd.compress, 'lz4': lz4.frame.compress, 'bz2': bz2.compress}


def bomb(kind, gigabytes):
    """Return one frame that stands for so many gigabytes of zeros, without making them."""
    assert kind == 'zstd'
    packer = zstd.ZstdCompressor(1)
    parts = [packer.compress(_ZEROS) for _ in range(16 * gigabytes)]
    return b''.join([*parts, packer.flush()])


@pytest.fixture(scope='module')
def four_gigabytes():
    """A few hundred kilobytes that unpack to four gigabytes."""
    return bomb('zstd', 4)


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
    used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()  # noqa: SIM115
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


@pytest.mark.parametrize('is_indexed', [True, False])
@pytest.mark.parametrize('stated', ['truly', 'as little'])
@pytest.mark.parametrize('tool', ['info', 'import', 'trim', 'recover'])
def test_a_chunk_that_unpacks_to_gigabytes_is_refused(
    tmp_path, four_gigabytes, is_indexed, stated, tool
):
    size = 4 << 30 if stated == 'truly' else 1000
    file = mcap_with(tmp_path / 'bag', four_gigabytes, size, is_indexed)
    assert file.stat().st_size < 1_000_000
    kind, text = in_little_memory(*tools(file, tmp_path)[tool])
    if tool == 'info' and is_indexed and stated == 'as little':
        return  # It reads no chunk, only what the index says of it.
    assert kind == 'DataError' and str(file) in text, (kind, text)
    assert {'store', 'piece', 'sound'}.isdisjoint(p.name for p in tmp_path.iterdir())


@pytest.mark.parametrize('tool', ['import', 'recover'])
def test_packed_files_and_messages_that_unpack_to_gigabytes_are_refused(
    tmp_path, four_gigabytes, tool
):
    for mode in (CompressionMode.FILE, CompressionMode.MESSAGE):
        bag = write_bag(tmp_path / mode.name, drive(3), compression=mode)
        if mode == CompressionMode.FILE:
            next(bag.glob('*.zstd')).write_bytes(four_gigabytes)
        else:
            shutil.rmtree(bag)
            entries = [(topic, kind, stamp, four_gigabytes) for topic, kind, stamp, _ in drive(1)]
            write_bag(bag, entries)
            text = (bag / 'metadata.yaml').read_text()
            text = text.replace("compression_mode: ''", 'compression_mode: message')
            text = text.replace("compression_format: ''", 'compression_format: zstd')
            (bag / 'metadata.yaml').write_text(text)
        kind, text = in_little_memory(*tools(bag, tmp_path)[tool])
        assert kind == 'DataError' and str(bag) in text, (mode, kind, text)


def test_a_ros1_chunk_that_unpacks_to_gigabytes_is_refused(tmp_path):
    bag = write_ros1_bag(tmp_path / 'one.bag')
    content = bag.read_bytes()
    packed = bz2.compress(bytes(512 << 20))
    at = content.index(b'compression=none')
    head = content[at - 8 :]
    (length,) = struct.unpack('<I', head[:4]) if False else (0,)
    del head, length
    start = content.rindex(b'\x00\x00\x00', 0, at)
    assert start > 0 and packed
    # The chunk's header and data are replaced, its place in the index stays.
    (header_size,) = struct.unpack_from('<I', content, 4117)
    header = content[4121 : 4121 + header_size]
    new = b''.join(
        struct.pack('<I', len(field)) + field
        for field in (b'compression=bz2', b'op=\x05', b'size=' + struct.pack('<I', 512 << 20))
    )
    assert b'compression=none' in header
    (size,) = struct.unpack_from('<I', content, 4121 + header_size)
    behind = 4121 + header_size + 4 + size
    made = content[:4117] + struct.pack('<I', len(new)) + new
    made += struct.pack('<I', len(packed)) + packed + content[behind:]
    shift = len(made) - len(content)
    position = content.index(b'index_pos=') + len(b'index_pos=')
    (index,) = struct.unpack_from('<Q', made, position)
    made = made[:position] + struct.pack('<Q', index + shift) + made[position + 8 :]
    bag.write_bytes(made)
    kind, text = in_little_memory(
        import_bag, bag, robot(), TrajectoryStore(tmp_path / 'store')
    )
    assert kind == 'DataError' and 'unpack to more than' in text, (kind, text)


def test_of_honest_bags_nothing_is_refused(tmp_path):
    """Zeros pack well: 40 MB of them in a message of a few kilobytes."""
    made = McapFile(tmp_path / 'zeros.mcap', 'zstd')
    number = made.add_channel('/zeros', 'std_msgs/msg/Empty', '', {})
    made.write(number, 5, bytes(40 << 20))
    made.complete({})
    assert made.path.stat().st_size < 10_000
    found = read(recover_bag(made.path, tmp_path / 'sound').target)
    assert [(topic, zlib.crc32(data)) for topic, _, data in found] == [
        ('/zeros', zlib.crc32(bytes(40 << 20)))
    ]


METADATA_TRAPS = {
    'aliases': lambda text: text
    + '  custom_data: {a: &a [x,x,x,x,x,x,x,x,x], b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a],'
    + ' c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b], d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c],'
    + ' e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d], f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e],'
    + ' g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f], h: [*g,*g,*g,*g,*g,*g,*g,*g,*g]}\n',
    'depth': lambda text: text + '  custom_data: ' + '[' * 5000 + ']' * 5000 + '\n',
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
    with pytest.raises(DataError, match='no readable'):
        raise DataError('no readable')
    recovery = recover_bag(made.path, tmp_path / 'sound')
    assert recovery.files[0].notes == ['its copy of metadata.yaml cannot be read']
    assert recovery.saved == {'/odom': 1}
