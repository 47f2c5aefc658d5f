"""Data sets become sessions of a trajectory store: whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError, DataError, StoreError
from robot_learning.foreign_files import printable
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.formats import lerobot_reader, mapping, npz, robomimic_reader
from robot_learning.trajectory.formats.chunks import num_bytes
from robot_learning.trajectory.formats.report import DatasetImportReport
from robot_learning.trajectory.store import TrajectoryStore

FORMATS = ('robomimic', 'lerobot', 'npz')
_HDF5 = ('.hdf5', '.h5')
_SEGMENT_BYTES = 64 << 20
# What h5py, pyarrow, PyAV and plain indexing raise on files that are not what they say.
_BROKEN = (
    OSError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
Progress = Callable[[int], None]


def detect(path: Path | str) -> str | None:
    """Name the format of a data set; None: it is none that is read here, a bag perhaps."""
    path = Path(path)
    if path.suffix in _HDF5:
        return 'robomimic'
    if lerobot_reader.is_lerobot(path):
        return 'lerobot'
    return 'npz' if npz.is_npz(path) else None


def read(
    path: Path | str,
    kind: str,
    contract: RobotContract | None = None,
    fields: tuple[str, ...] | None = None,
) -> Iterator[Episode]:
    """Yield the episodes of a data set piece by piece, with the names that it has.

    Raises:
        ConfigError: the format is unknown.
        DataError: the data set is broken or has another layout.
    """
    readers = {
        'robomimic': robomimic_reader.read_robomimic,
        'lerobot': lerobot_reader.read_lerobot,
        'npz': npz.read_npz,
    }
    if kind not in readers:
        raise ConfigError(
            f'format {kind!r}: is unknown, expected one of {", ".join(readers)}. Choose one.'
        )
    try:
        yield from readers[kind](path, contract, fields)
    except _BROKEN as error:
        raise DataError(
            f'{path}: is damaged or of another layout than {kind} '
            f'({type(error).__name__}: {printable(error, 400)}). Copy it again from its source.'
        ) from error


def import_dataset(
    path: Path | str,
    kind: str,
    contract: RobotContract,
    store: TrajectoryStore,
    session: str | None = None,
    entries: Sequence[str] = (),
    progress: Progress = lambda steps: None,
) -> DatasetImportReport:
    """Turn a data set into episodes of a store.

    Args:
        path: of the data set.
        kind: one of `FORMATS`.
        contract: what the fields shall be called and look like.
        store: gets the session, complete or not at all; one for each that was exported.
        session: its name; None: that which it had, else that of the file or folder.
        entries: 'theirs=ours' for fields that are called otherwise.
        progress: called with the number of steps read since its last call.

    Raises:
        DataError: the data set is broken.
        ContractError: the data set does not fit the contract.
        StoreError: the session exists already or cannot be written.
    """
    path = Path(path)
    report = DatasetImportReport(str(path), kind, contract.robot, contract.hash)
    fit = mapping.Fit(str(path), contract, mapping.parse(entries, contract))
    hidden = store.root / f'.importing_{session or path.resolve().stem}'
    shutil.rmtree(hidden, ignore_errors=True)  # Left over from an import that was killed.
    try:
        _write(path, fit, report, TrajectoryStore(hidden), session, contract, progress)
        for name in report.sessions:
            if name in store.sessions():
                raise StoreError(
                    f'{store.root / name}: the session exists already. Remove it, or choose '
                    f'another session name.'
                )
        for name in report.sessions:
            (hidden / name).rename(store.root / name)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    report.segments = [str(f) for name in report.sessions for f in store.segments(name)]
    return report


def _write(
    path: Path,
    fit: mapping.Fit,
    report: DatasetImportReport,
    store: TrajectoryStore,
    session: str | None,
    contract: RobotContract,
    progress: Progress,
) -> None:
    """Write the segments of all sessions, and fill the report."""
    names: dict[str, str] = {}  # Session of the data set -> of the store.
    waiting: list[Episode] = []
    waiting_session = ''
    previous: Episode | None = None
    for raw in read(path, report.format, contract):
        given = str(raw.attributes.get('session', ''))
        name = names.setdefault(given, _session_name(given, session, path, len(names)))
        attributes = {k: v for k, v in raw.attributes.items() if k != 'session'}
        piece = replace(fit.apply(raw), attributes=attributes)
        _check_steps(path, piece)
        if waiting and (name != waiting_session or _size(waiting) >= _SEGMENT_BYTES):
            store.write_segment(waiting, waiting_session, contract)
            waiting = []
        waiting.append(piece)
        waiting_session = name
        report.num_episodes += previous is None or not previous.is_followed_by(piece)
        report.num_steps += len(piece)
        previous = piece
        progress(len(piece))
    if not waiting:
        raise DataError(f'{path}: holds no episodes. Name a data set with some.')
    store.write_segment(waiting, waiting_session, contract)
    report.sessions = list(dict.fromkeys(names.values()))
    is_ours = '' not in names
    report.assumptions = [*([] if is_ours else _assumed(report.format)), *fit.assumptions]


def _session_name(given: str, wanted: str | None, path: Path, count: int) -> str:
    """Return the wanted name for the first session; else that of the data set's session."""
    if wanted is None:
        return given or path.resolve().stem
    return wanted if count == 0 else f'{wanted}.{given}'


def _assumed(kind: str) -> tuple[str, ...]:
    return {
        'robomimic': robomimic_reader.ASSUMPTIONS,
        'lerobot': lerobot_reader.ASSUMPTIONS,
    }.get(kind, ())


def _check_steps(path: Path, piece: Episode) -> None:
    where = f'{path}: episode {piece.episode} from step {piece.offset}'
    if not np.all(np.diff(piece.stamp_ns) > 0):
        raise DataError(f'{where}: stamps do not increase. Correct the data set.')
    if not np.isfinite(piece.action).all():
        raise DataError(f'{where}: actions are not finite. Correct the data set.')


def _size(pieces: list[Episode]) -> int:
    return sum(num_bytes(piece) for piece in pieces)
