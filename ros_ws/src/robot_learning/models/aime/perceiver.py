"""A context of what was seen lately: few latents that look at the codes of some past frames.

Jaegle et al. 2021, "Perceiver", and 2022, "Perceiver IO" for the output by queries. The context of
step t sees the frames t - M to t - 1 only, so that it may stand on the side of the prior.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention with the keys and values given, and a residual perceptron behind."""

    def __init__(self, size: int, heads: int):
        super().__init__()
        self._heads = heads
        self.norm = nn.LayerNorm(size)
        self.query = nn.Linear(size, size)
        self.output = nn.Linear(size, size)
        self.residual = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.SiLU(), nn.Linear(2 * size, size)
        )

    def forward(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let x [N, L, E] look at [N, M, E]; `mask` [N, 1, 1, M] is True where it may."""
        query, key, value = (self._split(part) for part in (self.query(self.norm(x)), key, value))
        seen = F.scaled_dot_product_attention(query, key, value, mask)
        x = x + self.output(seen.transpose(1, 2).flatten(2))
        added: Tensor = self.residual(x)
        return x + added

    def _split(self, x: Tensor) -> Tensor:
        parts = x.reshape(*x.shape[:2], self._heads, -1)
        return parts.transpose(1, 2)  # [N, heads, L, E / heads]


class Perceiver(nn.Module):
    """Codes [B, T, P, D] of frames to latents [B, T, L, E] about the frames before each step.

    Args:
        code_size: D.
        places: P.
        frames: M, how far it looks back.
        latents: L.
        size: E.
        heads: of every attention.
        layers: of self-attention behind the first look.
    """

    def __init__(
        self,
        code_size: int,
        places: int,
        frames: int,
        latents: int,
        size: int,
        heads: int,
        layers: int,
    ):
        super().__init__()
        self._frames = frames
        self.latents = nn.Parameter(torch.randn(latents, size) * 0.5)
        self.nothing = nn.Parameter(torch.randn(1, 2 * size) * 0.1)  # Seen where nothing was.
        self.places = nn.Parameter(torch.randn(places, code_size) * 0.1)
        self.ages = nn.Parameter(torch.randn(frames, size) * 0.1)
        self.key_value = nn.Linear(code_size, 2 * size)
        self.look = Attention(size, heads)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(layers))
        self.key_values = nn.ModuleList(nn.Linear(size, 2 * size) for _ in range(layers))
        self.layers = nn.ModuleList(Attention(size, heads) for _ in range(layers))

    def forward(self, codes: Tensor) -> Tensor:
        """Look back from every step of windows; before the first frame there is nothing."""
        batch, length = codes.shape[:2]
        key, value = self.key_value(codes + self.places).chunk(2, -1)  # [B, T, P, E]
        key, value = self._before(key), self._before(value)  # [B, T, M, P, E]
        key = key + self.ages[:, None]
        nothing = self.nothing.expand(batch * length, 1, -1).chunk(2, -1)
        key = torch.cat((nothing[0], key.flatten(2, 3).flatten(0, 1)), 1)
        value = torch.cat((nothing[1], value.flatten(2, 3).flatten(0, 1)), 1)
        steps = torch.arange(length, device=codes.device)
        frame = steps[:, None] - self._frames + torch.arange(self._frames, device=codes.device)
        exists = (frame >= 0).repeat_interleave(codes.shape[2], 1)  # [T, M * P]
        mask = F.pad(exists, (1, 0), value=True).repeat(batch, 1)[:, None, None]
        x: Tensor = self.look(self.latents.expand(batch * length, -1, -1), key, value, mask)
        for norm, pairs, layer in zip(self.norms, self.key_values, self.layers, strict=True):
            x = layer(x, *pairs(norm(x)).chunk(2, -1))
        return x.reshape(batch, length, *x.shape[1:])

    def _before(self, x: Tensor) -> Tensor:
        """Return what the M frames before each step hold, oldest first: [B, T, M, P, E]."""
        padded = F.pad(x, (0, 0, 0, 0, self._frames, 0))
        return padded.unfold(1, self._frames, 1)[:, :-1].movedim(-1, 2)


class CodePredictor(nn.Module):
    """Latents [N, L, E] and the next action [N, A] to logits [N, P, V] of the next codes."""

    def __init__(self, size: int, heads: int, action_size: int, places: int, codes: int):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(places, size) * 0.5)
        self.action = nn.Linear(action_size, size)
        self.key_value = nn.Linear(size, 2 * size)
        self.look = Attention(size, heads)
        self.output = nn.Linear(size, codes)

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Ask for every place of the next frame."""
        queries = self.queries + self.action(actions)[:, None]  # [N, P, E]
        seen = self.look(queries, *self.key_value(latents).chunk(2, -1))
        logits: Tensor = self.output(seen)
        return logits
