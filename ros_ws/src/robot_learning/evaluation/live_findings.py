"""What is wrong with a running system, and what to do, from what was heard of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from robot_learning.contract import ActionField, ObservationField, RobotContract
from robot_learning.evaluation.live_system import ROLES, Endpoint, LiveSystem, part_of

Level = Literal['error', 'warning', 'note']
Contracts = Mapping[str, RobotContract]  # By namespace.

_LEVELS: tuple[Level, ...] = ('error', 'warning', 'note')
_SILENT_S = 3.5  # Three periods of our statuses: who says nothing for so long is gone or hangs.
_LISTENERS = ('recorder', 'bag_recorder', 'monitor', 'policy', 'teleop')  # They obey no command.
_RELEASE = 'ros2 service call {node}/release_emergency_stop std_srvs/srv/Trigger'
_ADVICE = {  # Part of a node's status, as its name begins -> what helps, where it is not said.
    'observation': 'Start or repair what publishes these topics.',
    'model': 'Look at ./run models list; train a version, or pardon one.',
    'command topics': 'Let only the policy node publish commands.',
    'store': 'Free space, or correct the permissions of the store.',
    'bag': 'Give it a faster disk or a larger writer.max_waiting_bytes; look at the bag with '
    './run bags info.',
    'topic': 'Look at what publishes it: ros2 topic info --verbose.',
    'replication': 'Look at the network between the hosts, and at the other replicator.',
    'training': 'Look at the log of the trainer.',
}


class LiveFinding(NamedTuple):
    """One thing that is wrong, or worth knowing."""

    level: Level
    about: str  # Node, status or topic.
    found: str
    to_do: str = ''


def judge(system: LiveSystem, contracts: Contracts) -> list[LiveFinding]:
    """Return everything worth saying, most severe first.

    Args:
        system: what was heard.
        contracts: of the robot in each namespace, where it is known.
    """
    found: list[LiveFinding] = []
    for check in (_twins, _absent, _statuses, _silent, _clocks, _types, _qualities):
        found += check(system)
    for namespace, contract in contracts.items():
        found += _topics(system, namespace, contract)
    unique = dict.fromkeys(found)
    return sorted(unique, key=lambda finding: _LEVELS.index(finding.level))


def is_well(findings: list[LiveFinding]) -> bool:
    """Tell whether nothing is wrong; notes are nothing wrong."""
    return all(finding.level == 'note' for finding in findings)


def _twins(system: LiveSystem) -> Iterator[LiveFinding]:
    for name, count in system.nodes.items():
        if count > 1:
            yield LiveFinding(
                'error' if name.rpartition('/')[2] in ROLES else 'warning',
                name,
                f'{count} nodes have this name, and work against each other',
                'Stop all but one (a node that was killed stays in sight for some 20 s), or give '
                'them namespaces.',
            )


def _absent(system: LiveSystem) -> Iterator[LiveFinding]:
    for namespace in system.ours():
        runs = {role: system.has(namespace, role) for role in ROLES}
        start = './run up --only {}' + (f' --namespace {namespace}' if namespace else '')
        if not runs['policy'] and (runs['simulator'] or runs['recorder']):
            yield LiveFinding(
                'error',
                f'{namespace}/policy',
                'no policy node is running: nobody drives the robot',
                f'Start one: {start.format("policy")}',
            )
        if not runs['recorder']:
            is_wanted = runs['trainer'] and not runs['replicator']
            yield LiveFinding(
                'warning' if is_wanted else 'note',
                f'{namespace}/recorder',
                'no recorder is running: nothing of this is kept'
                + (', and the trainer gets no new steps' if is_wanted else ''),
                f'Start one if that is not meant: {start.format("recorder")}',
            )
        if not runs['trainer'] and (runs['policy'] or runs['recorder']):
            yield LiveFinding(
                'note',
                f'{namespace}/trainer',
                'no trainer is running: nothing is learned',
                f'Start one if that is not meant: {start.format("trainer")}',
            )


def _statuses(system: LiveSystem) -> Iterator[LiveFinding]:
    for name, status in system.statuses.items():
        node, part = part_of(name)
        if system.seconds - status.heard_s > _SILENT_S:
            silence_s = system.seconds - status.heard_s
            yield LiveFinding(
                'error',
                name,
                f'says nothing any more, for {silence_s:.0f} s: stale, it said {status.message!r}',
                'The node has ended or hangs: look at its log, and start it again.',
            )
        elif status.level:
            level: Level = 'error' if status.level == 2 else 'warning'
            namespace = node.rpartition('/')[0]
            if part == 'model' and status.values.get('version') == '-1':
                level = 'note' if system.has(namespace, 'trainer') else level  # It will make one.
            yield LiveFinding(level, name, status.message, _advice(node, part, status.message))


def _advice(node: str, part: str, message: str) -> str:
    if 'emergency stop' in message:
        return f'When the robot may drive again: {_RELEASE.format(node=node)}'
    if '. ' in message:  # The node says itself what to do.
        return ''
    return next((text for key, text in _ADVICE.items() if part.startswith(key)), '')


def _silent(system: LiveSystem) -> Iterator[LiveFinding]:
    heard = {part_of(name)[0] for name in system.statuses}
    for names in system.ours().values():
        for name in names:
            if name not in heard:
                yield LiveFinding(
                    'warning',
                    name,
                    f'has said nothing about itself in {system.seconds:.0f} s',
                    'It starts, hangs, or is gone since a moment. Look again, then at its log.',
                )
            elif name not in system.parameters:
                yield LiveFinding(
                    'note',
                    name,
                    'did not answer what its parameters are: it is busy',
                    'Look again with a longer --seconds.',
                )


def _clocks(system: LiveSystem) -> Iterator[LiveFinding]:
    waiting = [name for name, values in system.parameters.items() if values.use_sim_time]
    by_topic: dict[str, list[str]] = {}
    for topic, endpoints in system.subscriptions.items():
        for endpoint in endpoints:
            if endpoint.type == 'rosgraph_msgs/msg/Clock' and endpoint.node in waiting:
                by_topic.setdefault(topic, []).append(endpoint.node)
    for topic, nodes in sorted(by_topic.items()):
        names = ', '.join(sorted(set(nodes)))
        publishers = system.publishers.get(topic, [])
        clock = system.clocks.get(topic)
        if not publishers:
            yield LiveFinding(
                'error',
                topic,
                f'nobody publishes {topic} although use_sim_time is set for {names}: their time '
                f'stands still',
                'Start the simulator (or ros2 bag play --clock), or set use_sim_time to false.',
            )
        elif len(publishers) > 1:
            clockers = ', '.join(sorted(endpoint.node for endpoint in publishers))
            yield LiveFinding(
                'error',
                topic,
                f'{len(publishers)} publishers set the time ({clockers}), which jumps between '
                f'them',
                'Stop all but one, or give each world a clock of its own with --clock.',
            )
        elif _is_paused(system, publishers[0].node):
            continue  # Its status says so.
        elif clock is None or clock.newest_ns == clock.first_ns:
            yield LiveFinding(
                'warning',
                topic,
                f'{publishers[0].node} keeps simulated time where it is',
                'Does the world wait for a command that does not come? See the status of the '
                'policy.',
            )


def _is_paused(system: LiveSystem, node: str) -> bool:
    status = system.statuses.get(f'{node}: world'.lstrip('/'))
    return status is not None and status.values.get('paused') == 'True'


def _types(system: LiveSystem) -> Iterator[LiveFinding]:
    for topic in sorted({*system.publishers, *system.subscriptions}):
        given = {endpoint.type for endpoint in system.publishers.get(topic, [])}
        if len(given) > 1:
            listed = ', '.join(
                sorted(f'{e.node} {e.type}' for e in system.publishers.get(topic, []))
            )
            yield LiveFinding(
                'error',
                topic,
                f'is published with different types ({listed}); who takes one does not hear the '
                f'other',
                'Make them agree, or rename one topic.',
            )
            continue
        wanted: dict[str, set[str]] = {}
        for endpoint in system.subscriptions.get(topic, []):
            wanted.setdefault(endpoint.node, set()).add(endpoint.type)
        for node, types in wanted.items():
            if given and not given & types:
                yield LiveFinding(
                    'error',
                    topic,
                    f'{node} wants {" or ".join(sorted(types))}, but {given.pop()} is published: '
                    f'it hears nothing',
                    'Correct the type in the contract or in the publisher.',
                )
                break


def _qualities(system: LiveSystem) -> Iterator[LiveFinding]:
    for topic, subscriptions in sorted(system.subscriptions.items()):
        for wanted in subscriptions:
            for given in system.publishers.get(topic, []):
                lack = _lack(given, wanted)
                if lack and not _hears(wanted.node, given, subscriptions):
                    yield LiveFinding(
                        'error',
                        topic,
                        f'{wanted.node} asks for {lack}, which {given.node} does not offer: not '
                        f'one message arrives',
                        'Ask for less in the subscription (qos: sensor in the contract), or '
                        'offer more in the publisher.',
                    )


def _hears(node: str, given: Endpoint, subscriptions: Sequence[Endpoint]) -> bool:
    """Whether a node that listens to a topic more than once hears a publisher anyhow."""
    own = [s for s in subscriptions if s.node == node and s.type == given.type]
    return any(not _lack(given, subscription) for subscription in own)


def _lack(given: Endpoint, wanted: Endpoint) -> str:
    """Say what of quality of service keeps two endpoints apart, '' if nothing does."""
    if given.type != wanted.type:
        return ''
    if wanted.is_reliable and not given.is_reliable:
        return 'reliable delivery'
    if wanted.is_latched and not given.is_latched:
        return 'the latched last message'
    return ''


def _topics(system: LiveSystem, namespace: str, contract: RobotContract) -> Iterator[LiveFinding]:
    is_read = system.has(namespace, 'policy') or system.has(namespace, 'recorder')
    for name, spec in contract.observation.items():
        yield from _observed(system, f'{namespace}/{spec.topic}', name, spec, is_read)
    for name, action in contract.learned_actions.items():
        yield from _commanded(system, namespace, name, action)


def _observed(
    system: LiveSystem, topic: str, name: str, spec: ObservationField, is_read: bool
) -> Iterator[LiveFinding]:
    publishers = system.publishers.get(topic, [])
    if not publishers and is_read:
        yield LiveFinding(
            'error' if spec.required else 'note',
            topic,
            f'nobody publishes it, field {name!r} of the contract comes from there'
            + (': no step is complete' if spec.required else ''),
            'Start the driver, the localisation or the simulator that publishes it.',
        )
    if len(publishers) > 1:
        names = ', '.join(sorted(endpoint.node for endpoint in publishers))
        yield LiveFinding(
            'warning',
            topic,
            f'{len(publishers)} publishers mix their readings: {names}',
            'Stop all but one, or give them namespaces.',
        )
    odd = [endpoint for endpoint in publishers if endpoint.type != spec.type]
    if len(odd) == len(publishers) and odd:  # Else they differ among themselves: said already.
        yield LiveFinding(
            'error',
            topic,
            f'{odd[0].node} publishes {odd[0].type}, the contract says {spec.type}',
            'Correct the contract, or the publisher.',
        )


def _commanded(
    system: LiveSystem, namespace: str, name: str, action: ActionField
) -> Iterator[LiveFinding]:
    topic = f'{namespace}/{action.topic}'
    publishers = sorted({endpoint.node for endpoint in system.publishers.get(topic, [])})
    gate = system.statuses.get(f'{namespace}/policy: command topics'.lstrip('/'))
    if len(publishers) > 1 and (gate is None or not gate.level):  # Else the gate says so.
        yield LiveFinding(
            'error',
            topic,
            f'{len(publishers)} publishers command the robot: {", ".join(publishers)}',
            'Let only the policy node publish there; teleoperation belongs on teleop/cmd_vel.',
        )
    obeying = [
        endpoint.node
        for endpoint in system.subscriptions.get(topic, [])
        if endpoint.node.rpartition('/')[2] not in _LISTENERS
    ]
    if publishers and not obeying:
        yield LiveFinding(
            'error',
            topic,
            f'nobody obeys the commands of {publishers[0]} (action {name!r})',
            'Start the robot or the simulator, or correct the topic in the contract.',
        )
