"""What arrays of several senses must be like; each mistake is one `DataError` that names it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robot_learning import foreign_files
from robot_learning.errors import DataError
from robot_learning.foreign_files import Refusal, printable
from robot_learning.sense_formats import ACTION_SIZE, FRAME_SIZE, PROPERTIES
from robot_learning.trajectory.paired_data import OUTCOMES, Modality, PairedSample

Array = np.ndarray[Any, Any]

_LARGEST_FILE = 1 << 30  # Bytes.
_REFUSE = Refusal(DataError, 'Record it again, or remove the sample.')
_BROKEN = (OSError, ValueError, KeyError, EOFError, MemoryError)


def read_array(path: Path) -> Array:
    """Read a numpy file that holds numbers.

    Raises:
        DataError: it is none, or cut off.
    """
    content = foreign_files.read(path, _LARGEST_FILE, _REFUSE)
    try:
        return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
    except _BROKEN as error:
        raise _REFUSE(path, f'is no numpy array ({printable(error)})') from error


def steps(array: Array, where: Path | str) -> Array:
    """Return [T, D] float32, one row per step.

    Raises:
        DataError: the shape is another, or a number is not finite.
    """
    if array.ndim != 2 or not array.size or array.dtype.kind not in 'biuf':
        raise _REFUSE(
            where, f'is {array.dtype} {list(array.shape)}, expected numbers [steps, size]'
        )
    rows = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(rows):
        raise _REFUSE(where, f'step {rows[0]} holds a number that is not finite (NaN or infinite)')
    return np.ascontiguousarray(array, np.float32)


def actions(array: Array, where: Path | str) -> Array:
    """Return [T, 16] float32; zeros follow shorter commands.

    Raises:
        DataError: they are longer, or no finite numbers.
    """
    action = steps(array, where)
    size = action.shape[1]
    if size > ACTION_SIZE:
        raise _REFUSE(where, f'has {size} numbers per action, expected at most {ACTION_SIZE}')
    return np.pad(action, ((0, 0), (0, ACTION_SIZE - size)))


def frames(array: Array, where: Path | str) -> Array:
    """Return [T, 64, 64, 3] uint8.

    Raises:
        DataError: the shape or the type is another.
    """
    if array.dtype != np.uint8 or array.shape[1:] != (FRAME_SIZE, FRAME_SIZE, 3) or not len(array):
        raise _REFUSE(
            where,
            f'is {array.dtype} {list(array.shape)}, expected uint8 '
            f'[steps, {FRAME_SIZE}, {FRAME_SIZE}, 3]',
        )
    return array


def frame_strip(image: Array, where: Path | str) -> Array:
    """Return the frames [T, 64, 64, 3] that stand below each other in a picture [64 T, 64, 3]."""
    height, width = image.shape[:2]
    if width != FRAME_SIZE or height % FRAME_SIZE:
        raise _REFUSE(
            where, f'has {width} x {height} pixels, expected frames of {FRAME_SIZE} in one column'
        )
    return image.reshape(-1, FRAME_SIZE, FRAME_SIZE, 3)


def properties(values: Array, where: Path | str) -> Array:
    """Return [9] float32 in the order of `PROPERTIES`; NaN stands for unknown.

    Raises:
        DataError: there are more or fewer, or one is outside 0 to 1.
    """
    numbers = np.asarray(values, np.float32)
    if numbers.shape != (len(PROPERTIES),):
        raise _REFUSE(where, f'has properties {list(numbers.shape)}, expected [{len(PROPERTIES)}]')
    wrong = [
        f'{name} {value:g}'
        for name, value in zip(PROPERTIES, numbers, strict=True)
        if not (np.isnan(value) or 0 <= value <= 1)
    ]
    if wrong:
        raise _REFUSE(where, f'has {", ".join(wrong)}, expected 0 to 1')
    return numbers


def checked_sample(values: Mapping[Modality, Array], label: int, source: str) -> PairedSample:
    """Return a sample of arrays that are in memory; senses that are not there are None.

    Raises:
        DataError: an array is not what `PairedSample` says; names it.
    """
    checked = {
        name: check(values[name], f'{source}: {name}')
        for name, check in _CHECKS.items()
        if name in values
    }
    stepped = {name: checked.get(name) for name in ('proprioception', 'action', 'frames')}
    same_length({**stepped, 'outcome': checked.get('outcome')}, source)
    return PairedSample(
        checked.get('image'),
        checked.get('sound'),
        **stepped,
        label=label,
        properties=checked.get('properties'),
        source=source,
        outcome=checked.get('outcome'),
    )


def outcomes(array: Array, where: Path | str) -> Array:
    """Return [T, 3] float32: reward, terminated, truncated; NaN stands for unknown.

    Raises:
        DataError: the shape is another, a reward is infinite, or a flag is neither 0 nor 1.
    """
    values = np.asarray(array, np.float32)
    if values.ndim != 2 or values.shape[1] != len(OUTCOMES) or not len(values):
        raise _REFUSE(
            where, f'is {list(values.shape)}, expected [steps, {len(OUTCOMES)}]: {OUTCOMES}'
        )
    flags = values[:, 1:]
    if np.isinf(values).any() or not (np.isnan(flags) | (flags == 0) | (flags == 1)).all():
        raise _REFUSE(where, 'holds an infinite reward, or a flag that is neither 0 nor 1')
    return values


def picture(array: Array, where: Path | str) -> Array:
    """Return [H, W, 3] uint8.

    Raises:
        DataError: the shape or the type is another.
    """
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise _REFUSE(where, f'is {array.dtype} {list(array.shape)}, expected uint8 [H, W, 3]')
    return array


def sound(array: Array, where: Path | str) -> Array:
    """Return [N] float32.

    Raises:
        DataError: the shape is another, or a number is not finite.
    """
    if array.ndim != 1 or not array.size or array.dtype.kind != 'f':
        raise _REFUSE(where, f'is {array.dtype} {list(array.shape)}, expected floats [samples]')
    if not np.isfinite(array).all():
        raise _REFUSE(where, 'holds a sample that is not finite (NaN or infinite)')
    return np.ascontiguousarray(array, np.float32)


def same_length(arrays: Mapping[str, Array | None], where: Path | str) -> None:
    """Refuse a sample whose senses have different numbers of steps.

    Raises:
        DataError: names each length.
    """
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1:
        found = ', '.join(f'{count} of {name}' for name, count in lengths.items())
        raise _REFUSE(where, f'has steps of different number ({found}), expected equally many')


_CHECKS: Mapping[Modality, Callable[[Array, str], Array]] = {
    'image': picture,
    'sound': sound,
    'proprioception': steps,
    'action': actions,
    'frames': frames,
    'properties': properties,
    'outcome': outcomes,
}
