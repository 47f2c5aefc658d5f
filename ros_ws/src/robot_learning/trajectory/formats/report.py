"""What an export or import did, and what a format could not hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class ExportReport:
    """Says what was written, and names everything that the format does not hold."""

    format: str
    path: str
    robot: str
    contract_hash: str
    num_episodes: int = 0
    num_steps: int = 0
    num_bytes: int = 0  # Of observations and actions, in memory.
    losses: list[str] = field(default_factory=list)  # What the format does not hold.
    skipped: list[str] = field(default_factory=list)  # What could not be read, and why.
    facts: dict[str, Any] = field(default_factory=dict)  # Codec, PSNR, sizes ...

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return asdict(self)


@dataclass
class DatasetImportReport:
    """Says what became of a data set, and what was assumed where it is silent."""

    path: str
    format: str
    robot: str
    contract_hash: str
    num_episodes: int = 0
    num_steps: int = 0
    assumptions: list[str] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    segments: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return asdict(self)
