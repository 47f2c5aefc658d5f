"""Parquet files of strangers: what is read is no more than a file of that size can honestly hold.

A few kilobytes of parquet can repeat one value a billion times. What the file says about itself
is checked before anything is read, and what is read is counted.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from robot_learning.errors import DataError

LEAST_ALLOWED = 1 << 30  # Bytes in memory that a table of any size may become.
_LARGEST_RATIO = 1000  # Bytes in memory to bytes in the file; repeated numbers reach some 100.
_BATCH_BYTES = 64 << 20  # Read at once, whatever its values repeat.
_BATCH_ROWS = 4096
_WIDTHS = {'BOOLEAN': 1, 'INT32': 4, 'INT64': 8, 'INT96': 8, 'FLOAT': 4, 'DOUBLE': 8}


def read_table(path: Path, leave_out: str | None = None) -> pa.Table:
    """Return the rows of a file.

    Args:
        path: of the file.
        leave_out: columns whose names begin so are not read.

    Raises:
        DataError: it would become far larger in memory than it is.
        OSError, ValueError: it is damaged or no parquet file.
    """
    allowed = max(LEAST_ALLOWED, _LARGEST_RATIO * path.stat().st_size)
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        wanted = [name for name in names if leave_out is None or not name.startswith(leave_out)]
        promised, rows = _promise(file.metadata)
        batches, found = [], 0
        if promised <= allowed:
            for batch in file.iter_batches(rows, columns=wanted, use_threads=False):
                found += batch.nbytes
                if found > allowed:
                    break
                batches.append(batch)
        if max(promised, found) > allowed:
            raise DataError(
                f'{path}: becomes more than {max(promised, found) - 1} bytes in memory, expected '
                f'at most {allowed}. It was not made to be exchanged; do not use it.'
            )
        schema = batches[0].schema if batches else file.read_row_groups([], columns=wanted).schema
        return pa.Table.from_batches(batches, schema)


def _promise(metadata: pq.FileMetaData) -> tuple[int, int]:
    """Return how many bytes the file says that it becomes, and how many rows to read at once.

    A text may repeat the longest of its column in every row, so of these few are read at once.
    """
    promised, longest = 0, 1
    for group_number in range(metadata.num_row_groups):
        group = metadata.row_group(group_number)
        for column_number in range(group.num_columns):
            column = group.column(column_number)
            width = _WIDTHS.get(column.physical_type)
            if width is None:
                longest = max(longest, column.total_uncompressed_size)
            promised += max(column.total_uncompressed_size, column.num_values * (width or 1))
    return promised, max(1, min(_BATCH_ROWS, _BATCH_BYTES // longest))
