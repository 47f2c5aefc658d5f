"""Arrays as columns of parquet tables, in the forms that LeRobot's reader expects."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from robot_learning.trajectory.episode import Array

PICTURE = pa.struct([('bytes', pa.binary()), ('path', pa.string())])


def column(values: Array) -> pa.Array:
    """Return [T, ...] as a column: numbers, vectors of fixed size, or nested lists."""
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    shape = values.shape[1:]
    if shape in ((), (1,)):
        return flat
    if len(shape) == 1:
        return pa.FixedSizeListArray.from_arrays(flat, shape[0])
    for size in reversed(shape):
        offsets = np.arange(0, len(flat) + 1, size, dtype=np.int32)
        flat = pa.ListArray.from_arrays(pa.array(offsets), flat)
    return flat


def array(values: pa.ChunkedArray, dtype: str, shape: tuple[int, ...]) -> Array:
    """Return a column as [T, *shape]; `shape` (1,) also as [T] numbers are stored.

    Raises:
        ValueError: the column holds another shape, another type or nulls.
    """
    count = len(values)
    flat = values.combine_chunks()
    while pa.types.is_nested(flat.type):
        if flat.null_count:
            raise ValueError('holds nulls')
        flat = flat.flatten()
    if flat.null_count:
        raise ValueError('holds nulls')
    result: Array = flat.to_numpy(zero_copy_only=False)
    return result.astype(dtype, copy=False).reshape(count, *shape)


def pictures(frames: Array) -> pa.Array:
    """Return [T, H, W, 1 or 3] uint8 as a column of PNG files; grey becomes RGB."""
    encoded = [{'bytes': _png(frame), 'path': None} for frame in frames]
    return pa.array(encoded, PICTURE)


def read_picture(value: Any, most_pixels: int) -> Array:
    """Return one entry of such a column as [H, W, 3] uint8.

    Raises:
        ValueError: it is no picture, or one that is too large.
    """
    try:
        with Image.open(io.BytesIO(value['bytes'])) as image:
            if image.width * image.height > most_pixels:
                raise ValueError(
                    f'a picture of {image.width}x{image.height} is larger than the set says'
                )
            return np.array(image.convert('RGB'))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f'a picture does not decode: {error}') from error


def tasks_table(tasks: list[str]) -> pa.Table:
    """Return the tasks as pandas stores them: the text is the index of the numbers."""
    index = '__index_level_0__'
    table = pa.table({'task_index': pa.array(range(len(tasks)), pa.int64()), index: tasks})
    columns = [
        _pandas_column('task_index', 'task_index', 'int64', 'int64'),
        _pandas_column(None, index, 'unicode', 'object'),
    ]
    described = {
        'index_columns': [index],
        'column_indexes': [],
        'columns': columns,
        'creator': {'library': 'pyarrow', 'version': pa.__version__},
        'pandas_version': '2.2.0',
    }
    return table.replace_schema_metadata({'pandas': json.dumps(described)})


def _pandas_column(name: str | None, field: str, kind: str, numpy_type: str) -> dict[str, Any]:
    return {
        'name': name,
        'field_name': field,
        'pandas_type': kind,
        'numpy_type': numpy_type,
        'metadata': None,
    }


def _png(frame: Array) -> bytes:
    file = io.BytesIO()
    pixels = np.repeat(frame, 3, axis=2) if frame.shape[2] == 1 else frame
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, 'PNG', compress_level=1)
    return file.getvalue()
