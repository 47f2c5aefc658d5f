"""The part of `evaluate` that lets a version act in the environment it learned in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robot_learning.errors import ModelRefusedError
from robot_learning.evaluation.means import mean_interval
from robot_learning.serving.choice_policy import build_choice_policy
from robot_learning.serving.policy import Policy, build_policy

Array = np.ndarray[Any, Any]

_SEED = 2_000_000  # Neither of learning nor of the evaluation at its end.
_MOST_AT_ONCE = 8


def environment_of(manifest: Mapping[str, Any]) -> str | None:
    """Return the environment that a version without a robot learned in; None: it names none."""
    sources = (manifest.get('provenance') or {}).get('sources') or []
    is_alone = len(sources) == 1 and not manifest.get('contract')
    return str(sources[0]) if is_alone and manifest.get('phase') != 'neural_policy' else None


def evaluate_environment(
    tensors: Mapping[str, Array],
    manifest: Mapping[str, Any],
    where: str,
    name: str,
    num_episodes: int,
) -> dict[str, Any]:
    """Act without exploration, print the return and give everything back as plain data.

    Args:
        tensors: of the version.
        manifest: of the version.
        where: what to call the version.
        name: of the environment.
        num_episodes: how many are counted.

    Raises:
        ModelRefusedError: the version has other observations or actions.
    """
    from robot_learning.phases.interaction import evaluate
    from robot_learning.simulation import gym_environments
    from robot_learning.simulation.vector import VectorEnvironment

    count = min(num_episodes, _MOST_AT_ONCE)
    environments = VectorEnvironment(lambda: gym_environments.make(name), count)
    try:
        sizes = environments.observation_size, len(environments.action_low)
        actor: Any
        if (manifest.get('policy') or {}).get('kind') == 'categorical_mlp':
            chooser = build_choice_policy(tensors, manifest, where)
            found = chooser.spec.input_size, chooser.spec.num_choices
            actor = _Choices(chooser)
        else:
            policy = build_policy(tensors, manifest, where)
            found = policy.spec.input_size, policy.spec.action_size
            actor = _Commands(policy, count, environments.action_low, environments.action_high)
        if found != sizes:
            raise ModelRefusedError(
                f'{where}: takes {found[0]} numbers and answers {found[1]}, {name} gives '
                f'{sizes[0]} and takes {sizes[1]}. Name the environment it learned in.'
            )
        returns = evaluate(environments, actor, num_episodes, _SEED)
    finally:
        environments.close()
    mean = sum(returns) / len(returns)
    low, high = mean_interval(returns)
    interval = [low, high] if len(returns) > 1 else None
    said = f' (95 %: {low:.1f} to {high:.1f})' if interval else ''
    print(f'{name}: return {mean:.1f}{said}, mean of {len(returns)} episodes without exploration')
    return {
        'environment': name,
        'num_episodes': len(returns),
        'return': mean,
        'return_interval_95': interval,
        'returns': returns,
    }


class _Choices:
    """One of several actions, as one-hot."""

    def __init__(self, policy: Any):
        self._policy = policy

    def best(self, observation: Array) -> Array:
        size = self._policy.spec.num_choices
        chosen = [int(self._policy.choose(row).probabilities.argmax()) for row in observation]
        return np.eye(size, dtype=np.float32)[chosen]

    def forget(self, ended: Array) -> None:
        """Remember nothing anyway."""


class _Commands:
    """A served policy per environment: each has a memory of its own."""

    def __init__(self, policy: Policy, count: int, low: Array, high: Array):
        self._policies = [policy.fork() for _ in range(count)]
        self._low, self._high = low, high

    def best(self, observation: Array) -> Array:
        actions = [
            policy.act(np.asarray(row, np.float32)).action
            for policy, row in zip(self._policies, observation, strict=True)
        ]
        span = self._high - self._low
        scaled = (np.stack(actions) - self._low) / span * 2 - 1
        clipped: Array = np.clip(scaled, -1, 1).astype(np.float32)
        return clipped

    def forget(self, ended: Array) -> None:
        for index in np.flatnonzero(ended).tolist():
            self._policies[index].reset()
