"""Finds in the robot's camera what phrases name: a service for now, a topic for as long as asked.

`ground_phrases` answers about the newest picture; `groundings` tells about each picture that is
looked at where the phrases are that the node follows. A picture is looked at once.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveFloat
from pydantic.dataclasses import dataclass
from rclpy.clock import Clock, ClockType
from robot_learning_interfaces.msg import Grounding, Groundings
from robot_learning_interfaces.srv import GroundPhrases

from robot_learning import contract as contracts
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError, RobotLearningError
from robot_learning.language.abilities import field_of
from robot_learning.model_files import ModelFileRules
from robot_learning.model_folders import parse_reference
from robot_learning.nodes.diagnostics import OK, WARN, Diagnostics, Health
from robot_learning.nodes.managed_node import ManagedConfig, ManagedNode
from robot_learning.nodes.messages import time_message
from robot_learning.nodes.parameters import declare_config
from robot_learning.nodes.qos import STATUS_QOS
from robot_learning.nodes.reading_input import ReadingInput
from robot_learning.nodes.run import run_node
from robot_learning.serving import grounding
from robot_learning.serving.gaze import Answer, Gaze
from robot_learning.serving.grounding import Found

Array = np.ndarray[Any, Any]
_IMAGE = 'sensor_msgs/msg/Image'


@dataclass(frozen=True, config=STRICT)
class GroundingConfig(ModelFileRules, ManagedConfig):
    """Whose camera, which model, and what to look for without being asked."""

    robot: str = 'errands'  # Robot contract: a name in config/robots or the path of a YAML file.
    camera: str = ''  # Field of the contract; empty: its first picture.
    models: Path = Path('runs/models')  # Directory of the model store.
    model: str = ''  # NAME or NAME@VERSION in the store; empty: the one that ships.
    phrases: tuple[str, ...] = ()  # Followed from the start.
    rate_hz: Annotated[float, Field(gt=0, le=100)] = 5.0  # Pictures looked at for `groundings`.
    max_age_s: PositiveFloat = 2.0  # Wall time; an older picture is none.
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.5  # From which a phrase is found.


class GroundingNode(ManagedNode):
    """Holds phrases against pictures; everything happens on the control thread."""

    def __init__(self, **node_options: Any):
        super().__init__('grounding', **node_options)
        self._config = declare_config(self, GroundingConfig)
        self.manage(self._config.autostart)

    def load(self) -> None:
        """Load the model and follow the camera."""
        config = self._config
        contract = contracts.load(config.robot)
        camera = config.camera or field_of(contract, _IMAGE)
        spec = contract.observation.get(camera)
        if spec is None or spec.type != _IMAGE or spec.shape[-1] != 3:
            raise ConfigError(
                f'{contract.robot}: camera is {camera!r}, expected a field of type {_IMAGE} with '
                f'three colours. Name one with the parameter camera, or choose another robot.'
            )
        self._frame = spec.frame
        self._name, self._version, model = _model(config)
        self._gaze = Gaze(model, config.max_age_s)
        self._followed = list(config.phrases)
        self._problem = ''
        readings = ReadingInput(self, contract, (camera,), self._on_reading)
        self._convert = readings.converters[camera]
        self._publisher = self.create_publisher(Groundings, 'groundings', STATUS_QOS)
        self.create_service(GroundPhrases, 'ground_phrases', self._on_request)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / config.rate_hz, self._on_tick, clock=steady)
        diagnostics = Diagnostics(self, hardware_id=contract.robot)
        diagnostics.add('lifecycle', self.lifecycle_health)
        diagnostics.add('sight', self._health)

    def _on_reading(self, name: str, stamp_ns: int, data: bytes, received_ns: int) -> None:
        self._gaze.take(stamp_ns, received_ns * 1e-9, partial(self._convert, data))

    def _on_tick(self) -> None:
        if not (self.is_active and self._followed and self._gaze.is_new):
            return
        try:
            self._publisher.publish(self._message(self._find(self._followed)))
            self._problem = ''
        except RobotLearningError as error:
            self._problem = str(error)
            self.get_logger().warning(self._problem, throttle_duration_sec=5.0)

    def _on_request(
        self, request: GroundPhrases.Request, response: GroundPhrases.Response
    ) -> GroundPhrases.Response:
        phrases = list(request.phrases)
        try:
            if not self.is_active:
                raise ConfigError('grounding: is inactive. Activate it with ros2 lifecycle set.')
            if not phrases and not request.follow:
                raise ConfigError('phrases: found none, expected at least one. Say what to find.')
            answer = self._find(phrases)
        except RobotLearningError as error:
            response.message = str(error)
            return response
        if request.follow:
            self._followed = phrases
        response.success = True
        response.result = self._message(answer)
        return response

    def _find(self, phrases: list[str]) -> Answer:
        return self._gaze.find(phrases, time.perf_counter_ns() * 1e-9)

    def _message(self, answer: Answer) -> Groundings:
        message = Groundings(model=self._name, version=self._version)
        message.header.stamp = time_message(answer.stamp_ns)
        message.header.frame_id = self._frame
        message.image_height, message.image_width = answer.height, answer.width
        message.groundings = [self._grounding(found) for found in answer.found]
        return message

    def _grounding(self, found: Found) -> Grounding:
        is_found = found.confidence >= self._config.min_confidence
        place = (found.x, found.y, found.width, found.height) if is_found else (np.nan,) * 4
        x, y, width, height = map(float, place)
        return Grounding(
            phrase=found.phrase,
            is_found=is_found,
            confidence=float(found.confidence),
            x=x,
            y=y,
            width=width,
            height=height,
        )

    def _health(self) -> Health:
        values = {'pictures': self._gaze.num_looks, 'phrases': len(self._followed)}
        if self._problem:
            return Health(WARN, self._problem, values)
        return Health(OK, f'follows {len(self._followed)} phrases', values)


def _model(config: GroundingConfig) -> tuple[str, int, grounding.GroundingModel]:
    """Load the model that the configuration names, else the one that ships."""
    if not config.model:
        model, version = grounding.load()
        return grounding.NAME, version, model
    name, number = parse_reference(config.model)
    model, version = grounding.load(config.models, name, number, config)
    return name, version, model


def main(args: list[str] | None = None) -> int:
    """Run the grounding node."""
    return run_node(GroundingNode, args)


if __name__ == '__main__':
    sys.exit(main())
