"""What a world model is trained on: predictions, and the agreement of prior and posterior."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from robot_learning.config import STRICT
from robot_learning.models.encoders import scaled
from robot_learning.models.latent import Latent
from robot_learning.models.rssm import Carry, State
from robot_learning.models.two_hot import symlog
from robot_learning.models.world_model import WorldModel
from robot_learning.phases.phase import Batch, Metrics

_SMALLEST_VARIANCE = 1e-3  # Of a block's symlog: what does not change is not magnified.


@dataclass(frozen=True, config=STRICT)
class WorldModelLossConfig:
    """How the parts are weighed (Hafner et al. 2023, "DreamerV3", eq. 4-5)."""

    dynamics_scale: NonNegativeFloat = 0.5  # Of the divergence as the prior's fault.
    representation_scale: NonNegativeFloat = 0.1  # Of the divergence as the posterior's fault.
    # The dynamics' share of both together, as in DreamerV2; replaces the two scales.
    kl_balance: Annotated[float, Field(ge=0, le=1)] | None = None
    free_nats: NonNegativeFloat = 1.0  # Of divergence per step cost nothing.
    reconstruction_scale: NonNegativeFloat = 1.0
    reward_scale: NonNegativeFloat = 1.0
    continuation_scale: NonNegativeFloat = 1.0

    def kl_scales(self) -> tuple[float, float]:
        """Return the scales in force, of dynamics and representation."""
        if self.kl_balance is None:
            return self.dynamics_scale, self.representation_scale
        return self.kl_balance, 1 - self.kl_balance


class Divergence(NamedTuple):
    """One number seen from two sides, [...] in nats, and not below the free ones."""

    dynamics: Tensor  # Differentiable in the prior only.
    representation: Tensor  # Differentiable in the posterior only.
    nats: Tensor  # Without gradient, free ones included.


class WorldModelLoss(NamedTuple):
    """What one batch of windows says."""

    total: Tensor  # Scalar.
    metrics: Metrics  # Its parts.
    posterior: State  # [B, T], with gradient: detach it to begin imagination there.
    carry: Carry


def divergence(latent: Latent, posterior: Tensor, prior: Tensor, free_nats: float) -> Divergence:
    """Divergence of posterior from prior, balanced and with free nats (DreamerV3, eq. 5).

    Args:
        latent: what the parameters mean.
        posterior: parameters [..., S, C] (or [..., S, 2]).
        prior: likewise.
        free_nats: below this sum over all groups there is no gradient.
    """
    dynamics = latent.kl(posterior.detach(), prior)
    representation = latent.kl(posterior, prior.detach())
    return Divergence(
        dynamics.clamp(min=free_nats), representation.clamp(min=free_nats), dynamics.detach()
    )


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of those `values` where `mask`; 0 without any."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def feature_weight(features: Tensor, blocks: dict[str, slice], scale: float) -> Tensor:
    """Return what the squared error of each feature's symlog is multiplied by, [D].

    Predicting the mean of a block then costs `scale`, whatever its size and unit. By their size
    alone, closeness of a lidar (36 sectors, variance 0.01) cost less altogether than the
    divergence that it takes to remember them: the model predicted their mean. With variance 1 for
    every number, the many of a lidar crowded out the few of a pose.

    Args:
        features: [N, D] of the training data.
        blocks: columns.
        scale: of every block's variance.
    """
    variance = symlog(features).var(0, correction=0)
    weight = torch.ones_like(variance)
    for columns in blocks.values():
        weight[columns] = scale / variance[columns].sum().clamp(min=_SMALLEST_VARIANCE)
    return weight


def reconstruction_losses(
    predictions: dict[str, Tensor],
    batch: Batch,
    blocks: dict[str, slice],
    weight: Tensor | None = None,
) -> dict[str, Tensor]:
    """Squared error of each block and image, summed over its numbers, mean over steps.

    Blocks are compared as symlog, images in [0, 1].

    Args:
        predictions: as `WorldModel.reconstruct` gives them.
        batch: of windows.
        blocks: columns of the features.
        weight: [D], of the features' errors; None: 1.
    """
    found: dict[str, Tensor] = {}
    for name, prediction in predictions.items():
        if name == 'observation':
            error = (prediction - symlog(batch[name])).square().flatten(0, -2).mean(0)  # [D]
            error = error if weight is None else error * weight
            found |= {block: error[columns].sum() for block, columns in blocks.items()}
        else:
            target = scaled(batch[name], prediction.dtype)
            error = F.mse_loss(prediction, target, reduction='none')
            found[name] = error.sum(dtype=torch.float32) / prediction.shape[:-3].numel()
    return found


def world_model_loss(
    model: WorldModel,
    batch: Batch,
    config: WorldModelLossConfig,
    generator: torch.Generator | None = None,
    carry: Carry | None = None,
    weight: Tensor | None = None,
) -> WorldModelLoss:
    """Loss of a batch of windows (`Windows`).

    Rewards that are NaN or stand at `is_first` are left out: they were received in a past that
    is not in the window, or never.

    Args:
        model: what is trained.
        batch: of windows; on the model's device.
        config: weights of the parts.
        generator: of the posterior's noise.
        carry: of the windows before; None: there were none.
        weight: [D], of the features' squared errors; None: 1.
    """
    observed = model.observe(batch, carry, generator)
    posterior = observed.posterior
    features = model.features(posterior)
    parts = reconstruction_losses(model.reconstruct(features), batch, model.blocks, weight)
    reconstruction = torch.stack(list(parts.values())).sum()
    received = batch['reward'].isfinite() & ~batch['is_first']
    reward = torch.where(received, batch['reward'], 0.0)
    reward_loss = masked_mean(-model.reward(features).log_prob(reward), received)
    goes_on = 1 - batch['terminated'].to(features.dtype)
    continuation_loss = F.binary_cross_entropy_with_logits(model.continuation(features), goes_on)
    kl = divergence(model.rssm.latent, posterior.parameters, observed.prior, config.free_nats)
    dynamics_scale, representation_scale = config.kl_scales()
    total = (
        config.reconstruction_scale * reconstruction
        + config.reward_scale * reward_loss
        + config.continuation_scale * continuation_loss
        + dynamics_scale * kl.dynamics.mean()
        + representation_scale * kl.representation.mean()
    )
    metrics = {f'reconstruction/{name}': part for name, part in parts.items()}
    metrics |= {
        'loss': total,
        'reconstruction': reconstruction,
        'reward': reward_loss,
        'continuation': continuation_loss,
        'kl': kl.nats.mean(),
        'prior_entropy': model.rssm.latent.entropy(observed.prior).mean(),
        'posterior_entropy': model.rssm.latent.entropy(posterior.parameters).mean(),
    }
    return WorldModelLoss(
        total,
        {name: value.detach() for name, value in metrics.items()},
        posterior,
        observed.carry,
    )
