"""Pictures or sounds in one folder per class, with or without a folder per split above them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

from robot_learning.errors import DataError
from robot_learning.foreign_files import Refusal
from robot_learning.trajectory import image_files, sound_files
from robot_learning.trajectory.paired_data import (
    MODALITIES,
    Entry,
    Modality,
    PairedReport,
    PairedSample,
)

Kind = Literal['image', 'sound']

_SUFFIXES = {'image': image_files.SUFFIXES, 'sound': sound_files.SUFFIXES}
_SPLITS = ('train', 'val', 'test')
_REFUSE = Refusal(DataError, 'Name a folder with a folder of pictures, or of sounds, per class.')


def kind_of(root: Path) -> Kind | None:
    """Tell what the class folders below `root` hold most of; None: neither."""
    counts = {kind: len(_files(root, kind)) for kind in _SUFFIXES}
    if not any(counts.values()):
        return None
    return 'image' if counts['image'] >= counts['sound'] else 'sound'


class ClassFolders:
    """The pictures or the sounds below one folder."""

    def __init__(self, root: Path, kind: Kind, image_size: int | None = None):
        found = _files(root, kind)
        if not found:
            raise _REFUSE(root, f'holds no {kind} files in class folders')
        self._root = root
        self._kind = kind
        self._image_size = image_size
        self.modalities: tuple[Modality, ...] = (kind,)
        self.classes = tuple(sorted({name for _, name, _ in found}))
        self._paths = [path for *_, path in found]
        self.entries = tuple(
            Entry(str(path.relative_to(root)), self.classes.index(name), split)
            for split, name, path in found
        )

    def read(
        self,
        index: int,
        report: PairedReport | None = None,
        wanted: Collection[Modality] = MODALITIES,
    ) -> PairedSample:
        """Read one sample; see `SampleSource.read`."""
        path, entry = self._paths[index], self.entries[index]
        is_image = self._kind == 'image'
        read: Callable[[Path], image_files.Decoded] = (
            (lambda path: image_files.read_image(path, self._image_size))
            if is_image
            else sound_files.read_sound
        )
        decoded = read(path)
        if report is not None and decoded.converted:
            report.converted[decoded.converted] += 1
        image, sound = (decoded.array, None) if is_image else (None, decoded.array)
        return PairedSample(image, sound, None, None, None, entry.label, None, entry.source)


def _files(root: Path, kind: Kind | str) -> list[tuple[str, str, Path]]:
    """Return (split, class, file) of all; without split folders everything is 'train'."""
    split_roots = [(name, root / name) for name in _SPLITS if (root / name).is_dir()]
    return [
        (split, folder.name, file)
        for split, above in split_roots or [('train', root)]
        for folder in sorted(path for path in above.glob('*') if path.is_dir())
        for file in sorted(folder.rglob('*'))
        if file.suffix.lower() in _SUFFIXES[kind] and file.is_file()
    ]
