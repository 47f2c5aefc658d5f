"""The managed life of a node: what is called when, and what is left behind."""

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node
from robot_learning.errors import ConfigError
from robot_learning.nodes.diagnostics import OK, WARN
from robot_learning.nodes.managed_node import ManagedNode
from robot_learning.nodes.run import make_executor
from std_msgs.msg import String

UNCONFIGURED, INACTIVE, ACTIVE = (
    State.PRIMARY_STATE_UNCONFIGURED,
    State.PRIMARY_STATE_INACTIVE,
    State.PRIMARY_STATE_ACTIVE,
)


class Server(ManagedNode):
    """Notes what is asked of it."""

    def __init__(self, context, autostart=True, fault=None):
        super().__init__('server', context=context)
        self.calls = []
        self.fault = fault
        self.manage(autostart)

    def load(self):
        self.calls.append('load')
        self.resources.callback(self.calls.append, 'unload')
        self.output = self.create_publisher(String, 'words', 10)
        self.create_timer(0.01, lambda: self.output.publish(String()))
        self.create_subscription(String, 'questions', lambda _: None, 10)
        if self.fault:
            raise self.fault('no such robot')

    def open(self):
        assert not self.is_active
        self.calls.append('open')

    def make_safe(self):
        assert not self.is_active
        self.calls.append('make_safe')


@pytest.fixture
def ask(context):
    """Ask a node for a transition as `ros2 lifecycle set` does; return (success, state)."""
    executor = make_executor(context)
    client_node = Node('manager', context=context)
    executor.add_node(client_node)
    clients = {
        kind: client_node.create_client(kind, f'server/{name}')
        for kind, name in ((ChangeState, 'change_state'), (GetState, 'get_state'))
    }

    def call(kind, request):
        future = clients[kind].call_async(request)
        for _ in range(1000):
            if future.done():
                return future.result()
            executor.spin_once(timeout_sec=0.01)
        raise AssertionError('no answer')

    def transition(node, number):
        if node not in executor.get_nodes():
            executor.add_node(node)
            while not all(client.service_is_ready() for client in clients.values()):
                executor.spin_once(timeout_sec=0.01)
        request = ChangeState.Request(transition=Transition(id=number))
        success = call(ChangeState, request).success
        return success, call(GetState, GetState.Request()).current_state.id

    yield transition
    nodes = [node for node in executor.get_nodes() if node is not client_node]
    for node in (*nodes, client_node):
        executor.remove_node(node)
    executor.shutdown()
    for node in nodes:
        node.close()
        node.destroy_node()
    client_node.destroy_node()


def ended(node):
    node.close()
    node.destroy_node()
    return node.calls


def test_with_autostart_it_serves_at_once_and_is_safe_at_the_end(context):
    node = Server(context)
    assert node.is_active and node.lifecycle_health().level == OK
    assert ended(node) == ['load', 'open', 'make_safe', 'unload']


def test_an_error_at_the_autostart_is_raised_as_it_is(context):
    with pytest.raises(ConfigError, match='no such robot'):
        Server(context, fault=ConfigError)


def test_without_autostart_the_manager_moves_it_from_state_to_state(context, ask):
    node = Server(context, autostart=False)
    assert node.calls == [] and not list(node.timers)
    assert ask(node, Transition.TRANSITION_CONFIGURE) == (True, INACTIVE)
    assert not node.is_active and node.lifecycle_health().level == WARN
    assert 'ros2 lifecycle set /server activate' in node.lifecycle_health().message
    assert ask(node, Transition.TRANSITION_ACTIVATE) == (True, ACTIVE)
    assert node.is_active
    assert ask(node, Transition.TRANSITION_DEACTIVATE) == (True, INACTIVE)
    assert node.calls == ['load', 'open', 'make_safe'] and not node.is_active


def test_cleaning_up_leaves_nothing_and_it_can_begin_again(context, ask):
    node = Server(context, autostart=False)
    for _ in range(2):
        assert ask(node, Transition.TRANSITION_CONFIGURE) == (True, INACTIVE)
        assert node.count_publishers('words') == 1
        assert ask(node, Transition.TRANSITION_CLEANUP) == (True, UNCONFIGURED)
        assert not list(node.timers) and node.count_publishers('words') == 0
    assert node.calls == ['load', 'unload'] * 2


def test_an_active_node_that_is_shut_down_is_made_safe_first(context, ask):
    node = Server(context)
    success, state = ask(node, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert success and state == State.PRIMARY_STATE_FINALIZED
    assert node.calls == ['load', 'open', 'make_safe', 'unload']


@pytest.mark.parametrize('fault', [ConfigError, ZeroDivisionError])
def test_a_node_that_cannot_load_stays_unconfigured_and_can_try_again(context, ask, fault):
    node = Server(context, autostart=False, fault=fault)
    assert ask(node, Transition.TRANSITION_CONFIGURE) == (False, UNCONFIGURED)
    assert not list(node.timers), 'what was half loaded is gone'
    node.fault = None
    assert ask(node, Transition.TRANSITION_CONFIGURE) == (True, INACTIVE)
