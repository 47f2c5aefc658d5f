"""A node in the test's own process that notes what the processes of the loop publish."""

import threading
import time
from typing import NamedTuple

import rclpy
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.node import Node
from robot_learning.nodes import qos
from robot_learning.nodes.run import make_executor
from robot_learning_interfaces.msg import (
    ModelVersion,
    PolicyAction,
    StepOutcome,
    TrainingMetrics,
)

_DEPTH = 2000  # The witness may be busy for a while and must not miss anything.
DRIVING_M_S = 0.05
STANDING_M_S = 0.02


class Action(NamedTuple):
    """A decision of the policy node. Times of arrival are monotonic seconds."""

    stamp_ns: int
    executed: bytes
    version: int
    arrival_s: float


class Outcome(NamedTuple):
    """A step of the world."""

    stamp_ns: int
    episode: int
    step: int
    reward: float
    arrival_s: float


class Speed(NamedTuple):
    """The robot's true speed, at a moment of its world."""

    stamp_s: float
    forward_m_s: float


class Drive(NamedTuple):
    """What the wheels are commanded from a moment of the world on."""

    stamp_s: float
    is_zero: bool
    arrival_s: float


class Training(NamedTuple):
    """A report of the trainer."""

    state: str
    update: int
    environment_step: int
    train_ratio: float
    arrival_s: float


class Witness:
    """Follows decisions, steps, speeds, wheels, training and refused versions, in order."""

    def __init__(self, domain_id: int | None = None):
        self.actions: list[Action] = []
        self.outcomes: list[Outcome] = []  # Without those sent again.
        self.speeds: list[Speed] = []
        self.drives: list[Drive] = []
        self.training: list[Training] = []
        self.refused: list[str] = []  # Why versions were refused.
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.node = node = Node('witness', context=self.context)
        follow = node.create_subscription
        reliable = qos.qos_profile('reliable', depth=_DEPTH)
        follow(PolicyAction, 'policy_action', self._on_action, reliable)
        follow(StepOutcome, 'outcome', self._on_outcome, reliable)
        follow(TrainingMetrics, 'training_metrics', self._on_metrics, reliable)
        follow(ModelVersion, 'model_version', self._on_version, reliable)
        follow(Odometry, 'ground_truth/odom', self._on_truth, qos.qos_profile('sensor'))
        follow(TwistStamped, 'cmd_vel_out', self._on_drive, reliable)
        self._executor = make_executor(self.context)
        self._executor.add_node(node)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; may be called twice."""
        if self._is_ending.is_set():
            return
        self._is_ending.set()
        self._thread.join(5.0)
        self._executor.remove_node(self.node)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def __enter__(self) -> 'Witness':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_driving(self) -> bool:
        """Whether the robot moves forward, by its newest true speed."""
        return bool(self.speeds) and self.speeds[-1].forward_m_s > DRIVING_M_S

    def silences(self) -> str:
        """Say how long ago each kind of message was last heard: one may be missing, or all."""
        heard = {'actions': self.actions, 'outcomes': self.outcomes, 'training': self.training}
        now_s = time.monotonic()
        ages = [
            f'{name} {now_s - messages[-1].arrival_s:.1f} s ago' if messages else f'{name} never'
            for name, messages in heard.items()
        ]
        return f'last heard: {", ".join(ages)}'

    def versions(self) -> set[int]:
        """Return all model versions that drove; -1: none."""
        return {action.version for action in self.actions}

    def standstill_s(self, killed_s: float, window_s: float) -> float | None:
        """Return after how many seconds of the world the robot stood, None: not in `window_s`.

        Args:
            killed_s: stamp of the newest speed when nobody commanded the robot any more.
            window_s: in which it has to come to rest and stay so.
        """
        later = [s for s in self.speeds if killed_s <= s.stamp_s <= killed_s + window_s]
        moving = [s.stamp_s for s in later if abs(s.forward_m_s) > STANDING_M_S]
        if not later or (moving and moving[-1] == later[-1].stamp_s):
            return None
        return moving[-1] - killed_s if moving else 0.0

    def zero_command(self, killed_s: float, window_s: float) -> Drive | None:
        """Return the command to zero after which the wheels got no other, None: there is none.

        Args:
            killed_s: stamp of the newest speed when nobody commanded the robot any more.
            window_s: of the world, in which the command has to come.
        """
        first = None
        for drive in self.drives:
            if killed_s <= drive.stamp_s <= killed_s + window_s:
                first = (first or drive) if drive.is_zero else None
        return first

    def _on_action(self, message: PolicyAction) -> None:
        executed = message.executed.tobytes()
        self.actions.append(
            Action(_stamp_ns(message), executed, message.version, time.monotonic())
        )

    def _on_outcome(self, message: StepOutcome) -> None:
        stamp_ns = _stamp_ns(message)
        if not self.outcomes or stamp_ns != self.outcomes[-1].stamp_ns:
            self.outcomes.append(
                Outcome(stamp_ns, message.episode, message.step, message.reward, time.monotonic())
            )

    def _on_truth(self, message: Odometry) -> None:
        self.speeds.append(Speed(_stamp_ns(message) * 1e-9, message.twist.twist.linear.x))

    def _on_drive(self, message: TwistStamped) -> None:
        twist = message.twist
        is_zero = twist.linear.x == 0 and twist.angular.z == 0
        self.drives.append(Drive(_stamp_ns(message) * 1e-9, is_zero, time.monotonic()))

    def _on_metrics(self, message: TrainingMetrics) -> None:
        self.training.append(
            Training(
                message.state,
                message.update,
                message.environment_step,
                message.train_ratio,
                time.monotonic(),
            )
        )

    def _on_version(self, message: ModelVersion) -> None:
        if message.state == ModelVersion.REFUSED:
            self.refused.append(f'{message.model}@{message.version}: {message.reason}')

    def _spin(self) -> None:
        while not self._is_ending.is_set():
            self._executor.spin_once(timeout_sec=0.05)


def _stamp_ns(message: object) -> int:
    stamp = message.header.stamp
    return stamp.sec * 10**9 + stamp.nanosec
