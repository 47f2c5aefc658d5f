"""Calls of ROS services that wait, with a timeout, for threads that do not turn an executor."""

from __future__ import annotations

import threading
from typing import Any

from rclpy.node import Node

from robot_learning.errors import WorldControlError


class ServiceCaller:
    """Calls ROS services from a thread that does not turn the executor.

    Args:
        node: owns the clients; its executor must be turning.
        timeout_s: wall time for a service to appear, and again for its answer.
        hint: what to do about a service that does not answer.
    """

    def __init__(self, node: Node, timeout_s: float, hint: str):
        self._node, self._timeout_s, self._hint = node, timeout_s, hint

    def client(self, service_type: Any, name: str) -> Any:
        """Return a client, which knows its full name."""
        return self._node.create_client(service_type, self._node.resolve_service_name(name))

    def call(self, client: Any, request: Any) -> Any:
        """Call and return the answer.

        Raises:
            WorldControlError: the service is missing or slow.
        """
        name = client.srv_name
        if not client.wait_for_service(timeout_sec=self._timeout_s):
            raise WorldControlError(
                f'{name}: no such service within {self._timeout_s:g} s. {self._hint}'
            )
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(self._timeout_s):
            client.remove_pending_request(future)
            raise WorldControlError(f'{name}: no answer in {self._timeout_s:g} s. {self._hint}')
        return future.result()
