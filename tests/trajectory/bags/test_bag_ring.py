import pytest
from raw_bags import LATCHED, plain, read, topic
from robot_learning.errors import StoreError
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
