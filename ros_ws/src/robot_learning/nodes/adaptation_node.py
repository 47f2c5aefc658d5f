"""Adapts a meta-learner to examples, or to how the robot has just driven: `adapt_model`.

The result is a version of its own in the model store; what it began from stays as it is.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from robot_learning_interfaces.srv import AdaptModel

from robot_learning import contract as contracts
from robot_learning.config import STRICT
from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError, DataError, RobotLearningError
from robot_learning.model_files import ModelFileRules
from robot_learning.model_store import ModelStore
from robot_learning.nodes.diagnostics import OK, WARN, Diagnostics, Health
from robot_learning.nodes.drive_commands import CommandType, DriveCommand, DriveCommands
from robot_learning.nodes.managed_node import ManagedConfig, ManagedNode
from robot_learning.nodes.parameters import declare_config
from robot_learning.nodes.reading_input import ReadingInput
from robot_learning.nodes.run import run_node
from robot_learning.serving.adaptation import publish_adapted
from robot_learning.trajectory.driving_examples import FIELDS
from robot_learning.trajectory.recent_driving import RecentDriving

Array = np.ndarray[Any, Any]
_POSE, _VELOCITY = FIELDS
_LOOK_S = 1.0  # Between two looks at who commands the robot.


@dataclass(frozen=True, config=STRICT)
class AdaptationConfig(ModelFileRules, ManagedConfig):
    """Which model, and whose driving it adapts to."""

    robot: str = 'arena'  # Robot contract: a name in config/robots or the path of a YAML file.
    models: Path = Path('runs/models')  # Directory of the model store.
    model: str = 'dynamics'  # Name in the store, where a request names none.
    keep_s: Annotated[float, Field(gt=0, le=600)] = 30.0  # Driving that is remembered.
    command_type: CommandType = 'auto'  # Of the commands that the robot gets.


class AdaptationNode(ManagedNode):
    """Remembers how the robot drives and adapts models on request, on the control thread."""

    def __init__(self, **node_options: Any):
        super().__init__('adaptation', **node_options)
        self._config = declare_config(self, AdaptationConfig)
        self.manage(self._config.autostart)

    def load(self) -> None:
        """Follow the robot's motion, where its contract has one, and offer the service."""
        config = self._config
        contract = contracts.load(config.robot)
        self._store = ModelStore(config.models, config)
        self._driving: RecentDriving | None = None
        self._num_adapted = 0
        self._problem = ''
        if _drives(contract):
            self._follow(contract)
        self.create_service(AdaptModel, 'adapt_model', self._on_request)
        diagnostics = Diagnostics(self, hardware_id=contract.robot)
        diagnostics.add('lifecycle', self.lifecycle_health)
        diagnostics.add('adaptation', self._health)

    def _follow(self, contract: RobotContract) -> None:
        driving = RecentDriving(contract.control_period_ns, self._config.keep_s)
        readings = ReadingInput(self, contract, FIELDS, self._on_reading)
        self._converters = readings.converters
        self._driving = driving
        topic = next(iter(contract.learned_actions.values())).topic

        def on_command(command: DriveCommand) -> None:
            driving.take_command(command.linear, command.angular)

        commands = DriveCommands(self, topic, self._config.command_type, on_command)
        self.create_timer(_LOOK_S, commands.look_around)

    def _on_reading(self, name: str, stamp_ns: int, data: bytes, received_ns: int) -> None:
        assert self._driving is not None, 'who is heard is followed'
        value = self._converters[name](data)
        if name == _POSE:
            self._driving.take_pose(value)
        else:
            self._driving.take_velocity(stamp_ns, value)

    def _on_request(
        self, request: AdaptModel.Request, response: AdaptModel.Response
    ) -> AdaptModel.Response:
        started = time.perf_counter()
        response.version, response.error_before, response.error_after = -1, np.nan, np.nan
        try:
            inputs, targets = self._examples(request)
            version = None if request.version == -1 else int(request.version)
            name = request.model or self._config.model
            published = publish_adapted(self._store, name, version, inputs, targets)
        except RobotLearningError as error:
            response.message = self._problem = str(error)
            self.get_logger().warning(self._problem, throttle_duration_sec=5.0)
            return response
        self._num_adapted, self._problem = self._num_adapted + 1, ''
        response.success = True
        response.model, response.version = published.model, published.version
        response.error_before = published.adapted.error_before
        response.error_after = published.adapted.error_after
        response.wall_ms = 1e3 * (time.perf_counter() - started)
        return response

    def _examples(self, request: AdaptModel.Request) -> tuple[Array, Array]:
        if not self.is_active:
            raise ConfigError('adaptation: is inactive. Activate it with ros2 lifecycle set.')
        if len(request.inputs):
            inputs, targets = np.asarray(request.inputs), np.asarray(request.targets)
            count = max(int(request.num_examples), 1)
            if len(inputs) % count or len(targets) % count:
                raise DataError(
                    f'adapt_model: {len(inputs)} inputs and {len(targets)} targets, expected as '
                    f'many of each for all of {count} examples. Send whole examples.'
                )
            return inputs, targets
        if self._driving is None:
            raise ConfigError(
                f'adapt_model: {self._config.robot} has no {_POSE} and {_VELOCITY} that drive it, '
                f'expected examples. Send inputs and targets.'
            )
        drive = self._driving.examples(request.seconds)
        return drive.inputs, drive.targets

    def _health(self) -> Health:
        values = {'adapted': self._num_adapted}
        if self._problem:
            return Health(WARN, self._problem, values)
        return Health(OK, 'adapts on request', values)


def _drives(contract: RobotContract) -> bool:
    """Tell whether the robot has pose and velocity and is driven by speed and yaw rate."""
    actions = list(contract.learned_actions.values())
    return (
        all(name in contract.observation for name in FIELDS)
        and len(actions) == 1
        and tuple(actions[0].components) == ('linear.x', 'angular.z')
    )


def main(args: list[str] | None = None) -> int:
    """Run the adaptation node."""
    return run_node(AdaptationNode, args)


if __name__ == '__main__':
    sys.exit(main())
