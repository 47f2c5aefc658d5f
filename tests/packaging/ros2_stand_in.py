"""Does what some `ros2` commands do, which PyPI lacks: talks to the running system over DDS.

Each command runs in a process of its own, as `ros2` does: participants that earlier tests left in
this one would share its ports. Launch files are evaluated with the stand-in for `launch`; their
processes are not started.
"""

from __future__ import annotations

import argparse
import importlib
import json
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_launch
import pytest
import rclpy
import yaml
from rclpy.action import ActionClient
from rclpy.action.graph import get_action_names_and_types
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from robot_learning.commands import process_table

PATIENCE_S = 40.0
_ANSWER_S = 15.0  # A server answers at once; one that has not found its client yet, nobody.


def perform(argv: list[str], launch_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `ros2 <argv>`; return the numbers and texts of what it got, or the nodes of a launch."""
    match argv:
        case ['launch', 'robot_learning', file, *rest]:
            return launch(launch_folder / file, rest, monkeypatch)
    result = subprocess.run(
        [sys.executable, __file__, *argv], capture_output=True, text=True, timeout=4 * PATIENCE_S
    )
    assert result.returncode == 0, f'ros2 {" ".join(argv)}:\n{result.stdout}{result.stderr}'
    return SimpleNamespace(**json.loads(result.stdout.splitlines()[-1]))


def main(argv: list[str]) -> None:
    """Do one command; print what it got as JSON."""
    with _node() as (node, wait):
        match argv:
            case ['topic', 'echo', '--once', name]:
                answer = _echo(node, wait, name)
            case ['topic', 'pub', *rest]:
                answer = _publish(node, wait, rest)
            case ['service', 'call', name, type_name, *text]:
                answer = _call(node, wait, name, type_name, ''.join(text))
            case ['action', 'send_goal', *rest]:
                answer = _send_goal(node, wait, *[word for word in rest if word != '--feedback'])
            case _:
                raise NotImplementedError(f'ros2 {" ".join(argv)}: nothing can do that. Add it.')
    names = answer.get_fields_and_field_types() if answer is not None else {}
    values = {name: getattr(answer, name) for name in names}
    print(json.dumps({n: v for n, v in values.items() if isinstance(v, bool | int | float | str)}))


def launch(path: Path, rest: list[str], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the nodes that the launch file would start, or its arguments for --show-args."""
    fake_launch.install(monkeypatch)
    description = runpy.run_path(str(path))['generate_launch_description']()
    declared = [e for e in description.entities if hasattr(e, 'default_value')]
    if rest == ['--show-args']:
        return declared
    given = dict(argument.split(':=', 1) for argument in rest)
    unknown = set(given) - {argument.name for argument in declared}
    assert not unknown, f'{path.name}: has no argument {unknown}'
    started = fake_launch.perform(description, **given)
    nodes = [action for action in started if getattr(action, 'package', '') == 'robot_learning']
    table = process_table.load()
    known = {name: value for name, value in given.items() if name in table.arguments}
    expected = process_table.resolve(table, path.name.split('.')[0], known)
    assert [node.executable for node in nodes] == [process.executable for process in expected]
    return nodes


Wait = Callable[[Callable[[], Any], str], Any]


@contextmanager
def _node() -> Iterator[tuple[Node, Wait]]:
    """Yield a node and a function that turns it until something is true."""
    context = Context()
    rclpy.init(context=context)
    node = Node('readme', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def wait(condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while not (result := condition()):
            assert time.monotonic() < deadline, f'waited {PATIENCE_S:g} s for {what}'
            executor.spin_once(timeout_sec=0.05)
        return result

    try:
        yield node, wait
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


def _echo(node: Node, wait: Wait, name: str) -> Any:
    publisher = wait(lambda: node.get_publishers_info_by_topic(name), f'a publisher of {name}')[0]
    received: list[Any] = []
    profile = QoSProfile(
        depth=5,
        reliability=publisher.qos_profile.reliability,
        durability=publisher.qos_profile.durability,
    )
    kind = interface(publisher.topic_type)
    node.create_subscription(kind, name, received.append, profile)
    return wait(lambda: received, f'a message on {name}')[0]


def _publish(node: Node, wait: Wait, rest: list[str]) -> Any:
    parser = argparse.ArgumentParser()
    parser.add_argument('--once', action='store_true', required=True)
    parser.add_argument('--qos-durability', choices=('transient_local', 'volatile'))
    for name in ('topic', 'type', 'values'):
        parser.add_argument(name)
    options = parser.parse_args(rest)
    is_latched = options.qos_durability == 'transient_local'
    profile = QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if is_latched else DurabilityPolicy.VOLATILE,
    )
    kind = interface(options.type)
    publisher = node.create_publisher(kind, options.topic, profile)
    wait(publisher.get_subscription_count, f'a subscription to {options.topic}')
    publisher.publish(filled(kind(), options.values))
    assert publisher.wait_for_all_acked(rclpy.duration.Duration(seconds=5))
    return None


def _call(node: Node, wait: Wait, name: str, type_name: str, text: str) -> Any:
    kind = interface(type_name)
    client = node.create_client(kind, name)
    wait(client.service_is_ready, f'service {name}')
    assert (name, [type_name]) in node.get_service_names_and_types()
    return _answer(wait, lambda: client.call_async(filled(kind.Request(), text)), name)


def _send_goal(node: Node, wait: Wait, name: str, type_name: str, text: str) -> Any:
    kind = interface(type_name)
    client = ActionClient(node, kind, name)
    wait(client.server_is_ready, f'action {name}')
    assert (name, [type_name]) in get_action_names_and_types(node)
    handle = _answer(wait, lambda: client.send_goal_async(filled(kind.Goal(), text)), name)
    assert handle.accepted
    result = handle.get_result_async()
    wait(result.done, f'the end of {name}')
    client.destroy()
    return result.result().result


def _answer(wait: Wait, ask: Callable[[], Any], name: str) -> Any:
    """Ask, and once more as people would if the answer got lost; return it."""
    asked: list[Any] = []
    asked_s = -_ANSWER_S

    def has_answer() -> bool:
        nonlocal asked_s
        if len(asked) < 2 and time.monotonic() - asked_s > _ANSWER_S:
            asked.append(ask())
            asked_s = time.monotonic()
        return any(future.done() for future in asked)

    wait(has_answer, f'the answer of {name}')
    return next(future for future in asked if future.done()).result()


def interface(type_name: str) -> Any:
    """Import a message, service or action class by a name such as std_msgs/msg/Bool."""
    package, kind, name = type_name.split('/')
    return getattr(importlib.import_module(f'{package}.{kind}'), name)


def filled(message: Any, text: str) -> Any:
    """Set the fields that YAML `text` names; wrong names and types raise."""
    _fill(message, yaml.safe_load(text or '{}'))
    return message


def _fill(message: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _fill(getattr(message, name), value)
        else:
            assert hasattr(message, name), f'{type(message).__name__} has no field {name}'
            setattr(message, name, value)


if __name__ == '__main__':
    main(sys.argv[1:])
