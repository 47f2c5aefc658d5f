"""Puts a trainer together from plain settings; the command and the node use the same."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError, NotEnoughDataError
from robot_learning.model_signatures import Signer
from robot_learning.model_store import ModelStore
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.curves import Curves
from robot_learning.phases.data_parallel import Leader, Others, follow
from robot_learning.phases.devices import CPU
from robot_learning.phases.experience import Experience
from robot_learning.phases.phase import PHASES, Phase, Rollout
from robot_learning.phases.process_group import Place
from robot_learning.phases.publishing import Publisher
from robot_learning.phases.recipe import Recipe
from robot_learning.phases.trainer import Trainer
from robot_learning.phases.validation import Split, Validation
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.store import TrajectoryStore


@dataclasses.dataclass(frozen=True)
class Destination:
    """Where results go: versions, and `<output>/{checkpoints,tensorboard}/<model>-<phase>`."""

    models: Path  # Model store.
    model_name: str
    output: Path | None = None  # None: no curves, and nothing to go on from later.
    signer: Signer | None = None  # None: versions are not signed.

    def of_phase(self, phase: str) -> Destination:
        """Return where a phase goes that shares the name with others.

        Versions that cannot drive have a name of their own, NAME-PHASE: whoever follows NAME to
        drive would only refuse them.
        """
        if getattr(PHASES.get(phase), 'drives', True):
            return self
        return dataclasses.replace(self, model_name=f'{self.model_name}-{phase}')

    def checkpoints(self, phase: str) -> CheckpointFolder | None:
        """Return where a phase's checkpoints lie."""
        return CheckpointFolder(self._folder('checkpoints', phase)) if self.output else None

    def claimed(self, phase: str) -> contextlib.AbstractContextManager[None]:
        """Keep other trainers of this phase and model from the output; see `CheckpointFolder`."""
        folder = self.checkpoints(phase)
        return folder.claimed() if folder else contextlib.nullcontext()

    def curves(self, phase: str) -> Curves | None:
        """Return where a phase's curves go."""
        return Curves(self._folder('tensorboard', phase)) if self.output else None

    def _folder(self, kind: str, phase: str) -> Path:
        assert self.output is not None, 'only asked with an output'
        return self.output / kind / f'{self.model_name}-{phase}'


def follow_store(
    contract: RobotContract,
    recipe: Recipe,
    store: Path,
    destination: Destination,
    seed: int,
    demonstrations: Sequence[Episode] = (),
    train_ratio: float | None = None,
    device: torch.device = CPU,
) -> Trainer:
    """Return a trainer that learns from a growing store; it goes on where it was stopped."""
    experience = _experience(contract, recipe, seed, TrajectoryStore(store))
    if demonstrations:
        experience.append_demonstrations(demonstrations, 'demonstrations')
        _check_usable(experience, experience.num_demonstrations, 'demonstrations', recipe)
    trainer = _trainer(
        recipe, experience, destination, seed, train_ratio=train_ratio, device=device
    )
    trainer.resume()
    return trainer


def learn_offline(
    contract: RobotContract,
    recipe: Recipe,
    split: Split,
    source: str,
    destination: Destination,
    seed: int,
    device: torch.device = CPU,
    others: Others | None = None,
) -> Trainer:
    """Return a trainer over data that does not grow, measured on its held-out part.

    Args:
        contract: of the robot that learns.
        recipe: phase and settings.
        split: the data.
        source: its name.
        destination: where results go.
        seed: of weights, noise and sampling.
        device: where the phase computes.
        others: processes that `follow_offline` over the same data; None: there are none.
    """
    warm = dataclasses.replace(recipe.trainer, warmup_steps=0)
    recipe = Recipe(recipe.phase_name, recipe.phase_config, warm)
    experience = _recorded(contract, recipe, split, source, seed)
    validation = Validation(experience, split.held_out)
    ratio = float('inf')
    trainer = _trainer(recipe, experience, destination, seed, validation, ratio, device, others)
    trainer.resume()
    return trainer


def follow_offline(
    contract: RobotContract,
    recipe: Recipe,
    split: Split,
    source: str,
    seed: int,
    device: torch.device,
    place: Place,
    should_stop: Callable[[], bool],
) -> None:
    """Take part in what the first process learns offline, until it ends; see `learn_offline`."""
    experience = _recorded(contract, recipe, split, source, seed + place.rank)
    phase = _phase(recipe, experience, seed + place.rank, device, is_recorded=True)
    follow(phase, experience, place, should_stop)


def _recorded(
    contract: RobotContract, recipe: Recipe, split: Split, source: str, seed: int
) -> Experience:
    experience = _experience(contract, recipe, seed, None)
    # What was never done here will never be tried either: away from the data critics are wrong
    # unnoticed, and only staying close helps (Fujimoto & Gu 2021, arXiv 2106.06860).
    experience.append(split.training, source, are_demonstrations=True)
    _check_usable(experience, experience.num_steps, source, recipe)
    return experience


def _check_usable(experience: Experience, num_steps: int, source: str, recipe: Recipe) -> None:
    if num_steps >= 2:
        return
    found = [*dict.fromkeys(experience.skipped), experience.lacks_rewards]
    reasons = ' '.join(filter(None, found)) or 'There were no episodes.'
    raise NotEnoughDataError(
        f'{source}: {num_steps} usable steps for {recipe.phase_name}, expected 2 or more. '
        f'{reasons} Record more, or choose a phase that can use these data.'
    )


def _experience(
    contract: RobotContract, recipe: Recipe, seed: int, store: TrajectoryStore | None
) -> Experience:
    config = recipe.trainer
    return Experience(
        contract,
        config.capacity,
        seed,
        store,
        config.demonstration_ratio,
        config.interventions_as_demonstrations,
        config.images,
        getattr(recipe.phase_class, 'needs_reward', False),
    )


def _trainer(
    recipe: Recipe,
    experience: Experience,
    destination: Destination,
    seed: int,
    validation: Validation | None = None,
    train_ratio: float | None = None,
    device: torch.device = CPU,
    others: Others | None = None,
) -> Trainer:
    config = recipe.trainer
    publisher = Publisher(
        ModelStore(destination.models, signer=destination.signer),
        destination.model_name,
        recipe.phase_name,
        seed,
        config.keep_best,
        config.keep_newest,
    )
    phase = _phase(recipe, experience, seed, device, validation is not None)
    if others is not None and others.size > 1:
        phase = cast(Any, Leader(phase, others))
    checkpoints = destination.checkpoints(recipe.phase_name)
    return Trainer(phase, experience, publisher, config, checkpoints, validation, train_ratio)


def _phase(
    recipe: Recipe, experience: Experience, seed: int, device: torch.device, is_recorded: bool
) -> Phase:
    phase = recipe.phase_class(recipe.phase_config, experience.space, seed, device=device)
    if is_recorded and isinstance(phase.draws, Rollout):
        raise ConfigError(
            f'{recipe.phase_name}: learns only from what its own newest version drives, and these '
            f'data are recorded. Train it with --env or ./run up --phase {recipe.phase_name}, or '
            f'take sac, which learns from any data.'
        )
    return phase
