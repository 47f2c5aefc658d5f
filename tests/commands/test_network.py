import pytest
from robot_learning.commands import network, process_table
from robot_learning.commands.supervisor import ros_command
from robot_learning.errors import ConfigError


@pytest.mark.parametrize(
    ('chosen', 'inherited', 'given'),
    [
        ('environment', {}, 'LOCALHOST'),  # ROS itself would open the subnet.
        ('environment', {network.RANGE: ''}, 'LOCALHOST'),
        ('environment', {network.RANGE: 'SUBNET'}, 'SUBNET'),
        ('localhost', {network.RANGE: 'SUBNET'}, 'LOCALHOST'),
        ('subnet', {network.RANGE: 'LOCALHOST'}, 'SUBNET'),
    ],
)
def test_only_who_is_asked_for_sees_the_nodes(chosen, inherited, given):
    variables = network.environment(chosen, '', inherited)
    assert variables == {network.RANGE: given}
    assert bool(network.described(variables, inherited)) == (given != 'LOCALHOST')


def test_peers_are_hosts_to_look_for():
    variables = network.environment('localhost', '192.168.1.20, learner.local;fe80::1', {})
    assert variables[network.PEERS] == '192.168.1.20;learner.local;fe80::1'
    assert 'learner.local' in network.described(variables, {})


def test_with_peers_alone_datagrams_are_not_sent_twice():
    profile = 'FASTRTPS_DEFAULT_PROFILES_FILE'
    ours = {profile: str(process_table.default_path().parent / 'fastdds.xml')}
    assert network.environment('localhost', 'a', ours)[profile].endswith('/fastdds_peers.xml')
    assert profile not in network.environment('localhost', '', ours)
    assert profile not in network.environment('subnet', 'a', ours)
    assert profile not in network.environment('localhost', 'a', {profile: '/etc/mine.xml'})


@pytest.mark.parametrize('peers', ['a b', '$(rm)', '-x'])
def test_what_is_no_address_is_named(peers):
    with pytest.raises(ConfigError, match='argument peers: found'):
        network.environment('subnet', peers, {})


def test_an_older_variable_that_closes_everything_is_named():
    with pytest.raises(ConfigError, match='ROS_LOCALHOST_ONLY is 1'):
        network.environment('subnet', '', {'ROS_LOCALHOST_ONLY': '1'})
    network.environment('environment', '', {'ROS_LOCALHOST_ONLY': '1'})


def test_every_process_of_the_table_gets_it():
    table = process_table.load()
    processes = process_table.resolve(
        table, 'bringup', {'network': 'subnet', 'peers': '10.0.0.2', 'replicate': 'robot'}
    )
    assert 'replicator' in [process.name for process in processes]
    for process in processes:
        given = ros_command(process).environment
        assert given == {network.RANGE: 'SUBNET', network.PEERS: '10.0.0.2'}


@pytest.mark.parametrize(
    ('role', 'segments', 'versions'),
    [('robot', 'send', 'receive'), ('learner', 'receive', 'send')],
)
def test_a_role_says_what_travels_where(role, segments, versions):
    table = process_table.load()
    (process,) = process_table.resolve(table, 'bringup', {'replicate': role}, only=('replicator',))
    assert process.parameters['segments'] == segments
    assert process.parameters['versions'] == versions
    assert 'replicator' not in [p.name for p in process_table.resolve(table, 'bringup')]
