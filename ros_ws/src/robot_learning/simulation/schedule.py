"""When each sensor is due: every n-th control step, or at its own rate."""

from __future__ import annotations

from collections.abc import Mapping

from robot_learning.contract import RobotContract
from robot_learning.simulation.readings import TOPICS

# TurtleBot3's rates, for topics of which the contract says nothing.
_RATE_HZ = {
    'scan': 10.0,
    'odom': 30.0,
    'imu': 200.0,
    'joint_states': 30.0,
    'amcl_pose': 5.0,
    'camera/image_raw': 30.0,
    'ground_truth/odom': 30.0,
}


class RateSchedule:
    """Next due moments of topics with rates of their own, on the grid of physics steps."""

    def __init__(self, contract: RobotContract, timestep_s: float):
        rates = dict(_RATE_HZ)
        for field in contract.observation.values():
            if field.topic in TOPICS and field.rate_hz:
                rates[field.topic] = field.rate_hz
        self._period_ns = {
            topic: max(1e9 / rate, timestep_s * 1e9) for topic, rate in rates.items()
        }
        self._control_ns = contract.control_period_ns
        self.reset(0)

    @property
    def shortest_period_s(self) -> float:
        """Period of the fastest topic."""
        return min(self._period_ns.values()) * 1e-9

    def reset(self, now_ns: int) -> None:
        """Make everything due now, and the next control step one period later."""
        self._due: dict[str, float] = dict.fromkeys(self._period_ns, float(now_ns))
        self._next_control_ns = now_ns + self._control_ns

    def next_ns(self) -> int:
        """Moment of the next thing that is due."""
        return min(round(min(self._due.values())), self._next_control_ns)

    def take_due(self, now_ns: int) -> list[str]:
        """Return the topics due at `now_ns` and schedule them again."""
        due = [topic for topic, moment in self._due.items() if moment <= now_ns + 1]
        for topic in due:
            while self._due[topic] <= now_ns + 1:
                self._due[topic] += self._period_ns[topic]
        return due

    def take_control(self, now_ns: int) -> bool:
        """Whether a control period ends at `now_ns`; then the next one begins."""
        if now_ns + 1 < self._next_control_ns:
            return False
        self._next_control_ns += self._control_ns
        return True


class StepSchedule:
    """Topics that are published every n-th control step, beginning with each episode's first."""

    def __init__(self, every_n_steps: Mapping[str, int]):
        self._every = dict(every_n_steps)

    def due(self, step: int) -> list[str]:
        """Return the topics due at a control step of an episode."""
        return [topic for topic, every in self._every.items() if step % every == 0]
