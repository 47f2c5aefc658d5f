"""Paired samples as batches of tensors, and single moments of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from robot_learning.errors import DataError
from robot_learning.models.nsca.perception import Moment
from robot_learning.phases.phase import Array, Batch
from robot_learning.trajectory.paired_data import Modality, PairedSample, PairedSet

_IN_MEMORY = 1 << 31  # Bytes of samples that are kept; what is beyond is read again each time.


class PairedBatches:
    """Rows of a paired set: 'image' and 'frames' uint8 [..., 3, H, W], all else float32.

    Sounds, and readings of sets without frames, are cut or filled up to the length of the first
    sample's. 'label' [B] is int64, 'row' [B] the number of the sample.

    Args:
        paired: the samples.
        modalities: those that are wanted.

    Raises:
        DataError: the set lacks one; names it.
    """

    def __init__(self, paired: PairedSet, modalities: Sequence[Modality]):
        self.paired = paired.require(*modalities)
        self._modalities = tuple(modalities)
        self._kept: dict[int, dict[str, Array]] = {}
        self._kept_bytes = 0
        first = paired.read(0, self._modalities)
        self._lengths: dict[str, int] = {
            name: len(getattr(first, name))
            for name in ('sound', 'proprioception', 'action', 'frames', 'outcome')
            if name in self._modalities
        }

    def __len__(self) -> int:
        return len(self.paired)

    def read(self, rows: Array) -> Batch:
        """Return these rows, each tensor [B, ...]."""
        samples = [self._sample(int(row)) for row in rows]
        batch = {
            name: torch.from_numpy(np.stack([sample[name] for sample in samples]))
            for name in samples[0]
        }
        batch['row'] = torch.from_numpy(np.asarray(rows, np.int64))
        return batch

    def _sample(self, row: int) -> dict[str, Array]:
        kept = self._kept.get(row)
        if kept is not None:
            return kept
        arrays = self._arrays(self.paired.read(row, self._modalities))
        size = sum(array.nbytes for array in arrays.values())
        if self._kept_bytes + size <= _IN_MEMORY:
            self._kept[row] = arrays
            self._kept_bytes += size
        return arrays

    def _arrays(self, sample: PairedSample) -> dict[str, Array]:
        arrays: dict[str, Array] = {'label': np.asarray(sample.label, np.int64)}
        for name in self._modalities:
            value: Any = getattr(sample, name)
            if value is None:
                raise DataError(
                    f'{sample.source}: has no {name}, expected it as in the rest of '
                    f'{self.paired.report.where}. Add it or take the sample out.'
                )
            if name in ('image', 'frames'):
                value = np.moveaxis(value, -1, -3)
            if name in self._lengths:
                value = _fitted(value, self._lengths[name])
            arrays[name] = np.ascontiguousarray(value)
        return arrays


def pictures(images: Tensor) -> Tensor:
    """Return uint8 images as float32, 0 to 1."""
    return images.float() / 255


def moment_at(
    batch: Mapping[str, Tensor], step: int, heard: int, felt: int, senses: Sequence[str]
) -> Moment:
    """Return what was sensed at a step of stepwise samples.

    Args:
        batch: 'frames' [B, T, 3, H, W] and, as far as sensed, 'sound' [B, N] over the same time
            and 'proprioception' [B, T, P].
        step: 0 to T - 1.
        heard: samples of sound that are heard, up to the end of the step; silence before.
        felt: steps that are felt, this one included; before the first the first is repeated.
        senses: those that are there.
    """
    length = batch['frames'].shape[1]
    sounds, readings = None, None
    if 'audio' in senses:
        end = round((step + 1) * batch['sound'].shape[1] / length)
        sounds = batch['sound'][:, max(end - heard, 0) : end]
        sounds = F.pad(sounds, (heard - sounds.shape[1], 0))
    if 'proprioception' in senses:
        places = torch.arange(step - felt + 1, step + 1).clamp(min=0)
        readings = batch['proprioception'][:, places]
    images = pictures(batch['frames'][:, step]) if 'vision' in senses else None
    return Moment(images, sounds, readings)


def whole(batch: Mapping[str, Tensor], senses: Sequence[str]) -> Moment:
    """Return the picture, all of the sound and all readings of samples without frames."""
    return Moment(
        pictures(batch['image']) if 'vision' in senses else None,
        batch['sound'] if 'audio' in senses else None,
        batch['proprioception'] if 'proprioception' in senses else None,
    )


def _fitted(values: Array, length: int) -> Array:
    """Cut to a length, or fill up: sound with silence, steps with the last one."""
    values = np.asarray(values)[:length]
    missing = length - len(values)
    if missing <= 0:
        return values
    mode: Any = 'constant' if values.ndim == 1 else 'edge'
    return np.pad(values, [(0, missing), *[(0, 0)] * (values.ndim - 1)], mode=mode)
