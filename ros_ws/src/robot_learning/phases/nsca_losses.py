"""Losses of the NSCA phases, and the watch over collapse."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from robot_learning.errors import TrainingError
from robot_learning.models.nsca.heads import Outcomes
from robot_learning.models.two_hot import symlog

_EPSILON = 1e-4


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Tell each pair of views apart from all other views (Chen et al. 2020, equation 1).

    Args:
        first: [B, D], any length.
        second: [B, D], row by row another view of the same.
        temperature: of the similarities.

    Returns:
        The mean over all 2 B views.
    """
    views = F.normalize(torch.cat([first, second]).float(), dim=1)
    similar = views @ views.T / temperature
    is_itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    similar = similar.masked_fill(is_itself, -math.inf)
    partner = torch.arange(len(views), device=views.device).roll(len(first))
    return F.cross_entropy(similar, partner)


def variance_loss(latents: Tensor, target: float = 1.0) -> Tensor:
    """Push the spread of each dimension up to `target` (Bardes et al. 2022, VICReg, equation 1).

    Args:
        latents: [B, D], B of at least 2.
        target: standard deviation beyond which nothing is gained.
    """
    spread = (latents.float().var(0) + _EPSILON).sqrt()
    return F.relu(target - spread).mean()


def covariance_loss(latents: Tensor) -> Tensor:
    """Push dimensions to differ from each other (VICReg, equation 4); [B, D], B of at least 2."""
    centred = latents.float() - latents.float().mean(0)
    covariance = centred.T @ centred / (len(latents) - 1)
    off = covariance - torch.diag(covariance.diagonal())
    return off.square().sum() / latents.shape[1]


def cross_modal_nt_xent(
    first: Tensor, second: Tensor, is_same: Tensor, temperature: float
) -> Tensor:
    """Tell what of one sense belongs to what of another (Radford et al. 2021, section 2.3).

    Where several belong together, each of them counts alike (Khosla et al. 2020, equation 2).

    Args:
        first: [B, D].
        second: [B, D].
        is_same: [B, B] bool, rows of `first` and columns of `second` that belong together;
            symmetric, and True on the diagonal.
        temperature: of the similarities.

    Returns:
        The mean of both directions.
    """
    similar = F.normalize(first.float(), dim=1) @ F.normalize(second.float(), dim=1).T
    similar = similar / temperature
    weight = is_same.float() / is_same.sum(1, keepdim=True)
    there = -(weight * similar.log_softmax(1)).sum(1).mean()
    back = -(weight * similar.T.log_softmax(1)).sum(1).mean()
    return 0.5 * (there + back)


def latent_prediction_loss(predicted: Tensor, sensed: Tensor, is_there: Tensor) -> Tensor:
    """Compare predicted with sensed latents by 1 - cosine, where something was sensed.

    Args:
        predicted: [B, M, D].
        sensed: [B, M, D].
        is_there: [B, M] bool, at least one True.
    """
    distance = 1 - F.cosine_similarity(predicted.float(), sensed.float(), dim=2)
    return (distance * is_there).sum() / is_there.sum()


def gaussian_score(mean: Tensor, log_std: Tensor, target: Tensor) -> Tensor:
    """Return the negative log-likelihood of `target`, a strictly proper score, of each number.

    Gneiting & Raftery 2007, section 4.1. Without the constant log(2 pi) / 2.
    """
    return 0.5 * ((target - mean) * torch.exp(-log_std)).square() + log_std


class DynamicsLoss(NamedTuple):
    """Of predictions over several steps."""

    error: Tensor  # Mean squared error.
    calibration: Tensor  # Mean proper score; moves only the uncertainty.


def dynamics_loss(mean: Tensor, log_std: Tensor, target: Tensor, is_known: Tensor) -> DynamicsLoss:
    """Compare imagined with real states, over all steps that are known.

    The score sees the mean as a constant: who is unsure must not be excused from being right
    (Seitzer et al. 2022, "On the Pitfalls of Heteroscedastic Uncertainty Estimation").

    Args:
        mean: [B, H, S].
        log_std: [B, H, S].
        target: [B, H, S].
        is_known: [B, H] bool, at least one True.
    """
    weight = is_known.unsqueeze(2).expand_as(mean)
    count = weight.sum()
    error = ((mean - target).square() * weight).sum() / count
    score = gaussian_score(mean.detach(), log_std, target)
    return DynamicsLoss(error, (score * weight).sum() / count)


def outcome_loss(found: Outcomes, outcome: Tensor) -> Tensor:
    """Squared error of rewards after `symlog`, plus cross-entropy of ends, of known steps.

    An end is where the task terminated. Where it was truncated it had not ended: somebody merely
    stopped watching, so such a step counts as one that goes on.

    Args:
        found: [B, T] each.
        outcome: [B, T, 3], reward, terminated, truncated; NaN: unknown.
    """
    reward, terminated = outcome[..., 0], outcome[..., 1]
    off = (symlog(found.reward.float()) - symlog(reward.nan_to_num())).square()
    surprise = F.binary_cross_entropy_with_logits(
        found.end_logit.float(), terminated.nan_to_num(), reduction='none'
    )
    return _mean_of_known(off, reward) + _mean_of_known(surprise, terminated)


def _mean_of_known(values: Tensor, truth: Tensor) -> Tensor:
    is_known = truth.isfinite()
    return (values * is_known).sum() / is_known.sum().clamp(min=1)


class Spread(NamedTuple):
    """How much latents differ from each other."""

    std: float  # Mean over dimensions.
    effective_rank: float  # exp of the entropy of the covariance's spectrum; 1 to D.
    count: int  # type: ignore[assignment]  # Latents; the rank is below it, however much they differ.


def spread_of(latents: Tensor) -> Spread:
    """Measure [N, D] latents (Roy & Vetterli 2007, "The effective rank")."""
    centred = latents.double() - latents.double().mean(0)
    values = torch.linalg.svdvals(centred).square()
    shares = values / values.sum().clamp(min=1e-30)
    entropy = -(shares * shares.clamp(min=1e-30).log()).sum()
    return Spread(float(centred.std(0).mean()), float(entropy.exp()), len(latents))


def refuse_collapse(
    where: str, spread: Spread, smallest_std: float, smallest_rank: float, advice: str
) -> None:
    """Stop a training whose latents have become the same for everything.

    Raises:
        TrainingError: the spread or the rank is below what is given, or the rank below half of
            what so few latents can have.
    """
    smallest_rank = min(smallest_rank, max(1.0, (spread.count - 1) / 2))
    if spread.std >= smallest_std and spread.effective_rank >= smallest_rank:
        return
    raise TrainingError(
        f'{where}: has collapsed: spread {spread.std:.3g} and effective rank '
        f'{spread.effective_rank:.3g} on held-out data, expected at least {smallest_std:g} and '
        f'{smallest_rank:g}. The best version stays; {advice}'
    )
