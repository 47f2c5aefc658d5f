"""Learns to hear: two hearings of one sound are the same, hearings of others are not."""

from __future__ import annotations

from pydantic.dataclasses import dataclass
from torch import Tensor

from robot_learning.config import STRICT
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.models.nsca.course import ear
from robot_learning.phases.nsca_augmentation import SoundAugmentationConfig, augment_sounds
from robot_learning.phases.nsca_contrast import ContrastConfig, ContrastiveObjective, Sense
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.phases.phase import Batch

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


def audio_objective(model: NscaModelConfig, config: AudioPhaseConfig) -> ContrastiveObjective:
    """Two hearings of each sound of a batch."""

    def as_is(batch: Batch) -> Tensor:
        return batch['sound']

    def hearing(batch: Batch) -> Tensor:
        return augment_sounds(as_is(batch), model.sample_rate, config.augmentation)

    encoder = ear(model)
    sense = Sense('audio', 'nsca_audio', encoder, model.latent_size, as_is, hearing, _ADVICE)
    return ContrastiveObjective(AudioManifest(model, config), sense, config.contrast)
