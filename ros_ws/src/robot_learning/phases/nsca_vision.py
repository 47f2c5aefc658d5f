"""Learns to see: two looks at one picture are the same, looks at others are not."""

from __future__ import annotations

from pydantic.dataclasses import dataclass
from torch import Tensor

from robot_learning.config import STRICT
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.models.nsca.vision import VisionEncoder
from robot_learning.phases.nsca_augmentation import ImageAugmentationConfig, augment_images
from robot_learning.phases.nsca_contrast import ContrastConfig, ContrastiveObjective, Sense
from robot_learning.phases.nsca_data import pictures
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.phases.phase import Batch

_ADVICE = 'raise variance_weight, lower learning_rate, or make the looks differ more.'


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


def vision_objective(model: NscaModelConfig, config: VisionPhaseConfig) -> ContrastiveObjective:
    """Two looks at each picture of a batch."""

    def as_is(batch: Batch) -> Tensor:
        return pictures(batch['image'])

    def look(batch: Batch) -> Tensor:
        return augment_images(as_is(batch), model.image_size, config.augmentation)

    encoder = VisionEncoder(model)
    sense = Sense('vision', 'nsca_vision', encoder, model.latent_size, as_is, look, _ADVICE)
    return ContrastiveObjective(VisionManifest(model, config), sense, config.contrast)
