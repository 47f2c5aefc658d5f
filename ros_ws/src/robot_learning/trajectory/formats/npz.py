"""Plain numpy archives: one .npz per episode and an index; nothing is lost, nothing is pickled.

```
index.json                 format, robot, contract, control_rate_hz, episodes: file, length ...
episode_000000.npz         stamp_ns action commanded reward terminated truncated ...   [T, ...]
                           observations/<field>  field_stamp_ns/<field>  present/<field>
```
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from robot_learning import foreign_files
from robot_learning.config import STRICT
from robot_learning.contract import RobotContract
from robot_learning.errors import DataError
from robot_learning.trajectory.contract_match import check_contract
from robot_learning.trajectory.episode import FLAT, LATER, PER_FIELD, Array, Episode, join
from robot_learning.trajectory.formats.chunks import Chunk, Headers

FORMAT = 'robot_learning npz 1'
INDEX = 'index.json'
_LARGEST_JSON = 256 << 20
_REFUSAL = foreign_files.Refusal(DataError, 'Export the episodes again.')
_BROKEN = (OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, config=STRICT)
class NpzConfig:
    """How archives are written."""

    compress: bool = False  # Deflate: smaller and about twenty times slower to write.


class NpzWriter:
    """Writes one archive per trajectory; one whole trajectory is in memory at a time."""

    def __init__(self, path: Path, contract: RobotContract, config: NpzConfig):
        path.mkdir()
        self._path = path
        self._contract = contract
        self._save = np.savez_compressed if config.compress else np.savez
        self._headers = Headers()
        self._pieces: list[Episode] = []

    def add(self, chunk: Chunk) -> None:
        """Take one chunk; write the trajectory if it ends."""
        self._headers.note(chunk)
        self._pieces.append(chunk.steps)
        if not chunk.ends:
            return
        episode = join(self._pieces)
        self._pieces = []
        arrays = {name: getattr(episode, name) for name in FLAT}
        for kind in PER_FIELD:
            values = getattr(episode, kind)
            arrays |= {f'{kind}/{field}': array for field, array in values.items()}
        self._save(self._path / _file_name(chunk.trajectory), **arrays)

    def close(self) -> tuple[list[str], dict[str, Any]]:
        """Write the index; return what npz does not hold (nothing), and facts."""
        entries = [
            {'file': _file_name(number), **entry}
            for number, entry in enumerate(self._headers.entries)
        ]
        index = {
            'format': FORMAT,
            'robot': self._contract.robot,
            'control_rate_hz': self._contract.control_rate_hz,
            'contract_hash': self._contract.hash,
            'contract': self._contract.to_dict(),
            'episodes': entries,
        }
        text = json.dumps(index, indent=2) + '\n'
        (self._path / INDEX).write_text(text, encoding='utf-8')
        return [], {}

    def abort(self) -> None:
        """Give up; what was written is worthless."""


def is_npz(path: Path) -> bool:
    """Tell a folder of our archives."""
    try:
        with (path / INDEX).open(encoding='utf-8') as file:
            return FORMAT.rpartition(' ')[0] in file.read(200)
    except (OSError, UnicodeDecodeError):
        return False


def read_npz(
    path: Path | str,
    contract: RobotContract | None = None,
    fields: tuple[str, ...] | None = None,
) -> Iterator[Episode]:
    """Yield the episodes of a folder of archives.

    Raises:
        DataError: the index or an archive is broken or contradicts the other.
        ContractError: the archives were made with another contract.
    """
    path = Path(path)
    index = _read_index(path)
    if contract is not None:
        check_contract(path, index['contract'], contract)
    for entry in index['episodes']:
        yield _read(path / Path(entry['file']).name, entry, fields)


def _read_index(path: Path) -> dict[str, Any]:
    text = foreign_files.read(path / INDEX, _LARGEST_JSON, _REFUSAL)
    try:
        index: dict[str, Any] = json.loads(text)
        if index['format'] != FORMAT:
            raise ValueError(f'format {index["format"]!r}, expected {FORMAT!r}')
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _REFUSAL(path / INDEX, f'is no index of episodes ({error})') from error
    return index


def _read(file: Path, entry: dict[str, Any], fields: tuple[str, ...] | None) -> Episode:
    foreign_files.check_zip(file, _REFUSAL)
    try:
        with np.load(file, allow_pickle=False) as archive:
            flat = {name: archive[name] for name in FLAT if _is_there(archive, name)}
            groups: dict[str, Any] = {kind: _group(archive, kind, fields) for kind in PER_FIELD}
    except _BROKEN as error:
        raise DataError(
            f'{file}: is no sound archive of an episode ({error}). Export it again.'
        ) from error
    lengths = {len(values) for values in flat.values()}
    lengths |= {len(values) for group in groups.values() for values in group.values()}
    if lengths != {entry['length']}:
        raise DataError(
            f'{file}: has arrays of {sorted(lengths)} steps, expected {entry["length"]} by the '
            f'index. Export it again.'
        )
    return Episode(
        episode=entry['episode'],
        offset=entry['offset'],
        is_complete=entry['is_complete'],
        attributes=entry['attributes'],
        **groups,
        **flat,
    )


def _is_there(archive: Any, name: str) -> bool:
    return name not in LATER or name in archive.files


def _group(archive: Any, kind: str, fields: tuple[str, ...] | None) -> dict[str, Array]:
    prefix = f'{kind}/'
    names = [key.removeprefix(prefix) for key in archive.files if key.startswith(prefix)]
    if fields is not None:
        absent = sorted(set(fields) - set(names))
        if absent:
            raise KeyError(f'no field {", ".join(absent)}, only {", ".join(names)}')
        names = list(fields)
    return {name: archive[prefix + name] for name in names}


def _file_name(number: int) -> str:
    return f'episode_{number:06d}.npz'
