"""The action `generate_code`: robot-API code for a command, checked, and run on request.

The model needs torch, which takes seconds to come; so it is loaded, and writes code, on a thread
of its own, and nobody who says stop meanwhile has to wait.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future as ConcurrentFuture
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future
from robot_learning_interfaces.action import GenerateCode

from robot_learning.errors import CommandError, RobotLearningError
from robot_learning.language import commands
from robot_learning.language.program import Program
from robot_learning.language.runs import Run
from robot_learning.nodes.job_desk import JobDesk, finish
from robot_learning.nodes.run import ServiceThread

if TYPE_CHECKING:
    from robot_learning.serving.code import CodeWriter, Generated

_FEEDBACK_S = 0.2


class CodeServices:
    """Serves the action.

    Args:
        thread: of the services.
        desk: takes the jobs.
        load: returns the model; called once, on the thread that writes code.
        program_run: makes what carries a checked program out.
        abilities: of the robot.
    """

    def __init__(
        self,
        thread: ServiceThread,
        desk: JobDesk,
        load: Callable[[], CodeWriter],
        program_run: Callable[[Program], Run],
        abilities: frozenset[str],
    ):
        self._thread, self._desk = thread, desk
        self._program_run, self._abilities = program_run, abilities
        self._writer = ThreadPoolExecutor(1, 'code')
        self._model: ConcurrentFuture[CodeWriter] = self._writer.submit(load)
        self._name = thread.relative_name('generate_code')
        self._server = ActionServer(
            thread.node,
            GenerateCode,
            self._name,
            self._execute,
            goal_callback=lambda goal: GoalResponse.ACCEPT,
            cancel_callback=self._on_cancel,
        )
        self._shown: tuple[ServerGoalHandle, str] | None = None  # What runs, and its code.
        thread.node.create_timer(_FEEDBACK_S, self._show_progress)

    def close(self) -> None:
        """Write no more code."""
        self._writer.shutdown(wait=False, cancel_futures=True)

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        self._desk.cancel(handle)
        return CancelResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> GenerateCode.Result:
        result = GenerateCode.Result(confidence=-1.0)
        if commands.is_stop(handle.request.text):
            self._desk.stop()
            result.success = result.check_passed = True
            result.code, result.done = 'robot.stop()', ['robot.stop()']
        else:
            await self._do(handle, handle.request, result)
        finish(handle, result.success)
        return result

    async def _do(
        self, handle: ServerGoalHandle, goal: GenerateCode.Goal, result: GenerateCode.Result
    ) -> None:
        handle.publish_feedback(GenerateCode.Feedback(state='generating'))
        try:
            written = await self._written(goal.text)
        except RobotLearningError as error:
            result.verdict = str(error)
            return
        result.code, result.confidence = written.code, float(written.confidence)
        result.verdict, program = written.verdict, written.program
        result.check_passed = result.success = program is not None
        handle.publish_feedback(GenerateCode.Feedback(state='checking', code=written.code))
        if program is None or not goal.execute:
            return
        result.success = False
        result.verdict = self._desk.refusal()
        if result.verdict:
            return
        run = self._program_run(program)
        self._shown = handle, written.code
        await self._desk.carry_out(handle, run, goal.text, goal.time_limit, self._name)
        result.done, result.not_done = [*run.done, *run.said], run.not_done
        result.success = not run.not_done

    async def _written(self, text: str) -> Generated:
        """Have code written, without holding the services' thread.

        Raises:
            CommandError: the text is not usable.
            RobotLearningError: there is no model, or it is damaged.
        """
        commands.prepared(text)
        future = Future(executor=self._thread.executor)
        work = self._writer.submit(lambda: self._model.result().generate(text, self._abilities))
        work.add_done_callback(lambda done: future.set_result(None))
        await future
        try:
            return work.result()
        except (ImportError, OSError) as error:  # A library of the model is not installed.
            raise CommandError(f'generate_code: no model can be used here ({error}).') from error

    def _show_progress(self) -> None:
        job = self._desk.job
        if job is None or self._shown is None or self._shown[0] is not self._desk.handle:
            return
        handle, code = self._shown
        if handle.is_active:
            feedback: Any = GenerateCode.Feedback(state='running', code=code)
            feedback.call = job.run.number
            handle.publish_feedback(feedback)
