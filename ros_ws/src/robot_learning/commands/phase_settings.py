"""Reads the settings of phases that train by themselves, `config/phases/PHASE.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, TypeVar

from robot_learning import config, contract
from robot_learning.errors import ConfigError


class _File(Protocol):
    @property
    def phase(self) -> str:
        """Phase that the file is for."""

    @property
    def config(self) -> dict[str, Any]:
        """Not checked yet."""


F = TypeVar('F', bound=_File)
C = TypeVar('C')


def load(phase: str, file_class: type[F], config_class: type[C], path: Path | None) -> tuple[F, C]:
    """Return a file's own keys and the checked configuration below `config`.

    Args:
        phase: that the file must be for.
        file_class: its top-level keys, `phase` and `config` among them.
        config_class: what `config` is checked against.
        path: of the file; None: the one that ships for the phase.

    Raises:
        ConfigError: names every unknown key and wrong value, with file and line.
    """
    where = path or contract.robots_directory().parent / 'phases' / f'{phase}.yaml'
    data, lines = config.load_yaml(where)
    content = config.from_mapping(file_class, data, str(where), lines)
    if content.phase != phase:
        raise ConfigError(
            f'{where}: is for phase {content.phase!r}, expected {phase!r}. Name another file.'
        )
    shifted = {key[1:]: line for key, line in lines.items() if key[:1] == ('config',)}
    checked = config.from_mapping(config_class, content.config, f'{where}: config', shifted)
    return content, checked
