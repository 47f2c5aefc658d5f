"""Pictures of any format into rgb arrays; whatever is wrong with one is one `DataError`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from robot_learning import foreign_files
from robot_learning.errors import DataError
from robot_learning.foreign_files import Refusal, printable

Array = np.ndarray[Any, Any]

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.gif', '.ppm')
_LARGEST_FILE = 100 << 20  # Bytes.
_LARGEST_IMAGE = 50_000_000  # Pixels; a bomb has more.
_REFUSE = Refusal(DataError, 'Replace it by a sound picture, or remove it.')
# What Pillow makes of files that are not what they seem.
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, MemoryError, OverflowError, TypeError)


class Decoded(NamedTuple):
    """What a file holds, and what was changed so that it fits the rest."""

    array: Array
    converted: str = ''  # 'image L -> RGB'; empty: nothing.


def read_image(path: Path, size: int | None = None) -> Decoded:
    """Read a picture; see `decode_image`."""
    return decode_image(foreign_files.read(path, _LARGEST_FILE, _REFUSE), path, size)


def decode_image(content: bytes, where: Path | str, size: int | None = None) -> Decoded:
    """Return the picture [H, W, 3] uint8, turned as its camera was held.

    Args:
        content: of the file.
        where: what to call it in errors.
        size: cut to a centred square and scale to this height and width; None: as it is.

    Raises:
        DataError: it is no picture, cut off, or has too many pixels.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = image.width * image.height
            if pixels > _LARGEST_IMAGE:
                raise ValueError(f'has {pixels} pixels, expected at most {_LARGEST_IMAGE}')
            image.load()
            mode = image.mode
            picture = ImageOps.exif_transpose(image).convert('RGB')
    except (*_BROKEN, Image.DecompressionBombError) as error:
        raise _REFUSE(where, f'is no whole picture ({_reason(error)})') from error
    array = np.array(picture, np.uint8)
    converted = '' if mode in ('RGB', 'P') else f'image {mode} -> RGB'
    return Decoded(array if size is None else fitted(array, size), converted)


def fitted(image: Array, size: int) -> Array:
    """Return [size, size, 3] uint8, the centred square of a picture [H, W, 3], scaled."""
    if image.shape[:2] == (size, size):
        return image
    picture = Image.fromarray(image)
    return np.array(ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR), np.uint8)


def encode_png(image: Array) -> bytes:
    """Return the PNG file of a picture [H, W, 3] uint8."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, 'PNG')
    return content.getvalue()


def encode_jpeg(image: Array, quality: int = 95) -> bytes:
    """Return the JPEG file of a picture [H, W, 3] uint8; it loses detail."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, 'JPEG', quality=quality)
    return content.getvalue()


def _reason(error: BaseException) -> str:
    return printable(str(error).split(' <_io.')[0] or type(error).__name__)
