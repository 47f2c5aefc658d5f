"""A new version answers live observations beside the one that serves, before it may act."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.contract import RobotContract
from robot_learning.serving.action_gate import ActionGate
from robot_learning.serving.version_checks import Served

Array = np.ndarray[Any, Any]
_LIMIT_TOLERANCE = 1e-5  # Contract units; limits go through float32 and JSON.


@dataclass(frozen=True, config=STRICT)
class CanaryConfig:
    """What a new version must show in the shadow of the serving one.

    Measured in three runs of the embedded world with SAC: versions that follow each other differ
    by 0.16 at most over 50 steps, the first and the last of a run by 0.25; the gate alters at
    most 5 % of the commands of any.
    """

    ticks: NonNegativeInt = 50  # Sound observations; 0: versions serve as soon as they load.
    # Mean distance of the two actions, as a share of the range of each component.
    max_divergence: Annotated[float, Field(gt=0, le=1)] = 0.35
    max_outside_share: Annotated[float, Field(ge=0, le=1)] = 0.0  # Actions beyond the limits.
    # Share of actions that the gate would alter, above that of the serving version.
    max_altered_increase: Annotated[float, Field(ge=0, le=1)] = 0.25
    max_tick_share: Annotated[float, Field(gt=0, le=1)] = 0.2  # Median decision, of the period.


class CanaryReport(NamedTuple):
    """What was seen in the shadow."""

    num_ticks: int
    divergence: float
    outside_share: float
    altered_share: float
    altered_share_serving: float
    decision_ms: float  # Median processor time of one decision.
    problem: str  # Why it must not serve; '' if it may.

    @property
    def summary(self) -> str:
        """Return the numbers in one line."""
        return (
            f'{self.num_ticks} steps in shadow: divergence {self.divergence:.3f}, gate would '
            f'alter {self.altered_share:.0%} (serving version {self.altered_share_serving:.0%}), '
            f'{self.decision_ms:.3f} ms a decision'
        )


class Canary:
    """Compares a candidate with the serving version on the same observations.

    The control thread calls `observe` after its command is sent, and `start_episode`; other
    threads may read. Both versions answer from memories of their own, which begin empty together,
    and pass gates of their own, so that nothing here touches the robot's.
    """

    def __init__(
        self,
        candidate: Served,
        serving: Served,
        contract: RobotContract,
        config: CanaryConfig,
        clock_ns: Callable[[], int] = time.thread_time_ns,
    ):
        """Begin.

        Args:
            candidate: the version that wants to serve.
            serving: the one that serves.
            contract: of the robot.
            config: what is demanded.
            clock_ns: processor time of the calling thread, so that being interrupted does not
                count.
        """
        self.candidate = candidate
        self.serving = serving
        self.num_ticks = 0
        self.is_over = False
        self._config = config
        self._clock_ns = clock_ns
        self._low, self._high = contract.action_low, contract.action_high
        self._range = np.maximum(self._high - self._low, 1e-9)
        self._period_ns = contract.control_period_ns
        self._policies = candidate.policy.fork(), serving.policy.fork()
        self._gates = ActionGate(contract), ActionGate(contract)
        self._num_outside = 0
        self._num_altered = [0, 0]
        self._divergence = 0.0
        self._durations_ns: list[int] = []
        self._problem = ''

    def start_episode(self) -> None:
        """Let both versions forget the episode before."""
        for policy in self._policies:
            policy.reset()

    def observe(
        self,
        features: Array,
        images: Mapping[str, Array] | None = None,
        executed: Array | None = None,
    ) -> None:
        """Let both versions answer one observation [D] that the serving one has acted on.

        Args:
            features: as the serving version got them.
            images: likewise.
            executed: [A] what the robot did then; None: unknown.
        """
        if self.is_over:
            return
        try:
            with np.errstate(all='ignore'):  # What overflows shows in the result.
                self._compare(features, images)
                if executed is not None:
                    for policy in self._policies:
                        policy.executed(executed)
        except Exception as error:  # Whatever it does in shadow, the robot drives on.
            self._fail(f'raises {type(error).__name__} ({error}) on a live observation')
        if self.num_ticks >= self._config.ticks:
            self._problem = self._problem or self._verdict()
            self.is_over = True

    def report(self) -> CanaryReport:
        """Return what has been seen so far."""
        count = max(self.num_ticks, 1)
        return CanaryReport(
            self.num_ticks,
            self._divergence / count,
            self._num_outside / count,
            self._num_altered[0] / count,
            self._num_altered[1] / count,
            statistics.median(self._durations_ns) * 1e-6 if self._durations_ns else 0.0,
            self._problem,
        )

    def _compare(self, features: Array, images: Mapping[str, Array] | None) -> None:
        candidate_policy, serving_policy = self._policies
        serving = serving_policy.act(features, images=images).action
        if not np.isfinite(serving).all():
            return  # Such an observation says nothing about the candidate.
        started_ns = self._clock_ns()
        action = candidate_policy.act(features, images=images).action
        duration_ns = self._clock_ns() - started_ns
        if not np.isfinite(action).all():
            self._fail(f'answers {action.tolist()} to a live observation, expected finite actions')
            return
        if duration_ns > self._period_ns:
            self._fail(
                f'takes {duration_ns * 1e-6:.1f} ms for one decision, the control period is '
                f'{self._period_ns * 1e-6:.1f} ms'
            )
            return
        self.num_ticks += 1
        self._durations_ns.append(duration_ns)
        self._divergence += float((np.abs(action - serving) / self._range).mean())
        self._num_outside += bool(
            np.any(action < self._low - _LIMIT_TOLERANCE)
            or np.any(action > self._high + _LIMIT_TOLERANCE)
        )
        now_ns = self.num_ticks * self._period_ns
        for i, wanted in enumerate((action, serving)):
            self._num_altered[i] += self._gates[i].filter(wanted, now_ns, now_ns).altered

    def _fail(self, problem: str) -> None:
        self._problem = f'{problem} (step {self.num_ticks + 1} in shadow)'
        self.is_over = True

    def _verdict(self) -> str:
        config, report = self._config, self.report()
        budget_ms = config.max_tick_share * self._period_ns * 1e-6
        increase = report.altered_share - report.altered_share_serving
        found = (
            (report.outside_share, config.max_outside_share, 'share of actions beyond the limits'),
            (report.divergence, config.max_divergence, 'divergence from the serving version'),
            (increase, config.max_altered_increase, 'increase of what the gate would alter'),
            (report.decision_ms, budget_ms, 'median decision time in ms'),
        )
        problems = [
            f'{what} is {value:.3g}, at most {limit:.3g} is allowed'
            for value, limit, what in found
            if value > limit or math.isnan(value)
        ]
        return '; '.join(problems)
