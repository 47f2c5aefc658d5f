"""Which rows of fixed data make up which update, for every pass and process."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from torch.utils.data import DataLoader, Dataset

from robot_learning.errors import NotEnoughDataError
from robot_learning.phases.phase import Array, Batch


class Batches(Protocol):
    """Fixed data; may be read in a process of its own."""

    def __len__(self) -> int:
        """Number of rows."""

    def read(self, rows: Array) -> Batch:
        """Return these rows, each tensor [B, ...]."""


class BatchPlan:
    """Every pass takes all rows in a new order; what makes up no whole update is left out.

    Args:
        num_rows: of the data.
        batch_size: rows of one batch of one process; fewer where there are not as many.
        accumulation: batches of one update.
        seed: of the order.
        rank: of this process.
        size: processes in all.

    Raises:
        NotEnoughDataError: there are fewer than two rows for each process.
    """

    def __init__(
        self,
        num_rows: int,
        batch_size: int,
        accumulation: int,
        seed: int,
        rank: int = 0,
        size: int = 1,
    ):
        if num_rows < 2 * size:
            raise NotEnoughDataError(
                f'data: {num_rows} rows, expected at least {2 * size} for {size} processes. '
                f'Name more data.'
            )
        self.batch_size = min(batch_size, num_rows // size)
        self.accumulation = min(accumulation, num_rows // (self.batch_size * size))
        self.updates_per_epoch = num_rows // (self.batch_size * self.accumulation * size)
        self._num_rows, self._seed = num_rows, seed
        self._rank, self._size = rank, size
        self._order = functools.lru_cache(maxsize=2)(self._order_of)

    def rows(self, batch: int) -> Array:
        """Return the rows of a batch of this process, counted from 0 through all passes."""
        update, part = divmod(batch, self.accumulation)
        epoch, place = divmod(update, self.updates_per_epoch)
        number = (place * self.accumulation + part) * self._size + self._rank
        start = number * self.batch_size
        found: Array = self._order(epoch)[start : start + self.batch_size]
        return found

    def identity(self) -> dict[str, int]:
        """Return what must be the same for training to go on from a checkpoint."""
        return {
            'rows': self._num_rows,
            'batch_size': self.batch_size,
            'accumulation': self.accumulation,
            'seed': self._seed,
            'processes': self._size,
        }

    def _order_of(self, epoch: int) -> Array:
        return np.random.default_rng([self._seed, epoch]).permutation(self._num_rows)


class _Planned(Dataset[Batch]):
    """Batches by their number."""

    def __init__(self, data: Batches, plan: BatchPlan):
        self._data, self._plan = data, plan

    def __getitem__(self, batch: int) -> Batch:
        return self._data.read(self._plan.rows(batch))

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError('readers are forked, not sent')


def planned_batches(
    data: Batches, plan: BatchPlan, numbers: range, workers: int, prefetch: int
) -> Iterator[Batch]:
    """Read batches by their numbers, in order and some in advance.

    Args:
        data: to read from.
        plan: which rows make up which batch.
        numbers: of the batches.
        workers: processes that read; 0: a thread.
        prefetch: batches that each of them, or the thread, reads ahead.
    """
    planned = _Planned(data, plan)
    if not workers:
        yield from _read_ahead(planned, numbers, prefetch)
        return
    yield from DataLoader(
        planned,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=prefetch,
        multiprocessing_context='fork',
    )


def _read_ahead(planned: _Planned, numbers: range, prefetch: int) -> Iterator[Batch]:
    """Read in a thread while the one who asks computes; files and decoders let others run."""
    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(1, 'batches') as reader:
        try:
            for number in numbers:
                waiting.append(reader.submit(planned.__getitem__, number))
                if len(waiting) > prefetch:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def in_order(data: Batches, batch_size: int) -> Iterator[Batch]:
    """Read all rows once, in their order."""
    for start in range(0, len(data), batch_size):
        yield data.read(np.arange(start, min(start + batch_size, len(data))))
