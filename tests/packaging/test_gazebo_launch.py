"""gazebo.launch.py with a recording stand-in for `launch`, and with `launch` where it is."""

from __future__ import annotations

import runpy
from importlib.util import find_spec
from pathlib import Path

import fake_launch
import pytest
from robot_learning.commands.process_table import LAUNCH_FILES
from robot_learning.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[2] / 'launch'


def actions(monkeypatch, **given):
    fake_launch.install(monkeypatch)
    module = runpy.run_path(str(FOLDER / 'gazebo.launch.py'))
    return fake_launch.perform(module['generate_launch_description'](), **given)


def of(found, kind):
    return [action for action in found if isinstance(action, kind)]


def included(found):
    """Return what is included, each in a group that keeps its arguments from the others."""
    groups = [group.actions for group in of(found, fake_launch.GroupAction)]
    return [group[-1] for group in groups]


def node(found, executable):
    return [n for n in of(found, fake_launch.Node) if n.executable == executable]


def test_it_starts_the_server_without_a_window_and_ends_with_it(monkeypatch):
    found = actions(monkeypatch)
    (server,) = included(found)
    assert server.launch_description_source.location.endswith('ros_gz_sim/launch/gz_sim.launch.py')
    start, world = server.arguments['gz_args'].rsplit(' ', 1)
    assert start == '-r -s -v2 --headless-rendering'
    assert Path(world).read_text().count('<world name="learning_arena">') == 1
    assert server.arguments['on_exit_shutdown'] == 'true'


def test_the_window_is_a_client_of_its_own(monkeypatch):
    found = actions(monkeypatch, gui='true', headless='false')
    server, client = included(found)
    assert server.arguments['gz_args'].startswith('-r -s -v2 /')
    assert client.arguments == {'gz_args': '-g -v2', 'on_exit_shutdown': 'false'}


def test_every_launch_has_a_partition_of_its_own_that_everything_after_it_inherits(monkeypatch):
    partitions = set()
    for _ in range(2):
        found = actions(monkeypatch)
        first, second = found[:2]
        assert (first.name, second.name) == ('GZ_PARTITION', 'IGN_PARTITION')
        assert first.value == second.value
        partitions.add(first.value)
    assert len(partitions) == 2
    assert actions(monkeypatch, partition='mine')[0].value == 'mine'


def test_robot_bridges_and_node_speak_of_the_same_world(monkeypatch):
    found = actions(monkeypatch, namespace='robot1', clock='robot1/clock')
    (create,) = node(found, 'create')
    arguments = dict(zip(create.arguments[::2], create.arguments[1::2], strict=True))
    assert (arguments['-world'], arguments['-name']) == ('learning_arena', 'robot')
    assert '<model name="robot"' in Path(arguments['-file']).read_text()
    bridge, services = node(found, 'parameter_bridge')
    assert Path(bridge.parameters[0]['config_file']).read_text().startswith('# Written by')
    assert bridge.namespace == '/robot1' and bridge.remappings == [('/clock', '/robot1/clock')]
    assert services.arguments == [
        '/world/learning_arena/control@ros_gz_interfaces/srv/ControlWorld',
        '/world/learning_arena/set_pose@ros_gz_interfaces/srv/SetEntityPose',
    ]
    assert services.namespace == '/robot1' and services.remappings == [
        ('/world/learning_arena/control', 'world/learning_arena/control'),
        ('/world/learning_arena/set_pose', 'world/learning_arena/set_pose'),
    ]
    (images,) = node(found, 'image_bridge')
    assert images.arguments == ['camera/image_raw'] and images.namespace == '/robot1'
    (ours,) = node(found, 'gazebo_node')
    assert ours.parameters[-1]['world'].value == 'learning_arena'
    assert ours.parameters[-1]['use_sim_time'].value is True


def test_a_turtlebot3_is_the_one_that_the_user_has_installed(monkeypatch):
    found = actions(monkeypatch, robot='turtlebot3')
    (path,) = of(found, fake_launch.AppendEnvironmentVariable)
    assert path.name == 'GZ_SIM_RESOURCE_PATH'
    assert path.value.endswith('turtlebot3_gazebo/models')
    (create,) = node(found, 'create')
    model = Path(create.arguments[create.arguments.index('-file') + 1]).read_text()
    assert 'model://turtlebot3_waffle' in model


def test_a_turtlebot3_in_a_namespace_has_its_transforms_there(monkeypatch):
    found = actions(monkeypatch, robot='turtlebot3', namespace='robot1', clock='robot1/clock')
    group = of(found, fake_launch.GroupAction)[0].actions
    assert group[0] == fake_launch.PushRosNamespace('/robot1')
    remaps = {(remap.src, remap.dst) for remap in of(group, fake_launch.SetRemap)}
    assert remaps == {
        *(('/tf', 'tf'), ('/tf_static', 'tf_static')),
        ('/clock', '/robot1/clock'),
    }
    assert fake_launch.SetEnvironmentVariable('TURTLEBOT3_MODEL', 'waffle') in group
    assert group[-1].launch_description_source.location.endswith(
        'turtlebot3_gazebo/launch/robot_state_publisher.launch.py'
    )
    assert group[-1].arguments == {'use_sim_time': 'true'}
    root = of(actions(monkeypatch, robot='turtlebot3'), fake_launch.GroupAction)[0].actions
    assert of(root, fake_launch.PushRosNamespace) == []


def test_fortress_gets_its_names(monkeypatch):
    found = actions(monkeypatch, gazebo_release='fortress')
    bridge, _ = node(found, 'parameter_bridge')
    assert 'ignition.msgs.Clock' in Path(bridge.parameters[0]['config_file']).read_text()
    (ours,) = node(found, 'gazebo_node')
    assert ours.parameters[-1]['release'].value == 'fortress'


def test_another_world_is_named_by_its_file(monkeypatch, tmp_path):
    world = tmp_path / 'hall.sdf'
    world.write_text('<sdf version="1.9"><world name="hall"/></sdf>')
    found = actions(monkeypatch, world=str(world))
    (ours,) = node(found, 'gazebo_node')
    assert ours.parameters[-1]['world'].value == 'hall'
    assert node(found, 'create')[0].arguments[1] == 'hall'


@pytest.mark.parametrize(
    ('content', 'name', 'reason'),
    [
        (None, 'absent.sdf', 'cannot be read'),
        ('<sdf', 'broken.sdf', 'cannot be read'),
        ('<sdf version="1.9"><model name="m"/></sdf>', 'model.sdf', 'has no <world'),
        ('<sdf/>', 'a hall.sdf', 'has a space'),
    ],
)
def test_a_world_that_is_none_is_named(monkeypatch, tmp_path, content, name, reason):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=reason):
        actions(monkeypatch, world=str(tmp_path / name))


def test_security_is_not_pretended(monkeypatch):
    with pytest.raises(ConfigError, match=r'robot\.launch\.py has it'):
        actions(monkeypatch, security='true')


@pytest.mark.skipif(find_spec('launch_ros') is None, reason='launch is not installed')
@pytest.mark.parametrize('name', LAUNCH_FILES)
def test_the_real_launch_takes_every_launch_file(name):
    from launch import LaunchDescription
    from launch.actions import DeclareLaunchArgument

    if name == 'gazebo' and find_spec('ament_index_python') is None:
        pytest.skip('ament_index_python is not installed')
    module = runpy.run_path(str(FOLDER / f'{name}.launch.py'))
    description = module['generate_launch_description']()
    assert isinstance(description, LaunchDescription)
    declared = [e for e in description.entities if isinstance(e, DeclareLaunchArgument)]
    assert declared and all(argument.description for argument in declared)
