"""Training in passes over fixed data: the loop that NSCA, AIME and the dual encoder share.

Precision, accumulation, several processes, schedule, checkpoints and publishing are here; what is
learned is an `Objective`. Own code and not accelerate: that library's checkpoints are pickles, and
its wrapper hides the gradients of single tasks, which balancing needs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError, TrainingError
from robot_learning.phases.batch_plan import Batches, BatchPlan, in_order, planned_batches
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.devices import CPU, placed
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.phases.phase import Batch, Metrics
from robot_learning.phases.process_group import Place, averaged, summed, told
from robot_learning.phases.publishing import Publisher
from robot_learning.phases.state import Part, collect, restore
from robot_learning.phases.trainer import Progress

_TYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}


class Losses(NamedTuple):
    """What one batch says."""

    tasks: Mapping[str, Tensor]  # Scalars whose sum is minimised, unless they are balanced.
    metrics: Metrics  # Scalars to report, without gradient.


class Objective(Protocol):
    """What is learned, and how it is measured."""

    config: Any  # A dataclass, written into the version's manifest.

    @property
    def module(self) -> nn.Module:
        """Holds everything that is trained."""

    @property
    def parts(self) -> Mapping[str, Part]:
        """What else a checkpoint needs, beside `module`, in training mode or not."""

    def losses(self, batch: Batch, done: float) -> Losses:
        """Return the losses of a batch; draws noise from torch's own generator.

        Args:
            batch: on the device of `module`.
            done: share of the training that lies behind, 0 to 1.
        """

    def combined(self, gradients: Mapping[str, Sequence[Tensor]]) -> Sequence[Tensor]:
        """Make one gradient of those of several tasks; `summed_gradients` where none is wiser.

        Args:
            gradients: task -> one tensor per parameter of `module`, in order.
        """

    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return what is measured on held-out batches, named held_out/...

        Raises:
            TrainingError: what is learned has collapsed; says what to do.
        """

    def score(self, metrics: Mapping[str, float]) -> float:
        """Return how good these measurements are; larger is better."""

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors to publish and their description for the manifest."""


@dataclass
class Origin:
    """Where the data come from, for the versions' provenance."""

    sources: list[str]
    segments: list[str] = field(default_factory=list)
    contract: RobotContract | None = None
    environment_step: int = 0


class Passes:
    """One training; goes on where it was stopped.

    Noise of an update is drawn from a seed of its own, so that a training that was stopped equals
    one that was not.

    Args:
        objective: what learns; its module is on `device`.
        training: data to learn from.
        held_out: data to measure on.
        config: of the passes.
        publisher: where versions go; the first process's only. None: nothing is published.
        checkpoints: None: nothing is saved, and a restart begins anew.
        origin: of the data.
        seed: of order and noise.
        device: where the objective computes.
        place: of this process among those that take every update together.

    Raises:
        ConfigError: the device cannot compute in this precision.
        NotEnoughDataError: there are too few rows.
    """

    def __init__(
        self,
        objective: Objective,
        training: Batches,
        held_out: Batches,
        config: PassesConfig,
        publisher: Publisher | None,
        checkpoints: CheckpointFolder | None,
        origin: Origin,
        seed: int = 0,
        device: torch.device = CPU,
        place: Place = Place(),  # noqa: B008  Never changed.
    ):
        if config.precision == 'float16' and device.type == 'cpu':
            raise ConfigError(
                'precision: found float16, and the processor computes in float32 or bfloat16. '
                'Choose one of them, or --device cuda.'
            )
        self._objective, self._training, self._held_out = objective, training, held_out
        self._config, self._publisher, self._checkpoints = config, publisher, checkpoints
        self._origin, self._seed, self._device, self._place = origin, seed, device, place
        self._plan = BatchPlan(
            len(training), config.batch_size, config.accumulation, seed, place.rank, place.size
        )
        total = config.epochs * self._plan.updates_per_epoch
        self.num_updates = min(total, config.max_updates or total)  # Of the whole training.
        self._parameters = [p for p in objective.module.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._parameters, config.learning_rate, weight_decay=config.weight_decay
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=config.precision == 'float16')
        self._progress = Progress()
        self._best = -math.inf
        self._waited_s = 0.0  # For data, since training began here.
        if config.compile:
            objective.module.compile()

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one.

        Raises:
            TrainingError: it belongs to other data or settings.
        """
        found = self._checkpoints.newest() if self._checkpoints else None
        if found is None:
            return
        if found.content['plan'] != self._plan.identity():
            raise TrainingError(
                f'checkpoint: was made with {found.content["plan"]}, expected '
                f'{self._plan.identity()}. Use the same data and settings, or choose another '
                f'output folder.'
            )
        restore(self._parts, found.tensors)
        self._scaler.load_state_dict(found.content['scaler'])
        self._best = found.content['best']
        progress = self._progress
        progress.update, progress.wall_s = found.content['update'], found.content['wall_s']
        progress.version, progress.metrics = found.content['version'], found.content['metrics']
        if self._publisher is not None:
            self._publisher.version = progress.version

    def run(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Progress:
        """Learn until all updates are made or somebody asks to stop; save, and say where it is.

        Raises:
            TrainingError: a loss is not finite, or the objective has collapsed; the best version
                stays.
            StoreError: a checkpoint or version cannot be written.
        """
        progress = self._progress
        progress.state = 'training'
        self._share()
        first, begun_s, before_s = progress.update, time.monotonic(), progress.wall_s
        numbers = range(
            first * self._plan.accumulation, self.num_updates * self._plan.accumulation
        )
        batches = planned_batches(
            self._training, self._plan, numbers, self._config.workers, self._config.prefetch
        )
        while progress.update < self.num_updates and not self._is_stopped(should_stop):
            metrics = self._update([self._next(batches) for _ in range(self._plan.accumulation)])
            progress.update += 1
            elapsed_s = time.monotonic() - begun_s
            progress.wall_s = before_s + elapsed_s
            progress.updates_per_second = (progress.update - first) / max(elapsed_s, 1e-9)
            is_measured = self._is_due(self._config.measure_epochs * self._plan.updates_per_epoch)
            if is_measured or self._is_due(self._config.report_updates):
                progress.metrics |= {name: float(value) for name, value in metrics.items()}
                progress.metrics['trainer/waited_share'] = self._waited_s / max(elapsed_s, 1e-9)
                if is_measured and self._place.is_first:
                    self._measure()
                on_progress(progress)
            if self._is_due(self._config.checkpoint_updates):
                self._save()
        self._save()
        progress.state = 'finished' if progress.update >= self.num_updates else 'training'
        return progress

    def _share(self) -> None:
        """Let all processes begin where the first one is; others may not see its checkpoints."""
        if self._place.size > 1:
            self._progress.update = summed([self._progress.update if self._place.is_first else 0])[
                0
            ]
            mine = save_tensors(collect(self._parts)) if self._place.is_first else b''
            restore(self._parts, load_tensors(told(mine, 0)))

    def _is_due(self, interval: int) -> bool:
        update = self._progress.update
        return update % interval == 0 or update == self.num_updates

    def _is_stopped(self, should_stop: Callable[[], bool]) -> bool:
        if self._place.size == 1:
            return should_stop()
        return summed([int(should_stop())])[0] > 0  # All stop before the same update.

    def _next(self, batches: Any) -> Batch:
        begun_s = time.monotonic()
        batch = next(batches)
        self._waited_s += time.monotonic() - begun_s
        return placed(batch, self._device)

    def _update(self, batches: Sequence[Batch]) -> Metrics:
        progress, objective = self._progress, self._objective
        factor = self._config.learning_rate_factor(progress.update, self.num_updates)
        for group in self._optimizer.param_groups:
            group['lr'] = self._config.learning_rate * factor
        objective.module.train()
        total: list[Tensor] | None = None
        devices = [] if self._device == CPU else [self._device]
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(_noise_seed(self._seed, self._place.rank, progress.update))
            for batch in batches:
                gradient, metrics = self._gradient(batch)
                if total is None:
                    total = [tensor / len(batches) for tensor in gradient]
                else:
                    torch._foreach_add_(total, list(gradient), alpha=1 / len(batches))
        assert total is not None, 'an update has batches'
        for parameter, tensor in zip(self._parameters, averaged(total), strict=True):
            parameter.grad = tensor
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._config.gradient_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()
        return {**metrics, 'trainer/gradient_norm': norm.detach()}

    def _gradient(self, batch: Batch) -> tuple[Sequence[Tensor], Metrics]:
        done = self._progress.update / self.num_updates
        kind = _TYPES.get(self._config.precision)
        with torch.autocast(self._device.type, dtype=kind, enabled=kind is not None):
            losses = self._objective.losses(batch, done)
        for name, loss in losses.tasks.items():
            value = float(loss.detach())
            if not math.isfinite(value):
                raise TrainingError(
                    f'{name}: loss {value} at update {self._progress.update}, expected a finite '
                    f'number. The best version stays; lower learning_rate or look at the data.'
                )
        if len(losses.tasks) == 1:
            (loss,) = losses.tasks.values()
            return self._of(loss, is_last=True), losses.metrics
        last = list(losses.tasks)[-1]
        gradients = {
            name: self._of(loss, is_last=name == last) for name, loss in losses.tasks.items()
        }
        return self._objective.combined(gradients), losses.metrics

    def _of(self, loss: Tensor, is_last: bool) -> Sequence[Tensor]:
        scaled = self._scaler.scale(loss)
        return torch.autograd.grad(
            scaled, self._parameters, retain_graph=not is_last, materialize_grads=True
        )

    def _measure(self) -> None:
        objective, progress = self._objective, self._progress
        objective.module.eval()
        batches = in_order(self._held_out, self._config.batch_size)
        devices = [] if self._device == CPU else [self._device]
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(self._seed)  # The same noise each time.
            progress.metrics |= objective.measure(placed(b, self._device) for b in batches)
        score = objective.score(progress.metrics)
        if self._publisher is not None and score > self._best:
            progress.version = self._publisher.publish(
                objective,
                self._origin,
                progress.update,
                progress.metrics,
                score,
                progress.wall_s,
            )
        self._best = max(score, self._best)

    @property
    def _parts(self) -> dict[str, Part]:
        own: dict[str, Part] = {'module': self._objective.module, 'optimizer': self._optimizer}
        return {**own, **self._objective.parts}

    def _save(self) -> None:
        if self._checkpoints is None or not self._place.is_first:
            return
        progress = self._progress
        content = {
            'plan': self._plan.identity(),
            'update': progress.update,
            'wall_s': progress.wall_s,
            'version': progress.version,
            'metrics': progress.metrics,
            'best': self._best,
            'scaler': self._scaler.state_dict(),
        }
        self._checkpoints.save(progress.update, collect(self._parts), content)


def summed_gradients(gradients: Mapping[str, Sequence[Tensor]]) -> Sequence[Tensor]:
    """Return the gradient of the sum of all tasks."""
    return [torch.stack(each).sum(0) for each in zip(*gradients.values(), strict=True)]


def _noise_seed(seed: int, rank: int, update: int) -> int:
    """Mix them into one number; neighbours give unlike noise."""
    mixed = (seed * 1_000_003 + rank) * 1_000_003 + update
    return (mixed * 0x9E3779B97F4A7C15) % 2**63
