"""Stands in for a simulator's reset on a real robot: asks a person, with a timeout.

`~/reset` holds the robot, asks on the topic `person_request`, waits for `~/ready`, begins an
episode in the recorder, and hands the robot back to the policy.
"""

from __future__ import annotations

import sys
from concurrent.futures import Future as ConcurrentFuture
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from pydantic import PositiveFloat
from pydantic.dataclasses import dataclass
from rclpy.node import Node
from rclpy.task import Future
from robot_learning_interfaces.srv import EndEpisode, ResetWorld, StartEpisode
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from robot_learning.config import STRICT
from robot_learning.errors import ProcessError
from robot_learning.nodes.diagnostics import OK, WARN, Diagnostics, Health
from robot_learning.nodes.parameters import declare_config
from robot_learning.nodes.qos import qos_profile
from robot_learning.nodes.run import ServiceThread, run_node
from robot_learning.nodes.service_caller import ServiceCaller
from robot_learning.simulation.person_reset import PersonReset, PersonResetReport


@dataclass(frozen=True, config=STRICT)
class PersonResetConfig:
    """How a person is asked."""

    timeout_s: PositiveFloat = 120.0  # Wall time for the person; then the robot stays held.
    text: str = 'Put the robot at its start, step back, and call the service.'  # What is asked.
    service_timeout_s: PositiveFloat = 3.0  # Wall time for the policy node and the recorder.
    records: bool = True  # There is a recorder, which ends and begins episodes.


class PersonResetNode(Node):
    """Answers on a thread of its own; the waiting is done by a worker."""

    def __init__(self, **node_options: Any):
        super().__init__('person_reset', **node_options)
        self._config = config = declare_config(self, PersonResetConfig)
        self._question = ''
        self._asks = self.create_publisher(String, 'person_request', qos_profile('latched'))
        caller = ServiceCaller(
            self, config.service_timeout_s, 'See that the policy node and the recorder run.'
        )
        robot = RecordedRobot(caller) if config.records else TakenRobot(caller)
        self._reset = PersonReset(robot, self._ask, config.timeout_s)
        self._worker = ThreadPoolExecutor(1, 'person')
        self._running: ConcurrentFuture[PersonResetReport] | None = None
        self._thread = ServiceThread(self)
        name = self._thread.private_name
        serve = partial(self._thread.node.create_service, callback_group=self._thread.group)
        serve(ResetWorld, name('reset'), self._on_reset)
        serve(Trigger, name('ready'), self._on_ready)
        Diagnostics(self).add('person', self._health)
        self._thread.start()

    def close(self) -> None:
        """Wait for nobody any more; the robot stays as it is."""
        self._reset.give_up()
        self._worker.shutdown(wait=True, cancel_futures=True)
        self._thread.stop()

    def _ask(self, text: str) -> None:
        self._question = text
        self._asks.publish(String(data=text))
        if text:
            name = self.get_fully_qualified_name()
            self.get_logger().warning(
                f'{text} Then: ros2 service call {name}/ready std_srvs/srv/Trigger'
            )

    async def _on_reset(
        self, request: ResetWorld.Request, response: ResetWorld.Response
    ) -> ResetWorld.Response:
        if self._running is not None and not self._running.done():
            response.message = 'a person is being asked already. Answer with ~/ready.'
            return response
        text = self._config.text
        if len(request.robot_pose) == 3:
            x, y, yaw = request.robot_pose
            text = f'{text} Its start is x {x:.2f} m, y {y:.2f} m, yaw {yaw:.2f} rad.'
        self._running = self._worker.submit(self._reset.run, text)
        future = Future(executor=self._thread.executor)
        self._running.add_done_callback(lambda _: future.set_result(None))
        await future
        report = self._running.result()
        response.success, response.message = not report.problem, report.problem
        response.episode = max(report.episode, 0)
        return response

    def _on_ready(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = self._reset.ready()
        response.success = not response.message
        return response

    def _health(self) -> Health:
        if self._question:
            return Health(WARN, self._question)
        return Health(OK, 'nobody is asked for anything')


class TakenRobot:
    """The robot as the policy node has it, without a recorder; each call waits for the answer."""

    def __init__(self, caller: ServiceCaller):
        self._caller = caller
        self._take_over = caller.client(SetBool, 'policy/take_over')

    def hold(self, is_held: bool) -> None:
        """Take the robot over as a person does, standing still, or hand it back."""
        self._caller.call(self._take_over, SetBool.Request(data=is_held))

    def end_episode(self) -> None:
        """End nothing: nobody records."""

    def begin_episode(self) -> int:
        """Begin nothing; return no number."""
        return -1


class RecordedRobot(TakenRobot):
    """The robot with a recorder, which is told where episodes end and begin."""

    def __init__(self, caller: ServiceCaller):
        super().__init__(caller)
        self._start = caller.client(StartEpisode, 'recorder/start_episode')
        self._end = caller.client(EndEpisode, 'recorder/end_episode')

    def end_episode(self) -> None:
        """End the episode that is being recorded, if there is one."""
        self._caller.call(self._end, EndEpisode.Request(reason='operator'))

    def begin_episode(self) -> int:
        """Begin recording; return the number of the episode.

        Raises:
            ProcessError: the recorder refuses.
        """
        answer = self._caller.call(self._start, StartEpisode.Request())
        if not answer.success:
            raise ProcessError(f'recorder: {answer.message}')
        return int(answer.episode)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to end."""
    return run_node(PersonResetNode, args)


if __name__ == '__main__':
    sys.exit(main())
