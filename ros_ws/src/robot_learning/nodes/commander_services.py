"""The action `execute_command`: what a person says, from words to steps and their result.

It may take a moment, so it runs on a thread of its own. Stop words are looked for before anything
else is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from robot_learning_interfaces.action import ExecuteCommand
from robot_learning_interfaces.msg import Intent as IntentMessage

from robot_learning.errors import CommandError
from robot_learning.language import commands
from robot_learning.language.intents import OUT_OF_SCOPE, Intent
from robot_learning.language.kernel import Kernel
from robot_learning.language.runs import Run
from robot_learning.language.skills import Step
from robot_learning.nodes.job_desk import JobDesk, finish
from robot_learning.nodes.qos import NOTICE_QOS
from robot_learning.nodes.run import ServiceThread
from robot_learning.serving.intent import IntentModel

_FEEDBACK_S = 0.2


class Planner(Protocol):
    """What makes runs of what was understood."""

    @property
    def kernel(self) -> Kernel:
        """For the situation as it is now."""

    def plan_run(self, steps: tuple[Step, ...]) -> Run:
        """Return what carries a plan out."""


class CommanderServices:
    """Serves the action, and tells on `intent` what was understood.

    Args:
        thread: of the services.
        desk: takes the jobs.
        planner: decides and plans.
        model: understands.
    """

    def __init__(self, thread: ServiceThread, desk: JobDesk, planner: Planner, model: IntentModel):
        self._thread, self._desk = thread, desk
        self._planner, self._model = planner, model
        self._intent, self._plan = '', list[str]()  # Of the command that is carried out.
        self.num_done = self.num_refused = 0
        node = thread.node
        self._intents = node.create_publisher(
            IntentMessage, thread.relative_name('intent'), NOTICE_QOS
        )
        self._name = thread.relative_name('execute_command')
        self._server = ActionServer(
            node,
            ExecuteCommand,
            self._name,
            self._execute,
            goal_callback=lambda goal: GoalResponse.ACCEPT,
            cancel_callback=self._on_cancel,
        )
        self._handle: ServerGoalHandle | None = None  # Of the command that is carried out.
        node.create_timer(_FEEDBACK_S, self._show_progress)

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        self._desk.cancel(handle)
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> ExecuteCommand.Result:
        result = ExecuteCommand.Result()
        if commands.is_stop(handle.request.text):
            self._desk.stop()
            result.success, result.done = True, ['robot.stop()']
        elif commands.is_asking_for_help(handle.request.text):
            result.success, result.done = True, [self._planner.kernel.abilities()]
        else:
            await self._do(handle, handle.request, result)
        finish(handle, result.success)
        return result

    async def _do(
        self, handle: ServerGoalHandle, goal: ExecuteCommand.Goal, result: ExecuteCommand.Result
    ) -> None:
        steps = self._decide(handle, goal.text, result)
        if steps and goal.dry_run:
            result.success = True
            result.not_done = [f'{step.text}: only planned' for step in steps]
            return
        result.refusal = result.refusal or (self._desk.refusal() if steps else '')
        if not steps or result.refusal:
            self.num_refused += 1
            return
        run = self._planner.plan_run(steps)
        self._handle = handle
        await self._desk.carry_out(handle, run, goal.text, goal.time_limit, self._name)
        result.done, result.not_done = [*run.done, *run.said], run.not_done
        result.success = not run.not_done
        self.num_done += result.success

    def _decide(
        self, handle: ServerGoalHandle, text: str, result: ExecuteCommand.Result
    ) -> tuple[Step, ...]:
        """Return the steps of a plan; none, and in the result why, if nothing is to be done."""
        try:
            understood = self._model.understand(text)
        except CommandError as error:
            result.refusal = str(error)
            return ()
        decision = self._planner.kernel.decide(understood)
        result.refusal, result.question = decision.refusal, decision.question
        result.needs_clarification = bool(decision.question)
        self._tell(text, understood, decision.question)
        self._intent = ', '.join(intent.name for intent in understood)
        self._plan = [step.text for step in decision.steps]
        handle.publish_feedback(self._feedback())
        return decision.steps

    def _feedback(self) -> ExecuteCommand.Feedback:
        return ExecuteCommand.Feedback(intent=self._intent, plan=self._plan, progress=-1.0)

    def _show_progress(self) -> None:
        self._desk.watch()
        job, handle = self._desk.job, self._handle
        if job is None or handle is None or handle is not self._desk.handle:
            return
        if handle.is_active:
            feedback = self._feedback()
            feedback.skill, feedback.step = job.run.skill, job.run.number
            feedback.progress = float(job.progress)
            handle.publish_feedback(feedback)

    def _tell(self, text: str, understood: Sequence[Intent], question: str) -> None:
        """Publish what each part of a command was understood to mean."""
        for intent in understood:
            message: Any = IntentMessage()
            message.header.stamp = self._thread.node.get_clock().now().to_msg()
            message.text = intent.text or text
            message.intent = '' if intent.name == OUT_OF_SCOPE else intent.name
            message.confidence = float(intent.confidence)
            message.slot_names = list(intent.slots)
            message.slot_values = [str(value) for value in intent.slots.values()]
            message.slot_confidences = [float(intent.confidence)] * len(intent.slots)
            message.needs_clarification, message.question = bool(question), question
            self._intents.publish(message)
