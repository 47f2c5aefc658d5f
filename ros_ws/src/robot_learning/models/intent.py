"""What a command means: a transformer encoder that names the intent and marks the slots."""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from robot_learning.config import STRICT


@dataclass(frozen=True, config=STRICT)
class IntentModelConfig:
    """Sizes; two layers of four heads and 128 units."""

    layers: PositiveInt = 2
    heads: PositiveInt = 4
    width: Annotated[int, Field(ge=8, multiple_of=2)] = 128
    feedforward: PositiveInt = 256
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2  # Before and behind the encoder.
    layer_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # Inside the encoder: slow.
    word_dropout: NonNegativeFloat = 0.1  # Words that are taken for unknown while learning.
    phrase_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3  # Voters unseen while learning.
    piece_votes: bool = False  # Pieces of words vote too: helps with very many intents.


class IntentLogits(NamedTuple):
    """Not normalised. Two classifiers name the intent; their sum is the answer."""

    encoded: Tensor  # [B, I], of the encoder.
    voted: Tensor  # [B, I], of words, pairs of words and, if wanted, pieces of words.
    tags: Tensor  # [B, T, S], of each token.

    @property
    def intent(self) -> Tensor:
        """[B, I], a product of both experts (Hinton 2002)."""
        return self.encoded + self.voted


class IntentModel(nn.Module):
    """Tokens to intent and slot tags.

    A token is its word, unless that is unknown, plus the mean of its pieces. The intent is read
    from a learned first token (as BERT's, Devlin et al. 2019) and from the mean of all tokens.
    Beside that, words and pairs of words, with `piece_votes` also pieces of words, vote for it
    directly: a linear classifier, for which few commands are enough (wide and deep, Cheng et al.
    2016).
    """

    positions: Tensor

    def __init__(
        self,
        config: IntentModelConfig,
        num_words: int,
        num_buckets: int,
        num_intents: int,
        num_tags: int,
        max_tokens: int,
        num_phrases: int,
    ):
        super().__init__()
        self.config = config
        width = config.width
        self.words = nn.Embedding(num_words, width, padding_idx=0)
        self.pieces = nn.EmbeddingBag(num_buckets + 1, width, mode='sum', padding_idx=0)
        self.first = nn.Parameter(torch.zeros(width))
        self.register_buffer('positions', sinusoids(max_tokens + 1, width))
        layer = nn.TransformerEncoderLayer(
            width,
            config.heads,
            config.feedforward,
            config.layer_dropout,
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.intent = nn.Linear(2 * width, num_intents)
        self.votes = nn.EmbeddingBag(num_phrases + 1, num_intents, mode='sum', padding_idx=0)
        nn.init.zeros_(self.votes.weight)
        if config.piece_votes:
            self.piece_votes = nn.EmbeddingBag(
                num_buckets + 1, num_intents, mode='sum', padding_idx=0
            )
            nn.init.zeros_(self.piece_votes.weight)
        self.tags = nn.Linear(width, num_tags)

    def forward(self, words: Tensor, grams: Tensor, mask: Tensor, phrases: Tensor) -> IntentLogits:
        """Read a batch.

        Args:
            words: [B, T] int64, 0: padding, 1: unknown.
            grams: [B, T, G] int64, 0: none.
            mask: [B, T] bool, True where a token stands; what is elsewhere changes nothing.
            phrases: [B, P] int64, 0: none.
        """
        if self.training and self.config.word_dropout:
            is_hidden = torch.rand(words.shape, device=words.device) < self.config.word_dropout
            words = torch.where(is_hidden & (words > 1), 1, words)
        voted = self._voted(self.votes, phrases)
        if self.config.piece_votes:
            voted = voted + self._voted(self.piece_votes, grams.flatten(1))
        batch, length, count = grams.shape
        pieces = self.pieces(grams.reshape(batch * length, count)).view(batch, length, -1)
        pieces = pieces / (grams > 0).sum(-1, keepdim=True).clamp(min=1)
        x = self.words(words) + pieces
        x = torch.cat([self.first.expand(batch, 1, -1), x], dim=1) + self.positions[: length + 1]
        is_padding = torch.cat([mask.new_zeros(batch, 1), ~mask], dim=1)
        x = self.norm(self.encoder(self.dropout(x), src_key_padding_mask=is_padding))
        x = self.dropout(x)
        is_token = mask.unsqueeze(-1)
        mean = (x[:, 1:] * is_token).sum(1) / is_token.sum(1).clamp(min=1)
        encoded = self.intent(torch.cat([x[:, 0], mean], dim=1))
        return IntentLogits(encoded, voted, self.tags(x[:, 1:]))

    def _voted(self, votes: nn.EmbeddingBag, voters: Tensor) -> Tensor:
        """Return [B, I]; voters are [B, P], 0: none."""
        if self.training and self.config.phrase_dropout:
            is_seen = torch.rand(voters.shape, device=voters.device) >= self.config.phrase_dropout
            voters = voters * is_seen
        total: Tensor = votes(voters)
        return total / (voters > 0).sum(1, keepdim=True).clamp(min=1).sqrt()


def sinusoids(length: int, width: int) -> Tensor:
    """Return positions [length, width] (Vaswani et al. 2017, section 3.5)."""
    place = torch.arange(length).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    table = torch.empty(length, width)
    table[:, 0::2], table[:, 1::2] = torch.sin(place * rate), torch.cos(place * rate)
    return table
