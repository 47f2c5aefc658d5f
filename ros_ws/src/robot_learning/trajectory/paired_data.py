"""Samples of several senses at once: a picture, a sound, what the robot felt and did.

`paired_sources.open_paired` makes a `PairedSet` from folders, image or audio folders, HDF5, our
episodes, data sets in their own layout, or Hugging Face sets by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from robot_learning.errors import DataError, NotEnoughDataError

Array = np.ndarray[Any, Any]
Modality = Literal['image', 'sound', 'proprioception', 'action', 'frames', 'properties', 'outcome']
MODALITIES: tuple[Modality, ...] = (
    'image',
    'sound',
    'proprioception',
    'action',
    'frames',
    'properties',
    'outcome',
)

OUTCOMES = ('reward', 'terminated', 'truncated')


class PairedSample(NamedTuple):
    """What was sensed together; None: the set does not have this sense."""

    image: Array | None  # [H, W, 3] uint8, rgb.
    sound: Array | None  # [N] float32 at 16 kHz, mono, full scale 1.
    proprioception: Array | None  # [T, P] float32.
    action: Array | None  # [T, 16] float32, chosen at step t; zeros pad shorter commands.
    frames: Array | None  # [T, 64, 64, 3] uint8, step by step with proprioception and action.
    label: int  # Index into the set's `classes`; -1: none.
    properties: Array | None  # [9] float32, 0 to 1, as `sense_formats.PROPERTIES`; NaN: unknown.
    source: str  # File or episode it came from.
    # [T, 3] float32: reward, terminated, truncated, received on arriving at step t; NaN: unknown.
    outcome: Array | None = None


class Entry(NamedTuple):
    """What is known of a sample before it is read."""

    source: str
    label: int  # Index into the source's classes; -1: none.
    split: str  # 'train', 'val', ...
    group: str = ''  # What must not be on both sides of a split: object, speaker, fold.


class Intervention(NamedTuple):
    """One property of one object changed and nothing else; indices are of the set's samples."""

    property: int  # Index into `sense_formats.PROPERTIES`.
    before: int  # The object as it is.
    after: int  # The same object, seed and interaction; one property is another.
    repeat: int  # Control: as `before`, with other noise of the sensors.
    other: int  # Control: another object with the property's value of `before`.


@dataclass
class PairedReport:
    """What was found where the data were opened."""

    where: str
    kind: str  # Layout, 'guide folder'.
    num_samples: dict[str, int] = field(default_factory=dict)  # By split.
    skipped: list[tuple[str, str]] = field(default_factory=list)  # File or episode, and why.
    converted: Counter[str] = field(default_factory=Counter)  # 'sound 8000 Hz -> 16000 Hz': 12.
    synthetic: bool = False  # Made by a simulation; provenance must say so.
    notes: list[str] = field(default_factory=list)  # Licence, generator and the like.

    def skip(self, source: str, reason: str) -> None:
        """Count a sample that is left out."""
        self.skipped.append((source, reason))

    def text(self, most: int = 5) -> str:
        """Return lines for people; of the skipped, the first `most` are named."""
        counts = ', '.join(f'{name} {count}' for name, count in self.num_samples.items())
        lines = [f'{self.where}: {self.kind}, {counts or "no samples"}']
        if self.synthetic:
            lines.append('  synthetic: made by a simulation')
        lines += [f'  {note}' for note in self.notes]
        lines += [f'  {count} converted: {what}' for what, count in self.converted.items()]
        if self.skipped:
            lines.append(f'  {len(self.skipped)} skipped:')
            lines += [f'    {source}: {reason}' for source, reason in self.skipped[:most]]
        if len(self.skipped) > most:
            lines.append(f'    and {len(self.skipped) - most} more')
        return '\n'.join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for a model version's provenance."""
        return {
            'where': self.where,
            'kind': self.kind,
            'num_samples': dict(self.num_samples),
            'skipped': [{'source': source, 'reason': why} for source, why in self.skipped],
            'converted': dict(self.converted),
            'synthetic': self.synthetic,
            'notes': list(self.notes),
        }


class SampleSource(Protocol):
    """One layout of files, opened. Processes forked from this one read it at the same time."""

    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    modalities: tuple[Modality, ...]  # What every sample has.

    def read(
        self,
        index: int,
        report: PairedReport | None = None,
        wanted: Collection[Modality] = MODALITIES,
    ) -> PairedSample:
        """Read one sample; conversions are counted in `report`.

        Args:
            index: of `entries`.
            report: None: nothing is counted.
            wanted: senses; others may be None though they are there, so that no time is lost.

        Raises:
            DataError: it is broken; names the file.
        """
        ...


class PairedSet:
    """Samples that are read when they are asked for; subsets share the source and the report.

    Attributes:
        classes: names that labels index.
        labels: [N] int64.
        groups: what must not be on both sides of a split (object, speaker, fold), by sample.
        modalities: what every sample has.
        report: of the whole set, also where this is a part of it.
        interventions: matched recordings for causal evaluation; () where there are none.
    """

    def __init__(
        self,
        source: SampleSource,
        report: PairedReport,
        indices: Sequence[int] | None = None,
        interventions: Sequence[Intervention] = (),
    ):
        self._source = source
        self._indices = tuple(range(len(source.entries)) if indices is None else indices)
        self.report = report
        self.classes = source.classes
        self.modalities = source.modalities
        entries = [source.entries[index] for index in self._indices]
        self.labels = np.asarray([entry.label for entry in entries], np.int64)
        self.groups = tuple(entry.group for entry in entries)
        self.sources = tuple(entry.source for entry in entries)
        self.interventions = tuple(interventions)

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, index: int, wanted: Collection[Modality] = MODALITIES) -> PairedSample:
        """Read one sample; senses that are not wanted may be None though they are there.

        Raises:
            DataError: its files broke since the set was opened, or were not checked then.
        """
        return self._source.read(self._indices[index], wanted=wanted)

    def __iter__(self) -> Iterator[PairedSample]:
        return (self.read(index) for index in range(len(self)))

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that hold samples, in the order of the source."""
        return tuple(dict.fromkeys(self._source.entries[index].split for index in self._indices))

    def split(self, name: str) -> PairedSet:
        """Return the samples of one split.

        Raises:
            NotEnoughDataError: the split is empty or absent.
        """
        chosen = [
            i for i, at in enumerate(self._indices) if self._source.entries[at].split == name
        ]
        if not chosen:
            found = ', '.join(self.split_names) or 'no split at all'
            raise NotEnoughDataError(
                f'{self.report.where}: split {name!r} holds no samples, expected some; there are '
                f'{found}. Add files to {name}, or divide another split.'
            )
        return self.subset(chosen)

    def subset(self, indices: Sequence[int]) -> PairedSet:
        """Return some samples, by their index here; interventions stay where all four are in."""
        place = {index: new for new, index in enumerate(indices)}
        kept = [
            Intervention(entry.property, *(place[index] for index in entry[1:]))
            for entry in self.interventions
            if all(index in place for index in entry[1:])
        ]
        return PairedSet(self._source, self.report, [self._indices[i] for i in indices], kept)

    def divide(self, share: float, seed: int) -> tuple[PairedSet, PairedSet]:
        """Return (rest, held out) with about `share` of the groups, or samples, held out.

        Where samples have groups, a group is on one side only; else classes keep their shares.

        Raises:
            NotEnoughDataError: one of the two would be empty.
        """
        rng = np.random.default_rng(seed)
        held = _held_groups(self, share, rng) if any(self.groups) else _held(self, share, rng)
        rest = [index for index in range(len(self)) if index not in held]
        if not held or not rest:
            raise NotEnoughDataError(
                f'{self.report.where}: {len(self)} samples in {len(set(self.groups))} groups '
                f'cannot be divided by {share:g}, expected some on both sides. Add data or '
                f'choose another share.'
            )
        return self.subset(rest), self.subset(sorted(held))

    def require(self, *modalities: Modality) -> PairedSet:
        """Return this set if it has these senses.

        Raises:
            DataError: names what is missing and what is there.
        """
        absent = [name for name in modalities if name not in self.modalities]
        if absent:
            found = ', '.join(self.modalities) or 'nothing'
            raise DataError(
                f'{self.report.where}: has no {", ".join(absent)}, only {found}; expected '
                f'{", ".join(modalities)}. Name data that hold these.'
            )
        return self


def _held_groups(paired: PairedSet, share: float, rng: np.random.Generator) -> set[int]:
    names = sorted(set(paired.groups))
    count = round(share * len(names))
    chosen = {names[index] for index in rng.permutation(len(names))[:count]}
    return {index for index, group in enumerate(paired.groups) if group in chosen}


def _held(paired: PairedSet, share: float, rng: np.random.Generator) -> set[int]:
    held: set[int] = set()
    for label in np.unique(paired.labels):
        members = rng.permutation(np.flatnonzero(paired.labels == label))
        held.update(members[: round(share * len(members))].tolist())
    return held
