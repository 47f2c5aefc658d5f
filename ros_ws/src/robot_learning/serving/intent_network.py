"""The intent encoder in numpy: what `models/intent.py` computes, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.language.tokens import Encoded, Vocabulary
from robot_learning.serving.policy import contiguous

Array = np.ndarray[Any, Any]
_EPSILON = 1e-5  # Of layer normalisation, as torch's.


@dataclass(frozen=True, config=STRICT)
class IntentSpec:
    """The `policy` block of an intent version's manifest."""

    layers: PositiveInt
    heads: PositiveInt
    width: Annotated[int, Field(ge=8, multiple_of=2)]
    feedforward: PositiveInt
    words: tuple[str, ...]
    num_buckets: PositiveInt
    max_tokens: PositiveInt
    num_phrases: PositiveInt
    intents: Annotated[tuple[str, ...], Field(min_length=2)]
    tags: Annotated[tuple[str, ...], Field(min_length=1)]
    temperature: PositiveFloat
    min_confidence: Annotated[float, Field(ge=0, le=1)]
    piece_votes: bool = False  # Pieces of words vote too.
    kind: Literal['intent_transformer'] = 'intent_transformer'

    def vocabulary(self) -> Vocabulary:
        """Return what turns texts into the network's input."""
        return Vocabulary(self.words, self.num_buckets, self.max_tokens, self.num_phrases)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name -> shape of every tensor such a network needs."""
        width, intents = self.width, len(self.intents)
        shapes: dict[str, tuple[int, ...]] = {
            'words.weight': (len(self.vocabulary()), width),
            'pieces.weight': (self.num_buckets + 1, width),
            'votes.weight': (self.num_phrases + 1, intents),
            'first': (width,),
            **_linear('intent', intents, 2 * width),
            **_linear('tags', len(self.tags), width),
            **_norm('norm', width),
        }
        if self.piece_votes:
            shapes['piece_votes.weight'] = (self.num_buckets + 1, intents)
        for number in range(self.layers):
            layer = f'encoder.layers.{number}'
            shapes |= {
                f'{layer}.self_attn.in_proj_weight': (3 * width, width),
                f'{layer}.self_attn.in_proj_bias': (3 * width,),
                **_linear(f'{layer}.self_attn.out_proj', width, width),
                **_linear(f'{layer}.linear1', self.feedforward, width),
                **_linear(f'{layer}.linear2', width, self.feedforward),
                **_norm(f'{layer}.norm1', width),
                **_norm(f'{layer}.norm2', width),
            }
        return shapes


class IntentNetwork:
    """Forward pass of one version, one text at a time."""

    def __init__(self, spec: IntentSpec, tensors: Mapping[str, Array]):
        self.spec = spec
        self._vocabulary = spec.vocabulary()
        self._tensors = {name: contiguous(tensor) for name, tensor in tensors.items()}
        self._positions = _sinusoids(spec.max_tokens + 1, spec.width)

    def __call__(self, text: str) -> tuple[Array, Array]:
        """Return the logits of the intent [I] and of each token's tag [T, S].

        Args:
            text: lower case.
        """
        read = self._vocabulary.encode([text])
        x = self._embedded(read)
        for number in range(self.spec.layers):
            layer = f'encoder.layers.{number}'
            x = x + self._attended(self._normed(x, f'{layer}.norm1'), f'{layer}.self_attn')
            inner = self._linear(self._normed(x, f'{layer}.norm2'), f'{layer}.linear1')
            x = x + self._linear(np.maximum(inner, 0), f'{layer}.linear2')
        x = self._normed(x, 'norm')
        votes = self._voted('votes', read.phrases[0])
        if self.spec.piece_votes:
            votes = votes + self._voted('piece_votes', read.grams[0])
        intent = self._linear(np.concatenate([x[0], x[1:].mean(0)]), 'intent') + votes
        return intent, self._linear(x[1:], 'tags')

    def _voted(self, name: str, voters: Array) -> Array:
        given = voters[voters > 0]
        total = self._tensors[f'{name}.weight'][given].sum(0)
        return np.asarray(total / np.sqrt(np.float32(max(len(given), 1))))

    def _embedded(self, read: Encoded) -> Array:
        """Return [T + 1, W], the learned first token included."""
        grams = read.grams[0]
        is_piece = (grams > 0)[..., None]
        pieces = (self._tensors['pieces.weight'][grams] * is_piece).sum(1)
        pieces = pieces / np.maximum(is_piece.sum(1), 1).astype(np.float32)
        x = self._tensors['words.weight'][read.words[0]] + pieces
        x = np.concatenate([self._tensors['first'][None], x])
        return np.asarray(x + self._positions[: len(x)])

    def _attended(self, x: Array, name: str) -> Array:
        heads, length = self.spec.heads, len(x)
        weight, bias = (self._tensors[f'{name}.in_proj_{part}'] for part in ('weight', 'bias'))
        split = (x @ weight.T + bias).reshape(length, 3, heads, -1).transpose(1, 2, 0, 3)
        query, key, value = split  # Each [heads, T + 1, W / heads].
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(np.float32(query.shape[-1]))
        mixed = softmax(scores) @ value
        return self._linear(mixed.transpose(1, 0, 2).reshape(length, -1), f'{name}.out_proj')

    def _normed(self, x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(_EPSILON))
        weight, bias = self._tensors[f'{name}.weight'], self._tensors[f'{name}.bias']
        return np.asarray(centred / scale * weight + bias)

    def _linear(self, x: Array, name: str) -> Array:
        weight, bias = self._tensors[f'{name}.weight'], self._tensors[f'{name}.bias']
        return np.asarray(x @ weight.T + bias)


def softmax(logits: Array) -> Array:
    """Return probabilities over the last axis."""
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shares / shares.sum(-1, keepdims=True))


def _sinusoids(length: int, width: int) -> Array:
    """Return positions [length, width] (Vaswani et al. 2017, section 3.5)."""
    rate = np.exp(np.arange(0, width, 2) * (-np.log(10_000.0) / width))
    angle = np.arange(length)[:, None] * rate
    return np.stack([np.sin(angle), np.cos(angle)], -1).reshape(length, width).astype(np.float32)


def _linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.weight': (rows, columns), f'{name}.bias': (rows,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.weight': (width,), f'{name}.bias': (width,)}
