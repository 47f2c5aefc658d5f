import contextlib
import re
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robot_learning import nodes
from robot_learning.nodes.diagnostics import ERROR, OK, WARN, Diagnostics, Health, RecentGrowth
from rover import wait_until


@pytest.fixture
def node():
    context = Context()
    rclpy.init(context=context)
    node = Node('subject', namespace='/robot1', context=context)
    node.executor_of_test = SingleThreadedExecutor(context=context)
    node.executor_of_test.add_node(node)
    yield node
    node.executor_of_test.shutdown()
    node.destroy_node()
    context.try_shutdown()


def heard(node, count=2):
    """Return the first messages that the node publishes."""
    messages = []
    node.create_subscription(DiagnosticArray, '/diagnostics', messages.append, 10)

    def has_enough():
        node.executor_of_test.spin_once(timeout_sec=0.05)
        return len(messages) >= count

    wait_until(has_enough, f'{count} messages on /diagnostics')
    return messages


def test_statuses_have_name_level_hardware_and_values(node):
    diagnostics = Diagnostics(node, 'arena', period_s=0.05)
    diagnostics.add('gate', lambda: Health(WARN, 'closed', {'count': 3, 'rate': 0.125}))
    diagnostics.add('model', lambda: Health(OK, 'serves'))
    gate, model = heard(node)[0].status
    assert (gate.name, gate.level, gate.message) == ('robot1/subject: gate', WARN, 'closed')
    assert gate.hardware_id == 'arena'
    assert [(item.key, item.value) for item in gate.values] == [('count', '3'), ('rate', '0.125')]
    assert (model.name, model.level) == ('robot1/subject: model', OK)


def test_a_part_that_fails_is_an_error_and_the_others_go_on(node):
    diagnostics = Diagnostics(node, period_s=0.05)
    diagnostics.add('broken', lambda: Health(OK, f'{1 / 0}'))
    diagnostics.add('odd', lambda: Health(OK, 'half \ud800', {'\udfff': '\ud800'}))
    for message in heard(node, 3):
        broken, odd = message.status
        assert broken.level == ERROR
        assert 'ZeroDivisionError: division by zero' in broken.message
        assert (odd.level, odd.message) == (OK, 'half ?')
        assert odd.hardware_id == 'none'


def test_growth_counts_what_is_recent_only():
    now_s = 100.0
    growth = RecentGrowth(window_s=10.0, now_s=lambda: now_s)
    assert growth.per_second('dropped', 0) == 0
    for _ in range(5):
        now_s += 1
        rate = growth.per_second('dropped', round((now_s - 100) * 12))
    assert rate == pytest.approx(12)
    for _ in range(11):
        now_s += 1
        rate = growth.per_second('dropped', 60)
    assert rate == 0
    now_s += 1
    assert growth.per_second('dropped', 2) >= 0  # Began anew.
    assert growth.per_second('late', 0) == 0


def test_every_node_says_how_it_is():
    """Every node class, and every plain node that lives for long, has diagnostics."""
    folder = Path(nodes.__file__).parent
    silent = {'raw_input.py', 'run.py', 'live_observer.py', 'launch_files.py', 'command_link.py'}
    for path in sorted(folder.glob('*.py')):
        text = path.read_text(encoding='utf-8')
        makes_node = re.search(r'\((?:rclpy\.node\.)?Node\):|= Node\(|\bNode\(\s*[\'"]', text)
        if not makes_node or path.name in silent:
            # raw_input and run: a second node in a process that has diagnostics already;
            # live_observer: only listens; launch_files: no node but launch's description of one;
            # command_link: ends with the command that was said.
            continue
        status_file = folder / 'policy_status.py' if path.name == 'policy_node.py' else path
        assert 'Diagnostics(' in status_file.read_text(encoding='utf-8'), path.name


def test_health_of_a_policy_that_waits_is_told(tmp_path):
    """A real policy node, heard by the doctor's own listener."""
    from robot_learning.nodes.live_observer import LiveObserver
    from rover import Rover, policy_node, publish_constant, write_robot

    publish_constant(tmp_path / 'models')
    robot = write_robot(tmp_path)
    with (
        contextlib.closing(Rover('/told')) as rover,
        policy_node('/told', robot, tmp_path / 'models', mode='lock_step'),
    ):
        rover.wait_for_policy(has_outcome=True)
        with LiveObserver() as observer:
            wait_until(
                lambda: observer.listen(0.2).statuses and observer.system.parameters,
                'the statuses of the policy',
            )
            system = observer.system
    names = {name for name in system.statuses if name.startswith('told/policy: ')}
    assert {'told/policy: gate', 'told/policy: model', 'told/policy: latency'} <= names
    assert system.parameters['/told/policy'].robot == str(robot)
