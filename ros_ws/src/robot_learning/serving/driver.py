"""One decision: observation -> features -> policy -> gate. Everything but the topics."""

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
        self, now_ns: int, explore: bool | None = None, step_ns: int | None = None
    ) -> Command:
        """Decide on the newest readings.

        Args:
            now_ns: on the clock of the stamps.
            explore: overrides the server's configuration.
            step_ns: stamp of the control step in lock-step; None: that of the newest reading.
        """
        observation = self.observations.collect(now_ns)
        if observation.problems:
            kind = observation.problems[0].kind
            result = self.gate.refuse(now_ns, _REFUSALS.get(kind, kind))
            stamp_ns = now_ns if step_ns is None else step_ns
            return self._command(
                stamp_ns, self._stop, result, observation.received_ns, observation.problems
            )
        stamp_ns = observation.stamp_ns if step_ns is None else step_ns
        features = self._features.build(observation.values)
        if not np.isfinite(features).all():
            problem = Problem('features', 'not_finite', 'features: computed to NaN or infinity')
            result = self.gate.refuse(now_ns, problem.kind)
            return self._command(stamp_ns, self._stop, result, observation.received_ns, (problem,))
        decision = self._server.act(features, explore)
        result = self.gate.filter(decision.action, now_ns, stamp_ns)
        return self._command(stamp_ns, decision, result, observation.received_ns)

    def stop(self, now_ns: int) -> Command:
        """Command the stop as an intended one."""
        return self._command(now_ns, self._stop, self.gate.hold(now_ns), 0)

    def watchdog(self, now_ns: int) -> Command | None:
        """Return the stop when no observation has been answered for too long, else None."""
        result = self.gate.watchdog(now_ns)
        return None if result is None else self._command(now_ns, self._stop, result, 0)

    def refuse(self, now_ns: int, reason: str) -> Command:
        """Command the stop for a reason that is counted and reported."""
        return self._command(now_ns, self._stop, self.gate.refuse(now_ns, reason), 0)

    def start_episode(self) -> None:
        """Forget what exploration kept from step to step."""
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
