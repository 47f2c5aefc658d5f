"""Sends a message to another process and back, to see whether DDS works on this machine.

Run as a script, it is that other process: it sends everything back.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple

_ATTEMPT_S = 0.05
_PATIENCE_S = 1.0
_NUM_TRIPS = 50


class RoundTrip(NamedTuple):
    """How long the two processes took to meet, and the median way there and back."""

    discovery_s: float  # From starting the other process, its start included.
    round_trip_ms: float


def measure(timeout_s: float) -> RoundTrip | None:
    """Start the other process and talk to it; None when no answer came in time."""
    marker = f'doctor_{os.getpid()}_{time.monotonic_ns()}'
    start = time.monotonic()
    other = subprocess.Popen([sys.executable, __file__, marker], stdin=subprocess.PIPE)
    try:
        with _Caller(marker) as caller:
            while not caller.trip(_ATTEMPT_S):
                if time.monotonic() - start > timeout_s:
                    return None
            discovery_s = time.monotonic() - start
            times_s = []
            for _ in range(_NUM_TRIPS):
                before = time.perf_counter()
                if caller.trip(_PATIENCE_S):
                    times_s.append(time.perf_counter() - before)
    finally:
        other.communicate()  # The end of its input ends it.
    return RoundTrip(discovery_s, 1e3 * statistics.median(times_s)) if times_s else None


class _Caller:
    """The node on this side: sends a number and waits until it comes back."""

    def __init__(self, marker: str):
        # rclpy is imported where it is used: this module must load on a machine without it.
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node
        from std_msgs.msg import Int64

        self._context = Context()
        self._context.init()
        self._node = Node(f'{marker}_caller', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._publisher = self._node.create_publisher(Int64, f'{marker}/there', 10)
        self._node.create_subscription(Int64, f'{marker}/back', self._on_back, 10)
        self._message = Int64
        self._sent = 0
        self._received = 0

    def __enter__(self) -> _Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.shutdown()

    def trip(self, patience_s: float) -> bool:
        """Send the next number; return whether it came back in time."""
        self._sent += 1
        self._publisher.publish(self._message(data=self._sent))
        end = time.monotonic() + patience_s
        while self._received < self._sent and (left_s := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)
        return self._received >= self._sent

    def _on_back(self, message: Any) -> None:
        self._received = message.data


def _echo(marker: str) -> None:
    import rclpy
    from rclpy.node import Node
    from std_msgs.msg import Int64

    rclpy.init()
    node = Node(f'{marker}_echo')
    publisher = node.create_publisher(Int64, f'{marker}/back', 10)
    node.create_subscription(Int64, f'{marker}/there', publisher.publish, 10)
    parent_is_gone = threading.Event()

    def watch() -> None:
        sys.stdin.read()
        parent_is_gone.set()

    threading.Thread(target=watch, daemon=True).start()
    while not parent_is_gone.is_set():
        rclpy.spin_once(node, timeout_sec=0.1)
    rclpy.shutdown()


if __name__ == '__main__':
    _echo(sys.argv[1])
