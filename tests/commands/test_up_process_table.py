"""The process table: what it says, how arguments fill it, and how mistakes are named."""

from __future__ import annotations

import textwrap

import pytest
import yaml
from robot_learning.commands import argument_text, process_table
from robot_learning.errors import ConfigError

TABLE = """
arguments:
  robot: {default: arena, description: Which robot}
  seed: {default: 0, description: Seed}
  speed: {default: 1.0, description: Pace}
  raw: {default: false, description: Record a bag}
  mode: {default: lock_step, choices: [lock_step, real_time], description: Clock}
  namespace: {default: '', description: Namespace}
processes:
  world:
    executable: world_node
    description: The world
    launch_files: [bringup, simulation]
    essential: true
    restart: never
    parameters: {robot: $(robot), seed: $(seed), folder: runs/$(robot)/$(seed)}
  bag:
    executable: bag_node
    description: The bag
    launch_files: [bringup, recording]
    enabled_by: raw
    essential: false
    restart: always
    parameters:
      pace: {argument: mode, cases: {lock_step: slow, real_time: fast}}
      speed: $(speed)
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / 'system.yaml'
    path.write_text(TABLE)
    return process_table.load(path)


def test_defaults_fill_the_parameters(table):
    (world,) = process_table.resolve(table, 'bringup')
    assert world.parameters == {'robot': 'arena', 'seed': 0, 'folder': 'runs/arena/0'}
    assert (world.essential, world.restart) == (True, 'never')


def test_given_text_takes_the_type_of_the_default(table):
    given = {'seed': '7', 'raw': 'true', 'speed': '2', 'mode': 'real_time'}
    world, bag = process_table.resolve(table, 'bringup', given)
    assert world.parameters['seed'] == 7
    assert bag.parameters == {'pace': 'fast', 'speed': 2.0}
    assert isinstance(bag.parameters['speed'], float)


def test_only_starts_the_named_process_even_when_it_is_switched_off(table):
    assert [p.name for p in process_table.resolve(table, 'bringup', only=('bag',))] == ['bag']


def test_a_parameter_file_comes_before_the_parameters_that_win_over_it(tmp_path):
    (tmp_path / 'world.yaml').touch()
    path = tmp_path / 'system.yaml'
    path.write_text(
        TABLE.replace('    executable: w', '    parameter_file: world.yaml\n    executable: w')
    )
    (world,) = process_table.resolve(process_table.load(path), 'simulation')
    arguments = world.ros_arguments()
    assert arguments[1:3] == ['--params-file', str(tmp_path / 'world.yaml')]
    assert arguments[3] == '-p'


def test_an_override_wins_over_the_table(table):
    overrides = {'world': {'seed': 5, 'new': 'x'}}
    (world,) = process_table.resolve(table, 'bringup', overrides=overrides)
    assert world.parameters['seed'] == 5
    assert world.parameters['new'] == 'x'


def test_a_launch_file_declares_just_the_arguments_it_uses(table):
    assert list(table.arguments_of('simulation')) == ['robot', 'seed', 'namespace']
    assert list(table.arguments_of('recording')) == ['speed', 'raw', 'mode', 'namespace']


@pytest.mark.parametrize(
    'value',
    ['arena', '', '007', 'true', 'a b', '/a/b c.yaml', '1e3', 'x: y', '#', 3, 0.1, 1e-7, True],
)
def test_ros_reads_back_the_value_and_type_that_was_meant(value):
    process = process_table.ResolvedProcess('p', 'e', {'x': value}, '/ns', True, 'never')
    arguments = process.ros_arguments()
    assert arguments[:4] == ['--ros-args', '-r', '__ns:=/ns', '-p']
    name, text = arguments[4].split(':=', 1)
    read = yaml.safe_load(text)
    assert (name, read, type(read)) == ('x', value, type(value))


def test_worlds_side_by_side_can_have_a_clock_each():
    shipped = process_table.load()
    given = {'namespace': 'robot1', 'clock': 'robot1/clock'}
    for process in process_table.resolve(shipped, 'bringup', given):
        assert process.ros_arguments()[3:5] == ['-r', '/clock:=/robot1/clock']
    for process in process_table.resolve(shipped, 'bringup', {'namespace': 'robot1'}):
        assert '/clock' not in ' '.join(process.ros_arguments())


@pytest.mark.parametrize(('given', 'namespace'), [('', ''), ('a', '/a'), ('/a/b', '/a/b')])
def test_a_namespace_becomes_absolute(table, given, namespace):
    (world,) = process_table.resolve(table, 'simulation', {'namespace': given})
    assert world.namespace == namespace


@pytest.mark.parametrize(
    ('arguments', 'match'),
    [
        ({'given': {'sede': '1'}}, "'sede': unknown. Choose from: robot, seed"),
        ({'given': {'seed': 'x'}}, "argument seed: found 'x', expected a int"),
        ({'given': {'seed': '1.5'}}, "argument seed: found '1.5'"),
        ({'given': {'raw': 'maybe'}}, "argument raw: found 'maybe', expected a bool"),
        ({'given': {'mode': 'slow'}}, 'expected one of lock_step, real_time'),
        ({'given': {'namespace': '9 lives'}}, "namespace: found '9 lives'"),
        ({'only': ('wrold',)}, "process 'wrold': bringup has none .* world, bag"),
        ({'overrides': {'x': {}}}, "process 'x'"),
    ],
)
def test_a_mistake_of_the_user_is_named(table, arguments, match):
    with pytest.raises(ConfigError, match=match):
        process_table.resolve(table, 'bringup', **arguments)


@pytest.mark.parametrize(
    ('text', 'parts'),
    [
        ('simulator.seed=3', ('simulator', 'seed', 3)),
        ('a.b.c=x=y', ('a', 'b.c', 'x=y')),
        ('a.b=', ('a', 'b', '')),
        ('a.b=[', ('a', 'b', '[')),
        ('a.b=true', ('a', 'b', True)),
    ],
)
def test_overrides_are_split_at_the_first_dot_and_sign(text, parts):
    assert argument_text.parse_override(text) == parts


@pytest.mark.parametrize('text', ['seed=3', 'simulator.seed', '.seed=3', 'simulator.=3'])
def test_a_malformed_override_is_named(text):
    with pytest.raises(ConfigError, match=r'expected PROCESS\.PARAMETER=VALUE'):
        argument_text.parse_override(text)


def test_all_mistakes_in_a_table_are_named_at_once_with_their_lines(tmp_path):
    path = tmp_path / 'system.yaml'
    path.write_text(
        textwrap.dedent("""\
        arguments:
          namespace: {default: '', description: d}
        processes:
          a:
            executable: a
            description: d
            launch_files: [everything]
            essential: true
            restart: never
            parameter_file: absent.yaml
            parameters: {x: $(nothing)}
        """)
    )
    with pytest.raises(ConfigError) as error:
        process_table.load(path)
    text = str(error.value)
    assert 'system.yaml:7: processes.a.launch_files' in text
    assert "'everything'" in text
    assert "refers to argument 'nothing'" in text
    assert 'absent.yaml is not there' in text


def test_a_translation_covers_every_choice_of_the_shipped_table():
    table = process_table.load()
    for mode in table.arguments['mode'].choices:
        assert process_table.resolve(table, 'bringup', {'mode': mode})


def test_the_shipped_table_starts_the_loop_without_a_bag_by_default():
    names = [p.name for p in process_table.resolve(process_table.load(), 'bringup')]
    assert names == ['simulator', 'policy', 'recorder', 'trainer']
    processes = process_table.resolve(process_table.load(), 'bringup', {'record_bag': 'true'})
    assert 'bag_recorder' in [p.name for p in processes]
