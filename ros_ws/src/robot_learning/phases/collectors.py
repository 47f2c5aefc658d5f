"""What a phase learns from while it acts: a rollout at a time, or all there was so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from robot_learning.errors import ConfigError
from robot_learning.phases.acting import Acted
from robot_learning.phases.phase import (
    Array,
    Metrics,
    PolicySpace,
    Rollout,
    Transitions,
    Windows,
)
from robot_learning.phases.prioritised_update import learn
from robot_learning.phases.replay import EnvironmentReplay
from robot_learning.phases.rollouts import Arrival, VectorRollout
from robot_learning.phases.trainer_config import TrainerConfig
from robot_learning.phases.window_replay import WindowReplay


class LearningPhase(Protocol):
    """What is needed of a `Phase`, and the network that acts."""

    config: Any
    actor: torch.nn.Module

    @property
    def draws(self) -> Any:
        """A `Rollout`, `Transitions` or `Windows`."""

    def update(self, batch: Any) -> Metrics:
        """Learn from one batch."""

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors to serve and their description for the manifest."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that `load_state_dict` needs."""

    def load_state_dict(self, state: Any) -> None:
        """Continue from `state_dict`."""


class Collector(Protocol):
    """Takes what the environments gave and says when there is something to learn."""

    def add(self, observation: Array, acted: Acted, arrival: Arrival) -> None:
        """Add one step of every environment."""

    def update(self, phase: LearningPhase, num_steps: int) -> list[Metrics]:
        """Learn what is due after `num_steps`; return the metrics of each update."""

    def is_random(self, num_steps: int) -> bool:
        """Tell whether actions are still drawn without the policy."""

    def restart(self) -> None:
        """Forget runs that were interrupted."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and plain data for `restore`."""

    def restore(self, tensors: dict[str, Tensor], content: dict[str, Any]) -> None:
        """Continue from `state`."""


class _OnPolicy:
    """Fills a rollout, learns from it, and forgets it."""

    def __init__(self, draw: Rollout, num_envs: int, space: PolicySpace):
        if draw.num_steps % num_envs:
            raise ConfigError(
                f'num_steps: is {draw.num_steps}, expected a multiple of the {num_envs} '
                f'environments. Correct it or --num-envs.'
            )
        self._rollout = VectorRollout(num_envs, draw.num_steps // num_envs, space)

    def add(self, observation: Array, acted: Acted, arrival: Arrival) -> None:
        self._rollout.append(observation, acted, arrival)

    def update(self, phase: LearningPhase, num_steps: int) -> list[Metrics]:
        if not self._rollout.is_full:
            return []
        return [phase.update(self._rollout.take())]

    def is_random(self, num_steps: int) -> bool:
        return False

    def restart(self) -> None:
        self._rollout.cut()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return self._rollout.state(), {}

    def restore(self, tensors: dict[str, Tensor], content: dict[str, Any]) -> None:
        self._rollout.restore(tensors)


class _OffPolicy:
    """Keeps all steps and learns from draws of them, `train_ratio` times a step."""

    def __init__(
        self,
        replay: EnvironmentReplay | WindowReplay,
        config: TrainerConfig,
        has_enough: Callable[[], bool],
        learn_once: Callable[[LearningPhase], Metrics],
    ):
        self._replay, self._config = replay, config
        self._has_enough, self._learn_once = has_enough, learn_once
        self._num_updates = 0

    def add(self, observation: Array, acted: Acted, arrival: Arrival) -> None:
        self._replay.append(observation, acted.action, arrival)

    def update(self, phase: LearningPhase, num_steps: int) -> list[Metrics]:
        due = int((num_steps - self._config.warmup_steps) * self._config.train_ratio)
        metrics = []
        while self._num_updates < due and self._has_enough():
            metrics.append(self._learn_once(phase))
            self._num_updates += 1
        return metrics

    def is_random(self, num_steps: int) -> bool:
        return num_steps < self._config.warmup_steps

    def restart(self) -> None:
        self._replay.cut()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, content = self._replay.state()
        return tensors, {**content, 'num_updates': self._num_updates}

    def restore(self, tensors: dict[str, Tensor], content: dict[str, Any]) -> None:
        self._replay.restore(tensors, content)
        self._num_updates = content['num_updates']


def _of_transitions(
    draw: Transitions, num_envs: int, config: TrainerConfig, seed: int
) -> Collector:
    replay = EnvironmentReplay(config.capacity, num_envs, seed)
    return _OffPolicy(
        replay, config, lambda: replay.has_transitions, lambda phase: learn(phase, replay, draw)
    )


def _of_windows(draw: Windows, num_envs: int, config: TrainerConfig, seed: int) -> Collector:
    if config.capacity < num_envs * draw.length:
        raise ConfigError(
            f'capacity: is {config.capacity} steps, expected at least {num_envs} windows of '
            f'{draw.length}. Raise trainer.capacity.'
        )
    replay = WindowReplay(config.capacity, num_envs, seed)
    return _OffPolicy(
        replay,
        config,
        lambda: replay.has_windows(draw.length),
        lambda phase: phase.update(replay.sample(draw)),
    )


def collector_of(
    phase: LearningPhase, num_envs: int, space: PolicySpace, config: TrainerConfig, seed: int
) -> Collector:
    """Return what collects the phase's batches.

    Raises:
        ConfigError: the phase cannot learn from these environments, or with this capacity.
    """
    draw = phase.draws
    if isinstance(draw, Rollout):
        return _OnPolicy(draw, num_envs, space)
    if isinstance(draw, Windows):
        return _of_windows(draw, num_envs, config, seed)
    if isinstance(draw, Transitions) and not space.is_discrete:
        return _of_transitions(draw, num_envs, config, seed)
    raise ConfigError(
        f'{type(phase).__name__}: cannot learn here: it draws {type(draw).__name__.lower()}, and '
        f'actions are {"choices" if space.is_discrete else "continuous"}. Take ppo, or sac where '
        f'actions are continuous.'
    )
