"""Samples as latents of the whole and of every step, encoded once by frozen eyes and ears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robot_learning.errors import NotEnoughDataError
from robot_learning.models.nsca.config import MODALITIES, PROPERTIES, MomentWindow
from robot_learning.models.nsca.perception import Perception, Sensed
from robot_learning.phases.devices import placed
from robot_learning.phases.nsca_data import PairedBatches, moment_at, pictures, whole
from robot_learning.phases.phase import Array, Batch
from robot_learning.trajectory.paired_data import Modality, PairedSet

_FIELDS: dict[str, Modality] = {
    'vision': 'frames',
    'audio': 'sound',
    'proprioception': 'proprioception',
}
_CARRIED = ('label', 'row', 'outcome')


def stepwise_batches(paired: PairedSet, senses: Sequence[str]) -> PairedBatches:
    """Return samples with everything that dynamics needs.

    Raises:
        DataError: the set lacks frames, actions or one of the senses; names it.
    """
    wanted: list[Modality] = ['frames', *(_FIELDS[sense] for sense in senses), 'action']
    if 'vision' in senses and 'image' in paired.modalities:
        wanted.append('image')
    if 'properties' in paired.modalities:
        wanted.append('properties')
    if 'outcome' in paired.modalities:
        wanted.append('outcome')
    return PairedBatches(paired, list(dict.fromkeys(wanted)))


class EncodedSamples:
    """Rows of samples: what frozen eyes and ears say of them.

    Tensors, as far as the data have them: 'whole' [B, M, L] of the picture and all of the sound,
    'latents' [B, T, M, L] of every step (0 for the body, which learns along), 'readings'
    [B, T, P], 'action' [B, T, A], 'properties' [B, 9] (NaN: unknown), 'outcome' [B, T, 3],
    'label' [B], 'row' [B].

    Args:
        batches: raw samples.
        perception: whose eyes and ears encode.
        senses: those that are there.
        window: how much of the past is in a step.
        on_progress: told how many samples of how many are encoded.
    """

    def __init__(
        self,
        batches: PairedBatches,
        perception: Perception,
        senses: Sequence[str],
        window: MomentWindow,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ):
        self.paired = batches.paired
        parts: dict[str, list[Tensor]] = {}
        perception.eval()
        device = perception.fusion.query.device
        for row in range(len(batches)):
            batch = placed(batches.read(np.array([row])), device)
            with torch.no_grad():
                found = encoded(batch, perception, senses, window)
            for name, tensor in found.items():
                parts.setdefault(name, []).append(tensor.cpu())
            on_progress(row + 1, len(batches))
        self._tensors = {name: torch.cat(tensors) for name, tensors in parts.items()}

    def __len__(self) -> int:
        return len(self._tensors['row'])

    @property
    def latents(self) -> Tensor:
        """[N, M, L] of whole samples, or of all steps where the data have steps only."""
        if 'whole' in self._tensors:
            return self._tensors['whole']
        return self._tensors['latents'].flatten(0, 1)

    def require_steps(self, least: int) -> EncodedSamples:
        """Return itself.

        Raises:
            NotEnoughDataError: episodes are shorter.
        """
        length = self._tensors['latents'].shape[1]
        if length < least:
            raise NotEnoughDataError(
                f'{self.paired.report.where}: episodes have {length} step, expected at least '
                f'{least}. Record longer.'
            )
        return self

    def read(self, rows: Array) -> Batch:
        """Return these rows."""
        index = torch.from_numpy(np.asarray(rows, np.int64))
        return {name: tensor[index] for name, tensor in self._tensors.items()}


def encoded(
    batch: Batch, perception: Perception, senses: Sequence[str], window: MomentWindow
) -> dict[str, Tensor]:
    """Encode samples, whole and step by step; see `EncodedSamples`."""
    result = {name: batch[name] for name in _CARRIED if name in batch}
    if 'proprioception' in senses:
        result['readings'] = batch['proprioception']
    if 'image' in batch or 'frames' not in batch:
        moment = whole(batch, [sense for sense in senses if sense != 'proprioception'])
        result['whole'] = perception.sense(moment).latents
    if 'frames' in batch:
        result['latents'] = _steps(batch, perception, senses, window)
    if 'action' in batch:
        result['action'] = _padded(batch['action'], perception.config.action_size)
        unknown = result['action'].new_full((len(batch['action']), len(PROPERTIES)), float('nan'))
        result['properties'] = batch.get('properties', unknown)
    return result


def _steps(
    batch: Batch, perception: Perception, senses: Sequence[str], window: MomentWindow
) -> Tensor:
    """Return [B, T, M, L]."""
    count, length = batch['frames'].shape[:2]
    config = perception.config
    heard = round(window.heard_s * config.sample_rate)
    nothing = perception.fusion.query.new_zeros(count, length, config.latent_size)
    seen = heard_latents = nothing
    if 'vision' in senses:
        found = perception.vision(pictures(batch['frames'].flatten(0, 1)))
        seen = found.unflatten(0, (count, length))
    if 'audio' in senses:
        heard_steps: Any = [
            moment_at(batch, step, heard, 1, ('audio',)).sounds for step in range(length)
        ]
        sounds: Any = torch.stack(heard_steps, dim=1)  # [B, T, N]
        found = perception.audio(sounds.flatten(0, 1))
        heard_latents = found.unflatten(0, (count, length))
    return torch.stack([seen, heard_latents, nothing], dim=2)


def is_encoded(batch: Batch) -> bool:
    """Whether a batch is one of `EncodedSamples`."""
    return 'whole' in batch or 'latents' in batch


def drawn_moments(
    batch: Batch, perception: Perception, senses: Sequence[str], felt: int
) -> Sensed:
    """Return one moment of each encoded sample: a step at random, or half the time the whole."""
    if 'whole' in batch and ('latents' not in batch or float(torch.rand(())) < 0.5):
        return sensed_whole(batch, perception, senses)
    count, length = batch['latents'].shape[:2]
    rows, steps = torch.arange(count), torch.randint(length, (count,))
    readings = None
    if 'proprioception' in senses:
        places = steps[:, None] - torch.arange(felt - 1, -1, -1)
        readings = batch['readings'][rows[:, None], places.clamp(min=0)]
    return _with_body(batch['latents'][rows, steps], readings, perception, senses)


def sensed_whole(batch: Batch, perception: Perception, senses: Sequence[str]) -> Sensed:
    """Return what the senses say of whole encoded samples."""
    return _with_body(batch['whole'], batch.get('readings'), perception, senses)


def sensed_steps(batch: Batch, perception: Perception, senses: Sequence[str], felt: int) -> Sensed:
    """Return what every step's senses say, [B * T, ...]; only the body's encoder has gradients."""
    windows = None
    if 'proprioception' in senses:
        readings = batch['readings']
        length = readings.shape[1]
        places = torch.arange(length)[:, None] - torch.arange(felt - 1, -1, -1)
        windows = readings[:, places.clamp(min=0)].flatten(0, 1)  # [B * T, felt, P]
    return _with_body(batch['latents'].flatten(0, 1), windows, perception, senses)


def _with_body(
    latents: Tensor, readings: Tensor | None, perception: Perception, senses: Sequence[str]
) -> Sensed:
    is_there = torch.tensor([sense in senses for sense in MODALITIES], device=latents.device)
    if 'proprioception' in senses:
        body = perception.proprioception(readings)
        latents = torch.cat([latents[:, :2], body.unsqueeze(1).to(latents)], dim=1)
    return Sensed(latents, is_there.expand(len(latents), -1))


def _padded(actions: Tensor, size: int) -> Tensor:
    """Fill up with zeros, or leave out columns that are zero everywhere."""
    if actions.shape[2] < size:
        return torch.nn.functional.pad(actions, (0, size - actions.shape[2]))
    if actions[:, :, size:].any():
        raise NotEnoughDataError(
            f'actions: {actions.shape[2]} numbers per step, expected at most {size}. Raise '
            f'action_size.'
        )
    return actions[:, :, :size]
