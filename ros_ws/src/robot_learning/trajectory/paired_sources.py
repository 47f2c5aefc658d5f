"""Opens whatever holds samples of several senses as one `PairedSet`.

| what `path` names | layout |
| --- | --- |
| a folder with numbered files below `train` or `val` | `paired_folders` |
| a folder of pictures, or of sounds, per class | `class_folders` |
| `meta.csv` beside pictures or sounds, or an archive of digits | `catalogued_sets` |
| `*.hdf5` with an array per sense | `paired_hdf5` |
| a trajectory store, a session or a segment | `paired_episodes` |
| `hf:NAME` or `hf:NAME@CONFIG` | `hub_sets` |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from robot_learning.errors import DataError
from robot_learning.foreign_files import Refusal
from robot_learning.trajectory import class_folders, hub_sets, paired_episodes, paired_folders
from robot_learning.trajectory.catalogued_sets import Level, open_catalogue
from robot_learning.trajectory.paired_data import PairedReport, PairedSet, SampleSource
from robot_learning.trajectory.paired_hdf5 import PairedHdf5, is_paired_hdf5

_HDF5 = ('.hdf5', '.h5')
_REFUSE = Refusal(
    DataError,
    'Name a folder with train/CLASS/image_000.jpg and the like, a folder of pictures or sounds '
    'per class, an HDF5 file, a trajectory store, or hf:NAME.',
)


def open_paired(
    path: Path | str,
    image_size: int | None = None,
    check_files: bool = True,
    level: Level = 'coarse',
    window: int = 32,
    min_class_samples: int = 2,
    segments: Sequence[Path] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> PairedSet:
    """Open data of several senses; broken samples are left out and named in the report.

    Args:
        path: see the top of this module.
        image_size: pictures are cut to a centred square and scaled to it; None: as they are.
        check_files: read every sample once now. Otherwise a broken file shows when it is read,
            as an error; choose that for sets too large to read twice.
        level: which names label pictures that have coarse and fine ones.
        window: steps of a sample cut from longer episodes.
        min_class_samples: classes with fewer are left out and counted.
        segments: of a trajectory store, to read these only; None: all.
        on_progress: told how many samples of how many are checked.

    Raises:
        DataError: nothing readable is there, or nothing sound is left.
        EnvironmentSetupError: `datasets` is needed and not installed.
    """
    report = PairedReport(str(path), '')
    source = _source(path, report, level, window, image_size, segments)
    total = len(source.entries)
    kept = []
    for index in range(total):
        if not check_files or _is_sound(source, index, report):
            kept.append(index)
        on_progress(index + 1, total)
    kept = _of_classes(source, kept, min_class_samples, report)
    if not kept:
        found = f'none of its {len(report.skipped)} samples can be used'
        first = ': '.join(report.skipped[0]) if report.skipped else ''
        raise _REFUSE(path, f'{found}, the first: {first}' if first else 'holds no samples')
    report.num_samples = dict(Counter(source.entries[index].split for index in kept))
    interventions = getattr(source, 'interventions', ())
    return PairedSet(source, report, None, interventions).subset(kept)


def _source(
    path: Path | str,
    report: PairedReport,
    level: Level,
    window: int,
    image_size: int | None,
    segments: Sequence[Path] | None,
) -> SampleSource:
    """Find out what a path is."""
    if isinstance(path, str) and path.startswith(hub_sets.PREFIX):
        report.kind = 'set of Hugging Face'
        return hub_sets.HubSet(path.removeprefix(hub_sets.PREFIX), report, image_size)
    path = Path(path)
    if not path.exists():
        raise _REFUSE(path, 'is not there')
    if path.suffix in _HDF5 and is_paired_hdf5(path):
        report.kind = 'arrays in HDF5'
        return PairedHdf5(path, report, image_size)
    if path.suffix in _HDF5 or paired_episodes.has_segments(path):
        report.kind = f'episodes in windows of {window} steps'
        return paired_episodes.PairedEpisodes(path, report, window, image_size, segments)
    if (catalogue := open_catalogue(path, report, level, image_size)) is not None:
        return catalogue
    if paired_folders.is_paired_folder(path):
        report.kind = 'folder of paired files'
        return paired_folders.PairedFolder(path, report, image_size)
    if (kind := class_folders.kind_of(path)) is not None:
        report.kind = f'{kind} files in class folders'
        return class_folders.ClassFolders(path, kind, image_size)
    raise _REFUSE(path, 'holds no samples in a layout that is known')


def _is_sound(source: Any, index: int, report: PairedReport) -> bool:
    try:
        source.read(index, report)
    except DataError as error:
        report.skip(source.entries[index].source, str(error))
        return False
    return True


def _of_classes(
    source: SampleSource, indices: list[int], min_samples: int, report: PairedReport
) -> list[int]:
    """Leave out classes with too few samples; samples without a label stay."""
    counts = Counter(source.entries[index].label for index in indices)
    kept = []
    for index in indices:
        entry = source.entries[index]
        if entry.label < 0 or counts[entry.label] >= min_samples:
            kept.append(index)
            continue
        name, count = source.classes[entry.label], counts[entry.label]
        report.skip(
            entry.source, f'its class {name} has {count} samples, expected {min_samples} or more'
        )
    return kept
