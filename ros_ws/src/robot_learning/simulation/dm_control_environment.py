"""Tasks of the DeepMind Control Suite (Tassa et al. 2018), where dm_control is installed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from robot_learning.errors import EnvironmentSetupError, SimulationError
from robot_learning.simulation.vector import Array, StepResult


class DmControlEnvironment:
    """One task; all its observations as one vector, in their order.

    Args:
        name: domain and task, 'cartpole_swingup' or 'ball_in_cup_catch'.
    """

    is_discrete = False

    def __init__(self, name: str):
        suite = _suite()
        tasks = {f'{domain}_{task}': (domain, task) for domain, task in suite.ALL_TASKS}
        if name not in tasks:
            near = [known for known in sorted(tasks) if known.split('_')[0] == name.split('_')[0]]
            raise SimulationError(
                f'dmc:{name}: no such task of the suite. Choose one, for example '
                f'{", ".join(near[:5] or sorted(tasks)[:5])}.'
            )
        self._environment = suite.load(*tasks[name], task_kwargs={'random': 0})
        observed = self._environment.observation_spec().values()
        self.observation_size = sum(int(np.prod(spec.shape)) for spec in observed)
        acted = self._environment.action_spec()
        self.action_low = acted.minimum.astype(np.float32)
        self.action_high = acted.maximum.astype(np.float32)
        self._half = (self.action_high - self.action_low) / 2
        self._centre = self.action_low + self._half

    def reset(self, seed: int | None) -> Array:
        """Begin an episode and return its first observation [D]."""
        if seed is not None:
            self._environment.task.random.seed(seed)
        return _flat(self._environment.reset())

    def step(self, action: Array) -> StepResult:
        """Take one step with an action [A] in [-1, 1]."""
        arrived = self._environment.step(self._centre + self._half * action)
        has_ended = arrived.last() and arrived.discount == 0
        return StepResult(
            _flat(arrived), float(arrived.reward), has_ended, arrived.last() and not has_ended
        )

    def state(self) -> dict[str, Any] | None:
        """Return None: what its tasks keep besides the physics cannot be told."""
        return None

    def restore(self, state: dict[str, Any]) -> None:
        """Never called: there is no state."""
        raise AssertionError

    def close(self) -> None:
        """Free the physics."""
        self._environment.close()


def _suite() -> Any:
    try:
        from dm_control import suite
    except ImportError as error:
        raise EnvironmentSetupError(
            f'dm_control: is not installed ({error}). Install it with pip install '
            f'dm_control==1.0.50, or choose an environment of Gymnasium.'
        ) from error
    return suite


def _flat(arrived: Any) -> Array:
    parts = [np.ravel(value) for value in arrived.observation.values()]
    return np.fromiter(itertools.chain.from_iterable(parts), np.float32)
