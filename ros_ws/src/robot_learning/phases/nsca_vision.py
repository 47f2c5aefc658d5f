"""Learns to see: two looks at one picture are the same, looks at others are not (SimCLR)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from robot_learning.config import STRICT
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.models.nsca.vision import VisionEncoder
from robot_learning.phases.nsca_augmentation import ImageAugmentationConfig, augment_images
from robot_learning.phases.nsca_data import pictures
from robot_learning.phases.nsca_losses import nt_xent, refuse_collapse, spread_of, variance_loss
from robot_learning.phases.passes import Losses, summed_gradients
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.phases.phase import Batch
from robot_learning.phases.state import Part

PHASE = 'nsca_vision'
_ADVICE = 'raise variance_weight, lower learning_rate, or make the looks differ more.'


@dataclass(frozen=True, config=STRICT)
class ContrastConfig:
    """How views are compared, and when latents count as collapsed."""

    temperature: PositiveFloat = 0.2
    projection_size: PositiveInt = 128  # Of what is compared; thrown away afterwards.
    variance_weight: NonNegativeFloat = 1.0
    smallest_std: NonNegativeFloat = 0.01  # Of held-out latents.
    smallest_rank: Annotated[float, Field(ge=1)] = 2.0


@dataclass(frozen=True, config=STRICT)
class VisionPhaseConfig:
    """Of phase vision."""

    passes: PassesConfig = PassesConfig(epochs=50)
    contrast: ContrastConfig = ContrastConfig()
    augmentation: ImageAugmentationConfig = ImageAugmentationConfig()


@dataclass(frozen=True, config=STRICT)
class VisionManifest:
    """What a version says of its making."""

    model: NscaModelConfig
    phase: VisionPhaseConfig


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


def contrastive_losses(
    module: nn.Module, first: Tensor, second: Tensor, config: ContrastConfig
) -> Losses:
    """NT-Xent over projections plus the variance term over latents."""
    latents, projections = module(torch.cat([first, second]))
    one, other = projections.chunk(2)
    contrast = nt_xent(one, other, config.temperature)
    variance = variance_loss(latents)
    return Losses(
        {'nsca': contrast + config.variance_weight * variance},
        {'nsca/contrast': contrast.detach(), 'nsca/variance': variance.detach()},
    )


def contrastive_measures(
    pairs: Iterable[tuple[Tensor, Tensor, Tensor]], config: ContrastConfig, phase: str, advice: str
) -> dict[str, float]:
    """Return what pairs of held-out views say.

    Args:
        pairs: latents of the things as they are, and projections of two views; [B, D] each.
        config: of the comparison.
        phase: its name.
        advice: what to do about a collapse.

    Raises:
        TrainingError: the latents have collapsed.
    """
    losses, hits, latents, count = 0.0, 0.0, [], 0
    for latent, first, second in pairs:
        size = len(latent)
        latents.append(latent.float().cpu())
        if size > 1:
            losses += size * float(nt_xent(first, second, config.temperature))
            similar = nn.functional.normalize(first, dim=1) @ nn.functional.normalize(second).T
            hits += float((similar.argmax(1).cpu() == torch.arange(size)).sum())
            count += size
    spread = spread_of(torch.cat(latents))
    refuse_collapse(phase, spread, config.smallest_std, config.smallest_rank, advice)
    return {
        'held_out/contrast': losses / max(count, 1),
        'held_out/matched': hits / max(count, 1),
        'held_out/std': spread.std,
        'held_out/effective_rank': spread.effective_rank,
    }


class VisionObjective:
    """Two looks at each picture of a batch; see `passes.Objective`."""

    def __init__(self, model: NscaModelConfig, config: VisionPhaseConfig):
        self.config = VisionManifest(model, config)
        self.module: nn.Module = ContrastiveModule(
            VisionEncoder(model), model.latent_size, config.contrast.projection_size
        )

    @property
    def parts(self) -> Mapping[str, Part]:
        """Nothing beside the module."""
        return {}

    def losses(self, batch: Batch, done: float) -> Losses:
        """Compare two looks."""
        return contrastive_losses(self.module, *self._looks(batch), self.config.phase.contrast)

    def combined(self, gradients: Mapping[str, Sequence[Tensor]]) -> Sequence[Tensor]:
        """Sum."""
        return summed_gradients(gradients)

    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Compare two looks at held-out pictures, among those of the same batch."""

        def pairs() -> Iterable[tuple[Tensor, Tensor, Tensor]]:
            for batch in batches:
                latents, _ = self.module(pictures(batch['image']))
                first, second = (self.module(look)[1] for look in self._looks(batch))
                yield latents, first, second

        return contrastive_measures(pairs(), self.config.phase.contrast, PHASE, _ADVICE)

    def score(self, metrics: Mapping[str, float]) -> float:
        """Less confusion is better."""
        return -metrics['held_out/contrast']

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Publish the encoder."""
        encoder = self.module.encoder
        assert isinstance(encoder, nn.Module), 'of ContrastiveModule'
        tensors = {f'vision.{key}': value for key, value in encoder.state_dict().items()}
        return tensors, {'kind': PHASE}

    def _looks(self, batch: Batch) -> tuple[Tensor, Tensor]:
        images, size = pictures(batch['image']), self.config.model.image_size
        augmentation = self.config.phase.augmentation
        return (
            augment_images(images, size, augmentation),
            augment_images(images, size, augmentation),
        )
