"""Real data sets in the layout of their makers: a table beside archives or folders of files.

| set | layout |
| --- | --- |
| Grocery Store (Klasson 2019) | `meta.csv`: file, split, fine_name, coarse_name, `images_*.zip` |
| ESC-10 (Piczak 2015) | `meta.csv`: filename, fold, category, the files it names |
| Free Spoken Digit Dataset | a zip of `{digit}_{speaker}_{take}.flac` |

A group is a fold of ESC-10, a speaker of the digits.
"""

from __future__ import annotations

import csv
import io
import os
import re
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from robot_learning import foreign_files
from robot_learning.errors import DataError
from robot_learning.foreign_files import Refusal, printable
from robot_learning.trajectory import image_files, sound_files
from robot_learning.trajectory.paired_data import (
    MODALITIES,
    Entry,
    Modality,
    PairedReport,
    PairedSample,
)

Level = Literal['coarse', 'fine']

_LARGEST_TABLE, _LARGEST_MEMBER = 50 << 20, 100 << 20  # Bytes.
_REFUSE = Refusal(DataError, 'Get the set again, or name another one.')
_TABLE = 'meta.csv'
_PICTURES = {'file', 'split', 'fine_name', 'coarse_name'}
_SOUNDS = {'filename', 'fold', 'category'}
_DIGIT = re.compile(r'(\d)_([A-Za-z]+)_\d+\.(?:flac|wav)\Z')
_ARCHIVES = 'images*.zip'


class _Item(NamedTuple):
    """One file of a set."""

    name: str  # Member of the archive, or path below the folder.
    class_name: str
    split: str
    group: str = ''


class CataloguedSet:
    """The pictures or sounds that a table or their names describe."""

    def __init__(
        self,
        root: Path,
        archive: Path | None,
        modality: Literal['image', 'sound'],
        items: Sequence[_Item],
        image_size: int | None = None,
    ):
        self._root = root
        self._archive = archive
        self._image_size = image_size
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        self.modalities: tuple[Modality, ...] = (modality,)
        self.classes = tuple(sorted({item.class_name for item in items}))
        number = {name: index for index, name in enumerate(self.classes)}
        self.entries = tuple(
            Entry(item.name, number[item.class_name], item.split, item.group) for item in items
        )

    def read(
        self,
        index: int,
        report: PairedReport | None = None,
        wanted: Collection[Modality] = MODALITIES,
    ) -> PairedSample:
        """Read one sample; see `SampleSource.read`."""
        entry = self.entries[index]
        content, where = self._content(entry.source)
        if self.modalities == ('image',):
            decoded = image_files.decode_image(content, where, self._image_size)
            image, sound = decoded.array, None
        else:
            decoded = sound_files.decode_sound(content, where)
            image, sound = None, decoded.array
        if report is not None and decoded.converted:
            report.converted[decoded.converted] += 1
        return PairedSample(image, sound, None, None, None, entry.label, None, entry.source)

    def _opened_archive(self, path: Path) -> zipfile.ZipFile:
        """Return the archive, opened once per process: forks would share a place in the file."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), zipfile.ZipFile(path)
        return self._opened[1]

    def _content(self, name: str) -> tuple[bytes, str]:
        if self._archive is None:
            names = tuple(Path(name).parts)
            content = foreign_files.read_below(self._root, names, _LARGEST_MEMBER, _REFUSE)
            return content, str(self._root / name)
        where = f'{self._archive}:{name}'
        try:
            archive = self._opened_archive(self._archive)
            if archive.getinfo(name).file_size > _LARGEST_MEMBER:
                raise ValueError(f'is larger than {_LARGEST_MEMBER} bytes')
            return archive.read(name), where
        except KeyError as error:
            raise _REFUSE(where, 'is not in the archive') from error
        except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
            raise _REFUSE(where, f'cannot be read ({printable(error)})') from error


def open_catalogue(
    root: Path, report: PairedReport, level: Level = 'coarse', image_size: int | None = None
) -> CataloguedSet | None:
    """Return the set at a folder or archive; None: it is none of those above.

    Raises:
        DataError: it is one and broken.
    """
    if (root / _TABLE).is_file():
        rows, columns = _rows(root / _TABLE)
        if columns >= _PICTURES:
            report.kind = f'pictures with {level} names'
            items = [
                _Item(row['file'], row[f'{level}_name'], row['split'] or 'train') for row in rows
            ]
            return CataloguedSet(root, _only_archive(root), 'image', items, image_size)
        if columns >= _SOUNDS:
            report.kind = 'sounds in folds'
            items = [
                _Item(row['filename'], row['category'], 'train', f'fold {row["fold"]}')
                for row in rows
            ]
            return CataloguedSet(root, None, 'sound', items)
    archive = root if root.suffix == '.zip' else next(iter(sorted(root.glob('*.zip'))), None)
    if archive is None or not archive.is_file():
        return None
    found = _digits(archive)
    if not found:
        return None
    report.kind = 'spoken digits'
    return CataloguedSet(root, archive, 'sound', found)


def _digits(archive: Path) -> list[_Item]:
    foreign_files.check_zip(archive, _REFUSE)
    with zipfile.ZipFile(archive) as opened:
        matches = [(name, _DIGIT.match(name)) for name in sorted(opened.namelist())]
    return [_Item(name, match[1], 'train', match[2]) for name, match in matches if match]


def _rows(path: Path) -> tuple[list[dict[str, str]], set[str]]:
    content = foreign_files.read(path, _LARGEST_TABLE, _REFUSE)
    try:
        table = csv.DictReader(io.StringIO(content.decode('utf-8-sig'), newline=''))
        rows = list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise _REFUSE(path, f'is no table ({printable(error)})') from error
    short = next((index for index, row in enumerate(rows) if None in row.values()), None)
    if short is not None:
        raise _REFUSE(f'{path}:{short + 2}', 'has fewer cells than the header')
    return rows, set(table.fieldnames or ())


def _only_archive(root: Path) -> Path:
    archives = sorted(root.glob(_ARCHIVES))
    if len(archives) != 1:
        found = ', '.join(path.name for path in archives) or 'none'
        raise _REFUSE(root, f'has the archives {found}, expected one called {_ARCHIVES}')
    foreign_files.check_zip(archives[0], _REFUSE)
    return archives[0]
