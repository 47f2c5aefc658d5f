"""What a host that means harm, or a broken one, may say: refused by name, nothing written."""

import dataclasses
import errno
import hashlib
import os
import zlib

import pytest
from robot_learning.errors import InUseError, ReplicationError
from robot_learning.replication.partial_file import PartialFile
from robot_learning.replication.protocol import Chunk, FileEntry, Holdings, Offer, Request
from wire import CONFIG, Host, Wire, contents, write_segment

SHA = 'a' * 64
SEGMENT = FileEntry('segment_000000.hdf5', 100, SHA)
VERSION = (FileEntry('weights.safetensors', 100, SHA), FileEntry('manifest.json', 100, 'b' * 64))


def segments(folder='monday', after='', files=(SEGMENT,), origin='robot1'):
    return Offer(origin, 'segments', folder, after, tuple(files))


def versions(folder='navigator/000001', files=VERSION):
    return Offer('learner', 'models', folder, '', tuple(files))


@pytest.fixture
def host(tmp_path):
    return Host(Wire(), tmp_path, 'here', receives=('segments', 'models'))


@pytest.mark.parametrize(
    ('offer', 'named'),
    [
        (segments('../../etc'), r'\.\./\.\./etc.*no session name'),
        (segments('/etc'), 'no session name'),
        (segments('.receiving'), 'no session name'),
        (segments('monday@robot2'), 'no session name'),
        (segments('a\nb'), 'no session name'),
        (segments('x' * 129), 'no session name'),
        (segments(origin='../x'), r'host.*\.\./x'),
        (segments(origin=''), 'host'),
        (segments(files=()), '0 files'),
        (segments(files=[SEGMENT] * 2), 'twice'),
        (segments(files=[SEGMENT._replace(name='../segment_000000.hdf5')]), 'no segment'),
        (segments(files=[SEGMENT._replace(name='segment_1.hdf5')]), 'no segment'),
        (segments(files=[SEGMENT._replace(num_bytes=1 << 40)]), '1099511627776 bytes'),
        (segments(files=[SEGMENT._replace(num_bytes=0)]), '0 bytes'),
        (segments(files=[SEGMENT._replace(sha256='../../x')]), 'no SHA-256'),
        (segments(after='segment_000003.hdf5'), 'out of order'),
        (segments(after='../x'), 'no segment'),
        (versions('navigator/../../x'), 'no MODEL/VERSION'),
        (versions('navigator/12'), 'no MODEL/VERSION'),
        (versions('navigator/0000012'), 'no MODEL/VERSION'),
        (versions('.hidden/000001'), 'no MODEL/VERSION'),
        (versions(files=VERSION[:1]), 'lacks manifest.json'),
        (versions(files=[*VERSION, FileEntry('active.json', 9, SHA)]), 'active.json'),
        (versions(files=[*VERSION, FileEntry('.x', 9, SHA)]), 'no file of a version'),
        (versions(files=[VERSION[0]._replace(num_bytes=1 << 62), VERSION[1]]), 'expected 1 to'),
        (
            versions(files=[VERSION[0], VERSION[1]._replace(num_bytes=1 << 30)]),
            'manifest.json has',
        ),
    ],
)
def test_an_offer_that_leads_elsewhere_or_is_too_large_is_refused(host, tmp_path, offer, named):
    before = sorted(tmp_path.rglob('*'))
    receiver = host.receivers[offer.store]
    receiver.on_offer(offer, 0.0)
    assert receiver.num_refused == 1
    with pytest.raises(ReplicationError, match=named):
        raise ReplicationError(receiver.last_refusal)
    assert 'It is refused' in receiver.last_refusal or 'host name' in receiver.last_refusal
    assert receiver.receiving() == {}
    assert sorted(tmp_path.rglob('*')) == before


def test_only_what_was_offered_is_sent(tmp_path):
    sent = []
    wire = Wire()
    robot = Host(wire, tmp_path, 'robot1', sends=('segments',))
    path = write_segment(robot.store, 'monday', 0)
    (robot.store / 'secret').write_bytes(b'x' * 50)
    sender = robot.senders['segments']
    sender._send_chunk = sent.append
    sender.on_holdings(Holdings('you', 'segments', {}), 0.0)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for name, sha256 in (
        ('monday/../secret', hashlib.sha256(b'x' * 50).hexdigest()),
        ('secret', hashlib.sha256(b'x' * 50).hexdigest()),
        ('/etc/passwd', SHA),
        ('monday/segment_000000.hdf5', SHA),
        ('monday/segment_000001.hdf5', digest),
    ):
        sender.on_request(Request('robot1', 'you', 'segments', name, sha256, 0, 100), 0.0)
        assert sender.transmit(0.0) is None
    assert sent == []
    name = 'monday/segment_000000.hdf5'
    sender.on_request(Request('robot1', 'you', 'segments', name, digest, 0, 1 << 60), 0.0)
    while sender.transmit(0.0) is not None:
        pass
    assert b''.join(chunk.data for chunk in sent) == path.read_bytes()


def test_a_link_in_a_store_is_not_followed(tmp_path):
    wire = Wire()
    robot = Host(wire, tmp_path, 'robot1', sends=('segments',))
    learner = Host(wire, tmp_path, 'learner', receives=('segments',))
    write_segment(tmp_path / 'private', 'monday', 1)
    write_segment(robot.store, 'monday', 0)
    (robot.store / 'monday' / 'segment_000001.hdf5').symlink_to(
        tmp_path / 'private' / 'monday' / 'segment_000001.hdf5'
    )
    (robot.store / 'tuesday').symlink_to(tmp_path / 'private' / 'monday')
    wire.run(10)
    assert list(contents(learner.store)) == ['monday@robot1/segment_000000.hdf5']


def test_pieces_that_nobody_asked_for_are_passed_over(host):
    data = b'x' * 100
    chunk = Chunk(
        'robot1', 'here', 'segments', 'monday/segment_000000.hdf5', SHA, 0, zlib.crc32(data), data
    )
    host.receivers['segments'].on_chunk(chunk, 0.0)
    assert contents(host.store) == {}
    assert host.receivers['segments'].rate.total == 0


def test_a_damaged_piece_is_asked_for_again(tmp_path):
    wire = Wire()
    robot = Host(wire, tmp_path, 'robot1', sends=('segments',))
    learner = Host(wire, tmp_path, 'learner', receives=('segments',))
    write_segment(robot.store, 'monday', 0)
    sender, count = robot.senders['segments'], iter(range(1000))

    def flip(chunk):
        is_damaged = next(count) == 2
        wire.send(chunk._replace(data=b'?' + chunk.data[1:]) if is_damaged else chunk)

    sender._send_chunk = flip
    wire.run(10)
    assert len(contents(learner.store)) == 1
    assert 'damaged' in learner.receivers['segments'].last_refusal


def test_content_that_is_not_what_was_offered_is_not_fetched_for_ever(tmp_path):
    wire = Wire()
    robot = Host(wire, tmp_path, 'robot1', sends=('segments',))
    learner = Host(wire, tmp_path, 'learner', receives=('segments',))
    for number in range(2):
        write_segment(robot.store, 'monday', number)
    sender = robot.senders['segments']

    def lie(chunk):
        data = bytes(len(chunk.data)) if chunk.path.endswith('0.hdf5') else chunk.data
        wire.send(chunk._replace(data=data, crc32=zlib.crc32(data)))

    sender._send_chunk = lie
    wire.run(30)
    assert list(contents(learner.store)) == ['monday@robot1/segment_000001.hdf5']
    assert 'SHA-256' in learner.receivers['segments'].last_refusal
    assert wire.chunk_bytes() < 4 * 13_500


def test_a_file_that_is_no_segment_is_refused_and_the_next_one_taken(tmp_path):
    wire = Wire()
    robot = Host(wire, tmp_path, 'robot1', sends=('segments',))
    learner = Host(wire, tmp_path, 'learner', receives=('segments',))
    write_segment(robot.store, 'monday', 0).write_bytes(b'no HDF5 at all')
    write_segment(robot.store, 'monday', 1)
    wire.run(30)
    assert list(contents(learner.store)) == ['monday@robot1/segment_000001.hdf5']
    assert learner.receivers['segments'].num_refused >= 1


def test_a_full_disk_is_named_and_receiving_goes_on_afterwards(tmp_path, monkeypatch):
    wire = Wire()
    robot = Host(wire, tmp_path, 'robot1', sends=('segments',))
    learner = Host(wire, tmp_path, 'learner', receives=('segments',))
    path = write_segment(robot.store, 'monday', 0, 100_000)
    room, real = [30_000], os.write

    def write(descriptor, data):
        written = real(descriptor, data[: room[0]]) if room[0] else 0
        room[0] -= written
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    monkeypatch.setattr('robot_learning.replication.partial_file.os.write', write)
    wire.run(20)
    receiver = learner.receivers['segments']
    assert 'No space left' in receiver.error and 'goes on by itself' in receiver.error
    assert contents(learner.store) == {}
    room[0] = 1 << 30
    wire.run(20)
    assert receiver.error == ''
    assert len(contents(learner.store)) == 1
    assert wire.chunk_bytes() < 1.5 * path.stat().st_size


def test_the_last_of_the_disk_is_left_to_others(tmp_path):
    wire = Wire()
    robot = Host(wire, tmp_path, 'robot1', sends=('segments',))
    modest = dataclasses.replace(CONFIG, min_free_bytes=1 << 60)
    learner = Host(wire, tmp_path, 'learner', receives=('segments',), config=modest)
    write_segment(robot.store, 'monday', 0)
    wire.run(10)
    assert contents(learner.store) == {}
    assert 'MiB are free' in learner.receivers['segments'].error


def test_a_store_has_one_receiver(host, tmp_path):
    with pytest.raises(InUseError, match='another replicator'):
        Host(Wire(), tmp_path, 'here', receives=('segments',))


def test_a_power_cut_costs_one_file(tmp_path):
    """The length of a file may survive without its content."""
    wire = Wire()
    robot = Host(wire, tmp_path, 'robot1', sends=('segments',))
    learner = Host(wire, tmp_path, 'learner', receives=('segments',))
    path = write_segment(robot.store, 'monday', 0, 100_000)
    wire.run(0.02)
    learner.die()
    (part,) = [p for p in learner.store.rglob('.parts/*') if p.is_file()]
    part.write_bytes(bytes(part.stat().st_size))
    learner = Host(wire, tmp_path, 'learner', receives=('segments',))
    wire.run(20)
    assert len(contents(learner.store)) == 1
    assert wire.chunk_bytes() < 2.2 * path.stat().st_size


def test_a_partial_file_keeps_its_length_when_writing_fails(tmp_path, monkeypatch):
    content = os.urandom(5000)
    path = tmp_path / 'part'
    file = PartialFile(path, len(content), hashlib.sha256(content).hexdigest())
    file.append(content[:2000])
    real = os.write

    def write(descriptor, data):
        if len(data) < 1000:
            raise OSError(errno.ENOSPC, 'full')
        return real(descriptor, data[:1000])

    with monkeypatch.context() as patch, pytest.raises(OSError, match='full'):
        patch.setattr(os, 'write', write)
        file.append(content[2000:3500])
    assert path.stat().st_size == file.length == 2000
    file.close()
    file = PartialFile(path, len(content), hashlib.sha256(content).hexdigest())
    assert file.length == 2000
    file.append(content[2000:])
    file.finish(tmp_path / 'there' / 'whole')
    assert (tmp_path / 'there' / 'whole').read_bytes() == content
