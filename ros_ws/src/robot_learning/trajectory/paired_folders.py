"""Folders of paired files: `train|val/CLASS/{image,audio,proprio,action,frames}_NNN.*`.

| file | what |
| --- | --- |
| `image_NNN.jpg`, `.png` ... | a picture |
| `audio_NNN.wav`, `.flac` ... | a sound |
| `proprio_NNN.npy` | [T, P] numbers |
| `action_NNN.npy` | [T, A] numbers, A at most 16 |
| `frames_NNN.png` | T frames of 64 x 64 pixels, below each other |

Any of the kinds may be missing everywhere; where a set has a kind, every sample needs it.
`properties.csv` beside the splits may say what is known of each sample: `sample` (as
`train/CLASS/NNN`), `object`, the nine properties, and of matched recordings `pair`, `role` and
`changed`. `manifest.json` may say `synthetic`, `kind` and `notes`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robot_learning import foreign_files
from robot_learning.errors import DataError
from robot_learning.foreign_files import Refusal
from robot_learning.trajectory import image_files, paired_checks, sound_files
from robot_learning.trajectory.paired_data import (
    MODALITIES,
    Entry,
    Modality,
    PairedReport,
    PairedSample,
)
from robot_learning.trajectory.sample_table import SampleRow, matched, read_table

Array = np.ndarray[Any, Any]

SPLITS = ('train', 'val', 'test', 'interventions')
TABLE, MANIFEST = 'properties.csv', 'manifest.json'
_NAME = re.compile(r'(image|audio|proprio|action|frames)_(\d+)\Z')
_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    'image': image_files.SUFFIXES,
    'audio': sound_files.SUFFIXES,
    'proprio': ('.npy',),
    'action': ('.npy',),
    'frames': ('.png',),
}
_SENSES: Mapping[str, Modality] = {
    'image': 'image',
    'audio': 'sound',
    'proprio': 'proprioception',
    'action': 'action',
    'frames': 'frames',
}
_REFUSE = Refusal(DataError, 'Name a folder with train/CLASS/image_000.jpg and the like.')
_LARGEST_MANIFEST = 1 << 20  # Bytes.


def is_paired_folder(path: Path) -> bool:
    """Tell whether a folder has splits whose class folders hold numbered files."""
    return any(
        _NAME.match(file.stem)
        for split in SPLITS
        for file in (path / split).glob('*/*_*')
        if file.suffix.lower() in _SUFFIXES.get(file.stem.split('_')[0], ())
    )


class PairedFolder:
    """The samples of one folder, read file by file."""

    def __init__(self, root: Path, report: PairedReport, image_size: int | None = None):
        self._root = root
        self._image_size = image_size
        found = _listed(root)
        rows = read_table(root / TABLE) if (root / TABLE).is_file() else {}
        kinds = [kind for kind in _SENSES if any(kind in files for files in found.values())]
        self.modalities: tuple[Modality, ...] = (
            *(_SENSES[kind] for kind in kinds),
            *(('properties',) if rows else ()),
        )
        self.classes = tuple(sorted({name for _, name, _ in found}))
        self._files: list[dict[str, Path]] = []
        self._rows: list[SampleRow | None] = []
        entries = []
        for (split, name, number), files in found.items():
            sample = f'{split}/{name}/{number}'
            if problem := _problem(files, kinds):
                report.skip(str(root / sample), problem)
                continue
            row = rows.get(sample)
            self._files.append({kind: paths[0] for kind, paths in files.items()})
            self._rows.append(row)
            label = self.classes.index(name)
            entries.append(Entry(sample, label, split, row.group if row else ''))
        self.entries = tuple(entries)
        self.interventions = matched(self._rows)
        _tell(root, report)

    def read(
        self,
        index: int,
        report: PairedReport | None = None,
        wanted: Collection[Modality] = MODALITIES,
    ) -> PairedSample:
        """Read one sample; see `SampleSource.read`."""
        row, entry = self._rows[index], self.entries[index]
        files = {kind: at for kind, at in self._files[index].items() if _SENSES[kind] in wanted}
        image = sound = None
        if 'image' in files:
            image = image_files.read_image(files['image'], self._image_size)
        if 'audio' in files:
            sound = sound_files.read_sound(files['audio'])
        if report is not None:
            report.converted.update(
                decoded.converted for decoded in (image, sound) if decoded and decoded.converted
            )
        felt = _steps(files)
        paired_checks.same_length(felt, self._root / entry.source)
        return PairedSample(
            image.array if image else None,
            sound.array if sound else None,
            felt.get('proprioception'),
            felt.get('action'),
            felt.get('frames'),
            entry.label,
            row.properties if row else None,
            entry.source,
        )


def _steps(files: Mapping[str, Path]) -> dict[str, Array]:
    felt = {}
    if path := files.get('proprio'):
        felt['proprioception'] = paired_checks.steps(paired_checks.read_array(path), path)
    if path := files.get('action'):
        felt['action'] = paired_checks.actions(paired_checks.read_array(path), path)
    if path := files.get('frames'):
        felt['frames'] = paired_checks.frame_strip(image_files.read_image(path).array, path)
    return felt


def _listed(root: Path) -> dict[tuple[str, str, str], dict[str, list[Path]]]:
    """Return kind -> files by split, class and number."""
    found: dict[tuple[str, str, str], dict[str, list[Path]]] = {}
    for split in SPLITS:
        for folder in sorted(path for path in (root / split).glob('*') if path.is_dir()):
            numbers: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
            for file in sorted(folder.iterdir()):
                match = _NAME.match(file.stem)
                if match and file.suffix.lower() in _SUFFIXES[match[1]]:
                    numbers[match[2]][match[1]].append(file)
            for number in sorted(numbers):
                found[split, folder.name, number] = numbers[number]
    if not found:
        raise _REFUSE(root, 'holds no numbered files of any class')
    return found


def _problem(files: Mapping[str, list[Path]], kinds: list[str]) -> str:
    """Say why a sample cannot be read; '' when all is there."""
    absent = [kind for kind in kinds if kind not in files]
    if absent:
        return f'has no {", ".join(absent)} file, other samples have'
    twice = [kind for kind in kinds if len(files[kind]) > 1]
    if twice:
        names = ', '.join(path.name for kind in twice for path in files[kind])
        return f'has more than one file of a kind ({names})'
    return ''


def _tell(root: Path, report: PairedReport) -> None:
    path = root / MANIFEST
    if not path.is_file():
        return
    content = foreign_files.read(path, _LARGEST_MANIFEST, _REFUSE)
    manifest = foreign_files.parse_json(content, path, _REFUSE)
    if not isinstance(manifest, dict):
        raise _REFUSE(path, f'holds a {type(manifest).__name__}, expected a mapping')
    report.synthetic = manifest.get('synthetic') is True
    notes = manifest.get('notes', [])
    report.notes += [str(note) for note in notes] if isinstance(notes, list) else [str(notes)]
