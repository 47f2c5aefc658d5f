"""Learns initial weights from which a few gradient steps on a few examples fit a new task."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.func import vmap

from robot_learning.config import STRICT
from robot_learning.models.meta_learner import (
    Examples,
    MetaLearner,
    MetaLearnerConfig,
    MetaShape,
    Weights,
    head_outputs,
)
from robot_learning.phases.meta_tasks import (
    QUERY_INPUT,
    QUERY_TARGET,
    SUPPORT_INPUT,
    SUPPORT_TARGET,
)
from robot_learning.phases.passes import Losses, summed_gradients
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.phases.phase import Batch
from robot_learning.phases.state import Part

PHASE = 'meta'


@dataclass(frozen=True, config=STRICT)
class MetaConfig:
    """The learner, and the tasks it learns from."""

    passes: PassesConfig = PassesConfig()
    learner: MetaLearnerConfig = MetaLearnerConfig()
    order: Literal['second', 'first'] = 'second'  # 'first' leaves the second derivatives out.
    ways: Annotated[int, Field(ge=2)] = 5  # Classes of a task, of classifiers.
    shots: PositiveInt = 5  # Examples to adapt to, of each class.
    queries: PositiveInt = 5  # Examples that judge the adapted weights, of each class.
    num_tasks: Annotated[int, Field(ge=2)] = 1000  # Of one pass.
    num_held_out_tasks: Annotated[int, Field(ge=2)] = 200  # To measure on, of other classes.
    picture_size: Annotated[int, Field(ge=8, le=256)] = 28
    colours: Literal['gray', 'rgb'] = 'gray'
    turns: bool = True  # Pictures turned by quarters are classes of their own, in training.
    jitter: NonNegativeFloat = 0.0  # Of training pictures; see `PictureTasks`.


class Judged(NamedTuple):
    """What adapting came to, per task."""

    loss: Tensor  # [B] on the queries.
    right: Tensor  # [B] share of queries that were right; of regression mean squared error.


class MetaObjective:
    """MAML as the passes take it; see `Objective`.

    Args:
        config: of the phase.
        shape: of a task's inputs and targets.
        seed: of the initial weights.
        learned_classes: names of the classes that it learns from, for those who measure it.
    """

    module: MetaLearner

    def __init__(
        self,
        config: MetaConfig,
        shape: MetaShape,
        seed: int,
        learned_classes: Sequence[str] = (),
    ):
        self.config = config
        learned = config.learner.head == 'learned'
        own = shape._replace(num_classes=shape.num_classes if learned else 0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = MetaLearner(config.learner, own)
        self._num_classes = shape.num_classes
        self._learned_classes = list(learned_classes)
        self._figure = 'accuracy' if self.module.is_classifier else 'mean_squared_error'

    def prepare(self, statistics: Sequence[Tensor]) -> None:
        """Take mean and deviation of inputs, then of targets."""
        names = ('input_mean', 'input_std', 'target_mean', 'target_std')
        for name, value in zip(names, statistics, strict=True):
            getattr(self.module, name).copy_(value)

    @property
    def parts(self) -> Mapping[str, Part]:
        """Nothing beside the module."""
        return {}

    def losses(self, batch: Batch, done: float) -> Losses:
        """Return the mean loss on queries after adapting, of tasks [B, ...]."""
        judged = self.judge(batch)
        loss = judged.loss.mean()
        metrics = {
            f'{PHASE}/loss': loss.detach(),
            f'{PHASE}/{self._figure}': judged.right.detach().mean(),
        }
        return Losses({PHASE: loss}, metrics)

    def judge(self, batch: Batch, num_steps: int | None = None, is_looped: bool = False) -> Judged:
        """Adapt to every task for itself, all at once, and judge by its queries.

        Args:
            batch: tasks [B, ...].
            num_steps: of adapting; None: as in training. 0: none; class means may be taken.
            is_looped: take one task after the other instead; the same, slowly.
        """
        module, weights = self.module, self.module.weights()
        is_head = module.config.adapts == 'head'
        adapt = module.adapt_head if is_head else module.adapt
        outputs_of = head_outputs if is_head else module.outputs

        def one(si: Tensor, st: Tensor, qi: Tensor, qt: Tensor) -> Judged:
            is_first = self.config.order == 'first'
            adapted = adapt(
                weights, module.rates, Examples(si, st), self._num_classes, num_steps, is_first
            )
            outputs = outputs_of(adapted, qi)
            if module.is_classifier:
                right = (outputs.argmax(-1) == qt).float().mean()
            else:
                right = (module.answers(outputs) - qt).square().mean()
            return Judged(module.loss(outputs, qt), right)

        def ready(tasks: Sequence[Tensor]) -> Sequence[Tensor]:
            return self._with_features(weights, tasks) if is_head else tasks

        tasks = [batch[key] for key in (SUPPORT_INPUT, SUPPORT_TARGET, QUERY_INPUT, QUERY_TARGET)]
        if is_looped:
            each = []
            for task in zip(*tasks, strict=True):
                each.append(one(*(part[0] for part in ready([part[None] for part in task]))))
            return Judged(*(torch.stack(column) for column in zip(*each, strict=True)))
        found: Judged = vmap(one)(*ready(tasks))
        return found

    def _with_features(self, weights: Weights, tasks: Sequence[Tensor]) -> Sequence[Tensor]:
        """Put features [B, N, F] in place of the inputs."""
        support, support_target, query, query_target = tasks
        inputs = torch.cat((support, query), 1)
        features = self.module.features(weights, inputs.flatten(0, 1))
        features = torch.unflatten(features, 0, inputs.shape[:2])
        seen, asked = torch.split(features, [support.shape[1], query.shape[1]], 1)
        return seen, support_target, asked, query_target

    def combined(self, gradients: Mapping[str, Sequence[Tensor]]) -> Sequence[Tensor]:
        """Return the gradient of the one loss."""
        return summed_gradients(gradients)

    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return means over held-out tasks."""
        found: dict[str, list[Tensor]] = {}
        for batch in batches:
            for name, judged in (('', self.judge(batch)), ('_before', self.judge(batch, 0))):
                found.setdefault(f'held_out/loss{name}', []).append(judged.loss)
                found.setdefault(f'held_out/{self._figure}{name}', []).append(judged.right)
        return {name: float(torch.cat(parts).mean()) for name, parts in found.items()}

    def score(self, metrics: Mapping[str, float]) -> float:
        """Return accuracy, or minus the squared error."""
        if self.module.is_classifier:
            return metrics['held_out/accuracy']
        return -metrics['held_out/mean_squared_error']

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the learner and what rebuilds it."""
        tensors = {name: tensor.detach() for name, tensor in self.module.state_dict().items()}
        shape = self.module.shape
        return tensors, {
            'kind': 'meta_learner',
            'learner': dataclasses.asdict(self.config.learner),
            'inputs': list(shape.inputs),
            'num_targets': shape.num_targets,
            'num_classes': shape.num_classes,
            'learned_classes': self._learned_classes,
        }
