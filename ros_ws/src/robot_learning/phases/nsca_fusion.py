"""Learns to fuse: one state from whatever is sensed, that says what the other senses say."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from robot_learning.config import STRICT
from robot_learning.models.nsca.config import MODALITIES, MomentWindow, NscaModelConfig
from robot_learning.models.nsca.fusion import LatentPredictor
from robot_learning.models.nsca.perception import Moment, Perception, Sensed
from robot_learning.phases.nsca_augmentation import (
    ImageAugmentationConfig,
    SoundAugmentationConfig,
    augment_images,
    augment_sounds,
)
from robot_learning.phases.nsca_data import moment_at, whole
from robot_learning.phases.nsca_encoded import drawn_moments, is_encoded, sensed_whole
from robot_learning.phases.nsca_losses import (
    covariance_loss,
    cross_modal_nt_xent,
    latent_prediction_loss,
    refuse_collapse,
    spread_of,
    variance_loss,
)
from robot_learning.phases.passes import Losses, summed_gradients
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.phases.phase import Batch
from robot_learning.phases.state import Part

PHASE = 'nsca_fusion'
Sense = Literal['vision', 'audio', 'proprioception']
_ADVICE = 'raise regularisation_weight or lower learning_rate.'
_FOLLOWS = 0.1  # How much of a batch's mean and spread the scale of latents takes over.


@dataclass(frozen=True, config=STRICT)
class FusionLossConfig:
    """What the three parts of the loss weigh: prediction 1, and these."""

    consistency_weight: NonNegativeFloat = 1.0
    regularisation_weight: NonNegativeFloat = 0.1
    temperature: PositiveFloat = 0.1  # Of consistency.
    noise: NonNegativeFloat = 0.3  # Added to whitened latents while learning.
    absent: Annotated[float, Field(ge=0, lt=1)] = 0.3  # Senses that are hidden while learning.
    same: Literal['sample', 'class'] = 'sample'  # What belongs together across senses.
    smallest_std: NonNegativeFloat = 0.01  # Of held-out states; below it they have collapsed.
    smallest_rank: Annotated[float, Field(ge=1)] = 2.0


@dataclass(frozen=True, config=STRICT)
class FusionPhaseConfig:
    """Of phase fusion."""

    passes: PassesConfig = PassesConfig(epochs=50)
    senses: Annotated[tuple[Sense, ...], Field(min_length=2)] = (
        'vision',
        'audio',
        'proprioception',
    )
    loss: FusionLossConfig = FusionLossConfig()
    window: MomentWindow = MomentWindow()
    whitening: PositiveFloat = 0.3  # Shrinkage, see `Whitening.fit`.
    train_encoders: bool = False  # Eyes and ears learn along, unwhitened.
    looks: ImageAugmentationConfig | None = None  # How pictures vary while learning.
    hearings: SoundAugmentationConfig | None = None  # How sounds do.

    @property
    def encodes_once(self) -> bool:
        """Whether samples can be encoded before learning: eyes, ears and what they get stay."""
        return not self.train_encoders and self.looks is None and self.hearings is None


@dataclass(frozen=True, config=STRICT)
class FusionManifest:
    """What a version says of its making."""

    model: NscaModelConfig
    phase: FusionPhaseConfig


class FusionModule(nn.Module):
    """Perception, and what the state must be able to say; eyes and ears may be frozen."""

    def __init__(self, config: NscaModelConfig, train_encoders: bool = False):
        super().__init__()
        self.perception = Perception(config)
        self.predictor = LatentPredictor(config)
        encoders = [self.perception.vision, self.perception.audio]
        self._frozen = [] if train_encoders else encoders
        for encoder in self._frozen:
            encoder.requires_grad_(False)

    def train(self, mode: bool = True) -> FusionModule:
        """Leave the frozen encoders as they are in use."""
        super().train(mode)
        for encoder in self._frozen:
            encoder.eval()
        return self


def fusion_losses(
    perception: Perception,
    predictor: LatentPredictor,
    sensed: Sensed,
    labels: Tensor,
    config: FusionLossConfig,
) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Prediction + lambda consistency + lambda regularisation, of one batch of moments.

    Prediction: the state, from some of the senses, says what all of them say. Consistency: states
    from single senses belong together. Regularisation: states, and the latents of a body that
    learns along, differ from each other in every dimension (VICReg).

    Returns:
        The loss, its parts, and the states [B, S].
    """
    latents, is_there = sensed
    noise = config.noise if perception.fusion.training else 0.0
    state = perception.fusion(latents, _kept(is_there, config.absent), noise)
    if perception.fusion.training:
        perception.scale.follow(latents.detach(), _FOLLOWS)
    target = perception.scale(latents)
    prediction = latent_prediction_loss(predictor(state), target.detach(), is_there)
    senses = [index for index in range(len(MODALITIES)) if bool(is_there[:, index].all())]
    alone = {index: perception.fusion(latents, _only(is_there, index), noise) for index in senses}
    is_same = _same(labels, config.same)
    pairs = [
        cross_modal_nt_xent(alone[a], alone[b], is_same, config.temperature)
        for a, b in itertools.combinations(senses, 2)
    ]
    consistency = torch.stack(pairs).mean() if pairs else state.sum() * 0.0
    regularisation = variance_loss(state) + 0.04 * covariance_loss(state)
    body = MODALITIES.index('proprioception')
    if body in senses:
        regularisation = regularisation + variance_loss(latents[:, body])
    loss = (
        prediction
        + config.consistency_weight * consistency
        + config.regularisation_weight * regularisation
    )
    parts = {
        'nsca/prediction': prediction.detach(),
        'nsca/consistency': consistency.detach(),
        'nsca/regularisation': regularisation.detach(),
    }
    return loss, parts, state


class FusionObjective:
    """Moments of samples, encoded or raw; see `passes.Objective` and `EncodedSamples`."""

    def __init__(self, model: NscaModelConfig, config: FusionPhaseConfig):
        self.config = FusionManifest(model, config)
        self._fusion = FusionModule(model, config.train_encoders)
        self.module: nn.Module = self._fusion

    @property
    def perception(self) -> Perception:
        """What is learned, with the encoders that it stands on."""
        return self._fusion.perception

    @property
    def parts(self) -> Mapping[str, Part]:
        """Nothing beside the module."""
        return {}

    def fit(self, latents: Tensor) -> None:
        """Whiten what eyes and ears say, before learning begins; [N, M, latent_size]."""
        senses = [
            index
            for index, sense in enumerate(MODALITIES)
            if sense in self.config.phase.senses and sense != 'proprioception'
        ]
        self.perception.fusion.whitening.fit(latents, senses, self.config.phase.whitening)

    def losses(self, batch: Batch, done: float) -> Losses:
        """Fuse a random moment of every sample."""
        sensed = self._sensed(batch, is_learning=True)
        loss, parts, _ = fusion_losses(
            self.perception,
            self._fusion.predictor,
            sensed,
            _labels(batch),
            self.config.phase.loss,
        )
        return Losses({'nsca': loss}, parts)

    def combined(self, gradients: Mapping[str, Sequence[Tensor]]) -> Sequence[Tensor]:
        """Sum."""
        return summed_gradients(gradients)

    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Fuse whole held-out samples, and find their sounds by their pictures."""
        config = self.config.phase
        sums: dict[str, float] = {}
        states, count = [], 0
        for batch in batches:
            sensed = self._sensed(batch, is_learning=False)
            _, parts, _ = fusion_losses(
                self.perception, self._fusion.predictor, sensed, _labels(batch), config.loss
            )
            states.append(self.perception.fusion(*sensed).float().cpu())
            size = len(states[-1])
            count += size
            for name, value in parts.items():
                key = name.replace('nsca/', 'held_out/')
                sums[key] = sums.get(key, 0.0) + size * float(value)
        spread = spread_of(torch.cat(states))
        refuse_collapse(
            PHASE, spread, config.loss.smallest_std, config.loss.smallest_rank, _ADVICE
        )
        means = {name: value / count for name, value in sums.items()}
        return {
            **means,
            'held_out/std': spread.std,
            'held_out/effective_rank': spread.effective_rank,
        }

    def score(self, metrics: Mapping[str, float]) -> float:
        """Less surprise is better."""
        weight = self.config.phase.loss.consistency_weight
        return -(metrics['held_out/prediction'] + weight * metrics['held_out/consistency'])

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Publish perception as a whole, and what predicts latents."""
        return dict(self.module.state_dict()), {
            'kind': PHASE,
            'senses': list(self.config.phase.senses),
        }

    def _sensed(self, batch: Batch, is_learning: bool) -> Sensed:
        """Sense a moment; what is measured is the whole, as far as there is one."""
        phase = self.config.phase
        if is_encoded(batch):
            if 'whole' in batch and not is_learning:
                return sensed_whole(batch, self.perception, phase.senses)
            return drawn_moments(batch, self.perception, phase.senses, phase.window.felt_steps)
        if 'frames' not in batch or (
            'image' in batch and (not is_learning or float(torch.rand(())) < 0.5)
        ):
            moment = whole(batch, phase.senses)
        else:
            heard = round(phase.window.heard_s * self.config.model.sample_rate)
            step = int(torch.randint(batch['frames'].shape[1], ()))
            moment = moment_at(batch, step, heard, phase.window.felt_steps, phase.senses)
        return self.perception.sense(self._varied(moment) if is_learning else moment)

    def _varied(self, moment: Moment) -> Moment:
        config, model = self.config.phase, self.config.model
        images, sounds = moment.images, moment.sounds
        if images is not None and config.looks is not None:
            images = augment_images(images, model.image_size, config.looks)
        if sounds is not None and config.hearings is not None:
            sounds = augment_sounds(sounds, model.sample_rate, config.hearings)
        return Moment(images, sounds, moment.readings)


def _labels(batch: Batch) -> Tensor:
    return batch['label']


def _kept(is_there: Tensor, absent: float) -> Tensor:
    """Hide some senses of each row, never all."""
    drawn = torch.rand(is_there.shape, device=is_there.device)
    kept = is_there & (drawn >= absent)
    last = torch.where(is_there, drawn, -1.0).argmax(1, keepdim=True)
    return kept | torch.zeros_like(kept).scatter(1, last, True)


def _only(is_there: Tensor, sense: int) -> Tensor:
    only = torch.zeros_like(is_there)
    only[:, sense] = is_there[:, sense]
    return only


def _same(labels: Tensor, same: str) -> Tensor:
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    if same == 'sample':
        return itself
    return itself | ((labels[:, None] == labels) & (labels[:, None] >= 0))
