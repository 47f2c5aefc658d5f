"""Trajectories of the DeepMind Control Suite (Tassa et al. 2018): what was seen, drawn and done.

A task's observations keep their names; what it looks like is the field `camera`. `contract`
describes both as those of a robot, so that recordings, phases and policies treat a task as one.
Pictures are drawn without shadows: without a graphics card that is ten times as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from robot_learning import contract as contracts
from robot_learning.contract import RobotContract
from robot_learning.errors import EnvironmentSetupError, SimulationError
from robot_learning.simulation import GRAPHICS_BACKEND, graphics

Array = np.ndarray[Any, Any]
Choose = Callable[[Mapping[str, Array]], Array]  # Observation fields to an action [A].

CAMERA = 'camera'
ACTION = 'control'


class DmcTrajectory(NamedTuple):
    """One episode of n actions, n + 1 steps; index t holds what was received on arriving."""

    observations: dict[str, Array]  # Field -> [T, ...] float32; `camera` [T, H, W, 3] uint8.
    action: Array  # [T, A] float32, chosen from step t; the last was never executed: zeros.
    reward: Array  # [T] float32; 0 at the start.
    terminated: Array  # [T] bool, the task ended: discount 0.
    truncated: Array  # [T] bool, time was up.
    physics: Array  # [T, S] float64, the simulator's whole state.


class DmcTask:
    """One task of the suite, driven episode by episode.

    Args:
        name: domain and task, 'walker_walk'.
        image_size: height and width of the pictures; 0: none.
        camera: number of the camera in the task's scene; 0 is the one that follows the robot.
        action_repeat: simulation steps for which an action is kept; their rewards are added.

    Raises:
        EnvironmentSetupError: dm_control is not installed, or pictures cannot be drawn here.
        SimulationError: there is no such task or camera.
    """

    def __init__(self, name: str, image_size: int = 64, camera: int = 0, action_repeat: int = 1):
        suite = _suite()
        tasks = {f'{domain}_{task}': (domain, task) for domain, task in suite.ALL_TASKS}
        if name not in tasks:
            near = [known for known in sorted(tasks) if known.split('_')[0] == name.split('_')[0]]
            raise SimulationError(
                f'dmc {name}: no such task of the suite. Choose one, for example '
                f'{", ".join(near[:5] or sorted(tasks)[:5])}.'
            )
        if image_size and GRAPHICS_BACKEND == 'disable':
            raise EnvironmentSetupError(graphics.MISSING)
        self.name = name
        self._image_size = image_size
        self._camera = camera
        self._action_repeat = action_repeat
        self._environment = suite.load(*tasks[name], task_kwargs={'random': 0})
        cameras = self._environment.physics.model.ncam
        if image_size and not 0 <= camera < cameras:
            raise SimulationError(
                f'dmc {name}: has no camera {camera}. Choose one of 0 to {cameras - 1}.'
            )
        self._environment.physics.model.vis.quality.shadowsize = 0  # Before the first picture.
        spec = self._environment.action_spec()
        self._low, self._high = spec.minimum.astype(np.float32), spec.maximum.astype(np.float32)
        self.contract = self._contract()

    def trajectory(
        self, choose: Choose, seed: int, max_actions: int | None = None
    ) -> DmcTrajectory:
        """Drive one episode from the start that follows from `seed` to its end.

        Args:
            choose: what to do.
            seed: of the start and the task's chance.
            max_actions: after so many it is truncated; None: where the task's time is up.
        """
        environment = self._environment
        environment.task.random.seed(seed)
        arrived, reward = environment.reset(), 0.0
        rows: list[tuple[dict[str, Array], float, Array]] = []
        actions: list[Array] = []
        while True:
            observation = self._observe(arrived.observation)
            rows.append((observation, reward, environment.physics.get_state().copy()))
            if arrived.last() or len(actions) == max_actions:
                break
            action = np.clip(choose(observation), self._low, self._high).astype(np.float32)
            actions.append(action)
            arrived, reward = self._advance(action)
        last = np.arange(len(rows)) == len(rows) - 1
        has_ended = arrived.discount == 0
        return DmcTrajectory(
            {name: np.stack([row[0][name] for row in rows]) for name in rows[0][0]},
            np.stack([*actions, np.zeros_like(self._low)]),
            np.asarray([row[1] for row in rows], np.float32),
            last & has_ended,
            last & (not has_ended),
            np.stack([row[2] for row in rows]),
        )

    def picture(self, physics: Array) -> Array:
        """Draw a state [S] of the simulator, [H, W, 3] uint8."""
        with self._environment.physics.reset_context():
            self._environment.physics.set_state(physics)
        return self._draw()

    def close(self) -> None:
        """Free the physics."""
        self._environment.close()

    def _advance(self, action: Array) -> tuple[Any, float]:
        reward = 0.0
        for _ in range(self._action_repeat):
            arrived = self._environment.step(action)
            reward += float(arrived.reward)
            if arrived.last():
                break
        return arrived, reward

    def _observe(self, observation: Mapping[str, Any]) -> dict[str, Array]:
        fields = {
            name: np.atleast_1d(np.asarray(value, np.float32))
            for name, value in observation.items()
        }
        if self._image_size:
            fields[CAMERA] = self._draw()
        return fields

    def _draw(self) -> Array:
        size = self._image_size
        image = self._environment.physics.render(size, size, camera_id=self._camera)
        return np.array(image, np.uint8)

    def _contract(self) -> RobotContract:
        fields: dict[str, Any] = {
            name: {
                'topic': name,
                'type': 'std_msgs/msg/Float64MultiArray',
                'shape': list(spec.shape) or [1],
            }
            for name, spec in self._environment.observation_spec().items()
        }
        features = [{'kind': 'vector', 'fields': [name]} for name in fields]
        if self._image_size:
            fields[CAMERA] = {
                'topic': f'{CAMERA}/image_raw',
                'type': 'sensor_msgs/msg/Image',
                'shape': [self._image_size, self._image_size, 3],
                'dtype': 'uint8',
            }
        numbers = range(len(self._low))
        period_s = self._environment.control_timestep() * self._action_repeat
        return contracts.from_dict(
            {
                'robot': f'dmc_{self.name}',
                'description': f'Task {self.name} of the DeepMind Control Suite',
                'control_rate_hz': 1 / period_s,
                'observation': fields,
                'actions': {
                    ACTION: {
                        'topic': ACTION,
                        'type': 'std_msgs/msg/Float64MultiArray',
                        'components': [f'control_{number}' for number in numbers],
                        'unit': ['1' for _ in numbers],
                        'low': self._low.tolist(),
                        'high': self._high.tolist(),
                        'stop': np.clip(0.0, self._low, self._high).tolist(),
                        'max_age_s': 2 * period_s,
                    }
                },
                'features': features,
            },
            f'dmc {self.name}',
        )


def _suite() -> Any:
    try:
        from dm_control import suite
    except ImportError as error:
        raise EnvironmentSetupError(
            f'dm_control: is not installed ({error}). Install it with '
            f'"pip install dm_control==1.0.50".'
        ) from error
    return suite
