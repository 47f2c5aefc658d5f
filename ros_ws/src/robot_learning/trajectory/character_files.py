"""Pictures in classes, for learning from few examples: Omniglot's archives and folders of images.

- An npz archive with `images` uint8 [N, H, W], or `bits` uint8 [N, ceil(H W / 8)] beside `shape`
  (H, W), and `char` [N] integers; `chars` names the classes, `alphabet` [N] and `alphabets` the
  group of each.
- A folder with one folder of pictures per class, as Mini-ImageNet is kept; folders `train`, `val`
  and `test` above them are groups.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from robot_learning import foreign_files
from robot_learning.errors import DataError, NotEnoughDataError
from robot_learning.foreign_files import Refusal, printable

Array = np.ndarray[Any, Any]

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp')
SPLITS = ('train', 'val', 'test')
_LARGEST_FILE = 2 << 30  # Bytes.
_LARGEST_PICTURE = 64 << 20
_LARGEST_PIXELS = 50_000_000
_REFUSE = Refusal(
    DataError, 'Name an npz archive of images and char, or a folder of class folders.'
)
_BROKEN = (OSError, ValueError, LookupError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)
_CORRUPT = (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError)


class PictureClasses(NamedTuple):
    """N pictures and what they show."""

    images: Array  # [N, H, W, C] uint8; ink is bright where the archive's is.
    label: Array  # [N] int64, index into `classes`.
    classes: tuple[str, ...]
    group: Array  # [classes] int64, index into `groups`.
    groups: tuple[str, ...]  # Alphabets, or train, val and test; () where there are none.
    source: str

    def of_classes(self, chosen: Array) -> PictureClasses:
        """Return the part with these classes, numbered anew in ascending order."""
        chosen = np.unique(chosen)
        is_kept = np.isin(self.label, chosen)
        return self._replace(
            images=self.images[is_kept],
            label=np.searchsorted(chosen, self.label[is_kept]),
            classes=tuple(self.classes[index] for index in chosen),
            group=self.group[chosen],
        )

    def rows_of_classes(self) -> list[Array]:
        """Return the rows of every class."""
        order = np.argsort(self.label, kind='stable')
        ends = np.searchsorted(self.label[order], np.arange(1, len(self.classes)))
        return np.split(order, ends)


class ClassSplit(NamedTuple):
    """Classes to learn from, and classes that are never seen while learning."""

    training: PictureClasses
    held_out: PictureClasses
    held_out_groups: tuple[str, ...]  # Names, () where single classes are held out.


def read_classes(
    path: Path | str, size: int = 28, colours: Literal['gray', 'rgb'] = 'gray'
) -> PictureClasses:
    """Read pictures in classes; see the top of this module for what `path` may be.

    Args:
        path: of an archive or folder.
        size: height and width to bring pictures to: the whole picture is scaled, by the mean
            of what it covers.
        colours: 'gray' [N, H, W, 1] or 'rgb' [N, H, W, 3].

    Raises:
        DataError: there is nothing, or it is broken; a corrupt picture is named.
        NotEnoughDataError: there is one class only.
    """
    path = Path(path)
    if path.is_dir():
        found = _from_folder(path, size, colours)
    elif path.suffix == '.npz':
        found = _from_archive(path, size, colours)
    else:
        what = 'is no such file' if path.exists() else 'is not there'
        raise _REFUSE(path, f'{what}, expected pictures in classes')
    if len(found.classes) < 2:
        raise NotEnoughDataError(
            f'{path}: all {len(found.images)} pictures are of class '
            f'{printable(found.classes[0])!r}, expected two classes or more. Add another.'
        )
    return found


def split_classes(data: PictureClasses, held_out_ratio: float, seed: int) -> ClassSplit:
    """Hold out whole groups with about this share of the classes; without groups, classes.

    Where the groups are train, val and test, all but train are held out.

    Raises:
        NotEnoughDataError: fewer than two classes would be left on a side.
    """
    names = set(data.groups)
    if 'train' in names and len(names) > 1 and names <= set(SPLITS):
        is_held = data.group != data.groups.index('train')
    else:
        is_held = _held_out(data, held_out_ratio, seed)
    sides = [np.flatnonzero(~is_held), np.flatnonzero(is_held)]
    if min(len(side) for side in sides) < 2:
        raise NotEnoughDataError(
            f'{data.source}: {len(sides[0])} classes to learn from and {len(sides[1])} held out, '
            f'expected at least 2 each. Name more classes or change --held-out.'
        )
    held_groups = sorted({int(group) for group in data.group[sides[1]]}) if data.groups else []
    return ClassSplit(
        data.of_classes(sides[0]),
        data.of_classes(sides[1]),
        tuple(data.groups[index] for index in held_groups),
    )


def _held_out(data: PictureClasses, ratio: float, seed: int) -> Array:
    """Return [classes] bool."""
    units = data.group if len(data.groups) > 1 else np.arange(len(data.classes))
    order = np.random.default_rng(seed).permutation(int(units.max()) + 1)
    sizes = np.bincount(units)[order]
    before = np.cumsum(sizes) - sizes
    wanted = max(ratio * len(units), 2)
    chosen = order[: max(int((before < wanted).sum()), 1)]
    held: Array = np.isin(units, chosen)
    return held


def _from_archive(path: Path, size: int, colours: str) -> PictureClasses:
    foreign_files.read(path, _LARGEST_FILE, _REFUSE)
    foreign_files.check_zip(path, _REFUSE)
    try:
        with np.load(path, allow_pickle=False) as archive:
            content = {name: archive[name] for name in archive.files}
        images = _unpacked(content)
        label = np.asarray(content['char'])
        if label.shape != (len(images),) or label.dtype.kind not in 'iu' or not len(label):
            raise ValueError(f'char is {label.dtype} {list(label.shape)}, expected one per image')
        known, label = np.unique(label, return_inverse=True)
        classes = _names(content.get('chars'), known)
        group, groups = _groups(content, label, len(known))
    except _BROKEN as error:
        raise _REFUSE(path, f'is no archive of pictures ({printable(error)})') from error
    scaled = np.stack([_sized(Image.fromarray(image), size, colours) for image in images])
    return PictureClasses(scaled, label.astype(np.int64), classes, group, groups, str(path))


def _unpacked(content: dict[str, Array]) -> Array:
    """Return [N, H, W] uint8.

    Raises:
        ValueError: there is neither, or it has another shape.
        KeyError: bits have no shape.
    """
    if 'images' in content:
        images = content['images']
        if images.ndim != 3 or images.dtype != np.uint8:
            raise ValueError(
                f'images is {images.dtype} {list(images.shape)}, expected uint8 [N, H, W]'
            )
        return images
    if 'bits' not in content:
        raise ValueError(f'holds {", ".join(content) or "nothing"}, lacks images or bits')
    height, width = (int(number) for number in content['shape'])
    bits = content['bits']
    if bits.ndim != 2 or bits.dtype != np.uint8 or bits.shape[1] != -(-height * width // 8):
        raise ValueError(
            f'bits is {bits.dtype} {list(bits.shape)}, expected uint8 of {height} x {width} bits'
        )
    pixels = np.unpackbits(bits, axis=1)[:, : height * width]
    unpacked: Array = (pixels * np.uint8(255)).reshape(-1, height, width)
    return unpacked


def _names(names: Array | None, known: Array) -> tuple[str, ...]:
    """Return what the classes are called; `names` is indexed by the archive's own numbers."""
    if names is None:
        return tuple(str(number) for number in known)
    return tuple(str(names[number]) for number in known)


def _groups(
    content: dict[str, Array], label: Array, num_classes: int
) -> tuple[Array, tuple[str, ...]]:
    """Return the group of each class, and what groups are called.

    Raises:
        ValueError: pictures of one class are in two groups.
    """
    if 'alphabet' not in content:
        return np.zeros(num_classes, np.int64), ()
    own = np.asarray(content['alphabet'])
    if own.shape != label.shape:
        raise ValueError(f'alphabet is {list(own.shape)}, expected one per image')
    known, number = np.unique(own, return_inverse=True)
    group = np.zeros(num_classes, np.int64)
    group[label] = number
    if not np.array_equal(group[label], number):
        raise ValueError('a char is in two alphabets')
    return group, _names(content.get('alphabets'), known)


def _from_folder(root: Path, size: int, colours: str) -> PictureClasses:
    splits = [name for name in SPLITS if (root / name).is_dir()]
    images: list[Array] = []
    label: list[int] = []
    classes: list[str] = []
    group: list[int] = []
    for number, above in enumerate([root / name for name in splits] or [root]):
        for folder in sorted(path for path in above.iterdir() if path.is_dir()):
            files = [f for f in sorted(folder.rglob('*')) if f.suffix.lower() in SUFFIXES]
            if not files:
                continue
            images += [_read_picture(file, size, colours) for file in files]
            label += [len(classes)] * len(files)
            classes.append(str(folder.relative_to(root)))
            group.append(number)
    if not images:
        raise _REFUSE(root, 'holds no folder with pictures')
    return PictureClasses(
        np.stack(images),
        np.asarray(label, np.int64),
        tuple(classes),
        np.asarray(group, np.int64),
        tuple(splits),
        str(root),
    )


def _read_picture(path: Path, size: int, colours: str) -> Array:
    content = foreign_files.read(path, _LARGEST_PICTURE, _REFUSE)
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > _LARGEST_PIXELS:
                raise ValueError(f'has {image.width} x {image.height} pixels, which is too large')
            image.load()
            return _sized(image, size, colours)
    except _CORRUPT as error:
        raise DataError(
            f'{path}: is no whole picture ({printable(str(error).split(" <_io.")[0])}), expected '
            f'one. Replace it by a sound picture, or remove it.'
        ) from error


def _sized(image: Image.Image, size: int, colours: str) -> Array:
    """Return [size, size, 1 or 3] uint8."""
    picture = image.convert('L' if colours == 'gray' else 'RGB')
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BOX)
    array = np.array(picture, np.uint8)
    return array[..., None] if array.ndim == 2 else array
