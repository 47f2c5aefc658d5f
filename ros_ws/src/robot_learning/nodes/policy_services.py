"""What people and programs ask of the policy node: load, roll back, stop, drive to a goal.

Everything here may wait, so it runs on a thread of its own and reaches the control loop only
through `ControlLoop`.
"""

from __future__ import annotations

import math
from concurrent.futures import Future as ConcurrentFuture
from functools import partial
from typing import Any, Protocol

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future
from robot_learning_interfaces.action import RunPolicy
from robot_learning_interfaces.srv import LoadModel, RollbackModel
from std_srvs.srv import SetBool, Trigger

from robot_learning.errors import RobotLearningError
from robot_learning.nodes.run import ServiceThread
from robot_learning.serving.policy_run import PolicyRun
from robot_learning.serving.policy_server import PolicyServer

_FEEDBACK_PERIOD_S = 0.1


class ControlLoop(Protocol):
    """What the services may do to the control loop, from any thread."""

    def begin_run(self, run: PolicyRun, goal_pose: Any | None) -> None:
        """Drive for `run`, towards a PoseStamped or the goal on the topic."""

    def end_run(self, reason: str) -> None:
        """Stop the robot at once and end the run, if there is one."""

    def press_emergency_stop(self, by: str) -> str:
        """Hold the robot until the release, over restarts; return what is wrong, '' if nothing."""

    def release_emergency_stop(self) -> str:
        """Let the robot drive again; return what is wrong, '' if nothing."""

    def take_over(self, is_person: bool) -> None:
        """Give the robot to a person until they hand it back, or to the policy."""


class PolicyServices:
    """Services and the `run_policy` action of the policy node."""

    def __init__(
        self, node: Node, server: PolicyServer, loop: ControlLoop, default_goal_radius_m: float
    ):
        self._server = server
        self._loop = loop
        self._default_goal_radius_m = default_goal_radius_m
        self._run: PolicyRun | None = None
        self._thread = ServiceThread(node)
        own, name = self._thread.node, self._thread.private_name
        serve = partial(own.create_service, callback_group=self._thread.group)
        serve(LoadModel, name('load_model'), self._on_load)
        serve(RollbackModel, name('rollback_model'), self._on_rollback)
        serve(Trigger, name('emergency_stop'), self._on_emergency_stop)
        serve(Trigger, name('release_emergency_stop'), self._on_release)
        serve(SetBool, name('take_over'), self._on_take_over)
        self._action = ActionServer(
            own,
            RunPolicy,
            self._thread.relative_name('run_policy'),
            self._execute,
            goal_callback=self._on_goal,
            cancel_callback=self._on_cancel,
        )
        self._feedback: tuple[ServerGoalHandle, PolicyRun] | None = None
        own.create_timer(_FEEDBACK_PERIOD_S, self._publish_feedback)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End the run, if there is one, and answer no more."""
        self._loop.end_run('canceled')
        self._thread.stop()

    async def _on_load(
        self, request: LoadModel.Request, response: LoadModel.Response
    ) -> LoadModel.Response:
        try:
            future = self._server.load(request.model, request.version)
            response.version = (await self._finished(future)).version
            response.success = True
        except RobotLearningError as error:
            response.message = str(error)
            response.version = self._serving_version()
        return response

    async def _on_rollback(
        self, request: RollbackModel.Request, response: RollbackModel.Response
    ) -> RollbackModel.Response:
        try:
            response.version = (
                await self._finished(self._server.rollback(request.reason))
            ).version
            response.success = True
        except RobotLearningError as error:
            response.message = str(error)
            response.version = self._serving_version()
        return response

    def _on_emergency_stop(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        response.message = self._loop.press_emergency_stop('the service emergency_stop')
        response.success = True  # Of the stop itself; the message says if it is not kept.
        return response

    def _on_release(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        response.message = self._loop.release_emergency_stop()
        response.success = True
        return response

    def _on_take_over(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        self._loop.take_over(request.data)
        response.success = True
        return response

    def _on_goal(self, goal: RunPolicy.Goal) -> GoalResponse:
        is_free = self._run is None
        if is_free:
            radius = goal.goal_radius if goal.goal_radius > 0 else self._default_goal_radius_m
            limit = goal.time_limit if goal.time_limit > 0 else math.inf
            self._run = PolicyRun(radius, limit, explore=goal.explore)
        return GoalResponse.ACCEPT if is_free else GoalResponse.REJECT

    def _on_cancel(self, goal_handle: ServerGoalHandle) -> CancelResponse:
        self._loop.end_run('canceled')
        if self._run is not None:  # It may not have begun to drive yet.
            self._run.end('canceled')
        return CancelResponse.ACCEPT

    async def _execute(self, goal_handle: ServerGoalHandle) -> RunPolicy.Result:
        goal, run = goal_handle.request, self._run
        assert run is not None, 'accepted goals have a run'
        result = RunPolicy.Result()
        try:
            if goal.model or goal.version >= 0:
                await self._finished(self._server.load(goal.model, goal.version))
            if not run.ended.is_set():
                self._loop.begin_run(
                    run, goal.goal_pose if goal.goal_pose.header.frame_id else None
                )
                self._feedback = goal_handle, run
                await self._ended(run)
        except RobotLearningError as error:
            run.end(str(error))
        finally:
            self._feedback = self._run = None
        result.success, result.reason = run.is_success, run.reason
        result.num_steps = run.num_steps
        result.distance_to_goal = float(run.distance_to_goal_m)
        result.gate_interventions = run.gate_interventions
        if goal_handle.is_cancel_requested:
            goal_handle.canceled()
        elif run.is_success:
            goal_handle.succeed()
        else:
            goal_handle.abort()
        return result

    def _publish_feedback(self) -> None:
        if self._feedback is None:
            return
        goal_handle, run = self._feedback
        if goal_handle.is_active and run.executed is not None and not run.ended.is_set():
            feedback = RunPolicy.Feedback()
            feedback.step = run.num_steps
            feedback.distance_to_goal = float(run.distance_to_goal_m)
            feedback.executed = run.executed.tolist()
            feedback.version = run.version
            goal_handle.publish_feedback(feedback)

    async def _ended(self, run: PolicyRun) -> None:
        """Wait for the end of `run` without holding the thread."""
        future = Future(executor=self._thread.executor)
        run.on_end(lambda: future.set_result(None))
        await future

    async def _finished(self, awaited: ConcurrentFuture[Any]) -> Any:
        """Wait for the loading thread without holding this one."""
        future = Future(executor=self._thread.executor)
        awaited.add_done_callback(lambda done: future.set_result(None))
        await future
        return awaited.result()

    def _serving_version(self) -> int:
        served = self._server.served
        return -1 if served is None else served.version
