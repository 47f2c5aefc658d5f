"""One file per phase under `config/phases`: its registered name, hyperparameters, schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from robot_learning import config, contract, plain_yaml
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError
from robot_learning.foreign_files import printable
from robot_learning.phases.phase import PHASES, Phase
from robot_learning.phases.trainer_config import TrainerConfig


@dataclass(frozen=True, config=STRICT)
class _RecipeFile:
    """The keys of the file."""

    phase: str
    config: dict[str, Any] = field(default_factory=dict)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


class Recipe:
    """A phase and all its settings, checked."""

    def __init__(self, phase: str, phase_config: Any, trainer: TrainerConfig):
        self.phase_name = phase
        self.phase_class: type[Phase] = PHASES.get(phase)
        self.phase_config = phase_config
        self.trainer = trainer


def load(phase: str, path: Path | str | None = None, overrides: str = '') -> Recipe:
    """Read the settings of a phase.

    Args:
        phase: registered name.
        path: YAML file; None: `config/phases/<phase>.yaml`, or the defaults without one.
        overrides: YAML text with keys as in the file that replaces some of them, for example
            `config: {batch_size: 128}`.

    Raises:
        ConfigError: names every unknown key and wrong value.
    """
    PHASES.get(phase)
    data: dict[str, Any] = {'phase': phase}
    lines: config.Lines = {}
    where = 'defaults'
    file = Path(path) if path else contract.robots_directory().parent / 'phases' / f'{phase}.yaml'
    if path or file.is_file():
        data, lines = config.load_yaml(file)
        where = str(file)
    if overrides.strip():
        data = merged(data, parsed(overrides))
        where = f'{where} with overrides'
        lines = {}
    content = config.from_mapping(_RecipeFile, data, where, lines)
    if content.phase != phase:
        raise ConfigError(
            f'{where}: is for phase {content.phase!r}, expected {phase!r}. Name another file.'
        )
    shifted = {key[1:]: line for key, line in lines.items() if key[:1] == ('config',)}
    phase_class: Any = PHASES.get(phase)
    phase_config = config.from_mapping(
        phase_class.Config, content.config, f'{where}: config', shifted
    )
    return Recipe(phase, phase_config, content.trainer)


def parsed(text: str) -> dict[str, Any]:
    """Return overrides as keys and values.

    Raises:
        ConfigError: the text is no YAML of that kind.
    """
    data, _ = plain_yaml.parse(text, 'overrides')
    if not isinstance(data, dict):
        raise ConfigError(
            f'overrides: found {printable(repr(text))}, expected keys and values. Write '
            f'"config: {{…}}".'
        )
    return data


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with what `over` says instead, block by block."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result
