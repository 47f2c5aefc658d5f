"""Pictures of any size brought to the size that an image encoder looks at."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from robot_learning.errors import MessageError

Array = np.ndarray[Any, Any]


def scaled_width(height: int, width: int, to_height: int, step: int) -> int:
    """Return the width that keeps a picture's aspect, to the nearest multiple of `step`."""
    return max(round(width * to_height / height / step), 2) * step


def scaled(image: Array, height: int, width: int) -> Array:
    """Return the picture [height, width, 3] uint8, smoothed where it gets smaller.

    Raises:
        MessageError: it is no rgb picture of bytes.
    """
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape or image.dtype != np.uint8:
        raise MessageError(
            f'image: found {image.dtype} {list(image.shape)}, expected uint8 [H, W, 3], rgb. '
            f'Convert it to rgb8 before it is looked at.'
        )
    if image.shape[:2] == (height, width):
        return image
    small = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(small)
