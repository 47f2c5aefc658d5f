"""One job at a time for the robot: who asked for it, how far it is, and what ends it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from robot_learning.language.runs import Run
from robot_learning.nodes.run import ServiceThread

_GONE_S = 2.0  # So long a client may be out of the graph before it counts as gone.
PREEMPTED, CANCELED, STOPPED = 'another command came', 'canceled', 'somebody said stop'
GONE = 'who asked for it has gone'


class Job:
    """One run on its way: made by the desk, ticked by the control thread.

    Args:
        run: what is carried out.
        time_limit_s: of the robot's clock.
        on_end: called once, from any thread, when it is over.
    """

    def __init__(self, run: Run, time_limit_s: float, on_end: Callable[[], None]):
        self.run = run
        self.time_limit_s = time_limit_s
        self.start_s: float | None = None  # Set at its first control step.
        self.progress = -1.0
        self._on_end = on_end

    def end(self) -> None:
        """Tell that it is over."""
        self._on_end()


class Robot(Protocol):
    """What the desk may do to the robot, from its own thread."""

    def refusal(self) -> str:
        """Return why no job can be taken now; '' where one can."""

    def begin_job(self, job: Job) -> None:
        """Carry a job out from the next control step on; there is none before it."""

    def end_job(self, reason: str) -> None:
        """Stop the robot at once; what was being done is given up for `reason`."""


class JobDesk:
    """Takes jobs for the robot from several actions.

    Args:
        thread: of the services.
        robot: carries jobs out.
        when_busy: what becomes of a job while another is carried out.
        time_limit_s: of a job that names none.
    """

    def __init__(
        self,
        thread: ServiceThread,
        robot: Robot,
        when_busy: Literal['preempt', 'refuse'],
        time_limit_s: float,
    ):
        self._thread, self._robot = thread, robot
        self._when_busy, self._time_limit_s = when_busy, time_limit_s
        self.job: Job | None = None
        self.handle: ServerGoalHandle | None = None  # Of its goal.
        self.text = ''  # What was asked for.
        self._topic = ''  # On which the goal's client listens to feedback.
        self._clients: set[tuple[int, ...]] = set()  # Who may have sent it, by their endpoints.
        self._seen_s = 0.0  # When one of those was last in the graph.

    def refusal(self) -> str:
        """Return why nothing can be taken now; '' where it can."""
        if reason := self._robot.refusal():
            return reason
        if self.job is None or self._when_busy == 'preempt':
            return ''
        return f'busy with {self.text[:80]!r}. Cancel it, or wait until it is done.'

    async def carry_out(
        self, handle: ServerGoalHandle, run: Run, text: str, time_limit_s: float, action: str
    ) -> None:
        """Have a run carried out to its end; what is done at the moment is given up for it.

        Args:
            handle: of the goal that asks for it.
            run: what to do.
            text: what was said.
            time_limit_s: 0: the default.
            action: full name of the action.
        """
        if self.job is not None:
            self._robot.end_job(PREEMPTED)
        ended = Future(executor=self._thread.executor)
        limit_s = time_limit_s if time_limit_s > 0 else self._time_limit_s
        job = Job(run, limit_s, lambda: ended.set_result(None))
        self.job, self.handle, self.text = job, handle, text
        self._topic = f'{action}/_action/feedback'
        self._clients, self._seen_s = self._endpoints(), time.monotonic()
        if handle.is_cancel_requested:  # Before it began.
            run.cancel(CANCELED)
        else:
            self._robot.begin_job(job)
            await ended
        if self.job is job:
            self.job, self.handle, self.text = None, None, ''

    def cancel(self, handle: ServerGoalHandle) -> None:
        """Stop what was asked for by this goal, if it is being done."""
        if self.handle is not None and handle.goal_id == self.handle.goal_id:
            self._robot.end_job(CANCELED)

    def stop(self) -> None:
        """Stop whatever is being done: somebody said so."""
        self._robot.end_job(STOPPED)

    def watch(self) -> None:
        """Give up what nobody waits for any more; call it now and then."""
        if self.job is None:
            return
        now_s = time.monotonic()
        if self._clients & self._endpoints():
            self._seen_s = now_s
        elif now_s - self._seen_s > _GONE_S:
            self._robot.end_job(GONE)

    def _endpoints(self) -> set[tuple[int, ...]]:
        """Return what identifies each client in the graph: all of them listen to feedback."""
        found: Any = self._thread.node.get_subscriptions_info_by_topic(self._topic)
        return {tuple(info.endpoint_gid) for info in found}


def finish(handle: ServerGoalHandle, success: bool) -> None:
    """Tell the state in which a goal ended."""
    if handle.is_cancel_requested:
        handle.canceled()
    elif success:
        handle.succeed()
    else:
        handle.abort()
