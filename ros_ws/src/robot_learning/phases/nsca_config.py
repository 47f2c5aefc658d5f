"""Settings of all NSCA phases, in one file."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning import config, contract
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.phases import recipe
from robot_learning.phases.nsca_audio import AudioPhaseConfig
from robot_learning.phases.nsca_dynamics import DynamicsPhaseConfig
from robot_learning.phases.nsca_full import FullPhaseConfig
from robot_learning.phases.nsca_fusion import FusionPhaseConfig
from robot_learning.phases.nsca_vision import VisionPhaseConfig

MODE = 'nsca'
PHASES = ('vision', 'audio', 'fusion', 'dynamics', 'full')  # In the order of `--phase all`.
NAMES = (MODE, *(f'{MODE}_{name}' for name in PHASES))  # Of phases, for trainers beside robots.
SENSES = ('vision', 'audio')  # That have a phase of their own.


@dataclass(frozen=True, config=STRICT)
class FollowConfig:
    """When a trainer beside a robot learns, and from how much."""

    first_steps: PositiveInt = 2000  # Recorded before the first round.
    growth: PositiveFloat = 0.5  # New steps before the next round, as a part of the last one's.
    most_steps: PositiveInt = 50_000  # Newest segments that a round learns from hold so many.
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.2  # Part of the episodes to measure on.
    continue_weights: bool = True  # A round begins where the version that serves ended.


@dataclass(frozen=True, config=STRICT)
class NscaConfig:
    """Below `config:` of the file; every key has the guide's value unless given."""

    model: NscaModelConfig = NscaModelConfig()
    vision: VisionPhaseConfig = VisionPhaseConfig()
    audio: AudioPhaseConfig = AudioPhaseConfig()
    fusion: FusionPhaseConfig = FusionPhaseConfig()
    dynamics: DynamicsPhaseConfig = DynamicsPhaseConfig()
    full: FullPhaseConfig = FullPhaseConfig()
    follow: FollowConfig = FollowConfig()

    def phases(self) -> tuple[str, ...]:
        """Return all phases that the chosen senses need, in order."""
        return tuple(n for n in PHASES if n not in SENSES or n in self.fusion.senses)


@dataclass(frozen=True, config=STRICT)
class _File:
    """The keys of the file."""

    phase: str
    config: dict[str, Any] = field(default_factory=dict)


def load(path: Path | str | None = None, overrides: str = '') -> NscaConfig:
    """Read the settings.

    Args:
        path: YAML file; None: `config/phases/nsca.yaml`.
        overrides: YAML text that replaces some of its keys.

    Raises:
        ConfigError: names every unknown key and wrong value.
    """
    where = Path(path) if path else shipped(f'{MODE}.yaml')
    data, lines = config.load_yaml(where)
    if overrides.strip():
        data, lines = recipe.merged(data, recipe.parsed(overrides)), {}
    content = config.from_mapping(_File, data, str(where), lines)
    if content.phase != MODE:
        raise ConfigError(
            f'{where}: is for phase {content.phase!r}, expected {MODE!r}. Name another file.'
        )
    shifted = {key[1:]: line for key, line in lines.items() if key[:1] == ('config',)}
    return config.from_mapping(NscaConfig, content.config, f'{where}: config', shifted)


def shipped(name: str) -> Path:
    """Return where a file of settings lies that comes with the package."""
    return contract.robots_directory().parent / 'phases' / name
