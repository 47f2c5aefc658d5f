"""What people ask of the commander: the actions `execute_command` and `generate_code`.

Everything here may take a moment, so it runs on a thread of its own. Stop words are looked for
before anything else is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future
from robot_learning_interfaces.action import ExecuteCommand
from robot_learning_interfaces.msg import Intent as IntentMessage

from robot_learning.errors import CommandError
from robot_learning.language import commands
from robot_learning.language.intents import OUT_OF_SCOPE, Intent
from robot_learning.language.kernel import Kernel
from robot_learning.language.runs import Run
from robot_learning.language.skills import Step
from robot_learning.model_folders import parse_reference
from robot_learning.nodes.diagnostics import OK, Health
from robot_learning.nodes.qos import NOTICE_QOS
from robot_learning.nodes.run import ServiceThread
from robot_learning.serving import intent as intent_models

_FEEDBACK_S = 0.2
_GONE_S = 2.0  # So long a client may be out of the graph before it counts as gone.
_PREEMPTED, _CANCELED, _STOPPED = 'another command came', 'canceled', 'somebody said stop'
_GONE = 'who asked for it has gone'


class Job:
    """One run on its way: made by the services, ticked by the control thread.

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
        self.reason = ''  # Why it was given up; '' if it came to its end.
        self._on_end = on_end

    def end(self, reason: str) -> None:
        """Tell that it is over."""
        self.reason = reason
        self._on_end()


class Body(Protocol):
    """What the services may do to the robot."""

    @property
    def kernel(self) -> Kernel:
        """For the situation as it is now."""

    def plan_run(self, steps: tuple[Step, ...]) -> Run:
        """Return what carries a plan out."""

    def begin_job(self, job: Job) -> None:
        """Carry a job out from the next control step on; there is none before it."""

    def end_job(self, reason: str) -> None:
        """Stop the robot at once; what was being done is given up for `reason`."""


class Settings(Protocol):
    """Of the commander's configuration, what matters here."""

    models: Any
    intent_model: str
    when_busy: str
    time_limit_s: float


class CommanderServices:
    """The commander's actions, and what it tells about them."""

    def __init__(self, thread: ServiceThread, config: Any, body: Body):
        self._thread, self._config, self._body = thread, config, body
        self._model = _intent_model(config)
        self._busy_with = ''  # Text of the command that is carried out.
        self._handle: ServerGoalHandle | None = None  # Of that.
        self._job: Job | None = None
        self._steps: tuple[str, ...] = ()
        self._intent = ''
        self._clients: set[tuple[int, ...]] = set()  # Who may have sent it, by their endpoints.
        self._seen_s = 0.0  # When one of those was last in the graph.
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
        node.create_timer(_FEEDBACK_S, self._watch)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._thread.stop()

    def health(self) -> Health:
        """Say what the commander does."""
        values = {'done': self.num_done, 'refused': self.num_refused}
        if self._busy_with:
            return Health(OK, f'carries out: {self._busy_with[:80]}', values)
        return Health(OK, 'waits for a command', values)

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        if self._is_current(handle):
            self._body.end_job(_CANCELED)
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> ExecuteCommand.Result:
        text = handle.request.text
        if commands.is_stop(text):
            self._body.end_job(_STOPPED)
            return _finished(handle, ExecuteCommand.Result(success=True, done=['robot.stop()']))
        result = ExecuteCommand.Result()
        steps: tuple[Step, ...] = ()
        try:
            understood = self._model.understand(text)
        except CommandError as error:
            result.refusal = str(error)
        else:
            decision = self._body.kernel.decide(understood)
            steps = decision.steps
            result.refusal, result.question = decision.refusal, decision.question
            result.needs_clarification = bool(decision.question)
            self._tell(text, understood, decision.question)
            self._show(handle, understood, steps)
        if not steps:
            self.num_refused += 1
            return _finished(handle, result)
        if handle.request.dry_run:
            result.success = True
            result.not_done = [f'{step.text}: only planned' for step in steps]
            return _finished(handle, result)
        if self._job is not None:
            if self._config.when_busy == 'refuse':
                self.num_refused += 1
                result.refusal = (
                    f'busy with {self._busy_with[:80]!r}. Cancel it, or wait until it is done.'
                )
                return _finished(handle, result)
            self._body.end_job(_PREEMPTED)
        await self._carry_out(handle, steps, result)
        return _finished(handle, result)

    async def _carry_out(
        self, handle: ServerGoalHandle, steps: tuple[Step, ...], result: ExecuteCommand.Result
    ) -> None:
        ended = Future(executor=self._thread.executor)
        limit_s = handle.request.time_limit
        run = self._body.plan_run(steps)
        job = Job(
            run,
            limit_s if limit_s > 0 else self._config.time_limit_s,
            lambda: ended.set_result(None),
        )
        self._busy_with, self._handle, self._job = handle.request.text, handle, job
        self._steps = tuple(step.text for step in steps)
        self._clients, self._seen_s = self._endpoints(), time.monotonic()
        if handle.is_cancel_requested:  # Before it began.
            run.cancel(_CANCELED)
        else:
            self._body.begin_job(job)
            await ended
        if self._job is job:
            self._busy_with, self._handle, self._job = '', None, None
        result.done, result.not_done = [*run.done, *run.said], run.not_done
        result.success = not run.not_done
        self.num_done += result.success

    def _show(
        self, handle: ServerGoalHandle, understood: Sequence[Intent], steps: Sequence[Step]
    ) -> None:
        """Tell what was understood, and the plan, before anything moves."""
        self._intent = ', '.join(intent.name for intent in understood)
        feedback = ExecuteCommand.Feedback(intent=self._intent, progress=-1.0)
        feedback.plan = [step.text for step in steps]
        handle.publish_feedback(feedback)

    def _watch(self) -> None:
        """Tell how far it is; give up what nobody waits for any more."""
        handle, job = self._handle, self._job
        if handle is None or job is None or not handle.is_active:
            return
        now_s = time.monotonic()
        if self._clients & self._endpoints():
            self._seen_s = now_s
        elif now_s - self._seen_s > _GONE_S:
            self._body.end_job(_GONE)
            return
        feedback = ExecuteCommand.Feedback(intent=self._intent, plan=list(self._steps))
        feedback.skill, feedback.step = job.run.skill, job.run.number
        feedback.progress = float(job.progress)
        handle.publish_feedback(feedback)

    def _endpoints(self) -> set[tuple[int, ...]]:
        """Return what identifies each client in the graph: all of them listen to feedback."""
        topic = f'{self._name}/_action/feedback'
        found = self._thread.node.get_subscriptions_info_by_topic(topic)
        return {tuple(info.endpoint_gid) for info in found}

    def _is_current(self, handle: ServerGoalHandle) -> bool:
        return self._handle is not None and handle.goal_id == self._handle.goal_id

    def _tell(self, text: str, understood: Sequence[Intent], question: str) -> None:
        """Publish what each part of a command was understood to mean."""
        for intent in understood:
            message = IntentMessage()
            message.header.stamp = self._thread.node.get_clock().now().to_msg()
            message.text = intent.text or text
            message.intent = '' if intent.name == OUT_OF_SCOPE else intent.name
            message.confidence = float(intent.confidence)
            message.slot_names = list(intent.slots)
            message.slot_values = [str(value) for value in intent.slots.values()]
            message.slot_confidences = [float(intent.confidence)] * len(intent.slots)
            message.needs_clarification, message.question = bool(question), question
            self._intents.publish(message)


def _finished(handle: ServerGoalHandle, result: ExecuteCommand.Result) -> ExecuteCommand.Result:
    if handle.is_cancel_requested:
        handle.canceled()
    elif result.success:
        handle.succeed()
    else:
        handle.abort()
    return result


def _intent_model(config: Any) -> intent_models.IntentModel:
    """Load the model that the configuration names, else the one that ships."""
    if not config.intent_model:
        return intent_models.load()
    name, version = parse_reference(config.intent_model)
    return intent_models.load(config.models, name, version, config)
