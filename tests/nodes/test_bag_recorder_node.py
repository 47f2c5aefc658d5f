import contextlib
import re
import signal
import uuid
from pathlib import Path

import pytest
from raw_talker import RawTalker, notes, numbers, quality
from rclpy.duration import Duration
from rclpy.qos import LivelinessPolicy
from robot_learning.trajectory.bags import bag_metadata
from rosbags.rosbag2 import Reader
from std_msgs.msg import Int32
from talker import interrupt, start


@pytest.fixture
def scene(tmp_path):
    """Give a talker, and a function that starts a recorder of all topics in its namespace."""
    namespace = f'test_{uuid.uuid4().hex[:8]}'
    talker, processes = RawTalker(namespace), []

    def begin(**parameters):
        given = {
            'robot': "''",
            'bag': tmp_path / 'bag',
            'topics.regex': f'^/{namespace}/',
            **parameters,
        }
        processes.append(start('bag_recorder_node', namespace, **given))
        return processes[-1]

    yield talker, begin, tmp_path / 'bag'
    for process in processes:
        if process.poll() is None:
            process.kill()
        with contextlib.suppress(ValueError):
            process.communicate()
    talker.close()


def test_publishers_of_every_kind_are_recorded_without_loss(scene):
    talker, begin, bag = scene
    latched = talker.publisher('latched', quality(latched=True, depth=3))
    talker.say(latched, 5)  # Before anybody listens: the last three are kept.
    reliable = talker.publisher('reliable', quality())
    best_effort = talker.publisher('best_effort', quality(reliable=False))
    mixed_a = talker.publisher('mixed', quality(latched=True, depth=2))
    talker.say(mixed_a, 4)
    mixed_b = talker.publisher('mixed', quality(reliable=False))
    strict = quality()
    strict.deadline = strict.liveliness_lease_duration = Duration(seconds=20)
    strict.liveliness = LivelinessPolicy.MANUAL_BY_TOPIC
    strict = talker.publisher('strict', strict)
    recorder = begin()
    for publisher in (reliable, best_effort, mixed_b, strict):
        talker.wait_for_recorder(publisher)
    late = talker.publisher('late', quality())
    talker.wait_for_recorder(late)
    heard = dict(talker.sent)
    everybody = (latched, reliable, best_effort, mixed_a, mixed_b, strict, late)
    for _ in range(100):
        for publisher in everybody:
            talker.say(publisher, period_s=0.0005)
    talker.wait_for_all(*everybody)
    interrupt(recorder)
    assert recorder.returncode == 0
    found, counts = numbers(bag), notes(bag).counts
    for publisher in everybody:
        name = publisher.topic_name
        sent = list(range(heard[name], talker.sent[name]))
        assert [n for n in found[name] if n >= heard[name]] == sent, name
        assert len(found[name]) == len(set(found[name])), name  # Nothing twice.
        assert (counts[name].written, counts[name].lost) == (len(found[name]), 0)
    assert found[latched.topic_name][:3] == [2, 3, 4]
    assert found[mixed_a.topic_name][:2] == [2, 3]
    check_qos(bag, talker.namespace)


def check_qos(bag, namespace):
    with Reader(bag) as reader:  # Of rosbags; it reads the profiles as Jazzy writes them.
        profiles = {
            c.topic.removeprefix(f'{namespace}/'): sorted(
                f'{q.reliability.name} {q.durability.name}' for q in c.ext.offered_qos_profiles
            )
            for c in reader.connections
        }
    assert profiles['reliable'] == ['RELIABLE VOLATILE']
    assert profiles['latched'] == ['RELIABLE TRANSIENT_LOCAL']
    assert profiles['mixed'] == ['BEST_EFFORT VOLATILE', 'RELIABLE TRANSIENT_LOCAL']
    hashes = {
        t['topic_metadata']['type_description_hash']
        for t in bag_metadata.read(bag)['topics_with_message_count']
        if t['topic_metadata']['type'] == 'std_msgs/msg/String'
    }
    assert hashes == {'RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18'}


@pytest.mark.parametrize('reliable', [True, False])
def test_what_a_stalled_recorder_misses_is_counted(scene, reliable):
    talker, begin, bag = scene
    publisher = talker.publisher('fast', quality(reliable, depth=10))
    recorder = begin()
    talker.wait_for_recorder(publisher)
    recorder.send_signal(signal.SIGSTOP)
    talker.say(publisher, 9000, period_s=0)
    recorder.send_signal(signal.SIGCONT)
    talker.wait_for_all(publisher)
    talker.say(publisher)  # Numbers that are passed over show when the next one comes.
    talker.wait_until(lambda: 'not in the bag' in talker.health.message, 'the loss is told')
    talker.wait_for_all(publisher)
    interrupt(recorder)
    found = numbers(bag)[publisher.topic_name]
    counts = notes(bag).counts[publisher.topic_name]
    assert counts.lost > 0 and counts.received == counts.written == len(found)
    assert counts.written + counts.lost == talker.sent[publisher.topic_name] - found[0]
    values = talker.values()
    assert f'lost {counts.lost}' in values[publisher.topic_name]


def test_a_second_type_on_a_name_is_told_and_the_first_is_recorded(scene):
    talker, begin, bag = scene
    first = talker.publisher('name', quality())
    recorder = begin()
    talker.wait_for_recorder(first)
    other = RawTalker(talker.namespace[1:])  # One participant has one type on a name.
    try:
        second = other.publisher('name', quality(), Int32)
        key = f'skipped {first.topic_name}'
        reason = talker.wait_until(lambda: talker.values().get(key), 'the second type is told')
        assert 'std_msgs/msg/Int32 are not recorded, the topic is std_msgs/msg/String' in reason
        second.publish(Int32(data=5))
        talker.say(first, 10)
        talker.wait_for_all(first)
    finally:
        other.close()
    output = interrupt(recorder)
    assert f'{first.topic_name}: publishers of type std_msgs/msg/Int32' in output
    found = numbers(bag)[first.topic_name]
    assert found == list(range(found[0], talker.sent[first.topic_name]))
    assert first.topic_name in notes(bag).skipped


def test_services_pause_and_split(scene):
    talker, begin, bag = scene
    publisher = talker.publisher('talk', quality())
    recorder = begin(**{'writer.compression': 'zstd', 'topics.regex': "''"}, **{
        'topics.names': f'[talk, {talker.namespace}/other]'
    })  # fmt: skip
    talker.wait_for_recorder(publisher)
    assert talker.call('pause').success
    talker.say(publisher, 10)
    talker.wait_for_all(publisher)
    assert talker.call('resume').success
    answer = talker.call('split')
    assert answer.success and Path(answer.message) == bag / 'bag_0.mcap'
    paused = notes(bag).counts[publisher.topic_name].paused
    assert paused >= 10
    talker.say(publisher, 20)
    talker.wait_for_all(publisher)
    assert not talker.call('snapshot').success
    interrupt(recorder)
    counts = notes(bag).counts[publisher.topic_name]
    assert counts.received == counts.written + counts.paused and counts.paused == paused
    found = numbers(bag)[publisher.topic_name]
    assert found[-20:] == list(range(talker.sent[publisher.topic_name]))[-20:]
    assert bag_metadata.read(bag)['relative_file_paths'] == ['bag_0.mcap', 'bag_1.mcap']


def test_a_ring_buffer_is_written_when_asked(scene):
    talker, begin, bag = scene
    latched = talker.publisher('latched', quality(latched=True))
    talker.say(latched)
    publisher = talker.publisher('talk', quality())
    recorder = begin(**{'ring.seconds': 1.0})
    talker.wait_for_recorder(publisher)
    talker.wait_until(lambda: talker.received(latched.topic_name), 'the latched message')
    talker.say(publisher, 120, period_s=0.02)  # More than two windows.
    talker.wait_for_all(publisher)
    answer = talker.call('snapshot')
    assert answer.success and re.fullmatch(r'\d{8}-\d{6}_1', Path(answer.message).name)
    assert not talker.call('split').success
    interrupt(recorder)
    found = numbers(Path(answer.message))
    newest = talker.sent[publisher.topic_name] - 1
    assert found[publisher.topic_name] == list(range(found[publisher.topic_name][0], newest + 1))
    assert found[publisher.topic_name][0] > 20 and found[latched.topic_name] == [0]
    assert [folder.name for folder in bag.iterdir()] == [Path(answer.message).name]
