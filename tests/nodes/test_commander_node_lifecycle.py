"""A commander that is not active understands, but carries nothing out."""

import threading

import pytest
import rclpy
from lifecycle_msgs.msg import State
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from robot_learning.nodes import commander_node
from robot_learning.nodes.commander_node import CommanderNode
from robot_learning.nodes.run import make_executor
from robot_learning_interfaces.action import ExecuteCommand
from rover import wait_until


@pytest.fixture
def context():
    context = Context()
    rclpy.init(context=context)
    yield context
    rclpy.try_shutdown(context=context)


def test_it_takes_commands_only_while_it_is_active(context, tmp_path, monkeypatch):
    monkeypatch.setattr(commander_node, '_code_model', lambda config: None)  # Takes seconds.
    overrides = [
        Parameter('autostart', value=False),
        Parameter('models', value=str(tmp_path)),
        Parameter('robot', value='errands'),
    ]
    commander = CommanderNode(context=context, namespace='/managed', parameter_overrides=overrides)
    assert not commander.count_publishers('commander/cmd_vel')
    commander.trigger_configure()
    assert commander._state_machine.current_state[0] == State.PRIMARY_STATE_INACTIVE
    person = Node('person', context=context, namespace='/managed')
    client = ActionClient(person, ExecuteCommand, 'execute_command')
    executor, ending = make_executor(context), threading.Event()
    for node in (commander, person):
        executor.add_node(node)

    def turn():
        while not ending.is_set():
            executor.spin_once(timeout_sec=0.05)

    thread = threading.Thread(target=turn)
    thread.start()

    def ask(text, **goal):
        future = client.send_goal_async(ExecuteCommand.Goal(text=text, **goal))
        wait_until(future.done, 'acceptance')
        result = future.result().get_result_async()
        wait_until(result.done, 'result')
        return result.result().result

    try:
        assert client.wait_for_server(10.0)
        assert 'lifecycle set /managed/commander activate' in ask('wait 1 second').refusal
        assert ask('stop').success, 'stop is always heard'
        assert ask('wait 1 second', dry_run=True).success
    finally:
        ending.set()
        thread.join()
        client.destroy()
        for node in (commander, person):
            executor.remove_node(node)
        executor.shutdown()
        commander.close()
        commander.destroy_node()
        person.destroy_node()
