"""Tells what camera, microphone and body say together, and what would happen after actions.

`world_state` carries the fused state of now with confidences, novelty and properties of the
object in view; the service `imagine` answers with predicted states and their uncertainty.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PositiveFloat
from pydantic.dataclasses import dataclass
from rclpy.clock import Clock, ClockType
from rclpy.qos import qos_profile_sensor_data
from robot_learning_interfaces.msg import AudioChunk, WorldState
from robot_learning_interfaces.srv import Imagine

from robot_learning import contract as contracts
from robot_learning.config import STRICT, Names
from robot_learning.contract import RobotContract
from robot_learning.errors import CommandError, ConfigError, RobotLearningError
from robot_learning.model_files import ModelFileRules
from robot_learning.model_folders import parse_reference
from robot_learning.model_store import ModelStore
from robot_learning.nodes.diagnostics import OK, WARN, Diagnostics, Health
from robot_learning.nodes.managed_node import ManagedConfig, ManagedNode
from robot_learning.nodes.messages import time_message
from robot_learning.nodes.parameters import declare_config
from robot_learning.nodes.qos import STATUS_QOS
from robot_learning.nodes.reading_input import ReadingInput
from robot_learning.nodes.run import run_node
from robot_learning.nodes.version_notices import VersionNotices
from robot_learning.serving.imagination import imagine
from robot_learning.serving.perception import Senses, WorldEstimate
from robot_learning.serving.perception_succession import (
    Perceiving,
    PerceptionSuccession,
    fits_body,
)
from robot_learning.serving.sound_buffer import SoundBuffer

Array = np.ndarray[Any, Any]
_IMAGE = 'sensor_msgs/msg/Image'


@dataclass(frozen=True, config=STRICT)
class PerceptionConfig(ModelFileRules, ManagedConfig):
    """Whose senses, which model, and how often."""

    robot: str = 'arena'  # Robot contract: a name in config/robots or the path of a YAML file.
    camera: str = ''  # Field of the contract; empty: its first picture, if the model sees.
    body: Names = ()  # Fields whose numbers, one after the other, are proprioception: imu,pose.
    models: Path = Path('runs/models')  # Directory of the model store.
    model: str = 'nsca-full'  # NAME or NAME@VERSION of phase full.
    rate_hz: Annotated[float, Field(gt=0, le=100)] = 10.0
    max_age_s: PositiveFloat = 0.5  # Wall time since it arrived; an older reading is absent.
    poll_s: PositiveFloat = 0.5  # Time between looks for a newer version without a notice.


class PerceptionNode(ManagedNode):
    """Holds the newest readings; everything is computed on the control thread.

    Without a version in the store it waits for one; newer ones take over between two states.
    """

    def __init__(self, **node_options: Any):
        super().__init__('perception', **node_options)
        self._config = declare_config(self, PerceptionConfig)
        self.manage(self._config.autostart)

    def load(self) -> None:
        """Load the model, if there is one, and follow the senses."""
        config = self._config
        contract = contracts.load(config.robot)
        self._name, number = parse_reference(config.model)
        self._camera, self._body = _camera(contract, config.camera), config.body
        body = _body_sizes(contract, self._body)
        notices = VersionNotices(self)
        self._versions = PerceptionSuccession(
            ModelStore(config.models, config),
            self._name,
            number,
            lambda version: fits_body(version, body, bool(self._camera), contract.robot),
            notices.announce,
            config.poll_s,
        )
        self.resources.callback(self._versions.close)
        self._perceiving: Perceiving | None = None
        self._sound: SoundBuffer | None = None
        self._heard_ns: int | None = None  # Arrival of the newest chunk.
        self._problem = f'there is no version of {self._name} yet'
        self._tick_ms = 0.0
        self._versions.begin()
        notices.listen(self._versions)
        self._follow_versions()
        self._newest: dict[str, tuple[int, bytes, int]] = {}  # Field: stamp, bytes, arrival.
        fields = (*((self._camera,) if self._camera else ()), *self._body)
        readings = ReadingInput(self, contract, fields, self._on_reading)
        self._convert = readings.converters
        self.create_subscription(
            AudioChunk, 'microphone/audio', self._on_sound, qos_profile_sensor_data
        )
        self._publisher = self.create_publisher(WorldState, 'world_state', STATUS_QOS)
        self.create_service(Imagine, 'imagine', self._on_request)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / config.rate_hz, self._on_tick, clock=steady)
        diagnostics = Diagnostics(self, hardware_id=contract.robot)
        diagnostics.add('lifecycle', self.lifecycle_health)
        diagnostics.add('perception', self._health)

    def _follow_versions(self) -> Perceiving | None:
        """Change to a newer version if one is ready; it begins without a past."""
        perceiving = self._versions.take()
        if perceiving is None or perceiving is self._perceiving:
            return perceiving
        self._perceiving = perceiving
        published = perceiving.world.published
        if 'audio' in published.senses:
            rate = published.config.sample_rate
            length = perceiving.world.num_sound_samples
            if self._sound is None or not self._sound.is_of(rate, length):
                self._sound = SoundBuffer(rate, length / rate)
        self._problem = 'nothing was sensed yet'
        return perceiving

    def _on_reading(self, name: str, stamp_ns: int, data: bytes, received_ns: int) -> None:
        self._newest[name] = (stamp_ns, data, received_ns)

    def _on_sound(self, message: AudioChunk) -> None:
        if self._sound is None:  # Nobody listens yet.
            return
        stamp = message.header.stamp
        try:
            self._sound.add(
                np.asarray(message.samples, np.int16),
                message.sample_rate,
                message.channels,
                message.first_sample,
                stamp.sec * 1_000_000_000 + stamp.nanosec,
            )
        except RobotLearningError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=5.0)
            return
        self._heard_ns = time.perf_counter_ns()

    def _on_tick(self) -> None:
        if not self.is_active:
            return
        perceiving = self._follow_versions()
        if perceiving is None:
            return
        begun_ns = time.perf_counter_ns()
        try:
            senses, stamp_ns = self._senses(perceiving.world.published.senses, begun_ns)
            estimate = perceiving.world.observe(senses)
        except RobotLearningError as error:
            self._problem = str(error)
            self.get_logger().warning(self._problem, throttle_duration_sec=5.0)
            return
        self._problem = ''
        self._versions.tried_on(senses)
        self._publisher.publish(self._message(estimate, stamp_ns, perceiving.version))
        self._tick_ms = (time.perf_counter_ns() - begun_ns) * 1e-6

    def _senses(self, used: Sequence[str], now_ns: int) -> tuple[Senses, int]:
        """Return what is fresh of the senses in use, and the stamp of its newest reading."""
        oldest_ns = now_ns - round(self._config.max_age_s * 1e9)
        fresh = {name: kept for name, kept in self._newest.items() if kept[2] >= oldest_ns}
        stamps = [stamp for stamp, _, _ in fresh.values()]
        image = sound = reading = None
        if 'vision' in used and self._camera in fresh:
            image = self._convert[self._camera](fresh[self._camera][1])
        if self._body and all(name in fresh for name in self._body):
            parts = [self._convert[name](fresh[name][1]).reshape(-1) for name in self._body]
            reading = np.concatenate(parts).astype(np.float32)
        if self._sound and self._heard_ns is not None and self._heard_ns >= oldest_ns:
            sound = self._sound.last()
            stamps.append(self._sound.newest_ns or 0)
        return Senses(image, sound, reading), max(stamps, default=0)

    def _message(self, estimate: WorldEstimate, stamp_ns: int, version: int) -> WorldState:
        message = WorldState(model=self._name, version=version)
        message.header.stamp = time_message(stamp_ns)
        message.state = estimate.state.tolist()
        message.modalities = list(estimate.confidences)
        message.confidences = list(estimate.confidences.values())
        message.novelty = estimate.novelty
        message.properties = list(estimate.properties)
        message.property_values = list(estimate.properties.values())
        return message

    def _on_request(
        self, request: Imagine.Request, response: Imagine.Response
    ) -> Imagine.Response:
        try:
            if not self.is_active:
                raise ConfigError('imagine: is inactive. Activate it with ros2 lifecycle set.')
            if self._perceiving is None:
                raise CommandError(f'imagine: {self._problem}. Train phase full, then ask again.')
            actions = _rows(np.asarray(request.actions, np.float32), request.action_size)
            state = np.asarray(request.state, np.float32) if len(request.state) else None
            found = imagine(self._perceiving.world, actions, state)
        except RobotLearningError as error:
            response.message = str(error)
            return response
        response.success = True
        response.state_size = found.states.shape[1]
        response.states = found.states.reshape(-1).tolist()
        response.uncertainties = found.uncertainties.reshape(-1).tolist()
        response.rewards = found.rewards.tolist()
        response.end_probabilities = found.end_probabilities.tolist()
        return response

    def _health(self) -> Health:
        sound = self._sound
        values = {
            'version': -1 if self._perceiving is None else self._perceiving.version,
            'tick_ms': round(self._tick_ms, 2),
            'missing_sound_samples': sound.num_missing if sound else 0,
            'resampled_chunks': sound.num_resampled if sound else 0,
        }
        if self._problem or self._perceiving is None:
            return Health(WARN, self._problem, values)
        return Health(OK, f'{self._name}@{self._perceiving.version} perceives', values)


def _rows(numbers: Array, size: int) -> Array:
    """Cut a flat list into actions.

    Raises:
        CommandError: it is no whole number of them.
    """
    if size == 0 or len(numbers) == 0 or len(numbers) % size:
        raise CommandError(
            f'imagine: found {len(numbers)} numbers and action_size {size}, expected a whole '
            f'number of actions, at least one. Send them step by step.'
        )
    return numbers.reshape(-1, size)


def _camera(contract: RobotContract, wanted: str) -> str:
    """Return the field with the picture; empty: there is none.

    Raises:
        ConfigError: the one that was named is none.
    """
    pictures = [
        name
        for name, field in contract.observation.items()
        if field.type == _IMAGE and field.shape[-1] == 3
    ]
    name = wanted or next(iter(pictures), '')
    if name and name not in pictures:
        there = ', '.join(pictures) or 'none'
        raise ConfigError(
            f'{contract.robot}: camera is {name!r}, expected a field of type {_IMAGE} with three '
            f'colours; there are: {there}. Choose another robot or camera.'
        )
    return name


def _body_sizes(contract: RobotContract, names: tuple[str, ...]) -> dict[str, int]:
    """Count the numbers of each field.

    Raises:
        ConfigError: one is unknown.
    """
    unknown = [name for name in names if name not in contract.observation]
    if unknown:
        raise ConfigError(
            f'{contract.robot}: has no field {unknown[0]!r}, expected some of '
            f'{", ".join(contract.observation)}. Correct the parameter body.'
        )
    return {name: int(np.prod(contract.observation[name].shape)) for name in names}


def main(args: list[str] | None = None) -> int:
    """Run the perception node."""
    return run_node(PerceptionNode, args)


if __name__ == '__main__':
    sys.exit(main())
