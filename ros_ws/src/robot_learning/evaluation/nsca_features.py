"""Latents and states of paired samples, by any published NSCA version."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from robot_learning.errors import DataError
from robot_learning.models.nsca.config import MODALITIES
from robot_learning.models.nsca.perception import Moment
from robot_learning.models.nsca.published import Published
from robot_learning.trajectory.paired_data import Modality, PairedSample, PairedSet

Array = np.ndarray[Any, Any]
_BATCH_SIZE = 32
FIELDS: dict[str, Modality] = {
    'vision': 'image',
    'audio': 'sound',
    'proprioception': 'proprioception',
}


def senses_in(published: Published, paired: PairedSet) -> tuple[str, ...]:
    """Return the senses that both have.

    Raises:
        DataError: there is none; names what was expected.
    """
    found = tuple(sense for sense in published.senses if FIELDS[sense] in paired.modalities)
    if not found:
        expected = ', '.join(FIELDS[sense] for sense in published.senses)
        raise DataError(
            f'{paired.report.where}: has {", ".join(paired.modalities)}, expected {expected} for '
            f'{published.where}. Name data that hold these.'
        )
    return found


@torch.no_grad()
def latents_of(published: Published, paired: PairedSet, sense: str) -> Array:
    """Return [N, latent_size] of one sense; pictures are seen as they are and mirrored."""
    encode = getattr(published.model.perception, sense)
    found: list[Tensor] = []
    for batch in _batches(_inputs(sample, sense) for sample in paired):
        latents = encode(batch)
        if sense == 'vision':
            latents = 0.5 * (latents + encode(batch.flip(3)))
        found.append(latents)
    return torch.cat(found).numpy()


def _batches(inputs: Iterable[Tensor]) -> Iterator[Tensor]:
    """Put neighbours of the same shape together."""
    for _, same in itertools.groupby(inputs, key=lambda given: given.shape):
        waiting = iter(same)
        while batch := list(itertools.islice(waiting, _BATCH_SIZE)):
            yield torch.cat(batch)


@torch.no_grad()
def states_of(published: Published, paired: PairedSet, senses: Sequence[str]) -> Array:
    """Return world states [N, state_size] of whole samples from some senses."""
    return np.stack(
        [published.model.perception(moment_of(sample, senses))[0].numpy() for sample in paired]
    )


def moment_of(sample: PairedSample, senses: Sequence[str]) -> Moment:
    """Return all of a sample as one moment."""
    images, sounds, readings = (
        _inputs(sample, sense) if sense in senses else None for sense in MODALITIES
    )
    return Moment(images, sounds, readings)


class Sequences(NamedTuple):
    """Stepwise samples as states."""

    states: Tensor  # [N, T, S]
    actions: Tensor  # [N, T, A]
    contexts: Tensor  # [N, T, S], of the temporal model.
    properties: Array  # [N, 9], read off at the end.


@torch.no_grad()
def sequences_of(published: Published, paired: PairedSet) -> Sequences:
    """Encode samples step by step with a version of phase full.

    Raises:
        DataError: the data lack frames, actions or a sense.
    """
    paired.require('frames', 'action', *(f for f in _stepwise(published.senses)))
    window = published.window
    heard = round(window.heard_s * published.config.sample_rate)
    model = published.model
    rows = list(_steps(published, paired, heard, window.felt_steps))
    states, actions = torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])
    contexts = torch.cat(
        [
            model.world.temporal(model.world.scaled(part), given)
            for part, given in zip(torch.split(states, 64), torch.split(actions, 64), strict=True)
        ]
    )
    properties = model.properties(contexts[:, -1]).numpy()
    return Sequences(states, actions, contexts, properties)


def _stepwise(senses: Sequence[str]) -> Iterator[Modality]:
    return (FIELDS[sense] for sense in senses if sense != 'vision')


def _steps(
    published: Published, paired: PairedSet, heard: int, felt: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield states [T, S] and actions [T, A] of each sample."""
    perception, size = published.model.perception, published.config.action_size
    for sample in paired:
        assert sample.frames is not None and sample.action is not None, 'required'
        length = len(sample.frames)
        images = torch.from_numpy(np.moveaxis(sample.frames, 3, 1).copy()).float() / 255
        sounds, readings = None, None
        if 'audio' in published.senses and sample.sound is not None:
            sound = np.pad(sample.sound, (heard, 0))
            ends = [round((step + 1) * len(sample.sound) / length) for step in range(length)]
            pieces = np.stack([sound[end : end + heard] for end in ends])
            sounds = torch.from_numpy(pieces)
        if 'proprioception' in published.senses and sample.proprioception is not None:
            places = np.arange(length)[:, None] - np.arange(felt - 1, -1, -1)
            readings = torch.from_numpy(sample.proprioception[np.maximum(places, 0)])
        seen = images if 'vision' in published.senses else None
        action = torch.zeros(length, size)
        action[:, : sample.action.shape[1]] = torch.from_numpy(sample.action[:, :size])
        yield perception(Moment(seen, sounds, readings)), action


def _inputs(sample: PairedSample, sense: str) -> Tensor:
    """Return a batch of one."""
    value = getattr(sample, FIELDS[sense])
    if value is None:
        raise DataError(f'{sample.source}: has no {FIELDS[sense]}, expected it. Leave it out.')
    if sense == 'vision':
        return torch.from_numpy(np.moveaxis(value, 2, 0).copy()).float().unsqueeze(0) / 255
    return torch.from_numpy(np.asarray(value, np.float32).copy()).unsqueeze(0)
