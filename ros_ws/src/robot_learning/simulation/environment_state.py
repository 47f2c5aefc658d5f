"""Everything that decides how an environment goes on, as plain data: to resume bit by bit."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv, PendulumEnv

_KINDS = mujoco.mjtState.mjSTATE_INTEGRATION  # With what the solver starts from.


class Snapshot(Protocol):
    """Takes and puts back the state of one environment."""

    def take(self) -> dict[str, Any]:
        """Return it as plain data."""

    def put(self, state: dict[str, Any]) -> None:
        """Be as it was."""


def snapshot_of(environment: gymnasium.Env[Any, Any]) -> Snapshot | None:
    """Return what tells the state of a kind of environment; None: nothing does."""
    if isinstance(environment, CartPoleEnv | PendulumEnv):
        return _ClassicControl(environment)
    if isinstance(getattr(environment, 'model', None), mujoco.MjModel):
        return _Mujoco(environment)
    return None


class _ClassicControl:
    _NAMES = ('state', 'steps_beyond_terminated', 'last_u')

    def __init__(self, environment: CartPoleEnv | PendulumEnv):
        self._environment: Any = environment

    def take(self) -> dict[str, Any]:
        values = {n: _plain(getattr(self._environment, n, None)) for n in self._NAMES}
        return {**values, 'rng': self._environment.np_random.bit_generator.state}

    def put(self, state: dict[str, Any]) -> None:
        for name in self._NAMES:
            value = state[name]
            setattr(self._environment, name, np.array(value) if name == 'state' else value)
        self._environment.np_random.bit_generator.state = state['rng']


class _Mujoco:
    """Of Gymnasium; its module is not imported, because it wants a video library."""

    def __init__(self, environment: gymnasium.Env[Any, Any]):
        self._environment: Any = environment

    def take(self) -> dict[str, Any]:
        model, data = self._environment.model, self._environment.data
        values = np.zeros(mujoco.mj_stateSize(model, _KINDS))
        mujoco.mj_getState(model, data, values, _KINDS)
        rng = self._environment.np_random.bit_generator.state
        return {'physics': values.tolist(), 'rng': rng}

    def put(self, state: dict[str, Any]) -> None:
        model, data = self._environment.model, self._environment.data
        mujoco.mj_setState(model, data, np.array(state['physics']), _KINDS)
        mujoco.mj_forward(model, data)  # What observations read besides.
        mujoco.mj_setState(model, data, np.array(state['physics']), _KINDS)  # Its warm start.
        self._environment.np_random.bit_generator.state = state['rng']


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, 'tolist') else value
