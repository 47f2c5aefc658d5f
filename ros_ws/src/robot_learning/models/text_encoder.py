"""Phrases and captions to vectors: a small transformer over words and their pieces."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.config import STRICT
from robot_learning.models.intent import sinusoids

Rate = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, config=STRICT)
class TextEncoderConfig:
    """Sizes of the text side."""

    layers: PositiveInt = 2
    heads: PositiveInt = 4
    width: Annotated[int, Field(ge=8, multiple_of=2)] = 64
    feedforward: PositiveInt = 128
    dropout: Rate = 0.0  # Of the words' vectors and of what is read from them.
    word_dropout: Rate = 0.02  # Words that are taken for unknown while learning.


class TextEncoder(nn.Module):
    """Tokens to one vector of size `2 width`: a learned first token beside the mean of all.

    A token is its word, unless that is unknown, plus the mean of its pieces, as in
    `models/intent.py`; what is padding changes nothing.

    Args:
        config: sizes.
        num_words: of the vocabulary.
        num_buckets: of pieces.
        max_tokens: of a text.
    """

    positions: Tensor

    def __init__(
        self, config: TextEncoderConfig, num_words: int, num_buckets: int, max_tokens: int
    ):
        super().__init__()
        self.config = config
        width = config.width
        self.words = nn.Embedding(num_words, width, padding_idx=0)
        self.pieces = nn.EmbeddingBag(num_buckets + 1, width, mode='sum', padding_idx=0)
        self.first = nn.Parameter(torch.zeros(width))
        self.register_buffer('positions', sinusoids(max_tokens + 1, width), persistent=False)
        layer = nn.TransformerEncoderLayer(
            width, config.heads, config.feedforward, 0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, words: Tensor, grams: Tensor) -> Tensor:
        """Read a batch of texts, given the few different tokens that they are made of.

        Args:
            tokens: [B, T] int64, each a row of the next two; 0: padding.
            words: [U] int64, 1: unknown; the first is 0.
            grams: [U, G] int64, 0: none.

        Returns:
            [B, 2 width].
        """
        mask = tokens > 0
        length = tokens.shape[1]
        pieces = self.pieces(grams) / (grams > 0).sum(-1, keepdim=True).clamp(min=1)  # [U, W]
        known = F.embedding(tokens, self.words(words))
        if self.training and self.config.word_dropout:
            is_hidden = torch.rand(tokens.shape, device=tokens.device) < self.config.word_dropout
            known = torch.where(is_hidden[..., None], self.words.weight[1], known)
        x = known + F.embedding(tokens, pieces)
        first = self.first.expand(len(tokens), 1, -1)
        x = torch.cat([first, x], dim=1) + self.positions[: length + 1]
        is_padding = torch.cat([mask.new_zeros(len(mask), 1), ~mask], dim=1)
        x = self.norm(self.encoder(self.dropout(x), src_key_padding_mask=is_padding))
        is_token = mask.unsqueeze(-1)
        mean = (x[:, 1:] * is_token).sum(1) / is_token.sum(1).clamp(min=1)
        found: Tensor = self.dropout(torch.cat([x[:, 0], mean], dim=1))
        return found
