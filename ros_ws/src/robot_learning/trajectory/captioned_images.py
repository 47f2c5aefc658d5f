"""Pictures with captions as they lie about: folders with captions.jsonl, shop photographs, COCO.

Three layouts:

- `captions.jsonl`, a JSON object per line, `{"image": FILE, "caption": TEXT}` or
  `{"image": FILE, "captions": [TEXT, ...]}`; pictures in any folder or zip archive beside it.
- `meta.csv` (file, split, fine, coarse, fine_name, ...) with `class_descriptions.jsonl`
  (`{"fine": NUMBER, "name": ..., "description": ...}`): pictures have their class's description.
- a set of Hugging Face by name, where the package `datasets` is installed.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import importlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robot_learning.errors import DataError, EnvironmentSetupError

Array = np.ndarray[Any, Any]
CAPTIONS, META, DESCRIPTIONS = 'captions.jsonl', 'meta.csv', 'class_descriptions.jsonl'
_PICTURES = ('.jpg', '.jpeg', '.png')
_HELD_OUT = ('val', 'test')
SETS: Mapping[str, tuple[str, str]] = {  # Short name -> set and split.
    'coco': ('jxie/coco_captions', 'train'),
    'flickr8k': ('jxie/flickr8k', 'train'),
}
_MOST_OF_A_SET = 20_000


class Captioned(NamedTuple):
    """One picture."""

    name: str  # Unique in its set.
    captions: tuple[str, ...]  # Lower case, at least one.
    group: str  # Pictures of one group share their captions: its class, or its own name.
    split: str = ''  # As the data say: 'train', 'val', 'test'; '' where they say nothing.


class CaptionedImages:
    """A set of pictures with captions; pixels are read when asked for.

    Args:
        name: of the set.
        rows: its pictures.
        load: gives the pixels [H, W, 3] uint8 of a picture by its name.
        sha256: of the file of captions; '': of a set by name.
        classes: name -> description, where pictures belong to classes.
    """

    def __init__(
        self,
        name: str,
        rows: Sequence[Captioned],
        load: Callable[[str], Array],
        sha256: str = '',
        classes: Mapping[str, str] | None = None,
    ):
        self.name, self.rows, self.load, self.sha256 = name, tuple(rows), load, sha256
        self.classes = dict(classes or {})

    def split(self, share: float, seed: int) -> tuple[list[Captioned], list[Captioned]]:
        """Return pictures to learn from and pictures held out.

        Where the data mark some as `val` or `test`, these; else a share, by their names.

        Raises:
            DataError: one of both is empty.
        """
        held = [row for row in self.rows if row.split in _HELD_OUT]
        if not held:
            held = [row for row in self.rows if _is_drawn(row.name, share, seed)]
        names = {row.name for row in held}
        learned = [row for row in self.rows if row.name not in names]
        if not learned or not held:
            raise DataError(
                f'{self.name}: {len(self.rows)} pictures leave {len(learned)} to learn from and '
                f'{len(held)} to measure on, expected some of each. Name more data.'
            )
        return learned, held


def read(path: Path) -> CaptionedImages:
    """Read a folder, or a set by one of the names in SETS.

    Raises:
        DataError: it is no such folder, or something in it is wrong; names file and line.
        EnvironmentSetupError: a set is named and `datasets` is not installed.
    """
    if str(path) in SETS:
        return _read_set(str(path))
    if not path.is_dir():
        raise DataError(
            f'{path}: is no folder, expected one with {CAPTIONS}, or with {META} and '
            f'{DESCRIPTIONS}, or one of the sets {", ".join(SETS)}. Correct the path.'
        )
    pictures = _Pictures(path)
    classes: dict[str, str] = {}
    if (path / CAPTIONS).is_file():
        rows = _caption_rows(path / CAPTIONS, pictures)
        digest = path / CAPTIONS
    elif (path / META).is_file():
        rows, classes = _class_rows(path, pictures)
        digest = path / META
    else:
        raise DataError(
            f'{path}: holds neither {CAPTIONS} nor {META}. Write {CAPTIONS} with one '
            f'{{"image": FILE, "caption": TEXT}} per line.'
        )
    if len(rows) < 2:
        raise DataError(f'{digest}: names {len(rows)} pictures, expected at least 2. Add more.')
    sha256 = hashlib.sha256(digest.read_bytes()).hexdigest()
    return CaptionedImages(path.name, rows, pictures.load, sha256, classes)


def decoded(content: bytes, where: str) -> Array:
    """Return the pixels [H, W, 3] uint8 of a PNG or JPEG file.

    Raises:
        DataError: it is damaged, or none.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert('RGB'))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f'{where}: cannot be read as a picture ({error}). Replace it, or take it out of the '
            f'list.'
        ) from error


class _Pictures:
    """Finds pictures by name below a folder and in its zip archives."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._files: dict[str, Path] = {}
        self._archived: dict[str, tuple[Path, str]] = {}
        for file in sorted(folder.rglob('*')):
            if file.suffix.lower() in _PICTURES:
                self._files.setdefault(file.name, file)
                self._files[file.relative_to(folder).as_posix()] = file
            elif file.suffix.lower() == '.zip':
                for member in _members(file):
                    self._archived.setdefault(Path(member).name, (file, member))
                    self._archived.setdefault(member, (file, member))
        self._open = functools.lru_cache(maxsize=8)(zipfile.ZipFile)

    def __contains__(self, name: str) -> bool:
        return name in self._files or name in self._archived

    def load(self, name: str) -> Array:
        """Return pixels; the name was looked up before."""
        if name in self._files:
            return decoded(self._files[name].read_bytes(), str(self._files[name]))
        archive, member = self._archived[name]
        try:
            content = self._open(archive).read(member)
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f'{archive}: {member} is damaged ({error}). Copy it anew.') from error
        return decoded(content, f'{archive}: {member}')


def _members(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return [n for n in opened.namelist() if Path(n).suffix.lower() in _PICTURES]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f'{archive}: is no zip archive ({error}). Copy it anew, or take it away.'
        ) from error


def _caption_rows(file: Path, pictures: _Pictures) -> list[Captioned]:
    rows: dict[str, Captioned] = {}
    for where, entry in _entries(file):
        name = entry.get('image')
        captions = entry.get('captions', [entry['caption']] if 'caption' in entry else None)
        if not isinstance(name, str) or not isinstance(captions, list) or not captions:
            raise DataError(
                f'{where}: found the keys {sorted(entry)}, expected "image" and "caption" or '
                f'"captions". Correct the line.'
            )
        for text in captions:
            if not isinstance(text, str) or not text.strip():
                raise DataError(
                    f'{where}: caption of {name} is {text!r}, expected a text. Correct the line.'
                )
        _check_there(name, pictures, where)
        before = rows[name].captions if name in rows else ()
        texts = (*before, *(text.strip().lower() for text in captions))
        rows[name] = Captioned(
            name, tuple(dict.fromkeys(texts)), name, str(entry.get('split', ''))
        )
    return list(rows.values())


def _class_rows(folder: Path, pictures: _Pictures) -> tuple[list[Captioned], dict[str, str]]:
    classes: dict[str, str] = {}
    captions: dict[str, tuple[str, ...]] = {}
    names: dict[str, str] = {}
    icons: list[Captioned] = []
    for where, entry in _entries(folder / DESCRIPTIONS):
        text, name = entry.get('description'), entry.get('name')
        if not isinstance(text, str) or not text.strip() or not isinstance(name, str):
            raise DataError(
                f'{where}: found {text!r} as description of {name!r}, expected a text. Correct '
                f'the line.'
            )
        number = str(entry.get('fine'))
        spoken = name.replace('-', ' ').lower()
        names[number], classes[name] = name, text.strip().lower()
        captions[number] = (classes[name], f'{spoken}. {classes[name]}')
        icon = entry.get('iconic')
        if isinstance(icon, str) and icon in pictures:
            icons.append(Captioned(icon, captions[number], name, 'train'))
    rows = []
    file = folder / META
    with file.open(encoding='utf-8', newline='') as opened:
        for line, entry in enumerate(csv.DictReader(opened), 2):
            where, number = f'{file}:{line}', str(entry.get('fine'))
            if not entry.get('file') or number not in names:
                raise DataError(
                    f'{where}: found file {entry.get("file")!r} of class {number}, expected a '
                    f'class that {DESCRIPTIONS} describes. Correct the line.'
                )
            _check_there(entry['file'], pictures, where)
            split = str(entry.get('split') or '')
            rows.append(Captioned(entry['file'], captions[number], names[number], split))
    if len({row.group for row in rows}) < 2:
        raise DataError(
            f'{file}: pictures of {len({row.group for row in rows})} class, expected at least 2. '
            f'Name more data.'
        )
    return rows + icons, classes


def _check_there(name: str, pictures: _Pictures, where: str) -> None:
    if name not in pictures:
        raise DataError(
            f'{where}: {name} is neither in this folder nor in a zip archive of it. Put it there, '
            f'or take the line out.'
        )


def _entries(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        lines = file.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{file}: cannot be read ({error}). Put it there as UTF-8.') from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise DataError(f'{file}:{number}: is no JSON ({error}). Correct the line.') from error
        if not isinstance(entry, dict):
            raise DataError(f'{file}:{number}: is no JSON object. Correct the line.')
        yield f'{file}:{number}', entry


def _is_drawn(name: str, share: float, seed: int) -> bool:
    return zlib.crc32(f'{seed}:{name}'.encode()) % 10_000 < share * 10_000


def _read_set(name: str) -> CaptionedImages:
    try:
        datasets = importlib.import_module('datasets')  # Large; few need it.
    except ImportError as error:
        raise EnvironmentSetupError(
            f'--data {name}: is a set of Hugging Face, and the package datasets is not '
            f'installed. Install it with "pip install datasets", or name a folder.'
        ) from error
    where, part = SETS[name]
    try:
        loaded = datasets.load_dataset(where, split=f'{part}[:{_MOST_OF_A_SET}]')
    except Exception as error:
        raise DataError(
            f'--data {name}: cannot be loaded ({type(error).__name__}: {error}). Look at the '
            f'network, or name a folder.'
        ) from error
    rows = [
        Captioned(str(number), captions, str(number))
        for number, entry in enumerate(loaded.remove_columns('image'))
        if (captions := _captions_of(entry))
    ]
    return CaptionedImages(
        name, rows, lambda key: np.asarray(loaded[int(key)]['image'].convert('RGB'))
    )


def _captions_of(entry: Mapping[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for key, value in entry.items():
        if key.startswith('caption'):
            found += [value] if isinstance(value, str) else list(value)
    return tuple(text.strip().lower() for text in found if text and text.strip())
