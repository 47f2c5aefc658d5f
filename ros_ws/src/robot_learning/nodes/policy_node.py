"""Drives a robot with the newest good version of a policy, behind the action gate."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.clock import Clock, ClockType
from robot_learning_interfaces.msg import StepOutcome
from std_msgs.msg import Bool

from robot_learning import contract as contracts
from robot_learning.errors import ProcessError
from robot_learning.features import FeatureBuilder
from robot_learning.model_store import ModelStore
from robot_learning.nodes import emergency_stop_input, qos
from robot_learning.nodes.command_output import CommandOutput
from robot_learning.nodes.decision_output import DecisionOutput
from robot_learning.nodes.episode_results import EpisodeResults
from robot_learning.nodes.managed_node import ManagedNode
from robot_learning.nodes.other_publishers import OtherPublishers
from robot_learning.nodes.parameters import declare_config
from robot_learning.nodes.policy_config import PolicyNodeConfig
from robot_learning.nodes.policy_services import PolicyServices
from robot_learning.nodes.policy_status import GateParts, PolicyStatus
from robot_learning.nodes.reading_input import ReadingInput
from robot_learning.nodes.run import run_node
from robot_learning.nodes.run_goals import RunGoals
from robot_learning.nodes.teleop_input import COMMANDER_TOPIC, TeleopInput
from robot_learning.nodes.version_notices import VersionNotices
from robot_learning.serving.action_gate import ActionGate
from robot_learning.serving.driver import Command, PolicyDriver
from robot_learning.serving.emergency_stop import EmergencyStop, state_path
from robot_learning.serving.observation_assembler import ObservationAssembler
from robot_learning.serving.policy_run import PolicyRun
from robot_learning.serving.policy_server import PolicyServer
from robot_learning.serving.takeover import Takeover
from robot_learning.serving.tick_schedule import TickSchedule
from robot_learning.version_history import VersionHistory

_NUM_LAST_STOPS = 5  # Stop commands after a run, before the robot is left to others.


class PolicyNode(ManagedNode):
    """Readings in, commands out; services and loading happen on other threads.

    Inactive, it reads, loads versions and tells its state, but sends no command.

    All callbacks run on the control thread; others reach it through `_on_control_thread`.
    """

    def __init__(self, **node_options: Any):
        super().__init__('policy', **node_options)
        self._config = declare_config(self, PolicyNodeConfig)
        self.manage(self._config.autostart)

    def load(self) -> None:
        """Load contract and model versions; listen, answer, and tell how things are."""
        config = self._config
        self._contract = contract = contracts.load(config.robot)
        features = FeatureBuilder(contract)
        notices = VersionNotices(self)
        self._server = PolicyServer(
            ModelStore(config.models, config),
            contract,
            config,
            notices.announce,
            VersionHistory(config.models, by=self.get_fully_qualified_name()),
        )
        self.resources.callback(self._server.close)
        notices.listen(self._server)
        self._results = EpisodeResults(self, self._server, config.mode == 'lock_step')
        self._stop = EmergencyStop(
            state_path(config.state_directory, self.get_fully_qualified_name(), contract.robot)
        )
        self._gate = ActionGate(contract, is_pressed=self._stop.is_pressed)
        timeout_s = config.teleop.takeover_timeout_s
        self._takeover = Takeover(timeout_s, contract.action_stop, yielding={COMMANDER_TOPIC})
        self._is_taken_over = False  # At the last tick.
        fields = (*features.fields, *config.images)
        readings = ReadingInput(self, contract, fields, self._on_reading)
        self._observations = ObservationAssembler(contract, fields, readings.converters)
        self._driver = PolicyDriver(
            contract, features, self._observations, self._server, self._gate
        )
        outputs = [
            CommandOutput(self, name, spec) for name, spec in contract.learned_actions.items()
        ]
        self._others = OtherPublishers(self, [output.topic for output in outputs])
        self._status = PolicyStatus(
            self,
            contract.robot,
            GateParts(self._gate, self._stop, self._takeover, self._others),
            self._server,
            outputs,
            config.status_rate_hz,
        )
        self._output = DecisionOutput(self, outputs, self._status)
        self._teleop = TeleopInput(
            self, contract, config.teleop, self._takeover, self._on_wanted_stop
        )
        self._decides_on_arrival = config.mode == 'free_running' and config.decide_on == 'arrival'
        self._goals = RunGoals(self, contract, self._observations)
        self._is_autonomous = config.drive_at_start
        self._num_last_stops = 0
        self._pending: StepOutcome | None = None  # A step that waits for late readings.
        self._schedule = TickSchedule(contract.control_period_ns)
        self._create_topics()
        radius = contract.task.parameters.get('goal_radius_m', 0.3) if contract.task else 0.3
        requests = PolicyServices(self, self._server, self, float(radius))
        self.resources.callback(requests.stop)
        self._status.diagnostics.add('lifecycle', self.lifecycle_health)
        if self._stop.is_pressed:
            self.get_logger().error(f'starts with the emergency stop pressed: {self._stop.text}')
        if problem := self._stop.writing_problem():
            self.get_logger().warning(problem)
        self._server.start()
        requests.start()

    def make_safe(self) -> None:
        """Stop the robot and leave it alone from now on."""
        self._pending = None
        self._finish_run('canceled')
        self._num_last_stops = 0
        if self._output.last is not None:
            self._output.publish(self._driver.stop(self._now_ns()))
            self._output.wait_until_received()

    def _create_topics(self) -> None:
        emergency_stop_input.listen(self, self._on_emergency_stop)
        period_s = 1 / self._contract.control_rate_hz
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        if self._config.mode == 'lock_step':
            self.create_subscription(StepOutcome, 'outcome', self._on_outcome, qos.OUTCOME_QOS)
            self._late_timer = self.create_timer(
                max(self._config.step_wait_s, 1e-3), self._on_step_wait, clock=steady
            )
            self._late_timer.cancel()
            return
        # On system time, a timer would sleep for as long as that clock is set back.
        clock = self.get_clock() if self.get_parameter('use_sim_time').value else steady
        if self._config.decide_on == 'arrival':
            self.create_timer(period_s / 4, self._on_watchdog, clock=clock)
        else:
            self.create_timer(period_s, self._on_tick, clock=clock)
        self.create_timer(self._config.keep_alive_s, self._on_keep_alive, clock=clock)

    # --- lock-step ---------------------------------------------------------------------------

    def _on_outcome(self, outcome: StepOutcome) -> None:
        if not self.is_active:
            return
        step_ns = _stamp_ns(outcome)
        last = self._output.last
        if last is not None and step_ns == last.stamp_ns:
            if self._gate.is_pressed and 'emergency_stop' not in last.reasons:
                self._output.publish(self._driver.refuse(step_ns, 'emergency_stop', step_ns))
            else:
                self._output.send(last)  # Asked again: the answer was lost.
            return
        if outcome.is_first:
            self._driver.start_episode()
        self._pending = outcome
        if not self._answer_if_complete():
            self._late_timer.reset()

    def _answer_if_complete(self) -> bool:
        outcome = self._pending
        assert outcome is not None, 'called only while a step waits'
        step_ns = _stamp_ns(outcome)
        if self._observations.awaited(step_ns, outcome.is_first):
            return False
        self._answer(outcome, step_ns)
        return True

    def _on_step_wait(self) -> None:
        """Answer with what there is: a sensor is slower than steps, or a message is lost."""
        self._late_timer.cancel()
        if (outcome := self._pending) is not None:
            step_ns = _stamp_ns(outcome)
            self._observations.give_up(self._observations.awaited(step_ns, outcome.is_first))
            self._answer(outcome, step_ns)

    def _answer(self, outcome: StepOutcome, step_ns: int) -> None:
        self._pending = None
        self._late_timer.cancel()
        command = self._command_for(outcome, step_ns)
        self._output.publish(command)
        self._driver.review(command)
        is_last = outcome.terminated or outcome.truncated
        if is_last:
            self._results.on_outcome(outcome)
        if self._is_driving and not is_last:
            self._update_run(command, step_ns)
        if is_last and self._goals.run is not None:
            ended = 'time_limit' if outcome.truncated else 'collision'
            self._finish_run('goal' if outcome.success else ended)

    def _command_for(self, outcome: StepOutcome, step_ns: int) -> Command:
        command = None
        if not (outcome.terminated or outcome.truncated):
            command = self._decided(step_ns, step_ns)
        return command or self._driver.stop(step_ns)

    # --- free running ------------------------------------------------------------------------

    def _on_tick(self) -> None:
        self._decide(self._now_ns())

    def _on_watchdog(self) -> None:
        """Decide with what there is when a complete observation does not come."""
        now_ns = self._now_ns()
        if self._schedule.is_overdue(now_ns) and self._observations.needs_answer(now_ns):
            self._decide(now_ns)

    def _on_reading(self, name: str, stamp: int, data: bytes, received_ns: int) -> None:
        self._observations.put(name, stamp, data, received_ns)
        if self._pending is not None:
            self._answer_if_complete()
        elif self._decides_on_arrival and self._observations.is_renewed():
            now_ns = self._now_ns()
            if self._schedule.accepts(now_ns):
                self._decide(now_ns, is_renewed=True)

    def _decide(self, now_ns: int, is_renewed: bool = False) -> None:
        missed = self._schedule.take(now_ns, is_renewed)
        command = self._decided(now_ns)
        if command is None:
            if self._num_last_stops:
                self._num_last_stops -= 1
                self._output.publish(self._driver.stop(now_ns))
            return
        self._gate.counts.missed_ticks += missed
        self._output.publish(command)
        if not command.problems:
            age_ns = self._now_ns() - command.stamp_ns
            self._status.stamp_latency.add(age_ns * 1e-6)
        self._driver.review(command)
        self._update_run(command, now_ns)

    def _on_keep_alive(self) -> None:
        """Repeat the command, as robots stop by themselves when none comes for a while."""
        last = self._output.last
        is_driven = self.is_active and (self._is_driving or self._is_taken_over)
        if last is None or not is_driven:
            return
        stop = self._driver.watchdog(self._now_ns())
        if stop is None:
            self._output.send(last)
        elif last.reasons != stop.reasons:
            self._output.publish(stop)

    # --- both --------------------------------------------------------------------------------

    def _decided(self, now_ns: int, step_ns: int | None = None) -> Command | None:
        """Let the person who has taken over decide, else the policy; None: nobody drives."""
        if not self.is_active:
            return None
        moment_s = time.monotonic()
        self._note_driver(self._takeover.driver(moment_s))
        person = self._takeover.action(moment_s)
        if person is None and not self._is_driving:
            return None
        if self._others.names and self._config.stop_on_other_publishers:
            return self._driver.refuse(now_ns, 'other_publishers', step_ns)
        run = self._goals.run
        return self._driver.step(now_ns, None if run is None else run.explore, step_ns, person)

    def _on_wanted_stop(self) -> None:
        """Stop now rather than at the next tick; in lock-step the next step is answered so."""
        last = self._output.last
        is_due = self.is_active and self._config.mode == 'free_running'
        if is_due and last is not None and (last.executed != self._contract.action_stop).any():
            stop = self._driver.stop(self._now_ns())
            self._output.publish(stop._replace(intervention=True))

    def _note_driver(self, driver: str) -> None:
        """Tell when a person takes over and lets go."""
        if bool(driver) == self._is_taken_over:
            return
        self._is_taken_over = bool(driver)
        if driver:
            self.get_logger().info(f'{driver}: a person drives')
        else:
            self.get_logger().info('the person has let go')
            self._num_last_stops = _NUM_LAST_STOPS

    @property
    def _is_driving(self) -> bool:
        """Whether the policy drives, if no person does."""
        return self._is_autonomous or self._goals.run is not None

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _on_emergency_stop(self, message: Bool) -> None:
        by = 'the topic emergency_stop'
        if message.data and not self._stop.is_pressed:  # False does not release: a service does.
            self._gate.press()
            self._stop_for_emergency()  # First the stop, then the file.
            self._keep_pressed(by)
        elif message.data:
            self._stop.press(self._gate, by)  # Should a release be under way, it comes too late.

    # --- called from other threads -----------------------------------------------------------

    def begin_run(self, run: PolicyRun, goal_pose: Any | None) -> None:
        """Drive for `run`, towards a PoseStamped or the goal on the topic; then stay stopped.

        Raises:
            MessageError: the pose is in another frame than the contract's goal.
            ConfigError: the contract has no goal to set.
            ProcessError: the node is not active.
        """
        if not self.is_active:
            raise ProcessError(f'the policy node is {self.lifecycle_health().message}')
        goal = None if goal_pose is None else self._goals.value(goal_pose)

        def begin() -> None:
            if not self.is_active:  # It was deactivated in between.
                run.end('canceled')
                return
            self._driver.start_episode()
            self._is_autonomous = False
            self._goals.begin(run, goal, goal_pose)

        self._on_control_thread(begin)

    def end_run(self, reason: str) -> None:
        """Stop the robot at once and end the run, if there is one."""
        self._on_control_thread(lambda: self._finish_run(reason))

    def press_emergency_stop(self, by: str) -> str:
        """Hold the robot until the release, over restarts; return what is wrong, '' if nothing."""
        self._gate.press()
        self._on_control_thread(self._stop_for_emergency)
        return self._keep_pressed(by)

    def release_emergency_stop(self) -> str:
        """Let the robot drive again; return what is wrong, '' if nothing."""
        problem = self._stop.release(self._gate)
        self.get_logger().info(problem or 'emergency stop released')
        return problem

    def take_over(self, is_person: bool) -> None:
        """Give the robot to a person until they hand it back, or to the policy."""
        hand_back = partial(self._takeover.hand_back, time.monotonic())
        self._on_control_thread(self._takeover.hold if is_person else hand_back)

    def _keep_pressed(self, by: str) -> str:
        problem = self._stop.press(self._gate, by)
        self.get_logger().error(f'emergency stop pressed by {by}. {problem}'.strip())
        return problem

    def _stop_for_emergency(self) -> None:
        # In lock-step the next step is answered so.
        is_due = self.is_active and self._config.mode == 'free_running'
        if is_due and (self._is_driving or self._is_taken_over):
            self._output.publish(self._driver.refuse(self._now_ns(), 'emergency_stop'))

    def _finish_run(self, reason: str) -> None:
        if (run := self._goals.take()) is None:
            return
        self._schedule.clear()
        if self._config.mode == 'free_running':
            self._num_last_stops = _NUM_LAST_STOPS
            self._output.publish(self._driver.stop(self._now_ns()))
        self._results.on_run_end(reason)
        run.end(reason)

    def _update_run(self, command: Command, now_ns: int) -> None:
        if reason := self._goals.update(command, now_ns):
            self._finish_run(reason)

    def _on_control_thread(self, work: Callable[[], None]) -> None:
        executor = self.executor
        if executor is None:  # Not turning yet, or not any more.
            work()
        else:
            executor.create_task(work)


def _stamp_ns(outcome: StepOutcome) -> int:
    return int(outcome.header.stamp.sec) * 1_000_000_000 + int(outcome.header.stamp.nanosec)


def main(args: list[str] | None = None) -> int:
    """Run the policy node."""
    sys.setswitchinterval(1e-4)  # The loading thread gives way to a control tick after 0.1 ms.
    return run_node(PolicyNode, args)


if __name__ == '__main__':
    sys.exit(main())
