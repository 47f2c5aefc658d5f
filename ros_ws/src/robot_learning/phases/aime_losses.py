"""What AIME minimises: three tasks, each the weighted sum of its terms, in one aggregator.

- `elbo`: negative evidence bound in nats per frame: reconstruction + beta (KL to the mixture + KL
  of the sticks), and the cluster entropy beside it.
- `perceiver`: commitment to codes + frames drawn from codes + codes of the next frame.
- `predictive`: KL of attention from its prediction + how the slots' centres move + overlap.

What follows and what is followed: the predictive terms train the prediction only, the attention
of the frame is their fixed target; otherwise attention that never changes would be the best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from pydantic import NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from robot_learning.config import STRICT
from robot_learning.models.aime.dpgmm import stick_kl
from robot_learning.models.aime.model import AimeOutput
from robot_learning.models.aime.slot_attention import attention_kl, centres, overlap

ELBO, PERCEIVER, PREDICTIVE = 'elbo', 'perceiver', 'predictive'
TASKS = (ELBO, PERCEIVER, PREDICTIVE)
_LEAST_SHARE = 1e-12


@dataclass(frozen=True, config=STRICT)
class AimeLossConfig:
    """Weights of terms, and when the prior begins to count."""

    beta_epochs: NonNegativeFloat = 10.0  # Passes in which beta goes from 0 to `beta`.
    beta: NonNegativeFloat = 1.0
    pixel_std: PositiveFloat = 0.1  # Of the Gaussian over pixel values.
    elbo_scale: PositiveFloat = 3e-3  # Of the task; at 1e-4 the others' gradients drown it.
    cluster_entropy: NonNegativeFloat = 3.0  # Nats of the task per nat; not of the bound.
    commitment: NonNegativeFloat = 0.25
    token_reconstruction: NonNegativeFloat = 10.0  # Of a mean squared error.
    context_prediction: NonNegativeFloat = 0.1  # Of a cross-entropy in nats.
    attention_kl: NonNegativeFloat = 1.0
    attention_dynamics: NonNegativeFloat = 1.0
    slot_diversity: NonNegativeFloat = 0.1


class AimeTerms(NamedTuple):
    """Every term by itself, scalars; nats are per frame."""

    reconstruction: Tensor  # Negative log-density of the pixels, nats.
    kl: Tensor  # To the mixture, nats; an upper bound.
    stick_kl: Tensor  # Nats.
    cluster_entropy: Tensor  # Nats, -log K (each cluster used, each step sure) to 0.
    commitment: Tensor
    token_reconstruction: Tensor  # Mean squared error.
    context_prediction: Tensor  # Cross-entropy of a code, nats.
    attention_kl: Tensor  # Nats per place.
    attention_dynamics: Tensor  # Squared distance of centres, in half sides of the picture.
    slot_diversity: Tensor  # Mean cosine of two slots' attention.

    @property
    def negative_elbo(self) -> Tensor:
        """At beta 1, nats per frame."""
        return self.reconstruction + self.kl + self.stick_kl


def terms_of(
    output: AimeOutput, frames: Tensor, concentration: float, pixel_std: float
) -> AimeTerms:
    """Return the terms of windows.

    Args:
        output: of the model on `frames`.
        frames: [B, T, 3, S, S] in [0, 1].
        concentration: alpha of the sticks' prior.
        pixel_std: of the Gaussian over pixel values.
    """
    prior, posterior = output.prior, output.observed.posterior
    tokens, attention = output.seen.tokens, output.seen.slots.attention.detach()
    return AimeTerms(
        pixel_nll(output.reconstruction, frames, pixel_std).mean(),
        prior.kl_bound(posterior).mean(),
        stick_kl(prior.a, prior.b, concentration).mean(),
        cluster_entropy(prior.assignments(posterior)),
        tokens.commitment,
        F.mse_loss(tokens.reconstruction.float(), frames.flatten(0, 1)),
        F.cross_entropy(output.code_logits.float().flatten(0, -2), tokens.indices.flatten()),
        attention_kl(attention, output.attention_prior).mean(),
        (centres(attention) - centres(output.attention_prior)).square().sum(-1).mean(),
        overlap(output.seen.slots.attention.float()).mean(),
    )


def pixel_nll(prediction: Tensor, frames: Tensor, std: float) -> Tensor:
    """Negative log-density in nats of frames [..., 3, S, S] under Gaussians of one std: [...]."""
    squares = (prediction.float() - frames).square().sum((-3, -2, -1))
    num_values = math.prod(frames.shape[-3:])
    return squares / (2 * std**2) + num_values * math.log(std * math.sqrt(2 * math.pi))


def cluster_entropy(assignments: Tensor) -> Tensor:
    """Entropy of a step's assignment, less that of the mean assignment, of [..., K]; nats.

    The negative mutual information of step and component: smallest where every step belongs to
    one component and all components have as many.
    """
    flat = assignments.flatten(0, -2)  # [N, K]
    return _entropy(flat).mean() - _entropy(flat.mean(0))


def beta_at(epoch: float, config: AimeLossConfig) -> float:
    """Weight of the divergences after so many passes: a line from 0, then constant."""
    if config.beta_epochs == 0:
        return config.beta
    return config.beta * min(epoch / config.beta_epochs, 1.0)


class Answers(NamedTuple):
    """What is done against collapse: factors on weights, 1 where nothing collapsed."""

    beta: float = 1.0
    cluster_entropy: float = 1.0
    slot_diversity: float = 1.0


def aggregate(
    terms: AimeTerms,
    config: AimeLossConfig,
    beta: float,
    answers: Answers = Answers(),  # noqa: B008
) -> dict[str, Tensor]:
    """Return the loss of every task; each term is in exactly one of them."""
    divergence = beta * answers.beta * (terms.kl + terms.stick_kl)
    clusters = config.cluster_entropy * answers.cluster_entropy * terms.cluster_entropy
    diversity = config.slot_diversity * answers.slot_diversity * terms.slot_diversity
    return {
        ELBO: config.elbo_scale * (terms.reconstruction + divergence + clusters),
        PERCEIVER: config.commitment * terms.commitment
        + config.token_reconstruction * terms.token_reconstruction
        + config.context_prediction * terms.context_prediction,
        PREDICTIVE: config.attention_kl * terms.attention_kl
        + config.attention_dynamics * terms.attention_dynamics
        + diversity,
    }


def metrics_of(terms: AimeTerms, tasks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return all that to report, without gradient, under short names."""
    named = {**terms._asdict(), 'negative_elbo': terms.negative_elbo}
    named |= {f'task_{name}': loss for name, loss in tasks.items()}
    return {name: value.detach() for name, value in named.items()}


def _entropy(shares: Tensor) -> Tensor:
    return -(shares * shares.clamp_min(_LEAST_SHARE).log()).sum(-1)
