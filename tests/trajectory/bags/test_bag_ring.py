import pytest
from limited_disk import LimitedDisk
from raw_bags import LATCHED, plain, read, topic
from robot_learning.errors import StoreError
from robot_learning.trajectory.bags import bag_writer, mcap_file
from robot_learning.trajectory.bags.bag_ring import RingBuffer, RingConfig
from robot_learning.trajectory.bags.bag_types import known_types
from robot_learning.trajectory.bags.bag_writer import BagWriterConfig, RawMessage

S = 1_000_000_000
STRING = 'std_msgs/msg/String'


def message(name, seconds, text='x'):
    kind = known_types().types[STRING]
    data = bytes(known_types().serialize_cdr(kind(data=text), STRING))
    return RawMessage(name, round((1000 + seconds) * S), data, round(seconds * S) + 7)


@pytest.fixture
def ring():
    def make(**config):
        ring = RingBuffer(RingConfig(**config), BagWriterConfig())
        ring.set_topic(topic('/talk', STRING))
        ring.set_topic(topic('/map', STRING, qos=(LATCHED,)))
        return ring

    return make


@pytest.fixture
def disk(tmp_path, monkeypatch):
    disk = LimitedDisk(tmp_path)
    monkeypatch.setattr(mcap_file, 'os', disk)
    return disk


def test_a_snapshot_holds_the_last_seconds_and_the_ring_goes_on(ring, tmp_path):
    ring = ring(seconds=2.0)
    sent = [message('/talk', 0.1 * i, str(i)) for i in range(100)]
    for each in sent[:50]:
        ring.put(each)
    first = ring.snapshot(tmp_path / 'first')
    for each in sent[50:]:
        ring.put(each)
    ring.snapshot(tmp_path / 'second')
    assert read(tmp_path / 'first') == plain(sent[29:50])
    assert read(tmp_path / 'second') == plain(sent[79:])
    assert not first.error and first.counts()['/talk'].written == 21
    counts = ring.counts()['/talk']
    assert counts.received == 100 == counts.written + counts.expired + counts.waiting
    assert counts.written == 21 + 21 and counts.waiting == 0


def test_latched_messages_are_in_every_snapshot(ring, tmp_path):
    ring = ring(seconds=1.0)
    early = [message('/map', 0.0, 'walls'), message('/map', 0.2, 'doors')]
    late = [message('/talk', 10 + 0.1 * i) for i in range(5)]
    for each in [*early, message('/talk', 0.1), *late]:
        ring.put(each)
    for name in ('first', 'second'):
        ring.snapshot(tmp_path / name)
        assert read(tmp_path / name) == plain([*early, *late])


def test_memory_is_limited_and_it_is_said(ring, tmp_path):
    ring = ring(seconds=60.0, max_bytes=10_000)
    sent = [message('/talk', 0.1 * i, 500 * 'x') for i in range(100)]
    for each in sent:
        ring.put(each)
    assert ring.is_short and ring.num_bytes <= 10_000 and 0.5 < ring.window_s < 2.0
    ring.snapshot(tmp_path / 'bag')
    found = read(tmp_path / 'bag')
    assert found == plain(sent)[-len(found) :]
    assert ring.counts()['/talk'].expired == 100 - len(found)


def test_a_snapshot_needs_a_new_folder(ring, tmp_path):
    with pytest.raises(StoreError, match='exists already'):
        ring(seconds=1.0).snapshot(tmp_path)


def test_what_a_full_disk_refuses_is_no_part_of_what_was_written(ring, tmp_path, disk):
    ring = ring(seconds=2.0)
    sent = [message('/talk', 0.1 * i, 20_000 * 'x') for i in range(100)]
    for each in sent[:50]:
        ring.put(each)
    disk.capacity = 100_000
    failed = ring.snapshot(tmp_path / 'refused')
    assert 'No space left on device' in failed.error
    assert ring.counts()['/talk'].written == 0
    for each in sent[50:]:
        ring.put(each)
    counts = ring.counts()['/talk']
    assert counts.received == 100 and counts.expired == 79 and counts.waiting == 21
    disk.capacity = float('inf')
    assert not ring.snapshot(tmp_path / 'second').error
    counts = ring.counts()['/talk']
    assert counts.written == 21 and counts.expired == 79 and counts.waiting == 0


def test_a_snapshot_that_lacks_messages_says_how_many(ring, tmp_path, disk):
    """The kept reserve completes the bag, which must not look like a whole one."""
    ring = ring(seconds=60.0)
    for i in range(100):
        ring.put(message('/talk', 0.1 * i, 50_000 * 'x'))
    disk.capacity = bag_writer._RESERVE_BYTES + 2_500_000
    writer = ring.snapshot(tmp_path / 'bag')
    found = read(tmp_path / 'bag')
    assert 0 < len(found) < 100
    assert f'{100 - len(found)} messages are not in the snapshot' in writer.error
    assert 'No space left on device' in writer.error


def test_counts_stay_right_when_the_window_moves_while_a_snapshot_fails(ring, tmp_path, disk):
    ring = ring(seconds=1.0)
    for i in range(10):
        ring.put(message('/talk', 0.1 * i))
    disk.capacity = 0

    def meanwhile(notes):
        for i in range(10, 30):
            ring.put(message('/talk', 0.1 * i))

    assert ring.snapshot(tmp_path / 'bag', meanwhile).error
    counts = ring.counts()['/talk']
    assert counts.received == 30 and counts.written == 0
    assert counts.waiting == 11 and counts.expired == 19
