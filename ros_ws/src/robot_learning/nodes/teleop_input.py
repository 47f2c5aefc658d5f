"""Where the commands of people and of the commander come in: topics of twists, and a joystick."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Annotated, Any

import numpy as np
from geometry_msgs.msg import Twist
from pydantic import Field, NonNegativeInt, PositiveFloat
from pydantic.dataclasses import dataclass
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import Joy

from robot_learning.config import STRICT
from robot_learning.contract import RobotContract
from robot_learning.nodes.drive_commands import TwistInput
from robot_learning.nodes.qos import qos_profile
from robot_learning.serving.takeover import Takeover

Array = np.ndarray[Any, Any]

TOPIC = 'teleop/cmd_vel'
COMMANDER_TOPIC = 'commander/cmd_vel'  # Of who carries out what people say; yields to them.
_JOY = 'joy'
_LOOK_AROUND_S = 0.5
_TWISTS = ('geometry_msgs/msg/TwistStamped', 'geometry_msgs/msg/Twist')


@dataclass(frozen=True, config=STRICT)
class TeleopConfig:
    """How a person takes over from the policy."""

    # Without a command for so long the policy drives again; also how long the last command of a
    # teleoperation that died is obeyed.
    takeover_timeout_s: Annotated[float, Field(gt=0, le=10)] = 0.5
    joy_enable_button: NonNegativeInt = 4  # Drives while it is held: left bumper of an Xbox pad.
    joy_linear_axis: NonNegativeInt = 1  # Of linear.x: left stick, forward is positive.
    joy_angular_axis: NonNegativeInt = 0  # Of angular.z: left stick, left is positive.
    joy_scale: Annotated[PositiveFloat, Field(le=1)] = 1.0  # Full deflection, share of the limit.


class TeleopInput:
    """Turns twists and joystick messages into action vectors for a `Takeover`.

    Who wants the robot to stand gets it at once. Components of twist fields are taken from the
    person; other learned fields stay at the contract's stop. A robot without a twist field cannot
    be driven like this.

    Args:
        node: owns the subscriptions.
        contract: of the robot.
        config: which axes and buttons.
        takeover: told what the person wants.
        on_stop: called when they want it to stand, besides.
    """

    def __init__(
        self,
        node: Node,
        contract: RobotContract,
        config: TeleopConfig,
        takeover: Takeover,
        on_stop: Callable[[], None],
    ):
        self._node = node
        self._on_stop = on_stop
        self._config = config
        self._takeover = takeover
        self._low, self._high = contract.action_low, contract.action_high
        self._stop = contract.action_stop
        self._places = _twist_places(contract)
        self._readers = [attrgetter(component) for component in self._places]
        self.problem = ''  # Of the last joystick message.
        self._unheard = ''  # Who sends twists of another type than the one that is heard.
        if not self._places:
            node.get_logger().info(f'{contract.robot}: has no twist to teleoperate')
            return
        any_offer = qos_profile('sensor')  # Best effort hears every publisher.
        self._twists = [
            TwistInput(node, topic, 'auto', partial(self._on_twist, topic), any_offer)
            for topic in (TOPIC, COMMANDER_TOPIC)
        ]
        node.create_subscription(Joy, _JOY, self._on_joy, any_offer)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(_LOOK_AROUND_S, self._look_around, clock=steady)

    def _look_around(self) -> None:
        for twists in self._twists:
            twists.look_around()
        problem = ' '.join(twists.problem for twists in self._twists if twists.problem)
        if problem and problem != self._unheard:
            self._node.get_logger().error(problem)
        self._unheard = problem

    def _on_twist(self, topic: str, stamp_ns: int | None, twist: Twist) -> None:
        self._want(topic, [read(twist) for read in self._readers])

    def _on_joy(self, message: Joy) -> None:
        config = self._config
        axes, buttons = message.axes, message.buttons
        needed = max(config.joy_linear_axis, config.joy_angular_axis)
        if len(axes) <= needed or len(buttons) <= config.joy_enable_button:
            self._complain(
                f'{_JOY}: found {len(axes)} axes and {len(buttons)} buttons, expected axis '
                f'{needed} and button {config.joy_enable_button}. Set teleop.joy_* for this pad.'
            )
            return
        self.problem = ''
        if not buttons[config.joy_enable_button]:
            self._takeover.release(_JOY)
            return
        share = {'linear.x': axes[config.joy_linear_axis]}
        share['angular.z'] = axes[config.joy_angular_axis]
        self._want(_JOY, [self._deflected(name, share.get(name, 0.0)) for name in self._places])

    def _deflected(self, component: str, share: float) -> float:
        """Map -1 to the lowest command, 0 to rest and 1 to the highest."""
        place = self._places[component]
        limit = float(self._high[place] if share > 0 else -self._low[place])
        return share * max(limit, 0.0) * self._config.joy_scale

    def _want(self, source: str, values: list[float]) -> None:
        action = self._stop.copy()
        action[list(self._places.values())] = values
        counts = self._takeover.command(source, action, time.monotonic())
        if counts and np.array_equal(action, self._stop):
            self._on_stop()

    def _complain(self, problem: str) -> None:
        if problem != self.problem:
            self._node.get_logger().error(problem)
        self.problem = problem


def _twist_places(contract: RobotContract) -> dict[str, int]:
    """Return component -> index in the action vector of the first twist field that is learned."""
    start = 0
    for spec in contract.learned_actions.values():
        if spec.type in _TWISTS:
            return {component: start + i for i, component in enumerate(spec.components)}
        start += spec.size
    return {}
