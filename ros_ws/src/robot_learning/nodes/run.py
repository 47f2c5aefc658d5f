"""Start, spin and end one node: the same clean way for every executable."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.context import Context
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from robot_learning.errors import InUseError, RobotLearningError

try:
    from rclpy.experimental import EventsExecutor
except ImportError:  # rclpy before 7.1.4.
    EventsExecutor = None  # type: ignore[assignment]

# Bound on how long a signal waits for an idle executor, which only looks between two turns.
_TURN_S = 0.1
_SAME_SIGNAL_S = 1.0


def run_node(make_node: Callable[[], Node], args: list[str] | None = None) -> int:
    """Run one node until SIGINT, SIGTERM or a shutdown of its context; return an exit code.

    Signals do not shut the context down at once: the node's `close()`, where it has one, still
    can publish (a stop command, an end of an episode) and write files before it is destroyed. A
    signal more than a second later ends the process without waiting.

    Returns:
        0 after a signal, 2 when a RobotLearningError says why the node cannot run, 1 when only
        another process is in the way: started again, it may run.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node: Node | None = None
    with _stop_requests() as is_requested:
        try:
            node = make_node()
            _spin(node, is_requested)
        except RobotLearningError as error:
            print(f'{type(error).__name__}: {error}', file=sys.stderr)
            return 1 if isinstance(error, InUseError) else 2
        except (KeyboardInterrupt, ExternalShutdownException):
            pass
        finally:
            _end(node)
    return 0


def make_executor(context: Context | None = None) -> Executor:
    """Return the fastest executor there is; turn it with `spin_once`, not with `spin`.

    The events executor carries ten times the messages of the others, in the order of arrival,
    but its `spin()` runs no callbacks under rclpy 7.1.
    """
    make = SingleThreadedExecutor if EventsExecutor is None else EventsExecutor
    return make(context=context)


def _spin(node: Node, is_requested: Callable[[], bool]) -> None:
    executor = make_executor()
    executor.add_node(node)
    gc.collect()
    gc.freeze()  # What exists now stays: the collector need not walk it at every turn.
    try:
        while not is_requested() and rclpy.ok():
            executor.spin_once(timeout_sec=_TURN_S)
    finally:
        with contextlib.suppress(Exception):
            executor.remove_node(node)
        executor.shutdown()


def _end(node: Node | None) -> None:
    """Let the node say good-bye, then take everything down; safe after any failure."""
    try:
        if node is not None:
            close = getattr(node, 'close', None)
            if close is not None:
                close()
            node.destroy_node()
    finally:
        rclpy.try_shutdown()


@contextlib.contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Note the first SIGINT or SIGTERM; raise KeyboardInterrupt at a later one.

    A terminal and a supervisor may both send the same Ctrl-C, so what follows at once is the same.
    """
    received: list[float] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(time.monotonic())
        if received[-1] - received[0] > _SAME_SIGNAL_S:
            raise KeyboardInterrupt

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class ServiceThread:
    """Services and actions of `node` that may wait, on a thread and executor of their own.

    The events executor knows no coroutines: a callback that waits for loading or for an action's
    end would stall the control loop. Create such servers on `self.node`, whose names then must
    come from `private_name` or `relative_name` so that people find them under `node`.
    """

    def __init__(self, node: Node):
        self._owner = node
        self.node = Node(
            f'{node.get_name()}_services',
            context=node.context,
            namespace=node.get_namespace(),
            use_global_arguments=False,
            start_parameter_services=False,
            parameter_overrides=[node.get_parameter('use_sim_time')],
        )
        self.group = ReentrantCallbackGroup()
        self.executor = SingleThreadedExecutor(context=node.context)
        self.executor.add_node(self.node)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._spin, name='services', daemon=True)

    def private_name(self, name: str) -> str:
        """Return the full name of the owner's `~/name`."""
        return f'{self._owner.get_fully_qualified_name()}/{name}'

    def relative_name(self, name: str) -> str:
        """Return the full name of `name` in the owner's namespace."""
        return f'{self._owner.get_namespace().rstrip("/")}/{name}'

    def start(self) -> None:
        """Begin to answer; call it when all servers are created."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and destroy its node."""
        self._is_ending.set()
        self.executor.wake()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)
        self.executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while not self._is_ending.is_set() and self.node.context.ok():
                self._turn()

    def _turn(self) -> None:
        try:
            self.executor.spin_once(timeout_sec=_TURN_S)
        except ExternalShutdownException:
            raise
        except Exception as error:  # Whatever one request does, the others are answered.
            self.node.get_logger().error(
                f'a request failed ({type(error).__name__}: {error}). Report this fault.'
            )
            self._is_ending.wait(_TURN_S)  # Should every turn fail.
