"""Learns everything jointly: senses, fusion, dynamics, and what states say about objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from robot_learning.config import STRICT
from robot_learning.models.nsca.config import PROPERTIES, MomentWindow, NscaModelConfig
from robot_learning.models.nsca.perception import Sensed
from robot_learning.models.nsca.whole import NscaModel
from robot_learning.phases.nsca_dynamics import DynamicsLossConfig, HorizonErrors, imagined_losses
from robot_learning.phases.nsca_encoded import encoded, is_encoded, sensed_steps, sensed_whole
from robot_learning.phases.nsca_fusion import FusionLossConfig, fusion_losses
from robot_learning.phases.nsca_losses import outcome_loss, refuse_collapse, spread_of
from robot_learning.phases.passes import Losses, summed_gradients
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.phases.phase import Batch
from robot_learning.phases.state import Part

PHASE = 'nsca_full'
_ADVICE = 'raise fusion_weight or lower learning_rate.'
_FOLLOWS = 0.02  # How much of a batch's mean and spread the scale of states takes over.


@dataclass(frozen=True, config=STRICT)
class FullPhaseConfig:
    """Of phase full."""

    passes: PassesConfig = PassesConfig(epochs=30, batch_size=16)
    fusion: FusionLossConfig = FusionLossConfig()
    dynamics: DynamicsLossConfig = DynamicsLossConfig()
    train_encoders: bool = True  # Eyes and ears learn along; without, a pass is far cheaper.
    fusion_weight: NonNegativeFloat = 1.0
    dynamics_weight: NonNegativeFloat = 1.0
    property_weight: NonNegativeFloat = 5.0
    outcome_weight: NonNegativeFloat = 1.0


@dataclass(frozen=True, config=STRICT)
class FullManifest:
    """What a version says of its making."""

    model: NscaModelConfig
    phase: FullPhaseConfig
    senses: Annotated[tuple[str, ...], Field(min_length=1)]
    window: MomentWindow


class FullModule(NscaModel):
    """All of NSCA, eyes and ears frozen or not."""

    def __init__(self, config: NscaModelConfig, train_encoders: bool):
        super().__init__(config)
        self.train_encoders = train_encoders
        if not train_encoders:
            self.perception.vision.requires_grad_(False)
            self.perception.audio.requires_grad_(False)

    def train(self, mode: bool = True) -> FullModule:
        """Leave frozen encoders as they are in use."""
        super().train(mode)
        if not self.train_encoders:
            self.perception.vision.eval()
            self.perception.audio.eval()
        return self


class FullObjective:
    """Whole episodes; see `passes.Objective`. Batches are raw samples or encoded ones."""

    def __init__(
        self,
        model: NscaModelConfig,
        config: FullPhaseConfig,
        senses: Sequence[str],
        window: MomentWindow,
    ):
        self.config = FullManifest(model, config, tuple(senses), window)
        self.full = FullModule(model, config.train_encoders)
        self.full.world.temporal.is_checkpointed = config.dynamics.gradient_checkpointing
        self.module: nn.Module = self.full
        self._has_outcomes = False

    @property
    def parts(self) -> Mapping[str, Part]:
        """Nothing beside the module."""
        return {}

    def losses(self, batch: Batch, done: float) -> Losses:
        """Everything at once."""
        config, full = self.config.phase, self.full
        batch = self._encoded(batch)
        sensed, states = self._states(batch)
        self._follow(states.detach())
        some = self._some(batch, sensed, states.shape[1])
        fusion, parts, _ = fusion_losses(
            full.perception, full.predictor, some, batch['label'], config.fusion
        )
        error, score = imagined_losses(full.world, states, batch['action'], config.dynamics)
        properties = self._property_loss(states, batch)
        outcomes = self._outcome_loss(states, batch)
        loss = (
            config.fusion_weight * fusion
            + config.dynamics_weight * (error + config.dynamics.calibration_weight * score)
            + config.property_weight * properties
            + config.outcome_weight * outcomes
        )
        metrics = {
            **parts,
            'nsca/error': error.detach(),
            'nsca/score': score.detach(),
            'nsca/properties': properties.detach(),
            'nsca/outcomes': outcomes.detach(),
        }
        return Losses({'nsca': loss}, metrics)

    def combined(self, gradients: Mapping[str, Sequence[Tensor]]) -> Sequence[Tensor]:
        """Sum."""
        return summed_gradients(gradients)

    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure futures, properties and the spread of states on held-out episodes."""
        errors = HorizonErrors(self.config.phase.dynamics.horizon)
        everything, squared, known = [], 0.0, 0.0
        outcome, num_outcomes = 0.0, 0
        for raw in batches:
            batch = self._encoded(raw)
            _, states = self._states(batch)
            errors.add(self.full.world, states, batch['action'])
            everything.append(states.flatten(0, 1).float().cpu())
            is_known = batch['properties'].isfinite()
            found = self._property_loss(states, batch)
            squared += float(found) * float(is_known.sum())
            known += float(is_known.sum())
            if 'outcome' in batch:
                outcome += len(states) * float(self._outcome_loss(states, batch))
                num_outcomes += len(states)
        loss = self.config.phase.fusion
        spread = spread_of(torch.cat(everything))
        self.full.novelty.fit(torch.cat(everything).to(self.full.world.mean.device))
        refuse_collapse(PHASE, spread, loss.smallest_std, loss.smallest_rank, _ADVICE)
        metrics = {
            **errors.calibrated(self.full.world),
            'held_out/std': spread.std,
            'held_out/effective_rank': spread.effective_rank,
        }
        if known:
            metrics['held_out/property_error'] = squared / known
        if num_outcomes:
            metrics['held_out/outcome_loss'] = outcome / num_outcomes
        return metrics

    def score(self, metrics: Mapping[str, float]) -> float:
        """Less error of futures, relative to persistence, and of properties is better."""
        relative = metrics['held_out/error'] / max(metrics['held_out/persistence'], 1e-12)
        return -(relative + 10 * metrics.get('held_out/property_error', 0.0))

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Publish everything."""
        return dict(self.module.state_dict()), {
            'kind': PHASE,
            'senses': list(self.config.senses),
            'properties': list(PROPERTIES),
            'has_outcomes': self._has_outcomes,
        }

    def _encoded(self, batch: Batch) -> Batch:
        if is_encoded(batch):
            return batch
        is_learning = self.full.training and self.full.train_encoders
        with torch.set_grad_enabled(is_learning):
            return encoded(batch, self.full.perception, self.config.senses, self.config.window)

    def _states(self, batch: Batch) -> tuple[Sensed, Tensor]:
        """Return what every step's senses say, and the states [B, T, S]."""
        perception, window = self.full.perception, self.config.window
        sensed = sensed_steps(batch, perception, self.config.senses, window.felt_steps)
        states = perception.fusion(*sensed)
        return sensed, states.unflatten(0, batch['action'].shape[:2])

    def _some(self, batch: Batch, sensed: Sensed, length: int) -> Sensed:
        """Return a moment of each sample: a step at random, or half the time the whole."""
        if 'whole' in batch and float(torch.rand(())) < 0.5:
            return sensed_whole(batch, self.full.perception, self.config.senses)
        count = len(sensed.latents) // length
        rows = torch.arange(count) * length + torch.randint(length, (count,))
        return Sensed(sensed.latents[rows], sensed.is_there[rows])

    @torch.no_grad()
    def _follow(self, states: Tensor) -> None:
        """Let the scale of states follow them."""
        world, flat = self.full.world, states.flatten(0, 1).float()
        world.mean.lerp_(flat.mean(0), _FOLLOWS)
        scale = flat.var(0).mean().sqrt().clamp(min=1e-6)
        world.scale.lerp_(scale.expand_as(world.scale), _FOLLOWS)

    def _contexts(self, states: Tensor, actions: Tensor) -> Tensor:
        world = self.full.world
        contexts: Tensor = world.temporal(world.scaled(states), actions)
        return contexts

    def _property_loss(self, states: Tensor, batch: Batch) -> Tensor:
        """Squared error of known properties, read off at the end of the episode."""
        truth = batch['properties']
        is_known = truth.isfinite()
        context = self._contexts(states, batch['action'])[:, -1]
        error = (self.full.properties(context) - truth.nan_to_num()).square() * is_known
        found: Tensor = error.sum() / is_known.sum().clamp(min=1)
        return found

    def _outcome_loss(self, states: Tensor, batch: Batch) -> Tensor:
        """Reward and end of known steps; 0 for data that hold none."""
        if 'outcome' not in batch:
            return states.sum() * 0.0
        self._has_outcomes = True
        found = self.full.outcomes(self.full.world.scaled(states))
        return outcome_loss(found, batch['outcome'])
