"""Every launch file against the process table, with a recording stand-in for `launch`."""

from __future__ import annotations

import runpy
from pathlib import Path

import fake_launch
import pytest
from robot_learning.commands import process_table
from robot_learning.commands.process_table import LAUNCH_FILES
from robot_learning.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[2] / 'launch'
TIMER = fake_launch.TimerAction


@pytest.fixture(autouse=True)
def launch(monkeypatch):
    fake_launch.install(monkeypatch)


def describe(name: str) -> fake_launch.LaunchDescription:
    module = runpy.run_path(str(FOLDER / f'{name}.launch.py'))
    assert module['__doc__'], f'{name}: says nothing about itself'
    return module['generate_launch_description']()


def ours(name: str, **given: str) -> list[fake_launch.Node]:
    """Return the nodes of this package that a launch file starts."""
    actions = fake_launch.perform(describe(name), **given)
    nodes = [action for action in actions if isinstance(action, fake_launch.Node)]
    return [node for node in nodes if node.package == 'robot_learning']


def arguments_of(name: str) -> list[fake_launch.DeclareLaunchArgument]:
    entities = describe(name).entities
    return [e for e in entities if isinstance(e, fake_launch.DeclareLaunchArgument)]


def test_there_is_one_launch_file_per_name_in_the_table():
    assert {path.name for path in FOLDER.glob('*.launch.py')} == {
        f'{name}.launch.py' for name in LAUNCH_FILES
    }


@pytest.mark.parametrize('name', LAUNCH_FILES)
def test_every_argument_is_described_and_has_a_default(name):
    arguments = arguments_of(name)
    assert len(arguments) >= 3
    for argument in arguments:
        assert len(argument.description or '') > 5, argument.name
        assert argument.default_value is not None, argument.name


@pytest.mark.parametrize('name', LAUNCH_FILES)
def test_it_starts_the_processes_of_the_table_with_their_parameters(name):
    table = process_table.load()
    given = {'record_bag': 'true'} if name in ('bringup', 'recording') else {}
    nodes = ours(name, **given, namespace='robot1')
    expected = process_table.resolve(table, name, {**given, 'namespace': 'robot1'})
    assert [node.executable for node in nodes] == [process.executable for process in expected]
    for node, process in zip(nodes, expected, strict=True):
        assert node.package == 'robot_learning'
        assert node.namespace == '/robot1'
        *files, parameters = node.parameters
        assert files == [str(process.parameter_file)] * (process.parameter_file is not None)
        values = {key: parameter.value for key, parameter in parameters.items()}
        values.pop('session', None)  # The time of the start: differs between the two.
        expected_values = dict(process.parameters)
        if process.name == 'gazebo':
            expected_values['world'] = 'learning_arena'  # Found in the world's file.
        expected_values.pop('session', None)
        assert values == expected_values
        for parameter in parameters.values():
            assert parameter.value_type is type(parameter.value)


@pytest.mark.parametrize('name', LAUNCH_FILES)
def test_restarts_and_essential_ends_are_those_of_the_table(name):
    nodes = ours(name)
    for node, process in zip(
        nodes, process_table.resolve(process_table.load(), name), strict=True
    ):
        assert not node.respawn, 'it would mind no exit code'
        assert node.prefix == (f'nice -n {process.nice}' if process.nice else None)
        context = fake_launch.LaunchContext({})
        ends_all = [fake_launch.Shutdown(reason=f'{process.name} has ended')]
        for code in (0, 2):
            after = node.on_exit(fake_launch.ProcessExited(code), context)
            assert after == (ends_all if process.essential else [])
        after = node.on_exit(fake_launch.ProcessExited(-9), context)
        if process.restart == 'never':
            assert after == (ends_all if process.essential else [])
        else:
            (timer,) = after
            assert timer.actions == [node] and timer.actions[0] is not node


def test_a_process_that_keeps_failing_has_ended_for_good():
    node = next(node for node in ours('bringup') if node.executable == 'policy_node')
    context, delays = fake_launch.LaunchContext({}), []
    while isinstance(after := node.on_exit(fake_launch.ProcessExited(1), context)[0], TIMER):
        delays.append(after.period)
        node = after.actions[0]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert after == fake_launch.Shutdown(reason='policy has ended')


def test_nothing_is_started_again_while_everything_ends():
    ending = fake_launch.LaunchContext({}, is_shutdown=True)
    for node in ours('bringup'):
        assert node.on_exit(fake_launch.ProcessExited(-2), ending) == []


def test_arguments_reach_the_nodes():
    nodes = fake_launch.perform(
        describe('bringup'), robot='turtlebot3', mode='real_time', seed='5', session='007'
    )
    by_name = {node.executable: node.parameters[-1] for node in nodes}
    assert by_name['simulator_node']['robot'].value == 'turtlebot3'
    assert by_name['simulator_node']['seed'].value == 5
    assert by_name['policy_node']['mode'].value == 'free_running'
    assert by_name['recorder_node']['session'] == fake_launch.ParameterValue('007', value_type=str)


def test_a_clock_of_its_own_reaches_every_node():
    nodes = fake_launch.perform(describe('bringup'), namespace='robot1', clock='robot1/clock')
    assert all(node.remappings == [('/clock', '/robot1/clock')] for node in nodes)
    assert all(node.remappings == [] for node in fake_launch.perform(describe('bringup')))


def test_common_choices_reach_every_node(tmp_path):
    users = tmp_path / 'mine.yaml'
    users.write_text('/**: {ros__parameters: {seed: 3}}')
    nodes = ours('robot', log_level='debug', params_file=str(users), use_respawn='false')
    assert nodes
    for node in nodes:
        assert node.ros_arguments == ['--log-level', 'debug']
        assert node.parameters[-1] == str(users), 'the last one wins'
        after = node.on_exit(fake_launch.ProcessExited(1), fake_launch.LaunchContext({}))
        assert not any(isinstance(action, fake_launch.TimerAction) for action in after)
    with pytest.raises(ConfigError, match=r'params_file: .* is not there'):
        ours('robot', params_file='nowhere.yaml')


def test_further_phases_have_trainers_and_names_of_their_own():
    nodes = ours('training', phases='world_model,behavior_cloning')
    assert [node.name for node in nodes] == [
        None,
        'trainer_world_model',
        'trainer_behavior_cloning',
    ]
    names = [node.parameters[-1]['model_name'].value for node in nodes]
    assert names == ['navigator', 'navigator', 'navigator-behavior_cloning']
    assert [node.parameters[-1]['phase'].value for node in nodes][1:] == [
        'world_model',
        'behavior_cloning',
    ]


def test_a_real_robot_has_no_simulator_and_nobody_drives_before_being_asked():
    by_name = {node.executable: node.parameters[-1] for node in ours('robot')}
    assert set(by_name) == {'policy_node', 'recorder_node', 'trainer_node', 'person_reset_node'}
    policy = {name: value.value for name, value in by_name['policy_node'].items()}
    assert policy['robot'] == 'turtlebot3' and policy['mode'] == 'free_running'
    assert policy['use_sim_time'] is False and policy['drive_at_start'] is False


def test_the_loop_is_the_same_with_gazebo_as_with_the_embedded_world():
    def others(nodes):
        return [n for n in nodes if n.executable not in ('simulator_node', 'gazebo_node')]

    given = {'mode': 'real_time', 'session': 'one'}
    embedded, gazebo = ours('bringup', **given), ours('gazebo', **given)
    assert others(embedded) == others(gazebo)
    assert others(ours('bringup', simulator='gazebo', **given)) == others(gazebo)
    assert {n.executable for n in gazebo} - {n.executable for n in embedded} == {'gazebo_node'}


def test_security_needs_a_key_for_every_enclave_and_sets_it(tmp_path):
    given = {'security': 'true', 'keystore': str(tmp_path), 'namespace': 'robot1'}
    with pytest.raises(ConfigError, match=r'create_enclave .*/robot1/person_reset'):
        ours('robot', **given)
    for name in ('person_reset', 'policy', 'recorder', 'trainer'):
        key = tmp_path / 'enclaves' / 'robot1' / name / 'key.pem'
        key.parent.mkdir(parents=True)
        key.touch()
    for node in ours('robot', **given):
        assert node.ros_arguments[-2] == '--enclave'
        assert node.ros_arguments[-1].startswith('/robot1/')
        assert node.additional_env['ROS_SECURITY_ENABLE'] == 'true'
        assert node.additional_env['ROS_SECURITY_KEYSTORE'] == str(tmp_path)


def test_choices_are_declared():
    mode = next(argument for argument in arguments_of('bringup') if argument.name == 'mode')
    assert mode.choices == ['lock_step', 'real_time']
