"""Learning while acting in environments that step together. Knows no simulator."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError, TrainingError
from robot_learning.metrics import Rate
from robot_learning.phases.acting import Acted, Actor, actor_for
from robot_learning.phases.checkpoint import Checkpoint, CheckpointFolder
from robot_learning.phases.collectors import LearningPhase, collector_of
from robot_learning.phases.governor import replay_ratio
from robot_learning.phases.phase import Array, Metrics, PolicySpace, Rollout
from robot_learning.phases.publishing import Publisher, plain
from robot_learning.phases.rollouts import Arrival
from robot_learning.phases.trainer import Progress
from robot_learning.phases.trainer_config import TrainerConfig

_RECENT_EPISODES = 20  # Over which the return is averaged.


class Environments(Protocol):
    """N environments that begin anew by themselves; actions in [-1, 1] or one-hot."""

    num_envs: int

    def reset(self, seed: int) -> Array:
        """Begin everywhere anew and return the observations [N, D]."""

    def step(self, action: Array) -> Arrival:
        """Take the actions [N, A]."""

    def state(self) -> dict[str, Any] | None:
        """Return all of them as plain data; None: that cannot be told."""

    def restore(self, state: dict[str, Any]) -> Array:
        """Be as then and return the observations [N, D]."""


@dataclass
class EnvironmentSource:
    """What a version says about where it comes from."""

    name: str
    contract: RobotContract | None = None  # Of a robot, so that its nodes can serve the version.
    environment_step: int = 0
    segments: list[str] = field(default_factory=list)

    @property
    def sources(self) -> list[str]:
        """The environment."""
        return [self.name]


class Interaction:
    """Acts, learns, publishes and saves until told to stop.

    Args:
        phase: what learns.
        space: its ends.
        environments: what it acts in.
        source: what versions say about where they come from; its steps are counted here.
        publisher: where versions go.
        config: when to do what.
        seed: of environments, actions and sampling.
        checkpoints: None: nothing is saved and a restart begins anew.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        phase: LearningPhase,
        space: PolicySpace,
        environments: Environments,
        source: EnvironmentSource,
        publisher: Publisher,
        config: TrainerConfig,
        seed: int,
        checkpoints: CheckpointFolder | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._phase, self._space = phase, space
        self._environments, self._source = environments, source
        self._publisher, self._config = publisher, config
        self._checkpoints, self._clock = checkpoints, clock
        self._seed = seed
        self._actor = actor_for(phase)
        self._rng = np.random.default_rng(seed)
        num_envs = environments.num_envs
        self._collector = collector_of(phase, num_envs, space, config, seed)
        self._is_on_policy = isinstance(phase.draws, Rollout)
        self._observation: Array | None = None
        self._num_steps = self._update = self._published_update = 0
        self._open_return = np.zeros(num_envs)
        self._returns: deque[float] = deque(maxlen=_RECENT_EPISODES)
        self._num_episodes = 0
        self._metrics: dict[str, float] = {}
        self._rate = Rate()
        self._wall_before_s = 0.0
        self._started_s = clock()

    @property
    def num_steps(self) -> int:
        """Steps of all environments together, in all runs."""
        return self._num_steps

    def run(
        self,
        num_steps: int,
        should_stop: Callable[[], bool] = lambda: False,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Progress:
        """Act until `num_steps` in all, or until `should_stop`; then publish and save.

        Raises:
            TrainingError: a loss is not finite; the last good version and checkpoint stay.
            StoreError: versions or checkpoints cannot be written.
        """
        self._started_s = self._clock()
        if self._observation is None:
            # Not the seeds of the start: what was interrupted is not repeated.
            self._observation = self._environments.reset(self._seed + self._num_steps)
            self._collector.restart()
            self._actor.forget(np.ones(self._environments.num_envs, bool))
            self._open_return[:] = 0
        due = {'report': self._started_s}
        due['checkpoint'] = self._started_s + self._config.checkpoint_every_s
        due['publish'] = self._started_s + (self._config.publish_every_s or math.inf)
        try:
            while self._num_steps < num_steps and not should_stop():
                self._step()
                now_s = self._clock()
                if now_s >= due['publish'] and self._update > self._published_update:
                    self._publish()
                    due['publish'] = now_s + (self._config.publish_every_s or math.inf)
                if now_s >= due['checkpoint']:
                    self._save()
                    due['checkpoint'] = self._clock() + self._config.checkpoint_every_s
                if now_s >= due['report']:
                    on_progress(self._progress('training'))
                    due['report'] = now_s + self._config.report_every_s
            if self._update > self._published_update:
                self._publish()
            self._save()
        except TrainingError as error:
            on_progress(self._progress('failed', str(error)))
            raise
        progress = self._progress('finished')
        on_progress(progress)
        return progress

    def resume(self) -> bool:
        """Continue from the newest checkpoint; False if there is none.

        Bit by bit as uninterrupted where the environments can tell their state; elsewhere the
        episodes that ran are given up and new ones begin.

        Raises:
            ConfigError: the checkpoint belongs to another configuration.
        """
        checkpoint = self._checkpoints.newest() if self._checkpoints else None
        if checkpoint is None:
            return False
        self._restore(checkpoint)
        return True

    def _step(self) -> None:
        assert self._observation is not None, 'run has reset the environments'
        if self._collector.is_random(self._num_steps):
            acted = self._random()
        else:
            acted = self._actor.draw(self._observation, self._rng)
        arrival = self._environments.step(acted.action)
        self._collector.add(self._observation, acted, arrival)
        self._observation = arrival.observation
        self._num_steps += len(acted.action)
        self._open_return += arrival.reward
        ended = arrival.terminated | arrival.truncated
        if ended.any():
            self._actor.forget(ended)
            self._returns.extend(self._open_return[ended].tolist())
            self._num_episodes += int(ended.sum())
            self._open_return[ended] = 0
        for metrics in self._collector.update(self._phase, self._num_steps):
            self._update += 1
            self._rate.add(round(self._clock() * 1e9))
            if self._is_on_policy or self._update % self._config.report_every_updates == 0:
                self._note(metrics)

    def _random(self) -> Acted:
        shape = (self._environments.num_envs, self._space.action_size)
        action = self._rng.uniform(-1, 1, shape).astype(np.float32)
        if self._space.is_discrete:
            action = np.eye(shape[1], dtype=np.float32)[action.argmax(1)]
        return Acted(action, np.full(shape[0], np.nan, np.float32))

    def _note(self, metrics: Metrics) -> None:
        values = {name: float(value) for name, value in metrics.items()}
        broken = [f'{name} is {v}' for name, v in values.items() if not math.isfinite(v)]
        if broken:
            raise TrainingError(
                f'update {self._update}: {", ".join(broken)}, expected finite numbers. Training '
                f'has stopped; version {self._publisher.version} stays. Lower the learning '
                f'rates, then start again from the last checkpoint.'
            )
        self._metrics |= values

    def _publish(self) -> None:
        self._published_update = self._update
        self._source.environment_step = self._num_steps
        metrics = self._metrics | self._episode_metrics()
        score = metrics.get('episode/return')
        self._publisher.publish(
            self._phase, self._source, self._update, metrics, score, self._wall_s()
        )

    def _save(self) -> None:
        if self._checkpoints is None:
            return
        tensors, content = self._collector.state()
        state = self._environments.state()
        self._checkpoints.save(
            self._update,
            self._phase.state_dict()
            | {f'collector/{key}': t for key, t in tensors.items()}
            | {f'actor/{key}': t for key, t in self._actor.state().items()},
            {
                **self._identity(),
                'update': self._update,
                'num_steps': self._num_steps,
                'version': self._publisher.version,
                'metrics': self._metrics,
                'wall_s': self._wall_s(),
                'rng': self._rng.bit_generator.state,
                'environments': state,
                'collector': content,
                'open_return': self._open_return.tolist(),
                'returns': list(self._returns),
                'num_episodes': self._num_episodes,
            },
        )

    def _identity(self) -> dict[str, Any]:
        return {
            'config': plain(self._phase.config),
            'source': self._source.name,
            'num_envs': self._environments.num_envs,
        }

    def _restore(self, checkpoint: Checkpoint) -> None:
        content = checkpoint.content
        for key, value in self._identity().items():
            if content[key] != value:
                raise ConfigError(
                    f'checkpoint: {key} is {content[key]}, now it is {value}. Training cannot '
                    f'go on with another one; restore it or choose another name.'
                )
        tensors = checkpoint.tensors
        self._phase.load_state_dict({k: t for k, t in tensors.items() if '/' not in k})
        self._collector.restore(_under('collector/', tensors), content['collector'])
        self._actor.restore(_under('actor/', tensors))
        self._rng.bit_generator.state = content['rng']
        self._update, self._num_steps = content['update'], content['num_steps']
        self._published_update = self._update
        self._publisher.version = content['version']
        self._metrics, self._wall_before_s = content['metrics'], content['wall_s']
        self._open_return[:] = content['open_return']
        self._returns = deque(content['returns'], _RECENT_EPISODES)
        self._num_episodes = content['num_episodes']
        if content['environments'] is not None:
            self._observation = self._environments.restore(content['environments'])

    def _episode_metrics(self) -> dict[str, float]:
        metrics = {'episode/count': float(self._num_episodes)}
        if self._returns:
            metrics['episode/return'] = float(np.mean(self._returns))
        return metrics

    def _progress(self, state: Any, detail: str = '') -> Progress:
        ratio = self._update / self._num_steps if self._num_steps else math.nan
        return Progress(
            state=state,
            detail=detail,
            update=self._update,
            environment_step=self._num_steps,
            updates_per_second=self._rate.per_second(round(self._clock() * 1e9)),
            train_ratio=ratio,
            version=self._publisher.version,
            wall_s=self._wall_s(),
            metrics=self._metrics
            | self._episode_metrics()
            | replay_ratio(self._phase.draws, ratio),
        )

    def _wall_s(self) -> float:
        return self._wall_before_s + self._clock() - self._started_s


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}


def evaluate(
    environments: Environments, actor: Actor, num_episodes: int, seed: int
) -> list[float]:
    """Return the returns of `num_episodes` episodes without exploration.

    Of the episodes that run side by side those count that began first, however long they take.

    Args:
        environments: begin anew.
        actor: with an empty memory.
        num_episodes: how many.
        seed: of the environments.
    """
    observation = environments.reset(seed)
    total = np.zeros(environments.num_envs)
    number = np.arange(environments.num_envs)  # Of the episode that runs in each.
    begun = environments.num_envs
    returns: dict[int, float] = {}
    while any(index < num_episodes for index in number.tolist()):
        arrival = environments.step(actor.best(observation))
        observation = arrival.observation
        total += arrival.reward
        ended = arrival.terminated | arrival.truncated
        actor.forget(ended)
        for index in np.flatnonzero(ended).tolist():
            returns[int(number[index])] = float(total[index])
            number[index], total[index] = begun, 0.0
            begun += 1
    return [returns[index] for index in range(num_episodes)]
