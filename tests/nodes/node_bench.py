"""Nodes in the process of a test: turned beside a peer that asks, or on a thread of their own."""

import contextlib
import threading
import time

from rclpy.node import Node
from rclpy.parameter import Parameter
from robot_learning.nodes.run import make_executor

PATIENCE_S = 20.0


class NodeBench:
    """A node that answers a service, and a peer that asks; both turn while the peer waits."""

    def __init__(self, make_node, context, service, name, **parameters):
        self.node = make_node(context=context, parameter_overrides=overrides(parameters))
        self.peer = Node('peer', context=context)
        self._service = service
        self._client = self.peer.create_client(service, name)
        self._executors = [make_executor(context) for _ in range(2)]
        for executor, node in zip(self._executors, (self.node, self.peer), strict=True):
            executor.add_node(node)
        self.until(self._client.service_is_ready)

    def turn(self):
        for executor in self._executors:
            executor.spin_once(timeout_sec=0.005)

    def until(self, condition, each=lambda: None):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline
            each()
            self.turn()

    def ask(self, **request):
        future = self._client.call_async(self._service.Request(**request))
        self.until(future.done)
        return future.result()

    def close(self):
        self.node.close()
        for executor, node in zip(self._executors, (self.node, self.peer), strict=True):
            executor.shutdown()
            node.destroy_node()


@contextlib.contextmanager
def turning(context, *nodes):
    """Turn nodes, and those that are added to the executor; then end them as `run_node` does."""
    executor, ending = make_executor(context), threading.Event()
    for node in nodes:
        executor.add_node(node)

    def turn():
        while not ending.is_set():
            executor.spin_once(timeout_sec=0.02)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield executor
    finally:
        ending.set()
        thread.join()
        turned = list(executor.get_nodes())
        for node in turned:
            executor.remove_node(node)
        executor.shutdown()
        for node in turned:
            getattr(node, 'close', lambda: None)()
            node.destroy_node()


def run_in_vain(main, capfd, **parameters):
    """Run an executable in this process with what it cannot run with; return what it says."""
    given = [part for name, value in parameters.items() for part in ('-p', f'{name}:={value}')]
    assert main(['--ros-args', *given]) == 2
    said = capfd.readouterr().err
    assert 'Traceback' not in said
    return said


def overrides(parameters):
    return [Parameter(name, value=value) for name, value in parameters.items()]
