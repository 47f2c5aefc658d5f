"""One decision: observation -> features -> policy or person -> gate. All but the topics."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.features import FeatureBuilder
from robot_learning.serving.action_gate import ActionGate, GateResult
from robot_learning.serving.observation_assembler import ObservationAssembler, Problem
from robot_learning.serving.policy_server import Decision, PolicyServer

Array = np.ndarray[Any, Any]

# What the gate is told when an observation cannot be used.
_REFUSALS = {'missing': 'stale', 'stale': 'stale', 'not_finite': 'not_finite'}


class Command(NamedTuple):
    """What goes to the robot, and how it came about."""

    stamp_ns: int  # Of the observation; of the moment when there was none to act on.
    executed: Array  # [A] float32, contract units.
    decision: Decision
    altered: bool
    reasons: tuple[str, ...]
    received_ns: int  # When the newest reading arrived, steady clock; 0: unknown.
    problems: tuple[Problem, ...] = ()
    intervention: bool = False  # A person wanted it, not the policy.


class PolicyDriver:
    """Turns readings into commands; knows no topics and no clocks."""

    def __init__(
        self,
        contract: RobotContract,
        features: FeatureBuilder,
        observations: ObservationAssembler,
        server: PolicyServer,
        gate: ActionGate,
    ):
        self.observations = observations
        self.gate = gate
        self._features = features
        self._server = server
        self._stop = Decision(contract.action_stop, math.nan, '', -1, False)

    def step(
        self,
        now_ns: int,
        explore: bool | None = None,
        step_ns: int | None = None,
        person: Array | None = None,
    ) -> Command:
        """Decide on the newest readings.

        The policy decides while a person drives too, and nobody hears it: so what it keeps from
        step to step, exploration noise and trials of new versions are those of a policy that
        never stopped when the person lets go. A person may drive where the readings are not
        sound; how old what they say may be is not judged here.

        Args:
            now_ns: on the clock of the stamps.
            explore: overrides the server's configuration.
            step_ns: stamp of the control step in lock-step; None: that of the newest reading.
            person: [A] float32, what a person wants instead of the policy.
        """
        observation = self.observations.collect(now_ns)
        problems, stamp_ns, decision = observation.problems, now_ns, self._stop
        if not problems:
            stamp_ns = observation.stamp_ns
            features = self._features.build(observation.values)
            if np.isfinite(features).all():
                images = {name: observation.values[name] for name in self._server.images}
                decision = self._server.act(features, explore, images)
            else:
                text = 'features: computed to NaN or infinity'
                problems = (Problem('features', 'not_finite', text),)
        stamp_ns = stamp_ns if step_ns is None else step_ns
        if person is not None:
            decision = Decision(person, math.nan, '', -1, False)
            result = self.gate.filter(person, now_ns, now_ns)
        elif problems:
            kind = problems[0].kind
            result = self.gate.refuse(now_ns, _REFUSALS.get(kind, kind))
        else:
            result = self.gate.filter(decision.action, now_ns, stamp_ns)
        command = self._command(stamp_ns, decision, result, observation.received_ns, problems)
        return command._replace(intervention=person is not None)

    def review(self, command: Command) -> None:
        """Learn from a command of `step` that was sent: what takes time must not delay it."""
        self._server.review(command.decision, command.reasons, command.executed)

    def stop(self, now_ns: int) -> Command:
        """Command the stop as an intended one."""
        return self._command(now_ns, self._stop, self.gate.hold(now_ns), 0)

    def watchdog(self, now_ns: int) -> Command | None:
        """Return the stop when no observation has been answered for too long, else None."""
        result = self.gate.watchdog(now_ns)
        return None if result is None else self._command(now_ns, self._stop, result, 0)

    def refuse(self, now_ns: int, reason: str, step_ns: int | None = None) -> Command:
        """Command the stop for a reason that is counted and reported; see `step` for `step_ns`."""
        stamp_ns = now_ns if step_ns is None else step_ns
        return self._command(stamp_ns, self._stop, self.gate.refuse(now_ns, reason), 0)

    def start_episode(self) -> None:
        """Forget what policy and exploration kept from step to step."""
        self._server.start_episode()

    def _command(
        self,
        stamp_ns: int,
        decision: Decision,
        result: GateResult,
        received_ns: int,
        problems: tuple[Problem, ...] = (),
    ) -> Command:
        return Command(
            stamp_ns,
            result.executed,
            decision,
            result.altered,
            result.reasons,
            received_ns,
            problems,
        )
