"""The line between who gives commands in plain words and the commander node."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias

import rclpy
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from robot_learning_interfaces.action import ExecuteCommand, GenerateCode

Feedback: TypeAlias = Any  # ExecuteCommand's.
Result: TypeAlias = Any

_TURN_S = 0.1
_CANCEL_S = 5.0  # So long an answer to a cancel is waited for.


class CommandLink:
    """Sends commands, and waits in turns so that its owner can cancel."""

    def __init__(self, namespace: str):
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node('say', namespace=namespace, context=self._context)
        self._client = ActionClient(self._node, ExecuteCommand, 'execute_command')
        self._code = ActionClient(self._node, GenerateCode, 'generate_code')
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def is_there(self, patience_s: float, goes_on: Callable[[], bool] = lambda: True) -> bool:
        """Wait for a commander; return whether one answers."""
        end_s = time.monotonic() + patience_s
        while not (self._client.server_is_ready() and self._code.server_is_ready()):
            if time.monotonic() > end_s or not goes_on():
                return False
            self._executor.spin_once(timeout_sec=_TURN_S)
        return True

    def execute(
        self,
        text: str,
        on_feedback: Callable[[Feedback], None],
        is_canceled: Callable[[], bool],
        *,
        dry_run: bool = False,
        time_limit_s: float = 0.0,
    ) -> Result | None:
        """Have a command carried out; return the result, None if the commander has gone.

        Args:
            text: what to do.
            on_feedback: gets what the commander tells meanwhile.
            is_canceled: asked at every turn; the robot stops when it says yes.
            dry_run: understand and plan only.
            time_limit_s: 0: the commander's.
        """
        goal = ExecuteCommand.Goal(text=text, dry_run=dry_run, time_limit=time_limit_s)
        return self._done(self._client, goal, on_feedback, is_canceled)

    def generate(
        self, text: str, is_canceled: Callable[[], bool], *, execute: bool = False
    ) -> Any:
        """Have code written for a command, and carried out where `execute` says so.

        Returns:
            The action's result, None if the commander has gone.
        """
        goal = GenerateCode.Goal(text=text, execute=execute)
        return self._done(self._code, goal, lambda feedback: None, is_canceled)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._client.destroy()
        self._code.destroy()
        self._node.destroy_node()  # type: ignore[no-untyped-call]
        self._context.try_shutdown()

    def _done(
        self,
        client: Any,
        goal: Any,
        on_feedback: Callable[[Any], None],
        is_canceled: Callable[[], bool],
    ) -> Any:
        """Return the result of a goal, None if the commander has gone or does not take it."""
        sent = client.send_goal_async(goal, lambda message: on_feedback(message.feedback))
        handle = self._await(sent, lambda: False)
        if handle is None or not handle.accepted:
            return None
        result = handle.get_result_async()
        answer = self._await(result, is_canceled)
        if answer is None and is_canceled():
            handle.cancel_goal_async()
            end_s = time.monotonic() + _CANCEL_S
            answer = self._await(result, lambda: time.monotonic() > end_s)
        return None if answer is None else answer.result

    def _await(self, future: Future, gives_up: Callable[[], bool]) -> Any:
        """Return a future's result, None if its owner gives up or the commander has gone."""
        while not future.done():
            if gives_up() or not self._client.server_is_ready():
                return None
            self._executor.spin_once(timeout_sec=_TURN_S)
        return future.result()

    def __enter__(self) -> CommandLink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
