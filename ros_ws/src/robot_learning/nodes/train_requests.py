"""The `train_phase` action: goals wait here until the learning thread takes them."""

from __future__ import annotations

import threading

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future
from robot_learning_interfaces.action import TrainPhase

from robot_learning.phases.nsca_config import NAMES as NSCA_NAMES
from robot_learning.phases.phase import PHASES
from robot_learning.phases.trainer import Progress

_POLL_S = 0.05


class TrainRequest:
    """One goal; written by the learning thread, read by the thread that spins."""

    def __init__(self, goal: TrainPhase.Goal):
        self.phase: str = goal.phase
        self.overrides: str = goal.config_yaml
        self.num_updates: int | None = goal.num_updates or None
        self.is_canceled = False
        self.progress: Progress | None = None
        self.message = ''
        self.is_finished = False

    def report(self, progress: Progress) -> None:
        """Remember the newest progress for feedback."""
        self.progress = progress

    def finish(self, progress: Progress, message: str) -> None:
        """End the request; an empty message means success."""
        self.progress, self.message = progress, message
        self.is_finished = True


class TrainRequests:
    """Serves the action; one goal at a time."""

    def __init__(self, node: Node):
        self._news = threading.Event()
        self._waiting: TrainRequest | None = None
        self._request: TrainRequest | None = None
        self._done: Future | None = None
        self._handle: ServerGoalHandle | None = None
        self._reported: Progress | None = None
        self._node = node
        self._server = ActionServer(
            node,
            TrainPhase,
            'train_phase',
            self._execute,
            goal_callback=self._on_goal,
            cancel_callback=self._on_cancel,
        )
        node.create_timer(_POLL_S, self._on_poll)

    @property
    def is_waiting(self) -> bool:
        """Whether a request waits to be taken."""
        return self._waiting is not None

    def take(self) -> TrainRequest | None:
        """Return the waiting request, if there is one."""
        request, self._waiting = self._waiting, None
        self._news.clear()
        return request

    def wait(self, timeout_s: float) -> None:
        """Wait for a request."""
        self._news.wait(timeout_s)

    def _on_goal(self, goal: TrainPhase.Goal) -> GoalResponse:
        if self._request is not None or goal.phase not in (*PHASES, *NSCA_NAMES):
            known = ', '.join((*PHASES, *NSCA_NAMES))
            self._node.get_logger().warning(
                f'train_phase: phase {goal.phase!r} is rejected: expected one of {known}, and '
                f'no other request under way.'
            )
            return GoalResponse.REJECT
        self._request = TrainRequest(goal)
        return GoalResponse.ACCEPT

    def _on_cancel(self, goal_handle: ServerGoalHandle) -> CancelResponse:
        if self._request is not None:
            self._request.is_canceled = True
        return CancelResponse.ACCEPT

    async def _execute(self, goal_handle: ServerGoalHandle) -> TrainPhase.Result:
        request = self._request
        assert request is not None, 'accepted goals have a request'
        self._done, self._handle = Future(), goal_handle
        self._waiting = request
        self._news.set()
        await self._done
        self._request = self._handle = self._done = None
        result = TrainPhase.Result()
        result.success, result.message = not request.message, request.message
        progress = request.progress
        result.update = progress.update if progress else 0
        result.version = -1 if progress is None or progress.version is None else progress.version
        if goal_handle.is_cancel_requested:
            goal_handle.canceled()
        elif result.success:
            goal_handle.succeed()
        else:
            goal_handle.abort()
        return result

    def _on_poll(self) -> None:
        """Pass progress and the end on to the action, on the thread that spins."""
        request = self._request
        if request is None or self._done is None or self._handle is None:
            return
        if request.progress is not None and request.progress is not self._reported:
            self._reported = request.progress
            self._handle.publish_feedback(_feedback(request.progress))
        if request.is_finished and not self._done.done():
            self._done.set_result(None)


def _feedback(progress: Progress) -> TrainPhase.Feedback:
    feedback = TrainPhase.Feedback()
    feedback.update = progress.update
    feedback.updates_per_second = progress.updates_per_second
    feedback.names = list(progress.metrics)
    feedback.values = [float(value) for value in progress.metrics.values()]
    return feedback
