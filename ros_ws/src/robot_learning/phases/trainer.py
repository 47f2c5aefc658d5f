"""The loop that runs one phase: take in data, update, publish, save. Knows no ROS."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Literal

from torch import Tensor

from robot_learning.errors import ConfigError, TrainingError
from robot_learning.metrics import Rate
from robot_learning.phases.checkpoint import Checkpoint, CheckpointFolder
from robot_learning.phases.experience import Experience
from robot_learning.phases.governor import TrainRatioGovernor, replay_ratio
from robot_learning.phases.phase import Phase, Rollout
from robot_learning.phases.prioritised_update import learn
from robot_learning.phases.publishing import Publisher, plain
from robot_learning.phases.trainer_config import TrainerConfig
from robot_learning.phases.validation import Validation

_LOG = logging.getLogger(__name__)
_POLL_S = 0.05  # Between two looks into the store.
State = Literal['waiting', 'training', 'finished', 'failed']


@dataclass
class Progress:
    """Where training stands."""

    state: State = 'waiting'
    detail: str = ''  # A sentence for people.
    update: int = 0
    environment_step: int = 0
    updates_per_second: float = 0.0
    train_ratio: float = math.nan
    target_train_ratio: float = math.nan
    version: int | None = None
    wall_s: float = 0.0  # Of training, restarts included.
    metrics: dict[str, float] = field(default_factory=dict)


class Trainer:
    """Runs one phase over one experience until told to stop.

    Args:
        phase: what learns.
        experience: what it learns from.
        publisher: where versions go.
        config: when to do what.
        checkpoints: None: nothing is saved and a restart begins anew.
        validation: held-out data to measure on. A phase that `selects_by_validation` then
            publishes when it is better there than ever; otherwise versions follow the schedule.
        train_ratio: replaces the configuration's; infinite for data that does not grow.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        phase: Phase,
        experience: Experience,
        publisher: Publisher,
        config: TrainerConfig,
        checkpoints: CheckpointFolder | None = None,
        validation: Validation | None = None,
        train_ratio: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.wake = Event()  # Set it when data may have come; else the store is polled.
        self._phase = phase
        self._experience = experience
        self._publisher = publisher
        self._config = config
        self._checkpoints = checkpoints
        self._validation = validation
        self._selects = validation is not None and phase.selects_by_validation
        self._is_on_policy = isinstance(phase.draws, Rollout)
        ratio = config.train_ratio if train_ratio is None else train_ratio
        if self._is_on_policy:  # Each step is learned from once, so there is no ratio to keep.
            experience.collect_rollouts()
            ratio = math.inf
        self._governor = TrainRatioGovernor(
            ratio, config.max_saved_updates, config.initial_updates
        )
        self._clock = clock
        self._rate = Rate()
        self._update = 0
        self._is_prepared = False
        self._best_score: float | None = None
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._metrics: dict[str, float] = {}
        self._wall_before_s = 0.0
        self._due: dict[str, float] = {}
        self._published_update = 0
        self._is_newest_ours = False  # Of versions in the store; on-policy learning needs it.
        self._saved_update = -1
        self._newest_step_s = self._started_s = clock()

    def run(
        self,
        num_updates: int | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Progress:
        """Learn until `num_updates` more are done or `should_stop`; then publish and save.

        Raises:
            TrainingError: a loss is not finite; the last good version and checkpoint stay.
            StoreError: versions or checkpoints cannot be written.
        """
        last = None if num_updates is None else self._update + num_updates
        self._start_schedule()
        try:
            while not should_stop() and (last is None or self._update < last):
                self._take_in()
                if self._may_update():
                    self._update_once()
                    self._after_update(on_progress)
                else:
                    self._wait(on_progress)
            self._finish()
        except TrainingError as error:
            on_progress(self._progress('failed', str(error)))
            raise
        progress = self._progress('finished')
        on_progress(progress)
        return progress

    def resume(self) -> bool:
        """Continue from the newest checkpoint; False if there is none.

        What comes then equals an uninterrupted run bit by bit, as long as torch has one thread
        and the data is the same: the steps known at the checkpoint are read again in their
        order, so their files must still be there. Beside a robot that drives, new steps arrive
        at other updates than they would have, and the runs differ from there on.

        Raises:
            TrainingError: the checkpoint belongs to another configuration.
        """
        checkpoint = self._checkpoints.newest() if self._checkpoints else None
        if checkpoint is None:
            return False
        self._restore(checkpoint)
        return True

    def _take_in(self) -> None:
        if self._clock() < self._due['poll']:
            return
        self._due['poll'] = self._clock() + _POLL_S
        self._experience.poll()
        num_steps = self._experience.environment_step - self._governor.num_steps
        if num_steps:
            self._newest_step_s = self._clock()
            self._governor.earn(num_steps)
        while self._experience.skipped:
            _LOG.warning('%s', self._experience.skipped.pop(0))

    def _may_update(self) -> bool:
        if self._experience.num_steps < max(self._config.warmup_steps, 2):
            return False
        return (not self._is_on_policy or self._has_rollout()) and self._governor.take()

    def _has_rollout(self) -> bool:
        """Tell whether the newest version drove enough; see that there is one to drive.

        Newest is what nobody refused, whoever published it. Weights of a checkpoint are published
        again if the store has gone on without them.
        """
        if not (self._is_newest_ours or self._publisher.is_newest):
            self._prepare()
            self._publish(self._score())
        self._is_newest_ours = True
        draw, newest = self._phase.draws, self._publisher.newest_good
        assert isinstance(draw, Rollout)
        return newest is not None and self._experience.has_rollout(draw, newest)

    def _prepare(self) -> None:
        if not self._is_prepared:
            self._phase.prepare(self._experience.training_data())
            self._is_prepared = True

    def _update_once(self) -> None:
        self._prepare()
        draw = self._phase.draws
        if isinstance(draw, Rollout):
            metrics = self._phase.update(self._experience.rollout(draw))
        else:
            metrics = learn(self._phase, self._experience, draw)
        for name, value in metrics.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1
        self._update += 1

    def _after_update(self, on_progress: Callable[[Progress], None]) -> None:
        self._rate.add(self._now_ns())
        if self._update % self._config.report_every_updates == 0:
            self._collect_metrics()
        if self._validation and self._update % self._config.validate_every_updates == 0:
            self._validate()
        if not self._selects and (self._is_on_policy or self._is_publication_due()):
            self._publish(self._score())
        if self._is_due('checkpoint', self._config.checkpoint_every_s):
            self._save()
        if self._is_due('report', self._config.report_every_s):
            on_progress(self._progress('training'))

    def _wait(self, on_progress: Callable[[Progress], None]) -> None:
        if self._is_due('report', self._config.report_every_s):
            on_progress(self._progress('waiting', self._what_is_missing()))
        self._hand_over()
        if self.wake.wait(_POLL_S):
            self._due['poll'] = -math.inf
        self.wake.clear()

    def _hand_over(self) -> None:
        """Publish and save what was learned before the data ran out, when that is due."""
        every_s = self._config.publish_every_s
        is_new = self._update > self._published_update and not self._selects
        if is_new and every_s is not None and self._is_due('publish', every_s):
            self._publish(self._score())
        if self._is_due('checkpoint', self._config.checkpoint_every_s):
            self._save()

    def _what_is_missing(self) -> str:
        held, needed = self._experience.num_steps, max(self._config.warmup_steps, 2)
        if held < needed:
            missing = f'Holds {held} of {needed} steps; waiting for more.'
            return f'{missing} {self._experience.lacks_rewards}'.rstrip()
        silence_s = self._clock() - self._newest_step_s
        if silence_s > self._config.patience_s:
            return (
                f'No new steps for {silence_s:.0f} s; waiting. Are the recorder and the robot '
                f'running?'
            )
        if self._is_on_policy:
            return 'Waiting for steps that the newest version drives, exploring.'
        return 'Ahead of the robot; waiting for its next steps.'

    def _collect_metrics(self) -> None:
        """Average what the updates since the last call reported.

        Raises:
            TrainingError: one of them is not finite.
        """
        averages = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        broken = [
            f'{name} is {value}' for name, value in averages.items() if not math.isfinite(value)
        ]
        if broken:
            raise TrainingError(
                f'update {self._update}: {", ".join(broken)}, expected finite numbers. Training '
                f'has stopped; version {self._publisher.version} stays. Lower the learning '
                f'rates or look for broken data, then start again from the last checkpoint.'
            )
        self._metrics |= averages

    def _validate(self) -> None:
        assert self._validation is not None
        self._collect_metrics()
        measured = self._validation.measure(self._phase)
        self._metrics |= measured
        score = -measured['held_out/loss']
        if self._selects and (self._best_score is None or score > self._best_score):
            self._best_score = score
            self._publish(score)

    def _score(self) -> float | None:
        return self._experience.metrics().get('episode/return')

    def _is_publication_due(self) -> bool:
        every = self._config.publish_every_updates
        if every is not None and self._update % every == 0:
            return True
        every_s = self._config.publish_every_s
        return every_s is not None and self._is_due('publish', every_s)

    def _publish(self, score: float | None) -> None:
        self._collect_metrics()
        metrics = self._metrics | self._experience.metrics()
        self._publisher.publish(
            self._phase, self._experience, self._update, metrics, score, self._wall_s()
        )
        self._published_update = self._update
        self._due['report'] = -math.inf  # A new version is news.

    def _save(self) -> None:
        if self._checkpoints is None or self._update == self._saved_update:
            return
        self._collect_metrics()
        content = {
            'update': self._update,
            'version': self._publisher.version,
            'is_prepared': self._is_prepared,
            'best_score': self._best_score,
            'metrics': self._metrics,
            'wall_s': self._wall_s(),
            'governor': self._governor.state(),
            'experience': self._experience.state(),
            'contract_hash': self._experience.contract.hash,
            'config': plain(self._phase.config),
        }
        self._checkpoints.save(self._update, self._phase.state_dict(), content)
        self._saved_update = self._update

    def _restore(self, checkpoint: Checkpoint) -> None:
        content = checkpoint.content
        expected: dict[str, Any] = {
            'config': plain(self._phase.config),
            'contract_hash': self._experience.contract.hash,
        }
        for key, value in expected.items():
            if content[key] != value:
                raise ConfigError(
                    f'checkpoint: {key} is {content[key]}, now it is {value}. Training cannot '
                    f'go on with another one; restore it or choose another output folder.'
                )
        self._experience.restore(content['experience'])
        self._governor.restore(content['governor'])
        self._phase.load_state_dict(checkpoint.tensors)
        self._update = self._saved_update = self._published_update = content['update']
        self._publisher.version = content['version']
        self._is_prepared = content['is_prepared']
        self._best_score = content['best_score']
        self._metrics = content['metrics']
        self._wall_before_s = content['wall_s']

    def _finish(self) -> None:
        if self._validation is not None and self._is_prepared:
            self._validate()
        if not self._selects and self._update > self._published_update:
            self._publish(self._score())
        self._save()

    def _start_schedule(self) -> None:
        now = self._clock()
        self._started_s = self._newest_step_s = now
        self._due = {'poll': now, 'report': now}
        self._due['publish'] = now + (self._config.publish_every_s or 0)
        self._due['checkpoint'] = now + self._config.checkpoint_every_s

    def _is_due(self, what: str, every_s: float) -> bool:
        now = self._clock()
        if now < self._due[what]:
            return False
        self._due[what] = now + every_s
        return True

    def _progress(self, state: State, detail: str = '') -> Progress:
        waiting = state == 'waiting'
        return Progress(
            state=state,
            detail=detail,
            update=self._update,
            environment_step=self._experience.environment_step,
            updates_per_second=0.0 if waiting else self._rate.per_second(self._now_ns()),
            train_ratio=self._governor.achieved_ratio,
            target_train_ratio=self._governor.ratio,
            version=self._publisher.version,
            wall_s=self._wall_s(),
            metrics=self._metrics
            | self._experience.metrics()
            | replay_ratio(self._phase.draws, self._governor.achieved_ratio),
        )

    def _wall_s(self) -> float:
        return self._wall_before_s + self._clock() - self._started_s

    def _now_ns(self) -> int:
        return round(self._clock() * 1e9)
