"""All senses to one world state, whichever of them are there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robot_learning.models.nsca.config import MODALITIES, NscaModelConfig


class Whitening(nn.Module):
    """Turns and scales the latents of each sense, so that no direction drowns the others.

    What one sense shares with another is seldom what varies most in it. Before it is fitted it
    changes nothing.
    """

    mean: Tensor
    turn: Tensor

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        width = config.latent_size
        self.register_buffer('mean', torch.zeros(len(MODALITIES), width))
        self.register_buffer('turn', torch.eye(width).repeat(len(MODALITIES), 1, 1))

    @torch.no_grad()
    def fit(self, latents: Tensor, senses: Sequence[int], shrinkage: float) -> None:
        """Decorrelate (ZCA-cor, Kessy et al. 2018), directions of little variance less.

        Args:
            latents: [N, M, latent_size], N of at least 2.
            senses: numbers of those to fit; the others stay.
            shrinkage: added to every variance, where that of a latent alone is 1; above 0 unless
                there are more rows than latents.
        """
        for sense in senses:
            rows = latents[:, sense].double()
            mean, spread = rows.mean(0), rows.std(0, unbiased=False).clamp(min=1e-6)
            scaled = (rows - mean) / spread
            variances, directions = torch.linalg.eigh(scaled.T @ scaled / len(scaled))
            weights = (variances.clamp(min=0) + shrinkage).rsqrt()
            self.mean[sense] = mean.to(self.mean)
            turn = (directions * weights) @ directions.T / spread.unsqueeze(1)
            self.turn[sense] = turn.to(self.turn)

    def forward(self, latents: Tensor) -> Tensor:
        """[B, M, latent_size] to the same."""
        return torch.einsum('bmi,mij->bmj', latents - self.mean, self.turn)


class FusionTransformer(nn.Module):
    """Latents of senses [B, M, latent_size] to a world state [B, state_size].

    A learned token asks, and one token of each sense answers; those that are absent are masked,
    so that they change nothing (cross-modal attention as in Nagrani et al. 2021).
    """

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        width = config.latent_size
        self.whitening = Whitening(config)
        self.query = nn.Parameter(torch.zeros(1, 1, width))
        self.senses = nn.Parameter(0.02 * torch.randn(1, len(MODALITIES), width))
        self.enter = nn.LayerNorm(width)
        self.layers = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(
                width,
                config.fusion_heads,
                2 * width,
                config.dropout,
                activation='gelu',
                batch_first=True,
                norm_first=True,
            ),
            config.fusion_layers,
            enable_nested_tensor=False,
        )
        self.state = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.state_size))

    def forward(self, latents: Tensor, is_there: Tensor, noise: float = 0.0) -> Tensor:
        """Fuse.

        Args:
            latents: [B, M, latent_size] in the order of `MODALITIES`; of absent ones anything.
            is_there: [B, M] bool; each row has at least one.
            noise: standard deviation of what is added to whitened latents.
        """
        white = self.whitening(latents)
        if noise:
            white = white + noise * torch.randn_like(white)
        tokens = self.enter(torch.where(is_there.unsqueeze(2), white, 0.0)) + self.senses
        x = torch.cat([self.query.expand(len(tokens), -1, -1), tokens], dim=1)
        is_absent = torch.cat([torch.zeros_like(is_there[:, :1]), ~is_there], dim=1)
        x = self.layers(x, src_key_padding_mask=is_absent)
        state: Tensor = self.state(x[:, 0])
        return state


class LatentPredictor(nn.Module):
    """A world state to the latent of each sense, to be compared with what was sensed."""

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        width = config.latent_size
        self.layers = nn.Sequential(
            nn.Linear(config.state_size, 2 * width),
            nn.LayerNorm(2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, len(MODALITIES) * width),
        )
        self.shape = (len(MODALITIES), width)

    def forward(self, state: Tensor) -> Tensor:
        """[B, state_size] to [B, M, latent_size]."""
        predicted: Tensor = self.layers(state).unflatten(1, self.shape)
        return predicted


class LatentScale(nn.Module):
    """Mean and spread of each sense's latents: what all moments have in common says nothing."""

    mean: Tensor
    spread: Tensor

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        shape = (len(MODALITIES), config.latent_size)
        self.register_buffer('mean', torch.zeros(shape))
        self.register_buffer('spread', torch.ones(shape))

    @torch.no_grad()
    def follow(self, latents: Tensor, share: float) -> None:
        """Move towards mean and spread of latents [B, M, latent_size]."""
        self.mean.lerp_(latents.mean(0).to(self.mean), share)
        self.spread.lerp_(latents.std(0, unbiased=False).to(self.mean), share)

    def forward(self, latents: Tensor) -> Tensor:
        """Centre and scale."""
        scaled: Tensor = (latents - self.mean) / (self.spread + 1e-3)
        return scaled
