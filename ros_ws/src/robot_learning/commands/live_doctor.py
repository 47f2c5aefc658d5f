"""Says in words what is wrong with the running system: `./run doctor --live`."""

from __future__ import annotations

import os
import sys
from typing import Any

from robot_learning import contract as contracts
from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError, EnvironmentSetupError
from robot_learning.evaluation.live_findings import LiveFinding, is_well, judge
from robot_learning.evaluation.live_system import LiveSystem
from robot_learning.foreign_files import printable

_MARKS = {'error': 'ERROR  ', 'warning': 'WARNING', 'note': 'note   '}


def examine(seconds: float, robot: str | None = None) -> tuple[LiveSystem, list[LiveFinding]]:
    """Listen to the running system and judge it.

    Args:
        seconds: how long to listen.
        robot: contract to compare the topics with; None: the one that the nodes name.

    Raises:
        EnvironmentSetupError: there is no ROS, or nothing of ours is running.
    """
    try:
        from robot_learning.nodes.live_observer import LiveObserver
    except ImportError as error:
        raise EnvironmentSetupError(
            f'doctor --live: ROS cannot be imported ({error}). Start through ./run, or source '
            f'/opt/ros/jazzy/setup.bash and install/setup.bash.'
        ) from error
    with LiveObserver() as observer:
        system = observer.listen(seconds)
    if not system.ours():
        others = f', only {", ".join(sorted(system.nodes))}' if system.nodes else ''
        raise EnvironmentSetupError(
            f'doctor --live: none of our nodes is heard in ROS_DOMAIN_ID='
            f'{os.environ.get("ROS_DOMAIN_ID", "0")}{others}. Start the system (./run up), or set '
            f'the same ROS_DOMAIN_ID and ROS_AUTOMATIC_DISCOVERY_RANGE as it has.'
        )
    known, notes = _contracts(system, robot)
    return system, [*judge(system, known), *notes]


def report(system: LiveSystem, findings: list[LiveFinding]) -> dict[str, Any]:
    """Return everything as plain data."""
    return {
        'ok': is_well(findings),
        'seconds': round(system.seconds, 2),
        'nodes': sorted(name for names in system.ours().values() for name in names),
        'findings': [finding._asdict() for finding in findings],
    }


def show(system: LiveSystem, findings: list[LiveFinding]) -> None:
    """Print the findings for people."""
    for finding in findings:
        print(f'{_MARKS[finding.level]} {finding.about}: {printable(finding.found, 1000)}')
        if finding.to_do:
            print(f'        -> {finding.to_do}')
    nodes = ', '.join(name for names in system.ours().values() for name in names)
    wrong = sum(finding.level != 'note' for finding in findings)
    if wrong:
        print(f'{wrong} thing{"s are" if wrong > 1 else " is"} wrong. Running: {nodes}.')
    else:
        print(f'The running system is well: {nodes}.')


def _contracts(
    system: LiveSystem, robot: str | None
) -> tuple[dict[str, RobotContract], list[LiveFinding]]:
    """Load the contract of each namespace; nodes that name different ones are a finding."""
    known: dict[str, RobotContract] = {}
    findings = []
    for namespace, names in system.ours().items():
        named = {n: system.parameters[n].robot for n in names if n in system.parameters}
        robots = {text: node for node, text in named.items() if text}
        if robot is not None:
            robots = {robot: '--robot'}
        hashes = {}
        for text, node in robots.items():
            try:
                known[namespace] = contracts.load(text)
            except ConfigError as error:
                print(f'{node}: its contract cannot be read here: {error}', file=sys.stderr)
            else:
                hashes[known[namespace].hash] = f'{node} {text}'
        if len(hashes) > 1:
            findings.append(
                LiveFinding(
                    'error',
                    namespace or '/',
                    f'the nodes have different robot contracts: {", ".join(hashes.values())}',
                    'Start all of them with the same robot.',
                )
            )
    return known, findings
