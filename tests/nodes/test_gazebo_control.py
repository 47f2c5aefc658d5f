"""What Gazebo is told, by each of the three ways, without a Gazebo."""

import stat
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from robot_learning.errors import ConfigError, WorldControlError
from robot_learning.nodes import gazebo_control
from robot_learning.nodes.gazebo_control import (
    CommandLineServices,
    RosGzServices,
    ServerCount,
    SimulationInterfaces,
    world_services,
)
from robot_learning.nodes.service_caller import ServiceCaller
from robot_learning.simulation.gazebo_release import FORTRESS, HARMONIC
from robot_learning.simulation.world_reset import Placement
from std_srvs.srv import Trigger

PLACES = {'robot': Placement(1.0, -2.0, 0.0, 0.0), 'ball_red': Placement(0.5, 0.0, 0.065, 1.5)}


def empty(**fields):
    """Return an object with nested fields, as messages have."""
    return SimpleNamespace(**fields)


def pose():
    return empty(position=empty(x=0, y=0, z=0), orientation=empty(x=0, y=0, z=0, w=1))


class Caller:
    """Keeps requests; answers what it is given, else agreement."""

    def __init__(self, agreement):
        self.requests, self.agreement, self.answers = [], agreement, []

    def client(self, service_type, name):
        return empty(srv_name=name, type=service_type)

    def call(self, client, request):
        self.requests.append((client.srv_name, request))
        return self.answers.pop(0) if self.answers else self.agreement


@pytest.fixture
def ros_gz(monkeypatch):
    """Stand in for ros_gz_interfaces, which PyPI lacks."""
    package = {name: ModuleType(f'ros_gz_interfaces{name}') for name in ('', '.msg', '.srv')}
    package['.msg'].Entity = empty(MODEL=2)
    control = lambda: empty(world_control=empty(pause=False, multi_step=0))  # noqa: E731
    package['.srv'].ControlWorld = empty(Request=control)
    entity = lambda: empty(entity=empty(name='', type=0), pose=pose())  # noqa: E731
    package['.srv'].SetEntityPose = empty(Request=entity)
    for name, module in package.items():
        monkeypatch.setitem(sys.modules, f'ros_gz_interfaces{name}', module)
    caller = Caller(empty(success=True))
    return RosGzServices(caller, 'learning_arena'), caller


@pytest.fixture
def interfaces(monkeypatch):
    """Stand in for simulation_interfaces."""
    package = {name: ModuleType(f'simulation_interfaces{name}') for name in ('', '.srv')}
    makers = {
        'SetSimulationState': lambda: empty(state=empty(state=0)),
        'StepSimulation': lambda: empty(steps=0),
        'SetEntityState': lambda: empty(entity='', state=empty(pose=pose())),
    }
    for name, make in makers.items():
        setattr(package['.srv'], name, empty(Request=make))
    for name, module in package.items():
        monkeypatch.setitem(sys.modules, f'simulation_interfaces{name}', module)
    caller = Caller(empty(result=empty(result=1, error_message='')))
    return SimulationInterfaces(caller, 'gzserver'), caller


def test_bridged_services_get_the_worlds_control_and_each_models_pose(ros_gz):
    services, caller = ros_gz
    services.hold(True)
    services.step(60)
    services.place(PLACES)
    services.hold(False)
    names = [name for name, _ in caller.requests]
    assert names[:2] == ['world/learning_arena/control'] * 2, 'in the namespace of the node'
    hold, step, robot, ball, go_on = (request for _, request in caller.requests)
    assert (hold.world_control.pause, hold.world_control.multi_step) == (True, 0)
    assert (step.world_control.pause, step.world_control.multi_step) == (True, 60)
    assert not go_on.world_control.pause
    assert (robot.entity.name, robot.entity.type) == ('robot', 2)
    assert (robot.pose.position.x, robot.pose.position.y) == (1.0, -2.0)
    assert ball.pose.orientation.z == pytest.approx(0.6816, abs=1e-4)


def test_a_refusal_of_a_bridged_service_is_named(ros_gz):
    services, caller = ros_gz
    caller.answers = [empty(success=False)]
    with pytest.raises(WorldControlError, match=r'world/learning_arena/control: refused'):
        services.hold(True)
    caller.answers = [empty(success=True), empty(success=False)]
    with pytest.raises(WorldControlError, match='refused to move ball_red'):
        services.place(PLACES)


def test_simulation_interfaces_get_states_steps_and_entities(interfaces):
    services, caller = interfaces
    services.hold(True)
    services.step(60)
    services.place(PLACES)
    states = dict(caller.requests[:2])
    assert states['gzserver/set_simulation_state'].state.state == 2
    assert states['gzserver/step_simulation'].steps == 60
    assert [request.entity for _, request in caller.requests[2:]] == ['robot', 'ball_red']


def test_simulation_interfaces_refuse_in_words_and_already_held_is_held(interfaces):
    services, caller = interfaces
    caller.answers = [empty(result=empty(result=101, error_message=''))]
    services.hold(True)
    caller.answers = [empty(result=empty(result=4, error_message='no such entity'))]
    with pytest.raises(WorldControlError, match='no such entity'):
        services.place(PLACES)


class Terminal:
    """Runs commands: keeps them and answers."""

    def __init__(self, *answers):
        self.commands, self.answers = [], list(answers)

    def __call__(self, arguments, **options):
        assert 'shell' not in options and options['timeout'] > 0
        self.commands.append(arguments)
        answer = self.answers.pop(0) if self.answers else 'data: true\n'
        if isinstance(answer, Exception):
            raise answer
        return subprocess.CompletedProcess(arguments, 0, answer)


@pytest.mark.parametrize('release', [HARMONIC, FORTRESS], ids=lambda release: release.name)
def test_the_command_line_is_called_without_a_shell_and_places_all_at_once(release):
    terminal = Terminal()
    services = CommandLineServices(release, 'learning_arena', 2.0, terminal)
    services.hold(False)
    services.step(60)
    services.place(PLACES)
    hold, step, place = terminal.commands
    assert hold[:4] == [release.command, 'service', '-s', '/world/learning_arena/control']
    assert hold[4:] == [
        *('--reqtype', f'{release.messages}.WorldControl'),
        *('--reptype', f'{release.messages}.Boolean'),
        *('--timeout', '2000', '--req', 'pause: false'),
    ]
    assert step[-1] == 'pause: true, multi_step: 60'
    assert place[3].endswith('/set_pose_vector') and place[5].endswith('.Pose_V')
    assert place[-1].count('pose {') == 2 and 'name: "ball_red"' in place[-1]


@pytest.mark.parametrize(
    ('answer', 'reason'),
    [
        ('data: false\n', 'refused'),
        ('Service call timed out\n', r'no answer in 2 s \(Service call timed out\)'),
        ('', 'silence'),
        (subprocess.TimeoutExpired('gz', 7), 'busy or gone'),
        (FileNotFoundError('gz'), 'gz: not installed'),
    ],
)
def test_what_the_command_line_answers_else_is_an_error_that_says_so(answer, reason):
    services = CommandLineServices(HARMONIC, 'learning_arena', 2.0, Terminal(answer))
    with pytest.raises(WorldControlError, match=reason):
        services.hold(True)


def test_a_real_program_is_run_with_exactly_these_arguments(tmp_path, monkeypatch):
    program = tmp_path / 'gz'
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/given\necho "data: true"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv('PATH', f'{tmp_path}:/usr/bin:/bin')
    services = world_services('command_line', None, HARMONIC, 'it; touch pwned', 2.0)
    services.hold(True)
    assert '/world/it; touch pwned/control' in (tmp_path / 'given').read_text().splitlines()


TOPICS = '/clock\n/stats\n/world/hall/clock\n/world/hall/stats\n'
CLOCKS = """Publishers [Address, Message Type]:
  tcp://10.0.0.1:41234, gz.msgs.Clock
{}Subscribers [Address, Message Type]:
  tcp://10.0.0.1:5, gz.msgs.Clock
"""


def test_servers_are_counted_by_who_publishes_the_clock_of_a_world():
    one, two = CLOCKS.format(''), CLOCKS.format('  tcp://10.0.0.2:41234, gz.msgs.Clock\n')
    terminal = Terminal(TOPICS, one)
    assert ServerCount(HARMONIC, 'hall', 60.0, terminal)() == 1
    assert [command[1:] for command in terminal.commands] == [
        ['topic', '-l'],
        ['topic', '-i', '-t', '/world/hall/clock'],
    ]
    assert ServerCount(HARMONIC, 'hall', 60.0, Terminal(TOPICS, two))() == 2
    of_another_world = TOPICS + '/world/arena/clock\n'
    assert ServerCount(HARMONIC, 'hall', 60.0, Terminal(of_another_world, one))() == 2


def test_servers_are_counted_now_and_then():
    nobody = 'No publishers on topic [/world/hall/clock]\nNo subscribers on topic [...]\n'
    terminal, now = Terminal(TOPICS, CLOCKS.format(''), '', nobody), [0.0]
    count = ServerCount(HARMONIC, 'hall', 60.0, terminal, lambda: now[0])
    assert count() == 1 and count() == 1 and len(terminal.commands) == 2
    now[0] = 61.0
    assert count() == 0
    assert ServerCount(HARMONIC, 'hall', 60.0, Terminal(FileNotFoundError()))() == 0


class Client:
    """A service client whose service is missing, silent or answers."""

    srv_name = '/world/w/control'

    def __init__(self, is_there=True, answer=None):
        self.is_there, self.answer, self.removed = is_there, answer, []

    def wait_for_service(self, timeout_sec):
        return self.is_there

    def call_async(self, request):
        done = empty(result=lambda: self.answer)
        done.add_done_callback = lambda callback: self.answer and callback(done)
        return done

    def remove_pending_request(self, future):
        self.removed.append(future)


def test_missing_and_slow_services_are_named():
    caller = ServiceCaller(None, 0.01, 'See that it runs.')
    assert caller.call(Client(answer='yes'), None) == 'yes'
    with pytest.raises(WorldControlError, match=r'/world/w/control: no such service'):
        caller.call(Client(is_there=False), None)
    silent = Client()
    with pytest.raises(WorldControlError, match=r'/world/w/control: no answer in 0\.01 s'):
        caller.call(silent, None)
    assert silent.removed


def test_services_are_called_by_their_names_in_the_namespace_of_the_node():
    context = Context()
    rclpy.init(context=context)
    node = Node('simulator', namespace='/robot1', context=context)
    client = ServiceCaller(node, 0.01, '').client(Trigger, 'world/hall/control')
    assert client.srv_name == '/robot1/world/hall/control'
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_without_anything_installed_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(gazebo_control.shutil, 'which', lambda name: None)
    with pytest.raises(ConfigError, match=r'ros_gz .*simulation_interfaces .*command_line'):
        world_services('auto', None, HARMONIC, 'w', 1.0)
    with pytest.raises(ConfigError, match='no program gz'):
        world_services('command_line', None, HARMONIC, 'w', 1.0)
