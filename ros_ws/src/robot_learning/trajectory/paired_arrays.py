"""Samples whose arrays are in memory, for small sets such as scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from robot_learning.errors import DataError
from robot_learning.foreign_files import Refusal
from robot_learning.trajectory import paired_checks
from robot_learning.trajectory.paired_data import (
    MODALITIES,
    Entry,
    Modality,
    PairedReport,
    PairedSample,
    PairedSet,
)

Array = np.ndarray[Any, Any]

_REFUSE = Refusal(DataError, 'Give every sense as many samples as there are labels.')


class ArraySource:
    """Samples in memory."""

    def __init__(
        self,
        where: str,
        arrays: Mapping[Modality, Sequence[Array]],
        labels: Sequence[int],
        classes: Sequence[str],
        splits: Sequence[str],
        groups: Sequence[str],
    ):
        self._where = where
        self._arrays = dict(arrays)
        self.classes = tuple(classes)
        self.modalities = tuple(name for name in MODALITIES if name in arrays)
        self.entries = tuple(
            Entry(f'{where}:{index}', int(label), split, group)
            for index, (label, split, group) in enumerate(zip(labels, splits, groups, strict=True))
        )

    def read(
        self,
        index: int,
        report: PairedReport | None = None,
        wanted: Collection[Modality] = MODALITIES,
    ) -> PairedSample:
        """Read one sample; see `SampleSource.read`."""
        entry = self.entries[index]
        values = {name: self._arrays[name][index] for name in self.modalities}
        return paired_checks.checked_sample(values, entry.label, entry.source)


def from_arrays(
    where: str,
    arrays: Mapping[Modality, Sequence[Array]],
    labels: Sequence[int],
    classes: Sequence[str],
    splits: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> PairedSet:
    """Return a set of samples in memory.

    Args:
        where: what to call it in reports.
        arrays: of each sense, one per sample, as `PairedSample` describes.
        labels: [N] index into `classes`.
        classes: names of the labels.
        splits: [N]; None: all 'train'.
        groups: [N]; None: none.

    Raises:
        DataError: a sense has another number of samples, or a label has no class.
    """
    count = len(labels)
    counts = {name: len(values) for name, values in arrays.items()}
    if not counts or set(counts.values()) != {count}:
        raise _REFUSE(where, f'has {count} labels and of senses {counts}')
    if count and not 0 <= min(labels) <= max(labels) < len(classes):
        raise _REFUSE(
            where, f'has labels {min(labels)} to {max(labels)} of {len(classes)} classes'
        )
    source = ArraySource(
        where, arrays, labels, classes, splits or ['train'] * count, groups or [''] * count
    )
    report = PairedReport(where, 'arrays in memory')
    for entry in source.entries:
        report.num_samples[entry.split] = report.num_samples.get(entry.split, 0) + 1
    return PairedSet(source, report)
