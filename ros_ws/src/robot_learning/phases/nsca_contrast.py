"""What seeing and hearing learn from: two views of one thing are the same (SimCLR).

Views of one thing are pulled together, views of others apart, and a variance term keeps the
latents from collapsing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from robot_learning.config import STRICT
from robot_learning.phases.nsca_losses import (
    covariance_loss,
    nt_xent,
    refuse_collapse,
    spread_of,
    variance_loss,
)
from robot_learning.phases.passes import Losses, summed_gradients
from robot_learning.phases.phase import Batch
from robot_learning.phases.state import Part


@dataclass(frozen=True, config=STRICT)
class ContrastConfig:
    """How views are compared, and when latents count as collapsed."""

    temperature: PositiveFloat = 0.2
    projection_size: PositiveInt = 128  # Of what is compared; thrown away afterwards.
    variance_weight: NonNegativeFloat = 1.0
    covariance_weight: NonNegativeFloat = 0.0  # Keeps dimensions apart (VICReg, equation 4).
    smallest_std: NonNegativeFloat = 0.01  # Of held-out latents.
    smallest_rank: Annotated[float, Field(ge=1)] = 2.0


class Sense(NamedTuple):
    """What the views are of, and who looks at them."""

    name: str  # Of the encoder, in what is published.
    phase: str
    encoder: nn.Module
    latent_size: int
    as_is: Callable[[Batch], Tensor]
    view: Callable[[Batch], Tensor]  # Drawn anew at every call.
    advice: str  # What to do about a collapse.


class ContrastiveModule(nn.Module):
    """An encoder and the projection whose output is compared (Chen et al. 2020, section 4.2)."""

    def __init__(self, encoder: nn.Module, latent_size: int, projection_size: int):
        super().__init__()
        self.encoder = encoder
        self.projection = nn.Sequential(
            nn.Linear(latent_size, latent_size), nn.SiLU(), nn.Linear(latent_size, projection_size)
        )

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents and projections."""
        latents = self.encoder(views)
        return latents, self.projection(latents)


class ContrastiveObjective:
    """Two views of each thing of a batch; see `passes.Objective`.

    Args:
        manifest: what a version says of its making, a dataclass.
        sense: the encoder that learns, and the views.
        contrast: how they are compared.
    """

    def __init__(self, manifest: Any, sense: Sense, contrast: ContrastConfig):
        self.config = manifest
        self._sense, self._contrast = sense, contrast
        self.module: nn.Module = ContrastiveModule(
            sense.encoder, sense.latent_size, contrast.projection_size
        )

    @property
    def parts(self) -> Mapping[str, Part]:
        """Nothing beside the module."""
        return {}

    def losses(self, batch: Batch, done: float) -> Losses:
        """NT-Xent over the projections of two views, variance and covariance over latents."""
        views = [self._sense.view(batch) for _ in range(2)]
        latents, projections = self.module(torch.cat(views))
        first, second = projections.chunk(2)
        contrast = nt_xent(first, second, self._contrast.temperature)
        variance = variance_loss(latents)
        covariance = covariance_loss(latents)
        kept = self._contrast.variance_weight * variance
        kept = kept + self._contrast.covariance_weight * covariance
        return Losses(
            {'nsca': contrast + kept},
            {
                'nsca/contrast': contrast.detach(),
                'nsca/variance': variance.detach(),
                'nsca/covariance': covariance.detach(),
            },
        )

    def combined(self, gradients: Mapping[str, Sequence[Tensor]]) -> Sequence[Tensor]:
        """Sum."""
        return summed_gradients(gradients)

    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Compare two views of held-out things, among those of the same batch.

        Raises:
            TrainingError: the latents have collapsed.
        """
        losses, hits, latents, count = 0.0, 0.0, [], 0
        for batch in batches:
            latent, _ = self.module(self._sense.as_is(batch))
            views = [self._sense.view(batch) for _ in range(2)]
            first, second = (self.module(view)[1] for view in views)
            size = len(latent)
            latents.append(latent.float().cpu())
            if size > 1:
                losses += size * float(nt_xent(first, second, self._contrast.temperature))
                hits += _matched(first, second)
                count += size
        spread = spread_of(torch.cat(latents))
        smallest = self._contrast.smallest_std, self._contrast.smallest_rank
        refuse_collapse(self._sense.phase, spread, *smallest, self._sense.advice)
        return {
            'held_out/contrast': losses / max(count, 1),
            'held_out/matched': hits / max(count, 1),
            'held_out/std': spread.std,
            'held_out/effective_rank': spread.effective_rank,
        }

    def score(self, metrics: Mapping[str, float]) -> float:
        """Less confusion is better."""
        return -metrics['held_out/contrast']

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Publish the encoder."""
        weights = self._sense.encoder.state_dict()
        tensors = {f'{self._sense.name}.{key}': value for key, value in weights.items()}
        return tensors, {'kind': self._sense.phase}


def _matched(first: Tensor, second: Tensor) -> float:
    """Count the rows of `first` whose most similar row of `second` is their own."""
    similar = nn.functional.normalize(first, dim=1) @ nn.functional.normalize(second).T
    return float((similar.argmax(1).cpu() == torch.arange(len(first))).sum())
