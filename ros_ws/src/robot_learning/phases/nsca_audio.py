"""Learns to hear: two hearings of one sound are the same, hearings of others are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from robot_learning.config import STRICT
from robot_learning.models.nsca.audio import AudioEncoder
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.phases.nsca_augmentation import SoundAugmentationConfig, augment_sounds
from robot_learning.phases.nsca_vision import (
    ContrastConfig,
    ContrastiveModule,
    contrastive_losses,
    contrastive_measures,
)
from robot_learning.phases.passes import Losses, summed_gradients
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.phases.phase import Batch
from robot_learning.phases.state import Part

PHASE = 'nsca_audio'
_ADVICE = 'raise variance_weight, lower learning_rate, or shorten window_s.'


@dataclass(frozen=True, config=STRICT)
class AudioPhaseConfig:
    """Of phase audio."""

    passes: PassesConfig = PassesConfig(epochs=30)
    contrast: ContrastConfig = ContrastConfig()
    augmentation: SoundAugmentationConfig = SoundAugmentationConfig()


@dataclass(frozen=True, config=STRICT)
class AudioManifest:
    """What a version says of its making."""

    model: NscaModelConfig
    phase: AudioPhaseConfig


class AudioObjective:
    """Two hearings of each sound of a batch; see `passes.Objective`."""

    def __init__(self, model: NscaModelConfig, config: AudioPhaseConfig):
        self.config = AudioManifest(model, config)
        self.module: nn.Module = ContrastiveModule(
            AudioEncoder(model), model.latent_size, config.contrast.projection_size
        )

    @property
    def parts(self) -> Mapping[str, Part]:
        """Nothing beside the module."""
        return {}

    def losses(self, batch: Batch, done: float) -> Losses:
        """Compare two hearings."""
        return contrastive_losses(self.module, *self._hearings(batch), self.config.phase.contrast)

    def combined(self, gradients: Mapping[str, Sequence[Tensor]]) -> Sequence[Tensor]:
        """Sum."""
        return summed_gradients(gradients)

    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Compare two hearings of held-out sounds, among those of the same batch."""

        def pairs() -> Iterable[tuple[Tensor, Tensor, Tensor]]:
            for batch in batches:
                latents, _ = self.module(batch['sound'])
                first, second = (self.module(hearing)[1] for hearing in self._hearings(batch))
                yield latents, first, second

        return contrastive_measures(pairs(), self.config.phase.contrast, PHASE, _ADVICE)

    def score(self, metrics: Mapping[str, float]) -> float:
        """Less confusion is better."""
        return -metrics['held_out/contrast']

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Publish the encoder."""
        encoder = self.module.encoder
        assert isinstance(encoder, nn.Module), 'of ContrastiveModule'
        tensors = {f'audio.{key}': value for key, value in encoder.state_dict().items()}
        return tensors, {'kind': PHASE}

    def _hearings(self, batch: Batch) -> tuple[Tensor, Tensor]:
        config, rate = self.config.phase.augmentation, self.config.model.sample_rate
        return (
            augment_sounds(batch['sound'], rate, config),
            augment_sounds(batch['sound'], rate, config),
        )
