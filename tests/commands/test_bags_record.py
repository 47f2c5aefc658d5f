import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest
from robot_learning.commands import bags

sys.path.append(str(Path(__file__).parent.parent / 'nodes'))
from raw_talker import RawTalker, notes, numbers, quality


@pytest.fixture
def talker():
    talker = RawTalker(f'test_{uuid.uuid4().hex[:8]}')
    yield talker
    talker.close()


class Command:
    """`bags record` as a process, with the lines that it prints."""

    def __init__(self, *arguments):
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'robot_learning.commands.bags', 'record', *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, 'PYTHONUNBUFFERED': '1'},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(10)
        self.process.stdout.close()

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        self.process.wait(30)
        self._reader.join(10)
        return ''.join(self.lines)


def subscribed(talker, publisher):
    """Return when the command has subscribed as this publisher deserves."""

    def is_matched():
        found = talker.node.get_subscriptions_info_by_topic(publisher.topic_name)
        wanted = publisher.qos_profile.reliability
        return (
            any(
                i.qos_profile.reliability == wanted and i.node_name == '_bag_recorder_input'
                for i in found
            )
            and publisher.get_subscription_count()
        )

    talker.wait_until(is_matched, 'the command listens')


def test_ctrl_c_ends_soundly_with_a_summary(talker, tmp_path):
    publisher = talker.publisher('talk', quality())
    bag = tmp_path / 'bag'
    with Command(publisher.topic_name, '--out', str(bag), '--zstd') as command:
        subscribed(talker, publisher)
        talker.say(publisher, 200)
        talker.wait_until(lambda: any(bag.glob('*.mcap')), 'the first file')
        output = command.end()
    assert command.process.returncode == 0
    count = notes(bag).counts[publisher.topic_name]
    assert numbers(bag)[publisher.topic_name] == list(range(200 - count.written, 200))
    assert re.search(rf'{publisher.topic_name} +{count.received} +{count.written} +0 +0', output)
    assert f'MB in {bag}' in output


def test_sigusr1_writes_the_ring_buffer(talker, tmp_path):
    publisher = talker.publisher('talk', quality(latched=True, depth=50))
    talker.say(publisher, 5)
    arguments = ('--regex', f'^{talker.namespace}/', '--ring', '30', '--out', str(tmp_path))
    with Command(*arguments) as command:
        talker.wait_until(lambda: command.lines, 'the command runs')
        subscribed(talker, publisher)
        talker.say(publisher, 10)

        def snapshots():
            return [line.split()[1] for line in command.lines if line.startswith('snapshot ')]

        def is_complete():
            command.process.send_signal(signal.SIGUSR1)
            found = snapshots()
            return found and numbers(Path(found[-1])).get(publisher.topic_name, [])[-1:] == [14]

        talker.wait_until(is_complete, 'a snapshot with the last message')
        output = command.end(signal.SIGTERM)
    assert numbers(Path(snapshots()[-1]))[publisher.topic_name] == list(range(15))
    assert 'MB were in the ring buffer' in output


def test_mistakes_are_one_message_on_stderr(tmp_path, capfd):
    assert bags.main(['record']) == 2
    assert 'found no topics to record' in capfd.readouterr().err
    assert bags.main(['record', '--regex', '(', '--out', str(tmp_path / 'bag')]) == 2
    assert 'regex' in capfd.readouterr().err
    assert bags.main(['record', '--all', '--out', str(tmp_path)]) == 2
    assert 'exists already' in capfd.readouterr().err
    assert bags.main(['record', '--robot', 'walker']) == 2
    assert "robot 'walker': no contract" in capfd.readouterr().err
    with pytest.raises(SystemExit):
        bags.main(['record', '--all', '--max-size', '0'])
    assert 'expected a number above 0' in capfd.readouterr().err


def test_a_type_that_is_not_installed_is_skipped_by_name(tmp_path, capfd, monkeypatch):
    from robot_learning.nodes import bag_recorder_node

    monkeypatch.setattr(
        bag_recorder_node, 'recorded_topics', lambda robot: {'/odd': 'px4_msgs/msg/Timesync'}
    )
    arguments = ['record', '--robot', 'arena', '--stop-after', '0.3']
    assert bags.main([*arguments, '--out', str(tmp_path / 'bag')]) == 0
    printed = capfd.readouterr()
    assert "not recorded: /odd: message type 'px4_msgs/msg/Timesync'" in printed.out
    assert 'px4_msgs/msg/Timesync' in notes(tmp_path / 'bag').skipped['/odd']
