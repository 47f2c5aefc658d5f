"""Stepwise samples as latents of every step, encoded once by frozen eyes and ears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robot_learning.errors import NotEnoughDataError
from robot_learning.models.nsca.config import MODALITIES, PROPERTIES, MomentWindow
from robot_learning.models.nsca.perception import Perception, Sensed
from robot_learning.phases.nsca_data import PairedBatches, moment_at, pictures
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
    if 'properties' in paired.modalities:
        wanted.append('properties')
    if 'outcome' in paired.modalities:
        wanted.append('outcome')
    return PairedBatches(paired, list(dict.fromkeys(wanted)))


class EncodedEpisodes:
    """Rows of episodes: what each step's senses say.

    Tensors: 'latents' [B, T, M, L] of frozen senses (0 for the body, which learns along),
    'readings' [B, T, P], 'action' [B, T, A], 'properties' [B, 9] (NaN: unknown), 'row' [B],
    and 'outcome' [B, T, 3] where the data know rewards.

    Args:
        batches: of `stepwise_batches`.
        perception: whose eyes and ears encode.
        senses: those that are there.
        window: how much of the past is in a step.
        on_progress: told how many episodes of how many are encoded.

    Raises:
        NotEnoughDataError: episodes are shorter than two steps.
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
        for row in range(len(batches)):
            with torch.no_grad():
                found = encoded(batches.read(np.array([row])), perception, senses, window)
            for name, tensor in found.items():
                parts.setdefault(name, []).append(tensor.cpu())
            on_progress(row + 1, len(batches))
        self._tensors = {name: torch.cat(tensors) for name, tensors in parts.items()}
        length = self._tensors['action'].shape[1]
        if length < 2:
            raise NotEnoughDataError(
                f'{self.paired.report.where}: episodes have {length} step, expected at least 2. '
                f'Record longer.'
            )

    def __len__(self) -> int:
        return len(self._tensors['action'])

    @property
    def readings(self) -> Tensor | None:
        """[N, P] of all steps of all episodes, if the body is sensed."""
        readings = self._tensors.get('readings')
        return None if readings is None else readings.flatten(0, 1)

    def read(self, rows: Array) -> Batch:
        """Return these rows."""
        index = torch.from_numpy(np.asarray(rows, np.int64))
        return {name: tensor[index] for name, tensor in self._tensors.items()}


def encoded(
    batch: Batch, perception: Perception, senses: Sequence[str], window: MomentWindow
) -> dict[str, Tensor]:
    """Encode samples step by step; see `EncodedEpisodes`."""
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
    latents = torch.stack([seen, heard_latents, nothing], dim=2)
    result = {'latents': latents, 'action': _padded(batch['action'], config.action_size)}
    if 'proprioception' in senses:
        result['readings'] = batch['proprioception']
    unknown = latents.new_full((count, len(PROPERTIES)), float('nan'))
    result['properties'] = batch.get('properties', unknown)
    extras = {name: batch[name] for name in _CARRIED if name in batch}
    return {**result, **extras}


def sensed_steps(batch: Batch, perception: Perception, senses: Sequence[str], felt: int) -> Sensed:
    """Return what every step's senses say, [B * T, ...]; only the body's encoder has gradients."""
    latents = batch['latents'].flatten(0, 1)
    is_there = torch.tensor([sense in senses for sense in MODALITIES], device=latents.device)
    if 'proprioception' in senses:
        readings = batch['readings']
        length = readings.shape[1]
        places = torch.arange(length)[:, None] - torch.arange(felt - 1, -1, -1)
        windows = readings[:, places.clamp(min=0)].flatten(0, 1)  # [B * T, felt, P]
        body = perception.proprioception(windows)
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
