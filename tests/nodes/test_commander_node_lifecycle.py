"""A commander that is not active understands, but carries nothing out."""

from lifecycle_msgs.msg import State
from node_bench import overrides, turning
from rclpy.action import ActionClient
from rclpy.node import Node
from robot_learning.nodes import commander_node
from robot_learning.nodes.commander_node import CommanderNode
from robot_learning_interfaces.action import ExecuteCommand
from rover import wait_until


def test_it_takes_commands_only_while_it_is_active(context, tmp_path, monkeypatch):
    monkeypatch.setattr(commander_node, '_code_model', lambda config: None)  # Takes seconds.
    settings = {'autostart': False, 'models': str(tmp_path), 'robot': 'errands'}
    commander = CommanderNode(
        context=context, namespace='/managed', parameter_overrides=overrides(settings)
    )
    assert not commander.count_publishers('commander/cmd_vel')
    commander.trigger_configure()
    assert commander._state_machine.current_state[0] == State.PRIMARY_STATE_INACTIVE
    person = Node('person', context=context, namespace='/managed')
    client = ActionClient(person, ExecuteCommand, 'execute_command')

    def ask(text, **goal):
        future = client.send_goal_async(ExecuteCommand.Goal(text=text, **goal))
        wait_until(future.done, 'acceptance')
        result = future.result().get_result_async()
        wait_until(result.done, 'result')
        return result.result().result

    with turning(context, commander, person):
        assert client.wait_for_server(10.0)
        assert 'lifecycle set /managed/commander activate' in ask('wait 1 second').refusal
        assert ask('stop').success, 'stop is always heard'
        assert ask('wait 1 second', dry_run=True).success
