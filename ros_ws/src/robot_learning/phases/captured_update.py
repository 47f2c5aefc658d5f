"""Updates on a GPU as one CUDA graph: recorded once, then started with a single call.

A recurrent model's update is thousands of small kernels. Started one by one they keep a processor
busy for many times as long as the GPU computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from robot_learning.phases.devices import placed
from robot_learning.phases.phase import Batch, Metrics
from robot_learning.phases.process_group import is_shared

NUM_PLAIN = 3  # Updates before the recording: optimisers and libraries make what they keep.


class _Recording(NamedTuple):
    graph: torch.cuda.CUDAGraph
    batch: dict[str, Tensor]  # Where the graph reads.
    names: list[str]
    values: Tensor  # [number of metrics], where the graph writes.


class CapturedUpdate:
    """Calls `update`; on a GPU, from the fourth batch on, replays what it did there.

    Replays do what was recorded: `update` must not decide anything by the batch's numbers, nor
    read anything back from the GPU. What changes between updates and is not the batch has to be
    a tensor that is changed in place (a learning rate). Batches of another shape, and processes
    that learn together, are updated plainly.

    Args:
        update: from a batch on the device to metrics, scalars there.
        generators: that `update` draws from.
        device: of all of it.
    """

    def __init__(
        self,
        update: Callable[[Batch], Metrics],
        generators: Sequence[torch.Generator],
        device: torch.device,
    ):
        self._update, self._generators, self._device = update, generators, device
        self._num_plain = 0
        self._recording: _Recording | None = None

    def __call__(self, batch: Batch) -> Metrics:
        """Update with a batch, wherever it is."""
        if self._device.type != 'cuda' or is_shared():
            return self._update(placed(batch, self._device))
        if self._num_plain < NUM_PLAIN:
            self._num_plain += 1
            return self._beside(placed(batch, self._device))
        if self._recording is None:
            self._recording = self._record(placed(batch, self._device))
        recording = self._recording
        if _layout(batch) != _layout(recording.batch):
            return self._beside(placed(batch, self._device))
        for name, target in recording.batch.items():
            target.copy_(batch[name], non_blocking=True)
        recording.graph.replay()
        return dict(zip(recording.names, recording.values.clone().unbind(), strict=True))

    def forget(self) -> None:
        """Record anew: tensors that `update` works on were replaced."""
        self._num_plain, self._recording = 0, None

    def _beside(self, batch: Batch) -> Metrics:
        """Update plainly on a stream of its own, as libraries ask for before a recording."""
        here = torch.cuda.current_stream(self._device)
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(here)
        with torch.cuda.stream(stream):
            metrics = self._update(batch)
        here.wait_stream(stream)
        return metrics

    def _record(self, batch: Batch) -> _Recording:
        """Record an update; nothing is computed yet."""
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        kept = {name: tensor.clone() for name, tensor in batch.items()}
        # Another thread may bring the next batch meanwhile.
        with torch.cuda.graph(graph, capture_error_mode='thread_local'):
            metrics = self._update(kept)
            values = torch.stack([value.float() for value in metrics.values()])
        return _Recording(graph, kept, list(metrics), values)


def _layout(batch: Batch) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in batch.items()}
