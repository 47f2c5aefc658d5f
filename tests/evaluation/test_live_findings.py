"""Systems with one fault each: it is named, with what to do, and nothing else is."""

import pytest
from robot_learning import contract as contracts
from robot_learning.evaluation.live_findings import is_well, judge
from robot_learning.evaluation.live_system import (
    ClockHeard,
    Endpoint,
    LiveSystem,
    Parameters,
    Status,
    part_of,
)

ARENA = contracts.load('arena')
OURS = ('simulator', 'policy', 'recorder', 'trainer')


def sound(namespace=''):
    """A system in which everything is as it should be."""
    system = LiveSystem(seconds=5.0)
    name = namespace.lstrip('/')
    for role in OURS:
        node = f'{namespace}/{role}'
        system.nodes[node] = 1
        system.parameters[node] = Parameters(role != 'simulator', 'arena')
        status = f'{name}/{role}: part'.lstrip('/')
        system.statuses[status] = Status(0, 'well', 4.5)
    simulator = f'{namespace}/simulator'
    for spec in ARENA.observation.values():
        is_latched = spec.qos == 'latched'
        is_reliable = spec.qos != 'sensor'
        topic = f'{namespace}/{spec.topic}'
        system.publishers[topic] = [Endpoint(simulator, spec.type, is_reliable, is_latched)]
        system.subscriptions[topic] = [
            Endpoint(f'{namespace}/{role}', spec.type, is_reliable, is_latched)
            for role in ('policy', 'recorder')
        ]
    for action in ARENA.learned_actions.values():
        topic = f'{namespace}/{action.topic}'
        system.publishers[topic] = [Endpoint(f'{namespace}/policy', action.type, True, False)]
        system.subscriptions[topic] = [
            Endpoint(f'{namespace}/{role}', action.type, True, False)
            for role in ('simulator', 'recorder')
        ]
    clock = 'rosgraph_msgs/msg/Clock'
    system.publishers['/clock'] = [Endpoint(simulator, clock, False, False)]
    system.subscriptions['/clock'] = [
        Endpoint(f'{namespace}/{role}', clock, False, False) for role in OURS[1:]
    ]
    system.clocks['/clock'] = ClockHeard(10**9, 6 * 10**9)
    return system


def found(system, namespace=''):
    return judge(system, {namespace: ARENA})


@pytest.mark.parametrize('namespace', ['', '/robot1'])
def test_a_sound_system_has_no_findings(namespace):
    assert found(sound(namespace), namespace) == []


def without(role):
    system = sound()
    node = f'/{role}'
    del system.nodes[node], system.parameters[node], system.statuses[f'{role}: part']
    for endpoints in (system.publishers, system.subscriptions):
        for topic in list(endpoints):
            endpoints[topic] = [e for e in endpoints[topic] if e.node != node]
    return system


def check(system, level, about, text, to_do=''):
    findings = found(system)
    (finding,) = [f for f in findings if f.about == about]
    assert finding.level == level, finding
    assert text in finding.found
    assert to_do in finding.to_do
    assert is_well(findings) == all(f.level == 'note' for f in findings)
    return findings


def test_an_absent_policy_is_an_error_with_the_command_that_starts_one():
    text, to_do = 'no policy node is running', './run up --only policy'
    assert check(without('policy'), 'error', '/policy', text, to_do)


def test_a_learning_machine_needs_no_policy():
    system = LiveSystem(seconds=5.0, nodes={'/trainer': 1, '/replicator': 1})
    for role in ('trainer', 'replicator'):
        system.parameters[f'/{role}'] = Parameters(False, 'arena')
        system.statuses[f'{role}: part'] = Status(0, 'well', 4.5)
    assert is_well(judge(system, {'': ARENA}))


def test_a_trainer_without_a_recorder_gets_no_steps():
    check(without('recorder'), 'warning', '/recorder', 'the trainer gets no new steps')


def test_driving_without_learning_is_no_fault():
    findings = check(without('trainer'), 'note', '/trainer', 'nothing is learned')
    assert is_well(findings)


def test_an_absent_simulator_leaves_topics_without_a_publisher_and_commands_unheard():
    system = without('simulator')
    findings = check(system, 'error', '/scan', 'nobody publishes it', 'Start the driver')
    assert {'/clock', '/odom', '/cmd_vel'} <= {f.about for f in findings}
    check(system, 'error', '/cmd_vel', 'nobody obeys the commands of /policy')
    check(system, 'error', '/clock', 'nobody publishes /clock although use_sim_time is set')


def test_statuses_are_passed_on_with_what_to_do():
    system = sound()
    for name, level, message in (
        ('policy: gate', 2, 'emergency stop: pressed by the service. Call release'),
        ('recorder: topic scan', 1, '12 messages/s are dropped before they reach us. Give it'),
        ('trainer: training', 1, 'has stopped learning: no new steps for 60 s. Is it running?'),
        ('recorder: store', 2, 'disk full'),
        ('policy: latency', 0, 'well'),
    ):
        system.statuses[name] = Status(level, message, 4.5)
    findings = found(system)
    assert [f.about for f in findings] == [
        'policy: gate',
        'recorder: store',
        'recorder: topic scan',
        'trainer: training',
    ]
    release = 'ros2 service call /policy/release_emergency_stop std_srvs/srv/Trigger'
    assert release in findings[0].to_do
    assert 'Free space' in findings[1].to_do
    assert findings[2].to_do == ''  # The node says it itself.


def test_a_version_that_the_trainer_will_make_is_only_noted():
    system = sound()
    system.statuses['policy: model'] = Status(1, 'no version yet', 4.5, {'version': '-1'})
    assert is_well(check(system, 'note', 'policy: model', 'no version yet'))
    system = without('trainer')
    system.statuses['policy: model'] = Status(1, 'no version yet', 4.5, {'version': '-1'})
    assert not is_well(found(system))


def test_a_status_that_is_not_repeated_is_stale():
    system = sound()
    system.statuses['policy: part'] = Status(0, 'well', 1.0)
    check(system, 'error', 'policy: part', "stale, it said 'well'", 'start it again')


def test_a_node_that_says_nothing_at_all_is_named():
    system = sound()
    del system.statuses['trainer: part']
    check(system, 'warning', '/trainer', 'has said nothing about itself in 5 s')


def test_two_nodes_of_one_name_are_named():
    system = sound()
    system.nodes['/policy'] = 2
    check(system, 'error', '/policy', '2 nodes have this name')


def test_two_publishers_of_commands_are_named_unless_the_gate_does():
    system = sound()
    system.publishers['/cmd_vel'].append(Endpoint('/joy', 'x', True, False))
    system.publishers['/cmd_vel'][1] = system.publishers['/cmd_vel'][0]._replace(node='/joy')
    check(system, 'error', '/cmd_vel', '2 publishers command the robot: /joy, /policy')
    system.statuses['policy: command topics'] = Status(2, 'past the gate publish: /joy', 4.5)
    assert [f.about for f in found(system)] == ['policy: command topics']


def test_two_publishers_of_a_sensor_mix_their_readings():
    system = sound()
    system.publishers['/scan'] += [system.publishers['/scan'][0]._replace(node='/bag_player')]
    check(system, 'warning', '/scan', 'mix their readings: /bag_player, /simulator')


def test_types_that_do_not_fit_are_named():
    system = sound()
    odd = 'sensor_msgs/msg/PointCloud2'
    system.publishers['/scan'] = [system.publishers['/scan'][0]._replace(type=odd)]
    findings = found(system)
    assert {f.about for f in findings} == {'/scan'}
    assert any(f'publishes {odd}, the contract says' in f.found for f in findings)
    system.publishers['/scan'] += sound().publishers['/scan']
    assert any('is published with different types' in f.found for f in found(system))


@pytest.mark.parametrize(
    ('wanted', 'text'),
    [
        ({'is_reliable': True}, 'reliable delivery'),
        ({'is_latched': True}, 'the latched last message'),
    ],
)
def test_qualities_of_service_that_keep_messages_away_are_named(wanted, text):
    system = sound()
    endpoint = system.publishers['/scan'][0]._replace(is_reliable=False, is_latched=False)
    system.publishers['/scan'] = [endpoint]
    system.subscriptions['/scan'] = [endpoint._replace(node='/recorder', **wanted)]
    check(system, 'error', '/scan', f'/recorder asks for {text}')


def test_a_node_that_listens_in_several_ways_needs_one_that_fits():
    system = sound()
    endpoint = system.publishers['/scan'][0]._replace(is_reliable=True, is_latched=False)
    latched = endpoint._replace(node='/policy', is_latched=True)
    system.publishers['/scan'] = [endpoint]
    system.subscriptions['/scan'] = [latched, endpoint._replace(node='/policy')]
    assert found(system) == []
    system.subscriptions['/scan'] = [latched, endpoint._replace(node='/recorder')]
    check(system, 'error', '/scan', '/policy asks for the latched last message')


def test_time_that_stands_still_is_named_unless_the_world_is_paused():
    system = sound()
    system.clocks['/clock'] = ClockHeard(10**9, 10**9)
    check(system, 'warning', '/clock', '/simulator keeps simulated time where it is')
    paused = Status(1, 'the world is paused. Go on with: ...', 4.5, {'paused': 'True'})
    system.statuses['simulator: world'] = paused
    assert [f.about for f in found(system)] == ['simulator: world']
    system.clocks = {}
    del system.statuses['simulator: world']
    check(system, 'warning', '/clock', 'keeps simulated time')


def test_two_clocks_are_named():
    system = sound()
    system.publishers['/clock'] *= 2
    check(system, 'error', '/clock', '2 publishers set the time')


def test_status_names_are_split_into_node_and_part():
    assert part_of('robot1/policy: gate') == ('/robot1/policy', 'gate')
    assert part_of('/recorder: topic scan') == ('/recorder', 'topic scan')
