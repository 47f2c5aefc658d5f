"""HDF5 files of paired samples: one array per sense, one row per sample.

| dataset | what |
| --- | --- |
| `image` | [N, H, W, 3] uint8 |
| `sound` | [N, S] float, full scale 1, or int16; attribute `sample_rate_hz`, 16000 when absent |
| `proprioception`, `action`, `frames` | [N, T, P], [N, T, A], [N, T, 64, 64, 3] uint8 |
| `properties` | [N, 9], 0 to 1 |
| `outcome` | [N, T, 3], reward, terminated, truncated of each step; NaN: unknown |
| `label` | [N] integers |
| `split`, `group` | [N] texts; everything is 'train' and without group when absent |

The file's attribute `classes` holds the names of the labels, `synthetic` whether a simulation
made it. Rows are read when they are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from robot_learning.errors import DataError
from robot_learning.foreign_files import Refusal, printable
from robot_learning.sense_formats import SAMPLE_RATE_HZ
from robot_learning.trajectory import hdf5_checks, image_files, paired_checks, sound_files
from robot_learning.trajectory.paired_data import (
    MODALITIES,
    Entry,
    Modality,
    PairedReport,
    PairedSample,
)

Array = np.ndarray[Any, Any]

_REFUSE = Refusal(DataError, 'See robot_learning.trajectory.paired_hdf5 for the layout.')
_BROKEN = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError)
_INT16_SCALE = 32768.0
_LARGEST_ROW = 1 << 30  # Bytes.


def is_paired_hdf5(path: Path) -> bool:
    """Tell whether a file has labels beside a picture or a sound per sample."""
    try:
        with h5py.File(path, 'r', locking=False) as file:
            return 'label' in file and bool({'image', 'sound', 'proprioception'} & set(file))
    except OSError:
        return False


class PairedHdf5:
    """The samples of one file."""

    def __init__(self, path: Path, report: PairedReport, image_size: int | None = None):
        self._path = path
        self._image_size = image_size
        with _opened(path) as file:
            label = np.asarray(file['label'][()])
            if label.ndim != 1 or label.dtype.kind not in 'iu':
                found = f'label is {label.dtype} {list(label.shape)}, expected integers [N]'
                raise _REFUSE(path, found)
            self.modalities: tuple[Modality, ...] = tuple(n for n in MODALITIES if n in file)
            for name in self.modalities:
                hdf5_checks.Allowance(path).claim(file[name].id, name)
                if file[name].shape[:1] != label.shape:
                    found = f'{name} has shape {list(file[name].shape)}, label {list(label.shape)}'
                    raise _REFUSE(path, found)
            self.classes = _classes(file, label, path)
            splits, groups = _texts(file, 'split', 'train'), _texts(file, 'group', '')
            self._rate_hz = _rate(file, path)
            report.synthetic = bool(file.attrs.get('synthetic', False))
        if not len(label) == len(splits) == len(groups):
            found = f'has {len(label)} labels, {len(splits)} splits, {len(groups)} groups'
            raise _REFUSE(path, found)
        self.entries = tuple(
            Entry(f'{path}:{index}', int(number), split, group)
            for index, (number, split, group) in enumerate(zip(label, splits, groups, strict=True))
        )

    def read(
        self,
        index: int,
        report: PairedReport | None = None,
        wanted: Collection[Modality] = MODALITIES,
    ) -> PairedSample:
        """Read one sample; see `SampleSource.read`."""
        entry = self.entries[index]
        with _opened(self._path) as file:
            values = {
                name: _row(file[name], index, entry.source)
                for name in self.modalities
                if name in wanted
            }
        if 'sound' in values:
            values['sound'] = self._sound(values['sound'], report)
        sample = paired_checks.checked_sample(values, entry.label, entry.source)
        size, image = self._image_size, sample.image
        if size is None or image is None or image.shape[:2] == (size, size):
            return sample
        return sample._replace(image=image_files.fitted(image, size))

    def _sound(self, sound: Array, report: PairedReport | None) -> Array:
        if sound.dtype.kind not in 'if' or not np.isfinite(sound).all():
            return sound  # The check of the sample names what is wrong.
        scale = _INT16_SCALE if sound.dtype == np.int16 else 1.0
        if self._rate_hz != SAMPLE_RATE_HZ and report is not None:
            report.converted[f'sound {self._rate_hz} Hz -> {SAMPLE_RATE_HZ} Hz'] += 1
        return sound_files.resampled(sound.astype(np.float32) / scale, self._rate_hz)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, 'r', locking=False) as file:
            hdf5_checks.check_links(file)
            yield file
    except _BROKEN as error:
        raise _REFUSE(path, f'is no whole HDF5 file of samples ({printable(error)})') from error


def _row(dataset: Any, index: int, where: str) -> Array:
    num_bytes = math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
    if num_bytes > _LARGEST_ROW:
        found = f'{dataset.name} has {num_bytes} bytes, expected at most {_LARGEST_ROW}'
        raise _REFUSE(where, found)
    return np.asarray(dataset[index])


def _classes(file: h5py.File, label: Array, path: Path) -> tuple[str, ...]:
    names = tuple(str(name) for name in file.attrs.get('classes', ()))
    highest = int(label.max(initial=-1))
    if not names:
        return tuple(f'class_{index}' for index in range(highest + 1))
    if highest >= len(names) or label.min(initial=0) < 0:
        raise _REFUSE(path, f'has labels up to {highest} and {len(names)} classes')
    return names


def _texts(file: h5py.File, name: str, default: str) -> list[str]:
    if name not in file:
        return [default] * len(file['label'])
    return [text.decode() if isinstance(text, bytes) else str(text) for text in file[name][()]]


def _rate(file: h5py.File, path: Path) -> int:
    if 'sound' not in file:
        return SAMPLE_RATE_HZ
    rate_hz = int(file['sound'].attrs.get('sample_rate_hz', SAMPLE_RATE_HZ))
    if rate_hz <= 0:
        raise _REFUSE(path, f'sound has a rate of {rate_hz} Hz, expected more than 0')
    return rate_hz
