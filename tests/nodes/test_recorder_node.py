import contextlib
import signal
import time
import uuid

import numpy as np
import pytest
from robot_learning.trajectory.bags.bag import import_bag
from robot_learning.trajectory.store import TrajectoryStore
from robot_learning_interfaces.srv import EndEpisode, StartEpisode
from talker import PERIOD_NS, Talker, assert_equal, interrupt, robot, start, write_robot

S = 1_000_000_000


@pytest.fixture
def scene(tmp_path):
    """Give a talker, and a function that starts recorders in its namespace."""
    namespace = f'test_{uuid.uuid4().hex[:8]}'
    talker, processes = Talker(namespace), []
    contract = write_robot(tmp_path)

    def begin(module='recorder_node', **parameters):
        parameters = {'robot': contract, 'store': tmp_path / 'store', **parameters}
        if module == 'recorder_node':
            parameters = {'session': 'run', 'flush_s': 0.2, **parameters}
        processes.append(start(module, namespace, **parameters))
        return processes[-1]

    yield talker, begin, tmp_path
    for process in processes:
        if process.poll() is None:
            process.kill()
        with contextlib.suppress(ValueError):
            process.communicate()
    talker.close()


def test_live_episodes_are_stored_announced_and_equal_to_those_of_a_raw_bag(scene):
    talker, begin, folder = scene
    recorder = begin()
    bag_recorder = begin('bag_recorder_node', bag=folder / 'bag')
    talker.wait_for_listeners(2)
    now = 5 * S
    for number, length in enumerate((30, 12, 25)):
        now = talker.episode(number, length, now)
    talker.wait_until(lambda: sum(n.num_steps for n in talker.notices) >= 55, 'announced segments')
    store = TrajectoryStore(folder / 'store')
    follower = store.follow()
    assert [str(path) for path in follower.poll()] == [n.path for n in talker.notices]
    assert talker.notices[0].contract_hash == robot().hash
    talker.wait_until(lambda: talker.values('topic odom').get('received') == '67', 'diagnostics')
    assert talker.values('topic odom')['unaccounted'] == '0'
    assert talker.values('topic odom')['dropped'] == '0'
    interrupt(recorder)
    interrupt(bag_recorder, signal.SIGTERM)
    assert recorder.returncode == bag_recorder.returncode == 0

    live = list(store.episodes())
    assert [len(e) for e in live] == [30, 12, 25]
    assert all(e.is_complete and e.attributes['reason'] == 'goal' for e in live)
    np.testing.assert_array_equal(live[0].observations['pose'][:, 0], range(30))
    np.testing.assert_array_equal(live[1].action[:-1, 0], (np.arange(11) + 1) / 2)
    np.testing.assert_array_equal(live[2].reward, range(25))
    assert store.verify() == []

    imported = TrajectoryStore(folder / 'imported')
    namespace = talker.node.get_namespace()
    report = import_bag(folder / 'bag', robot(), imported, namespace=namespace)
    assert report.actions_from == 'policy' and report.warnings == []
    for a, b in zip(live, imported.episodes(), strict=True):
        assert_equal(a, b)


def test_kill_9_loses_at_most_the_open_segment(scene):
    talker, begin, folder = scene
    recorder = begin()
    talker.wait_for_listeners(1)
    now = talker.episode(0, 40, 5 * S)
    talker.wait_until(lambda: talker.notices, 'a segment')
    talker.episode(1, 20, now)
    announced = sum(n.num_steps for n in talker.notices)
    recorder.kill()
    recorder.wait()
    store = TrajectoryStore(folder / 'store')
    assert all('half-written' in problem.text for problem in store.verify())
    assert sum(len(e) for e in store.episodes()) >= announced > 0
    # A recorder that takes over goes on with new numbers.
    talker.notices.clear()
    talker.health.clear()
    again = begin()
    talker.wait_for_listeners(1)
    talker.episode(6, 5, now + 50 * S)  # What comes before both sides know each other is late.
    topics = ('odom', 'joint_states', 'goal_pose', 'outcome', 'policy_action')

    def heard(count):
        received = [talker.values(f'topic {topic}').get('received', '0') for topic in topics]
        return all(0 < int(r) <= count for r in received)  # Those of the first were more.

    talker.wait_until(lambda: heard(5), 'the second recorder')
    talker.episode(7, 20, now + 100 * S)
    talker.wait_until(lambda: sum(n.num_steps for n in talker.notices) >= 15, 'a segment')
    interrupt(again)
    episodes = list(store.episodes())
    assert len(episodes[-1]) == 20 and episodes[-1].attributes['source_episode'] == 7
    assert episodes[-1].episode > episodes[0].episode


def call(talker, kind, name, request):
    client = talker.node.create_client(kind, f'recorder/{name}')
    talker.wait_until(client.service_is_ready, name)
    settled = time.monotonic() + 0.7  # Ready means that the way there stands, not the way back.
    talker.wait_until(lambda: time.monotonic() > settled, 'the way back')
    future = client.call_async(request)
    return talker.wait_until(lambda: future.done() and future.result(), name)


def test_an_operator_begins_ends_and_discards_episodes(scene):
    talker, begin, folder = scene
    recorder = begin(recorder__auto_start='false')
    talker.wait_for_listeners(1)
    refused = call(talker, EndEpisode, 'end_episode', EndEpisode.Request())
    assert not refused.accepted and 'no episode is open' in refused.message

    def drive(seconds, first_step):
        """Talk by the wall clock, without a task: as a robot that a person supervises."""
        from geometry_msgs.msg import PoseStamped
        from nav_msgs.msg import Odometry
        from robot_learning_interfaces.msg import PolicyAction

        end = talker.node.get_clock().now().nanoseconds + int(seconds * S)
        step, next_ns = first_step, 0
        while (now := talker.node.get_clock().now().nanoseconds) < end:
            if now >= next_ns:
                talker.send('odom', Odometry(), now)
                talker.send('goal_pose', PoseStamped(), now)
                talker.send(
                    'policy_action', PolicyAction(commanded=[0.1, 0.0], executed=[0.1, 0.0]), now
                )
                step, next_ns = step + 1, now + PERIOD_NS // 2
            talker.spin(0.01)
        return step

    started = call(talker, StartEpisode, 'start_episode', StartEpisode.Request(task='doors'))
    assert started.success and started.episode == 0
    drive(1.2, 0)
    request = EndEpisode.Request(success=True, reason='through the door')
    ended = call(talker, EndEpisode, 'end_episode', request)
    assert ended.accepted and ended.episode == 0 and ended.num_steps > 0
    drive(1.0, 0)
    call(talker, StartEpisode, 'start_episode', StartEpisode.Request())
    drive(1.0, 0)
    interrupt(recorder)
    first, second = TrajectoryStore(folder / 'store').episodes()
    assert first.attributes['reason'] == 'through the door'
    assert first.attributes['success'] is True and first.attributes['info'] == {'task': 'doors'}
    assert second.attributes['reason'] == 'shutdown'
    assert [event.reason for event in talker.events if event.source == 'operator'] == [
        '',
        'through the door',
        '',
    ]


def test_an_unwritable_store_is_named_while_recording_goes_on(scene):
    talker, begin, folder = scene
    blocked = folder / 'blocked'
    blocked.write_text('a file where a folder should be')
    recorder = begin(store=blocked / 'store', retry_s=0.2)
    talker.wait_for_listeners(1)
    talker.episode(0, 40, 5 * S)
    talker.wait_until(
        lambda: (
            'cannot be written'
            in str(talker.health.get(f'{talker.node.get_namespace()[1:]}/recorder: store', ''))
        ),
        'the error on /diagnostics',
    )
    blocked.unlink()  # Repaired while it runs: nothing was lost.
    talker.wait_until(lambda: sum(n.num_steps for n in talker.notices) >= 30, 'segments')
    output = interrupt(recorder)
    assert 'blocked/store/run: a segment cannot be written' in output
    (episode,) = TrajectoryStore(blocked / 'store').episodes()
    assert len(episode) == 40


def test_wrong_parameters_are_all_named(scene):
    _, begin, _ = scene
    process = begin(flush_s=-1.0, recorder__actions_from='magic')
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 2
    assert 'flush_s' in output and 'recorder.actions_from' in output
