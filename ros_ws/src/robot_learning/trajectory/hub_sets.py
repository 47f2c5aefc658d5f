"""Sets of Hugging Face by name, through the library `datasets`, which is loaded only then."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from robot_learning import foreign_files
from robot_learning.errors import DataError, EnvironmentSetupError
from robot_learning.foreign_files import Refusal, printable
from robot_learning.trajectory import image_files, sound_files
from robot_learning.trajectory.paired_data import (
    MODALITIES,
    Entry,
    Modality,
    PairedReport,
    PairedSample,
)

PREFIX = 'hf:'
_LARGEST_FILE = 500 << 20  # Bytes.
_REFUSE = Refusal(DataError, 'Look at the name and the network, or name a folder.')
_SPLITS = {'validation': 'val'}


class HubSet:
    """The rows of all splits of a set that has pictures or sounds, and labels."""

    def __init__(self, name: str, report: PairedReport, image_size: int | None = None):
        """Load the set, from the network where it is not in the library's cache.

        Args:
            name: `NAME`, `NAME@CONFIG`, or a local folder that `datasets` can read.
            report: what licence it has is noted there.
            image_size: as in `paired_sources.open_paired`.
        """
        self._name = name
        self._image_size = image_size
        library = _library(name)
        self._splits = _loaded(library, name)
        first = next(iter(self._splits.values()))
        columns = {key: type(kind).__name__ for key, kind in first.features.items()}
        self._image = _column(columns, 'Image')
        self._sound = _column(columns, 'Audio')
        label = _column(columns, 'ClassLabel')
        if not (self._image or self._sound):
            found = ', '.join(f'{key}: {kind}' for key, kind in columns.items())
            raise _REFUSE(name, f'has no pictures and no sounds, only {found}')
        self.modalities: tuple[Modality, ...] = (
            *(('image',) if self._image else ()),
            *(('sound',) if self._sound else ()),
        )
        self.classes = tuple(first.features[label].names) if label else ()
        self._rows: list[tuple[str, int]] = []
        entries = []
        for split, rows in self._splits.items():
            for key, kind in ((self._image, library.Image), (self._sound, library.Audio)):
                if key:
                    rows = rows.cast_column(key, kind(decode=False))
            self._splits[split] = rows
            labels = rows[label] if label else [-1] * len(rows)
            for number, value in enumerate(labels):
                self._rows.append((split, number))
                source = f'{name}:{split}:{number}'
                entries.append(Entry(source, int(value), _SPLITS.get(split, split)))
        self.entries = tuple(entries)
        if first.info.license:
            report.notes.append(f'licence: {printable(first.info.license)}')

    def read(
        self,
        index: int,
        report: PairedReport | None = None,
        wanted: Collection[Modality] = MODALITIES,
    ) -> PairedSample:
        """Read one sample; see `SampleSource.read`."""
        split, number = self._rows[index]
        row, entry = self._splits[split][number], self.entries[index]
        image = sound = None
        if self._image:
            content = _bytes(row[self._image], entry.source)
            image = image_files.decode_image(content, entry.source, self._image_size)
        if self._sound:
            sound = sound_files.decode_sound(_bytes(row[self._sound], entry.source), entry.source)
        if report is not None:
            report.converted.update(
                decoded.converted for decoded in (image, sound) if decoded and decoded.converted
            )
        return PairedSample(
            image.array if image else None,
            sound.array if sound else None,
            None,
            None,
            None,
            entry.label,
            None,
            entry.source,
        )


def _library(name: str) -> Any:
    try:
        return importlib.import_module('datasets')  # Large; few need it.
    except ImportError as error:
        raise EnvironmentSetupError(
            f'{PREFIX}{name}: is a set of Hugging Face, and the package datasets is not '
            f'installed. Install it with "pip install datasets", or name a folder.'
        ) from error


def _loaded(library: Any, name: str) -> dict[str, Any]:
    base, _, config = name.partition('@')
    try:
        loaded = library.load_dataset(base, config or None)
    except Exception as error:  # Builders and the network raise classes of their own.
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        found = f'cannot be loaded ({type(root).__name__}: {printable(root)})'
        raise _REFUSE(f'{PREFIX}{name}', found) from error
    return dict(loaded)


def _column(columns: dict[str, str], kind: str) -> str:
    return next((key for key, found in columns.items() if found == kind), '')


def _bytes(cell: Any, where: str) -> bytes:
    """Return the file of an undecoded picture or sound."""
    if not isinstance(cell, dict) or not (cell.get('bytes') or cell.get('path')):
        raise _REFUSE(where, 'holds no file')
    if cell.get('bytes'):
        return bytes(cell['bytes'])
    return foreign_files.read(Path(cell['path']), _LARGEST_FILE, _REFUSE)
