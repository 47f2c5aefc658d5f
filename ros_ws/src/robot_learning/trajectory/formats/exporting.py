"""Exports episodes: whole or not at all, with a report beside the data."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from robot_learning import durable_files
from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError, StoreError
from robot_learning.trajectory.formats.chunks import Chunk, chunks, num_bytes
from robot_learning.trajectory.formats.lerobot import LeRobotConfig, LeRobotWriter
from robot_learning.trajectory.formats.mcap import McapWriter
from robot_learning.trajectory.formats.npz import NpzConfig, NpzWriter
from robot_learning.trajectory.formats.report import ExportReport
from robot_learning.trajectory.formats.robomimic import RobomimicConfig, RobomimicWriter
from robot_learning.trajectory.formats.source import EpisodeSource

REPORT = 'export_report.json'
Config = LeRobotConfig | NpzConfig | RobomimicConfig
Progress = Callable[[int], None]


class Writer(Protocol):
    """Takes chunks in order and makes files of them."""

    def add(self, chunk: Chunk) -> None:
        """Write one chunk."""

    def close(self) -> tuple[list[str], dict[str, Any]]:
        """Complete the files; return what the format does not hold, and facts."""

    def abort(self) -> None:
        """Give up; what was written is worthless."""


CONFIGS: dict[str, type[Config] | None] = {
    'robomimic': RobomimicConfig,
    'lerobot': LeRobotConfig,
    'npz': NpzConfig,
    'mcap': None,
}
FORMATS = tuple(CONFIGS)


def export(
    source: EpisodeSource,
    kind: str,
    out: Path | str,
    config: Config | None = None,
    progress: Progress = lambda steps: None,
) -> ExportReport:
    """Write the episodes of `source` as a data set.

    Args:
        source: what to export.
        kind: one of `FORMATS`.
        out: of robomimic a file, else a folder; must not exist.
        config: of that format; None: its defaults.
        progress: called with the number of steps written since its last call.

    Raises:
        ConfigError: the format is unknown, or `config` is another one's.
        StoreError: `out` exists or cannot be written; nothing is left behind.
        DataError: a segment is damaged; nothing is left behind.
    """
    out = Path(out)
    _check(kind, config, out)
    report = ExportReport(kind, str(out), source.contract.robot, source.contract.hash)
    hidden = out.with_name(f'.exporting_{out.name}')
    try:
        _remove(hidden)  # Left over from an export that was killed.
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(source, _writer(kind, hidden, source.contract, config), report, progress)
        report.skipped = list(source.skipped)
        beside = _beside(hidden, out)
        beside.write_text(json.dumps(report.to_dict(), indent=2) + '\n', encoding='utf-8')
        _settle(hidden)
        if beside.parent == out.parent:  # Of a file; first, as the data are what counts.
            beside.replace(out.parent / beside.name.removeprefix('.exporting_'))
        hidden.rename(out)
        durable_files.sync_folder(out.parent)
    except OSError as error:
        raise StoreError(
            f'{out}: cannot be written ({error.strerror or error}). Free space, or choose '
            f'another place.'
        ) from error
    finally:
        _remove(hidden)
        _remove(_beside(hidden, out))
    return report


def _write(
    source: EpisodeSource, writer: Writer, report: ExportReport, progress: Progress
) -> None:
    try:
        for chunk in chunks(source.pieces()):
            writer.add(chunk)
            report.num_episodes += chunk.begins
            report.num_steps += len(chunk.steps)
            report.num_bytes += num_bytes(chunk.steps)
            progress(len(chunk.steps))
        report.losses, report.facts = writer.close()
    except BaseException:
        writer.abort()
        raise


def _writer(kind: str, path: Path, contract: RobotContract, config: Config | None) -> Writer:
    if kind == 'lerobot':
        assert config is None or isinstance(config, LeRobotConfig)
        return LeRobotWriter(path, contract, config or LeRobotConfig())
    if kind == 'robomimic':
        assert config is None or isinstance(config, RobomimicConfig)
        return RobomimicWriter(path, contract, config or RobomimicConfig())
    if kind == 'npz':
        assert config is None or isinstance(config, NpzConfig)
        return NpzWriter(path, contract, config or NpzConfig())
    return McapWriter(path, contract)


def _check(kind: str, config: Config | None, out: Path) -> None:
    if kind not in CONFIGS:
        raise ConfigError(
            f'format {kind!r}: is unknown, expected one of {", ".join(FORMATS)}. Choose one.'
        )
    wanted = CONFIGS[kind]
    if config is not None and (wanted is None or not isinstance(config, wanted)):
        raise ConfigError(
            f'format {kind!r}: has a {type(config).__name__}, expected '
            f'{wanted.__name__ if wanted else "none"}. Give the settings of the format.'
        )
    if kind == 'robomimic' and out.suffix not in ('.hdf5', '.h5'):
        raise ConfigError(
            f'{out}: is no name of an HDF5 file, expected .hdf5 at its end. Choose such a name.'
        )
    if out.exists():
        raise StoreError(f'{out}: exists already. Remove it, or choose another place.')


def _beside(hidden: Path, out: Path) -> Path:
    """Return where the report goes: into a folder, or beside a file."""
    if out.suffix in ('.hdf5', '.h5') and not hidden.is_dir():
        return hidden.with_name(f'{hidden.stem}.{REPORT}')
    return hidden / REPORT


def _settle(path: Path) -> None:
    """Wait until everything at `path` is on the disk."""
    for file in [path, *path.rglob('*')] if path.is_dir() else [path]:
        if file.is_dir():
            durable_files.sync_folder(file)
            continue
        with file.open('rb') as opened:
            os.fsync(opened.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
