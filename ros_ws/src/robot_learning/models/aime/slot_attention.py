"""Slot attention: a frame's places shared out among a few slots, and a guess beforehand.

Locatello et al. 2020, "Object-Centric Learning with Slot Attention". The first slots are learned
and not drawn, so that a slot keeps its identity over time and its attention can be predicted.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEAST_SHARE = 1e-8


class Slots(NamedTuple):
    """What slots hold, and of which places."""

    values: Tensor  # [N, K, D]
    attention: Tensor  # [N, K, P], shares of each place; over slots they sum to 1.


class SlotAttention(nn.Module):
    """Maps [N, C, H, W] to K slots of D numbers.

    Args:
        channels: C.
        places: P = H * W.
        slots: K.
        size: D.
        iterations: rounds in which slots compete for places.
    """

    def __init__(self, channels: int, places: int, slots: int, size: int, iterations: int):
        super().__init__()
        self._iterations = iterations
        self._scale = size**-0.5
        self.positions = nn.Parameter(torch.randn(places, channels) * 0.1)
        self.first = nn.Parameter(torch.randn(slots, size))
        self.norm_places = nn.LayerNorm(channels)
        self.norm_slots = nn.LayerNorm(size)
        self.key_value = nn.Linear(channels, 2 * size)
        self.query = nn.Linear(size, size)
        self.memory = nn.GRUCell(size, size)
        self.residual = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.SiLU(), nn.Linear(2 * size, size)
        )

    def forward(self, maps: Tensor) -> Slots:
        """Let the slots compete; the attention is that of the last round."""
        places = maps.flatten(2).mT + self.positions  # [N, P, C]
        key, value = self.key_value(self.norm_places(places)).chunk(2, -1)  # [N, P, D]
        slots = self.first.expand(len(maps), -1, -1)  # [N, K, D]
        for _ in range(self._iterations):
            logits = self._scale * self.query(self.norm_slots(slots)) @ key.mT  # [N, K, P]
            attention = logits.softmax(1)
            mean = attention / (attention.sum(-1, keepdim=True) + _LEAST_SHARE)
            update = self.memory((mean @ value).flatten(0, 1), slots.flatten(0, 1))
            slots = update.unflatten(0, slots.shape[:2])
            slots = slots + self.residual(slots)
        return Slots(slots, attention)


class AttentionPrior(nn.Module):
    """States [..., D] to the attention [..., K, P] that the next frame is expected to get."""

    def __init__(self, state_size: int, slots: int, places: int, hidden: int = 128):
        super().__init__()
        self._shape = (slots, places)
        self.layers = nn.Sequential(
            nn.Linear(state_size, hidden), nn.SiLU(), nn.Linear(hidden, slots * places)
        )

    def forward(self, states: Tensor) -> Tensor:
        """Return shares of each place; over slots they sum to 1."""
        return F.softmax(self.layers(states).float().unflatten(-1, self._shape), -2)


def attention_kl(posterior: Tensor, prior: Tensor) -> Tensor:
    """KL of the slot of a place, mean over places, in nats: [..., K, P] twice to [...]."""
    logs = posterior.clamp_min(_LEAST_SHARE).log() - prior.clamp_min(_LEAST_SHARE).log()
    return (posterior * logs).sum(-2).mean(-1)


def centres(attention: Tensor) -> Tensor:
    """Mean place [..., K, 2] of each slot of [..., K, P], (row, column) from -1 to 1."""
    side = round(attention.shape[-1] ** 0.5)
    line = torch.linspace(-1, 1, side, device=attention.device, dtype=attention.dtype)
    grid = torch.stack(torch.meshgrid(line, line, indexing='ij'), -1).reshape(-1, 2)  # [P, 2]
    return attention @ grid / (attention.sum(-1, keepdim=True) + _LEAST_SHARE)


def overlap(attention: Tensor) -> Tensor:
    """Mean cosine between the maps of two slots, [..., K, P] to [...]; 0: none share a place."""
    unit = F.normalize(attention, dim=-1)
    products = unit @ unit.mT  # [..., K, K]
    count = attention.shape[-2]
    off_diagonal = products.sum((-2, -1)) - products.diagonal(dim1=-2, dim2=-1).sum(-1)
    return off_diagonal / (count * (count - 1))
