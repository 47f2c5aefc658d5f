"""Our own episodes as paired samples: windows of camera, microphone, the rest, and actions.

A window of W steps begins at step s. Its sound is what the microphone gave on arriving at steps
s+1 to s+W, so that the first sample was heard when step s began; so W+1 steps are needed.
Of an episode that knows its rewards one more window ends with its last step, so that ends are
seen; what would be heard after the end is silence. `outcome` is reward, terminated and truncated
of each step, NaN where the episode knows no rewards, and no reward at its first step.
A camera or microphone that gave nothing at some step leaves a window out, and is no sense at all
where it never gave anything; slower readings repeat, but the first must have come by step s.
An episode's attributes may hold `class`, `object`, `split`, `properties`, `synthetic`, and of
matched recordings `pair`, `role` and `changed`, as the table of a folder does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from robot_learning.errors import DataError
from robot_learning.foreign_files import Refusal, printable
from robot_learning.sense_formats import FRAME_SIZE, PROPERTIES, SAMPLE_RATE_HZ
from robot_learning.trajectory import hdf5_checks, image_files, paired_checks, segment, sound_files
from robot_learning.trajectory.paired_data import (
    MODALITIES,
    Entry,
    Modality,
    PairedReport,
    PairedSample,
)
from robot_learning.trajectory.sample_table import SampleRow, matched

Array = np.ndarray[Any, Any]

CAMERA, MICROPHONE, PROPRIOCEPTION = 'camera', 'microphone', 'proprioception'
_LARGEST_FIELD = 64  # Numbers; larger fields (a lidar) are no proprioception.
_REFUSE = Refusal(DataError, 'Name a store with camera, microphone or small vectors.')
_BROKEN = (OSError, KeyError, ValueError, TypeError, RuntimeError, MemoryError)


class _Place(NamedTuple):
    """Where a window stands."""

    path: Path
    piece: str
    start: int
    is_last: bool  # Ends with the episode's last step.


class _Senses(NamedTuple):
    """Which fields of the recordings are which sense."""

    camera: str
    microphone: str
    rate_hz: int  # Of the microphone.
    proprioception: tuple[str, ...]

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What every window has, without properties."""
        names: list[Modality] = ['image'] if self.camera else []
        names += ['sound'] if self.microphone else []
        names += ['proprioception'] if self.proprioception else []
        return (*names, 'action', *(('frames',) if self.camera else ()))

    def gap(self, present: Mapping[str, Array], start: int, stop: int) -> str:
        """Return the first field that a window lacks, '' when all are there.

        Args:
            present: by field, [T] bool, whether each step has a reading of its own.
            start: first step of the window.
            stop: the step behind its last, whose sound it needs.
        """
        if self.camera and not present[self.camera][start:stop].all():
            return self.camera
        heard = present[self.microphone][start + 1 : stop + 1] if self.microphone else None
        if heard is not None and not heard.all():
            return self.microphone
        late = (name for name in self.proprioception if not present[name][: start + 1].any())
        return next(late, '')


class PairedEpisodes:
    """The windows of the episodes of a store, or of one session or segment of it."""

    def __init__(
        self,
        root: Path,
        report: PairedReport,
        window: int = 32,
        image_size: int | None = None,
        segments: Sequence[Path] | None = None,
    ):
        self._window = window
        self._image_size = image_size
        self._places: list[_Place] = []
        self._rows: list[SampleRow] = []
        self._senses: _Senses | None = None
        self._has_outcomes = False
        listed: list[tuple[str, str, str, str]] = []
        for path in _segments(root) if segments is None else segments:
            try:
                listed += self._listed(path, report)
            except DataError as error:
                report.skip(str(path), str(error))
        if self._senses is None:
            raise _REFUSE(root, f'holds no episode of {window + 1} steps that can be read')
        self.classes = tuple(sorted({name for _, name, *_ in listed if name}))
        self.entries: tuple[Entry, ...] = tuple(
            Entry(source, self.classes.index(name) if name else -1, split, group)
            for source, name, split, group in listed
        )
        has_properties = any(np.isfinite(row.properties).any() for row in self._rows)
        self.modalities: tuple[Modality, ...] = (
            *self._senses.modalities,
            *(('properties',) if has_properties else ()),
            *(('outcome',) if self._has_outcomes else ()),
        )
        self.interventions = matched(self._rows)
        report.notes.append(f'proprioception: {", ".join(self._senses.proprioception) or "none"}')

    def read(
        self,
        index: int,
        report: PairedReport | None = None,
        wanted: Collection[Modality] = MODALITIES,
    ) -> PairedSample:
        """Read one sample; see `SampleSource.read`."""
        place, entry = self._places[index], self.entries[index]
        try:
            with h5py.File(place.path, 'r', locking=False) as file:
                hdf5_checks.check_links(file)
                values = self._values(file['data'][place.piece], place, report, wanted)
        except _BROKEN as error:
            raise _REFUSE(entry.source, f'cannot be read ({printable(error)})') from error
        if 'properties' in self.modalities:
            values['properties'] = self._rows[index].properties
        return paired_checks.checked_sample(values, entry.label, entry.source)

    def _listed(self, path: Path, report: PairedReport) -> list[tuple[str, str, str, str]]:
        """Note the windows of a segment; return (source, class, split, group) of each."""
        found = []
        with segment.open_segment(path) as (file, is_checked):
            contract = segment.stored_contract(file) if 'contract' in file.attrs else {}
            for name in segment.demo_names(file):
                group = file['data'][name]
                header = segment.read_header(group, is_checked)
                source = f'{path}:{name}'
                count = int(group.attrs['num_samples'])
                if count <= self._window:
                    report.skip(source, f'has {count} steps, a window needs {self._window + 1}')
                    continue
                senses = _senses(group, contract)
                self._senses = self._senses or senses
                if senses != self._senses:
                    report.skip(source, f'has other senses ({senses}) than the first')
                    continue
                facts = header.get('attributes', {})
                fallback = f'{file.attrs["session"]} {header["episode"]}'
                present = {key: np.asarray(data) for key, data in group['present'].items()}
                knows_rewards = bool(np.isfinite(group['rewards'][1:]).any())
                self._has_outcomes |= knows_rewards
                starts = list(range(0, count - self._window, self._window))
                if knows_rewards and (group['terminated'][-1] or group['truncated'][-1]):
                    starts.append(count - self._window)
                for start in starts:
                    gap = senses.gap(present, start, start + self._window)
                    if gap:
                        report.skip(f'{source}:{start}', f'has no reading of {gap}, expected one')
                        continue
                    is_last = start + self._window == count
                    self._places.append(_Place(path, name, start, is_last))
                    row = _row(facts, source, fallback)
                    self._rows.append(row)
                    split, kind = str(facts.get('split', 'train')), str(facts.get('class', ''))
                    found.append((f'{source}:{start}', kind, split, row.group))
                report.synthetic |= facts.get('synthetic') is True
        return found

    def _values(
        self,
        group: h5py.Group,
        place: _Place,
        report: PairedReport | None,
        wanted: Collection[Modality],
    ) -> dict[Modality, Array]:
        senses, start, stop = self._senses, place.start, place.start + self._window
        assert senses is not None
        values: dict[Modality, Array] = {'action': np.asarray(group['actions'][start:stop])}
        if senses.camera and 'image' in wanted:
            image = np.asarray(group['obs'][senses.camera][start])
            values['image'] = (
                image if self._image_size is None else image_files.fitted(image, self._image_size)
            )
        if senses.camera and 'frames' in wanted:
            pictures = np.asarray(group['obs'][senses.camera][start:stop])
            values['frames'] = np.stack([image_files.fitted(one, FRAME_SIZE) for one in pictures])
            if pictures.shape[1:3] != (FRAME_SIZE, FRAME_SIZE) and report is not None:
                height, width = pictures.shape[1:3]
                report.converted[f'frames {width} x {height} -> {FRAME_SIZE} x {FRAME_SIZE}'] += 1
        if senses.microphone and 'sound' in wanted:
            heard = np.asarray(group['obs'][senses.microphone][start + 1 : stop + 1])
            if place.is_last:
                heard = np.concatenate([heard, np.zeros_like(heard[:1])])
            values['sound'] = sound_files.resampled(heard.reshape(-1), senses.rate_hz)
            if senses.rate_hz != SAMPLE_RATE_HZ and report is not None:
                report.converted[f'sound {senses.rate_hz} Hz -> {SAMPLE_RATE_HZ} Hz'] += 1
        if senses.proprioception:
            parts = [np.asarray(group['obs'][name][start:stop]) for name in senses.proprioception]
            values['proprioception'] = np.concatenate(parts, axis=1)
        if self._has_outcomes:
            values['outcome'] = _outcome(group, start, stop)
        return values


def _outcome(group: h5py.Group, start: int, stop: int) -> Array:
    """Return [T, 3] as `OUTCOMES`."""
    columns = [group[name][start:stop] for name in ('rewards', 'terminated', 'truncated')]
    outcome = np.stack(columns, axis=1).astype(np.float32)
    outcome[np.asarray(group['is_first'][start:stop], bool), 0] = np.nan
    if not np.isfinite(group['rewards'][1:]).any():
        outcome[:] = np.nan
    return outcome


def has_segments(path: Path) -> bool:
    """Tell whether a folder is a store or a session of one."""
    return path.is_dir() and bool(_segments(path))


def _segments(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    return sorted([*root.glob('segment_*.hdf5'), *root.glob('*/segment_*.hdf5')])


def _senses(group: h5py.Group, contract: Mapping[str, Any]) -> _Senses:
    present = group['present']
    fields = {name: data for name, data in group['obs'].items() if np.any(present[name][()])}
    pictures = [
        name
        for name, data in fields.items()
        if data.dtype == np.uint8 and data.ndim == 4 and data.shape[3] == 3
    ]
    vectors = sorted(
        name
        for name, data in fields.items()
        if data.dtype.kind == 'f'
        and data.ndim == 2
        and data.shape[1] <= _LARGEST_FIELD
        and name != MICROPHONE
    )
    rate_hz = SAMPLE_RATE_HZ
    if MICROPHONE in fields and contract:
        rate_hz = round(fields[MICROPHONE].shape[1] * float(contract['control_rate_hz']))
    return _Senses(
        CAMERA if CAMERA in pictures else (pictures or [''])[0],
        MICROPHONE if MICROPHONE in fields else '',
        rate_hz,
        (PROPRIOCEPTION,) if PROPRIOCEPTION in vectors else tuple(vectors),
    )


def _row(facts: Mapping[str, Any], where: str, fallback: str) -> SampleRow:
    known = facts.get('properties')
    values = np.full(len(PROPERTIES), np.nan) if known is None else np.asarray(known, np.float64)
    changed = str(facts.get('changed', ''))
    return SampleRow(
        str(facts.get('object', fallback)),
        paired_checks.properties(values, where),
        str(facts.get('interaction', '')),
        str(facts.get('pair', '')),
        str(facts.get('role', '')),
        PROPERTIES.index(changed) if changed in PROPERTIES else -1,
    )
