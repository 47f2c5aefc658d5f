"""Pixels out of Image and CompressedImage messages: rows, byte order, channels."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from robot_learning.contract import ObservationField
from robot_learning.errors import EnvironmentSetupError, MessageError

Array = np.ndarray[Any, Any]


class Encoding(NamedTuple):
    """How one pixel is stored."""

    dtype: str
    channels: str  # In stored order: 'rgb', 'bgra', 'y' (grey or depth), 'xy...' (no meaning).


ENCODINGS: dict[str, Encoding] = {
    'rgb8': Encoding('uint8', 'rgb'),
    'bgr8': Encoding('uint8', 'bgr'),
    'rgba8': Encoding('uint8', 'rgba'),
    'bgra8': Encoding('uint8', 'bgra'),
    'mono8': Encoding('uint8', 'y'),
    'mono16': Encoding('uint16', 'y'),
    '8UC1': Encoding('uint8', 'y'),
    '16UC1': Encoding('uint16', 'y'),
    '32FC1': Encoding('float32', 'y'),
    '64FC1': Encoding('float64', 'y'),
}
# Channels that a contract's shape [H, W, C] asks for.
_WANTED = {1: 'y', 3: 'rgb', 4: 'rgba'}


def image_reader(field: ObservationField) -> Callable[[Any], Array]:
    """Read Image messages as [H, W, C]: C 1 is grey or depth, 3 is RGB, 4 is RGBA.

    BGR is reordered; an alpha channel is dropped where the contract has none. Nothing is
    resized, rescaled or turned to grey.
    """
    wanted = wanted_channels(field)

    def read(message: Any) -> Array:
        encoding = ENCODINGS.get(message.encoding)
        if encoding is None:
            raise MessageError(
                f'found encoding {message.encoding!r}, expected one of '
                f'{", ".join(ENCODINGS)}. Convert it in the camera driver.'
            )
        return _reordered(_pixels(message, encoding), encoding, wanted)

    return read


def compressed_image_reader(field: ObservationField) -> Callable[[Any], Array]:
    """Decode JPEG, PNG and what else pillow knows to [H, W, C] as the contract asks."""
    try:
        from PIL import Image
    except ImportError as error:
        raise EnvironmentSetupError(
            'CompressedImage: pillow is not installed, which decodes it. Run: pip install pillow.'
        ) from error
    mode = {'y': 'L', 'rgb': 'RGB', 'rgba': 'RGBA'}[wanted_channels(field)]

    def read(message: Any) -> Array:
        if 'compressedDepth' in message.format:
            raise MessageError(
                f'found format {message.format!r}, expected JPEG or PNG. '
                f'Publish the depth image uncompressed.'
            )
        try:
            image: Image.Image = Image.open(io.BytesIO(bytes(message.data)))
            if not image.mode.startswith('I'):  # 'I' is 16 or 32 bits of grey: kept.
                image = image.convert(mode)
            pixels = np.array(image)
        except OSError as error:
            raise MessageError(
                f'found {len(message.data)} bytes of {message.format!r} that do not decode '
                f'({error}), expected a whole picture. Check the transport.'
            ) from error
        return pixels[:, :, None] if pixels.ndim == 2 else pixels

    return read


def wanted_channels(field: ObservationField) -> str:
    """Name the channels that the last axis of the contract's shape asks for."""
    channels = _WANTED.get(field.shape[-1]) if len(field.shape) == 3 else None
    if channels is None:
        raise MessageError(
            f'found shape {list(field.shape)} in the contract, expected [height, width, 1, 3 or '
            f'4]. Correct it.'
        )
    return channels


def _pixels(message: Any, encoding: Encoding) -> Array:
    """View the buffer as [H, W, C] in stored order; `step` may pad the rows."""
    dtype = np.dtype(encoding.dtype)
    if bool(message.is_bigendian) != (sys.byteorder == 'big'):
        dtype = dtype.newbyteorder()
    height, width, channels = message.height, message.width, len(encoding.channels)
    row = width * channels * dtype.itemsize
    data = np.frombuffer(message.data, np.uint8)
    needed = (height - 1) * message.step + row  # The last row needs no padding.
    if message.step < row or data.size < needed or not height * width:
        raise MessageError(
            f'found {data.size} bytes with step {message.step}, expected {height} rows of at '
            f'least {row} bytes for {width}x{height} {message.encoding}. Check the driver.'
        )
    return np.ndarray(
        (height, width, channels),
        dtype,
        buffer=data,
        strides=(message.step, channels * dtype.itemsize, dtype.itemsize),
    )


def _reordered(pixels: Array, encoding: Encoding, wanted: str) -> Array:
    native = pixels.dtype.newbyteorder('=')
    if encoding.channels == wanted:
        return np.array(pixels, native, order='C')
    if not set(wanted) <= set(encoding.channels):
        raise MessageError(
            f"found channels {encoding.channels!r}, expected {wanted!r} for the contract's "
            f'shape. Correct the last number of the shape.'
        )
    result = np.empty((*pixels.shape[:2], len(wanted)), native)
    for target, channel in enumerate(wanted):  # Faster than one fancy index.
        result[:, :, target] = pixels[:, :, encoding.channels.index(channel)]
    return result
