"""Action inference: imitating from video alone, by the evidence of a frozen model.

"Action Inference by Maximising Evidence: Zero-Shot Imitation from Observation with World Models"
(Zhang et al. 2023, arXiv 2303.17366). A policy acts on the model's states while the model watches
demonstrations; what it would have done must explain what was seen next. Only the policy learns.
Behavioural cloning of the true actions, on the same states, is what it is measured against.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.config import STRICT
from robot_learning.models.aime.dpgmm import Gaussian
from robot_learning.models.aime.model import KIND, AimeModel
from robot_learning.models.aime.policy import POLICY_KIND, LatentPolicy, packed
from robot_learning.models.aime.vrnn import Carry
from robot_learning.phases.aime_losses import pixel_nll
from robot_learning.phases.passes import Losses, summed_gradients
from robot_learning.phases.phase import Batch
from robot_learning.phases.publishing import plain
from robot_learning.phases.state import Part
from robot_learning.trajectory.dmc_video import Bounds

PHASE = 'action_inference'
_SCALE = 1e-3  # Of the evidence, which is thousands of nats per frame.


@dataclass(frozen=True, config=STRICT)
class ActionInferenceConfig:
    """How a policy learns from video."""

    learns_from: Literal['evidence', 'actions'] = 'evidence'  # 'actions': behavioural cloning.
    hidden: PositiveInt = 128  # Of the policy.
    pixel_std: PositiveFloat = 0.1  # As in the model's training.
    kl_weight: NonNegativeFloat = 1.0
    camera: str = 'camera'
    length: PositiveInt = 16  # Steps of a window.
    stride: PositiveInt = 2


class Watched(NamedTuple):
    """Windows watched by a model whose policy acts."""

    deter: Tensor  # [B, T, H]
    posterior: Gaussian  # [B, T, Z]
    stoch: Tensor  # [B, T, Z]
    actions: Tensor  # [B, T, A], of the policy, in [-1, 1].


class ActionInference:
    """The objective of the passes; see `phases.passes.Objective`.

    Args:
        model: trained; its parameters stay as they are.
        bounds: of the actions that the model knows.
        described: the model's description in its manifest, for the policy's own.
        config: of the phase.
        seed: of the policy's weights.
    """

    def __init__(
        self,
        model: AimeModel,
        bounds: Bounds,
        described: Mapping[str, Any],
        config: ActionInferenceConfig,
        seed: int = 0,
    ):
        self.config, self.model, self._bounds = config, model.eval(), bounds
        self._described = dict(described)
        model.requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            state_size = model.config.hidden + model.config.latent
            self.module: nn.Module = LatentPolicy(state_size, model.action_size, config.hidden)
        self.module.to(next(model.parameters()).device)

    @property
    def parts(self) -> Mapping[str, Part]:
        """Nothing beside the policy."""
        return {}

    def losses(self, batch: Batch, done: float) -> Losses:
        """Return the negative evidence of the frames under the policy, or the actions' error."""
        frames, actions = batch['observations'], batch['actions']
        if self.config.learns_from == 'actions':
            error = self.cloning_error(frames, actions)
            return Losses({'cloning': error}, {f'{PHASE}/cloning': error.detach()})
        reconstruction, kl = self.evidence(frames)
        loss = _SCALE * (reconstruction + self.config.kl_weight * kl)
        return Losses(
            {'evidence': loss},
            {
                f'{PHASE}/reconstruction': reconstruction.detach(),
                f'{PHASE}/kl': kl.detach(),
            },
        )

    def evidence(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstruction and KL in nats per frame, of frames [B, T, 3, S, S] alone.

        The first frame tells nothing about actions and is left out.
        """
        with torch.no_grad():
            seen = self.model.see(frames)
        watched = self.watch(seen.embedding)
        prior = self.model.prior(torch.cat((watched.deter, seen.context), -1)[:, 1:])
        posterior = Gaussian(*(part[:, 1:] for part in watched.posterior))
        drawn = self.model.draw(watched.deter[:, 1:], watched.stoch[:, 1:])
        return (
            pixel_nll(drawn, frames[:, 1:], self.config.pixel_std).mean(),
            prior.kl_bound(posterior).mean(),
        )

    def watch(self, embedding: Tensor) -> Watched:
        """Let the policy act while the model sees embeddings [B, T, E]; `actions` are drawn."""
        recurrent = self.model.recurrent
        deter = recurrent.begin(len(embedding))
        rows: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = []
        for t in range(embedding.shape[1]):
            posterior = recurrent.see(deter, embedding[:, t])
            stoch = posterior.sample()
            action = self._act(torch.cat((deter, stoch), -1))
            rows.append((deter, posterior.mean, posterior.std, stoch, action))
            deter = recurrent.advance(Carry(deter, stoch), action)
        deters, mean, std, stochs, actions = (torch.stack(r, 1) for r in zip(*rows, strict=True))
        return Watched(deters, Gaussian(mean, std), stochs, actions)

    def cloning_error(self, frames: Tensor, actions: Tensor) -> Tensor:
        """Mean squared error of the policy's actions where the true ones led, [B, T, ...]."""
        with torch.no_grad():
            embedding = self.model.embed(frames)[0]
            observed = self.model.recurrent.observe(embedding, actions)
            states = torch.cat((observed.deter, observed.stoch), -1)
        return F.mse_loss(self.module(states[:, :-1]), actions[:, :-1])

    def combined(self, gradients: Mapping[str, Sequence[Tensor]]) -> Sequence[Tensor]:
        """Sum; there is one task."""
        return summed_gradients(gradients)

    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return evidence and, where actions are known, how far the inferred ones are off."""
        sums = dict.fromkeys(('reconstruction', 'kl', 'action_error', 'mean_action_error'), 0.0)
        count = 0
        for batch in batches:
            frames, actions = batch['observations'], batch['actions']
            reconstruction, kl = self.evidence(frames)
            watched = self.watch(self.model.embed(frames)[0])
            error = (watched.actions - actions)[:, :-1].square().mean()
            values = (reconstruction, kl, error, actions[:, :-1].square().mean())
            for name, value in zip(sums, values, strict=True):
                sums[name] += float(value) * len(frames)
            count += len(frames)
        means = {name: value / count for name, value in sums.items()}
        means['negative_evidence'] = means['reconstruction'] + means['kl']
        return {f'held_out/{name}': value for name, value in means.items()}

    def score(self, metrics: Mapping[str, float]) -> float:
        """Return the evidence, or how near cloned actions are; larger is better."""
        name = 'action_error' if self.config.learns_from == 'actions' else 'negative_evidence'
        return -metrics[f'held_out/{name}']

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return model and policy as one version."""
        policy = self.module
        assert isinstance(policy, LatentPolicy)
        tensors = {n: t.detach().clone() for n, t in packed(self.model, policy).items()}
        return tensors, {
            **self._described,
            'kind': POLICY_KIND,
            'model_kind': KIND,
            'model': plain(self.model.config),
            'policy_hidden': self.config.hidden,
            'action_low': np.asarray(self._bounds.low, float).tolist(),
            'action_high': np.asarray(self._bounds.high, float).tolist(),
        }

    def _act(self, states: Tensor) -> Tensor:
        policy = self.module
        assert isinstance(policy, LatentPolicy)
        return policy.sample(states) if policy.training else policy(states)
