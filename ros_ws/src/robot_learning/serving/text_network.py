"""The text encoder in numpy: what `models/text_encoder.py` computes, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robot_learning.language.tokens import Encoded

Array = np.ndarray[Any, Any]
Shapes = dict[str, tuple[int, ...]]
_EPSILON = 1e-5  # Of layer normalisation, as torch's.


class TextNetwork:
    """Words and their pieces through transformer layers, one text at a time.

    Args:
        tensors: of the version, contiguous.
        prefix: of the names of the text encoder's tensors, 'text.' or ''.
        layers: how many.
        heads: of attention in each.
        max_tokens: most that a text has.
    """

    def __init__(
        self, tensors: Mapping[str, Array], prefix: str, layers: int, heads: int, max_tokens: int
    ):
        self._tensors, self._prefix = tensors, prefix
        self._layers, self._heads = layers, heads
        width = len(tensors[f'{prefix}first'])
        self._positions = _sinusoids(max_tokens + 1, width)

    def __call__(self, read: Encoded) -> Array:
        """Return [T + 1, W], the learned first token included."""
        x = self._embedded(read)
        for number in range(self._layers):
            layer = f'encoder.layers.{number}'
            x = x + self._attended(self._normed(x, f'{layer}.norm1'), f'{layer}.self_attn')
            inner = self._linear(self._normed(x, f'{layer}.norm2'), f'{layer}.linear1')
            x = x + self._linear(np.maximum(inner, 0), f'{layer}.linear2')
        return self._normed(x, 'norm')

    def _embedded(self, read: Encoded) -> Array:
        grams = read.grams[0]
        is_piece = (grams > 0)[..., None]
        pieces = (self._tensor('pieces.weight')[grams] * is_piece).sum(1)
        pieces = pieces / np.maximum(is_piece.sum(1), 1).astype(np.float32)
        x = self._tensor('words.weight')[read.words[0]] + pieces
        x = np.concatenate([self._tensor('first')[None], x])
        return np.asarray(x + self._positions[: len(x)])

    def _attended(self, x: Array, name: str) -> Array:
        length = len(x)
        weight, bias = (self._tensor(f'{name}.in_proj_{part}') for part in ('weight', 'bias'))
        split = (x @ weight.T + bias).reshape(length, 3, self._heads, -1).transpose(1, 2, 0, 3)
        query, key, value = split  # Each [heads, T + 1, W / heads].
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(np.float32(query.shape[-1]))
        mixed = softmax(scores) @ value
        return self._linear(mixed.transpose(1, 0, 2).reshape(length, -1), f'{name}.out_proj')

    def _normed(self, x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(_EPSILON))
        weight, bias = self._tensor(f'{name}.weight'), self._tensor(f'{name}.bias')
        return np.asarray(centred / scale * weight + bias)

    def _linear(self, x: Array, name: str) -> Array:
        return linear(self._tensors, x, f'{self._prefix}{name}')

    def _tensor(self, name: str) -> Array:
        return self._tensors[f'{self._prefix}{name}']


def text_shapes(
    prefix: str, layers: int, width: int, feedforward: int, num_words: int, num_buckets: int
) -> Shapes:
    """Return name -> shape of the tensors that `TextNetwork` needs."""
    shapes: Shapes = {
        f'{prefix}words.weight': (num_words, width),
        f'{prefix}pieces.weight': (num_buckets + 1, width),
        f'{prefix}first': (width,),
        **linear_shapes(f'{prefix}norm', width),
    }
    for number in range(layers):
        layer = f'{prefix}encoder.layers.{number}'
        shapes |= {
            f'{layer}.self_attn.in_proj_weight': (3 * width, width),
            f'{layer}.self_attn.in_proj_bias': (3 * width,),
            **linear_shapes(f'{layer}.self_attn.out_proj', width, width),
            **linear_shapes(f'{layer}.linear1', feedforward, width),
            **linear_shapes(f'{layer}.linear2', width, feedforward),
            **linear_shapes(f'{layer}.norm1', width),
            **linear_shapes(f'{layer}.norm2', width),
        }
    return shapes


def linear_shapes(name: str, rows: int, columns: int | None = None) -> Shapes:
    """Return the shapes of a linear map; without columns, of a normalisation."""
    weight = (rows,) if columns is None else (rows, columns)
    return {f'{name}.weight': weight, f'{name}.bias': (rows,)}


def linear(tensors: Mapping[str, Array], x: Array, name: str) -> Array:
    """Return the linear map of that name of `x` [..., D]."""
    return np.asarray(x @ tensors[f'{name}.weight'].T + tensors[f'{name}.bias'])


def softmax(logits: Array) -> Array:
    """Return probabilities over the last axis."""
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shares / shares.sum(-1, keepdims=True))


def _sinusoids(length: int, width: int) -> Array:
    """Return positions [length, width] (Vaswani et al. 2017, section 3.5)."""
    rate = np.exp(np.arange(0, width, 2) * (-np.log(10_000.0) / width))
    angle = np.arange(length)[:, None] * rate
    return np.stack([np.sin(angle), np.cos(angle)], -1).reshape(length, width).astype(np.float32)
