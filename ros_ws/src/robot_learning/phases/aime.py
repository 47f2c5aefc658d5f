"""AIME's training: a recurrent autoencoder of video with a Dirichlet-process mixture as its prior.

The model is in `models/aime`, its losses are in `aime_losses`, and `passes` is the loop. The best
version is the one with the largest evidence bound on held-out episodes, at beta 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from robot_learning.config import STRICT
from robot_learning.models.aime import measures
from robot_learning.models.aime.config import AimeModelConfig
from robot_learning.models.aime.dpgmm import components_in_use, kl_by_sampling
from robot_learning.models.aime.model import KIND, AimeModel, AimeOutput
from robot_learning.models.aime.video_tokenizer import perplexity
from robot_learning.phases.aime_losses import (
    AimeLossConfig,
    AimeTerms,
    Answers,
    aggregate,
    beta_at,
    metrics_of,
    terms_of,
)
from robot_learning.phases.collapse import CollapseConfig, CollapseWatch, Limit
from robot_learning.phases.devices import CPU
from robot_learning.phases.gradient_balancing import GradientBalancer, GradientBalancingConfig
from robot_learning.phases.passes import Losses, summed_gradients
from robot_learning.phases.phase import Batch
from robot_learning.phases.process_group import averaged
from robot_learning.phases.publishing import plain
from robot_learning.phases.state import Part
from robot_learning.trajectory.dmc_video import DMCVideoDataset

PHASE = 'aime'
SHARED = ('encoder', 'slots', 'recurrent', 'perceiver')  # Parts that several tasks train.
_KL_SAMPLES = 4
_STEPS_AHEAD = 10  # At which what is foreseen is compared with persistence.


@dataclass(frozen=True, config=STRICT)
class AimeConfig:
    """The guide's model, losses and balancing."""

    model: AimeModelConfig = AimeModelConfig()
    losses: AimeLossConfig = AimeLossConfig()
    collapse: CollapseConfig = CollapseConfig()
    balancing: Literal['rotation', 'sum'] = 'rotation'
    rotation: GradientBalancingConfig = GradientBalancingConfig()
    camera: str = 'camera'  # Field of the pictures.
    length: PositiveInt = 16  # Steps of a window.
    stride: PositiveInt = 4  # Steps between the starts of two windows.
    open_loop_context: PositiveInt = 5  # Frames seen before the future is imagined.


class AimeTraining:
    """The objective of the passes; see `phases.passes.Objective`.

    Args:
        config: of the phase.
        dataset: to learn from; bounds of the actions and the mean frame come from it.
        epochs: passes that will be made; beta follows them.
        seed: of the weights.
        device: where it computes.
    """

    def __init__(
        self,
        config: AimeConfig,
        dataset: DMCVideoDataset,
        epochs: float,
        seed: int = 0,
        device: torch.device = CPU,
    ):
        self.config, self.bounds = config, dataset.bounds
        self._epochs = epochs
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = AimeModel(config.model, dataset.action_size, averaged).to(device)
        mean, spread = dataset.frame_statistics()
        self.module.scale.mean.copy_(torch.from_numpy(mean))
        self.module.scale.spread.fill_(spread)
        self._watch = CollapseWatch(_limits(config), config.collapse.check_updates)
        parameters = dict(self.module.named_parameters())
        is_shared = [name.split('.')[0] in SHARED for name in parameters]
        self._balancer = GradientBalancer(config.rotation, list(parameters.values()), is_shared)
        self._norms: dict[str, Tensor] = {}

    @property
    def parts(self) -> Mapping[str, Part]:
        """What else a checkpoint needs."""
        return {'consensus': self._balancer.consensus, **self._watch.parts()}

    @property
    def collapsed(self) -> list[str]:
        """Name what has fallen out of use."""
        return self._watch.collapsed

    def losses(self, batch: Batch, done: float) -> Losses:
        """Return the three tasks' losses of windows and all that is logged."""
        beta = beta_at(done * self._epochs, self.config.losses)
        answers = self._answers()
        frames = batch['observations']
        output: AimeOutput = self.module(frames, batch['actions'])
        terms = self._terms(output, frames)
        tasks = aggregate(terms, self.config.losses, beta, answers)
        with torch.no_grad():
            state = _state_metrics(output, self.config.model.codes)
            error = measures.mean_squared_error(output.reconstruction, frames)
        metrics = metrics_of(terms, tasks) | state | self._norms
        metrics['psnr'] = measures.psnr(error.mean())
        metrics['beta'] = frames.new_tensor(beta * answers.beta)
        self._follow(metrics, beta)
        return Losses(tasks, {f'{PHASE}/{name}': value for name, value in metrics.items()})

    def combined(self, gradients: Mapping[str, Sequence[Tensor]]) -> Sequence[Tensor]:
        """Turn the tasks' gradients towards each other where they share parameters; else sum."""
        norms = {
            f'gradient_{name}': torch.stack(torch._foreach_norm(list(each))).norm()
            for name, each in gradients.items()
        }
        if self.config.balancing == 'sum':
            self._norms = norms
            return summed_gradients(gradients)
        total, turned = self._balancer.combined(gradients)
        renamed = {name.replace('/', '_'): value.float() for name, value in turned.items()}
        self._norms = norms | renamed
        return total

    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return means over held-out windows; what is foreseen is compared with persistence."""
        sums: dict[str, float] = {}
        codes, assigned = [], []
        count = 0
        for batch in batches:
            frames, actions = batch['observations'], batch['actions']
            output: AimeOutput = self.module(frames, actions)
            for name, value in self._held_out(output, frames, actions).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(frames)
            codes.append(output.seen.tokens.indices.cpu())
            assigned.append(output.prior.assignments(output.observed.posterior).cpu())
            count += len(frames)
        means = {name: value / count for name, value in sums.items()}
        for name in [name for name in means if name.endswith('_error')]:
            means[name.replace('_error', '_psnr')] = float(
                measures.psnr(torch.tensor(means[name]))
            )
        share = torch.cat([part.flatten(0, -2) for part in assigned])
        means['components'] = float(components_in_use(share))
        means['perplexity'] = float(
            perplexity(torch.cat([part.flatten() for part in codes]), self.config.model.codes)
        )
        if 'open_loop_error' in means:
            means['foresight'] = means['persistence_error'] / max(means['open_loop_error'], 1e-12)
        return {f'held_out/{name}': value for name, value in means.items()}

    def score(self, metrics: Mapping[str, float]) -> float:
        """Return the evidence bound; larger is better."""
        value = metrics.get('held_out/negative_elbo', math.inf)
        return -value

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the model and what is needed to make it again."""
        tensors = {name: t.detach().clone() for name, t in self.module.state_dict().items()}
        return tensors, {
            'kind': KIND,
            'model': plain(self.config.model),
            'action_low': np.asarray(self.bounds.low, float).tolist(),
            'action_high': np.asarray(self.bounds.high, float).tolist(),
            'camera': self.config.camera,
        }

    def _terms(self, output: AimeOutput, frames: Tensor) -> AimeTerms:
        concentration = self.config.model.stick_concentration
        return terms_of(output, frames, concentration, self.config.losses.pixel_std)

    def _held_out(self, output: AimeOutput, frames: Tensor, actions: Tensor) -> dict[str, Tensor]:
        terms = metrics_of(self._terms(output, frames), {})
        expected = self.module.draw(output.observed.deter, output.prior.mode())
        error = measures.mean_squared_error(output.reconstruction, frames)
        one_step = measures.mean_squared_error(expected, frames)[:, 1:]
        terms['reconstruction_error'] = error.mean()
        terms['one_step_error'] = one_step.mean()
        sampled = kl_by_sampling(output.observed.posterior, output.prior, _KL_SAMPLES)
        terms['kl_sampled'] = sampled.mean()
        num_context = min(self.config.open_loop_context, frames.shape[1] - 1)
        seen = measures.foresight(self.module, frames, actions, num_context)
        ahead = min(_STEPS_AHEAD, seen.model.shape[1]) - 1
        terms['open_loop_error'] = seen.model[:, ahead].mean()
        terms['persistence_error'] = seen.persistence[:, ahead].mean()
        future = frames[:, num_context + ahead]
        still = self.module.scale.mean.expand_as(future)
        terms['mean_frame_error'] = measures.mean_squared_error(still, future).mean()
        return terms

    def _answers(self) -> Answers:
        factor = self._watch.factor
        codebook = self.module.tokenizer.codebook
        codebook.revival_usage = self.config.model.revival_usage * factor('codebook')
        return Answers(1 / factor('kl'), factor('components'), factor('slots'))

    def _follow(self, metrics: Mapping[str, Tensor], beta: float) -> None:
        followed = {
            'components': metrics['components'],
            'slots': metrics['slot_diversity'],
            'codebook': metrics['perplexity'],
        }
        if beta > self.config.losses.beta / 2:
            followed['kl'] = metrics['kl']
        values = averaged([torch.stack([value.float() for value in followed.values()])])[0]
        self._watch.follow(dict(zip(followed, values.tolist(), strict=True)))


def _limits(config: AimeConfig) -> dict[str, Limit]:
    collapse, model = config.collapse, config.model
    return {
        'kl': Limit(collapse.least_kl, None, 'Beta is halved.'),
        'components': Limit(
            min(collapse.least_components, model.components),
            None,
            'The weight of the cluster entropy is doubled.',
        ),
        'slots': Limit(None, collapse.most_overlap, 'The weight of slot diversity is doubled.'),
        'codebook': Limit(
            collapse.least_perplexity,
            None,
            'Codes are put where data are at twice the use as before.',
        ),
    }


def _state_metrics(output: AimeOutput, num_codes: int) -> dict[str, Tensor]:
    """Return what is in use, and how latents are spread."""
    posterior, prior = output.observed.posterior, output.prior
    assignments = prior.assignments(posterior).flatten(0, -2)  # [N, K]
    share = assignments.mean(0)
    return {
        'components': components_in_use(assignments).float(),
        'perplexity': perplexity(output.seen.tokens.indices, num_codes),
        'latent_mean': posterior.mean.mean(),
        'latent_spread': posterior.mean.flatten(0, 1).std(0).mean(),
        'latent_std': posterior.std.mean(),
        **{f'component_{index:02d}': value for index, value in enumerate(share)},
    }
