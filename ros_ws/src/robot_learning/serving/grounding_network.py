"""The dual encoder in numpy: what `models/dual_encoder.py` computes, without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.language.tokens import Vocabulary
from robot_learning.serving.policy import contiguous
from robot_learning.serving.text_network import (
    TextNetwork,
    linear,
    linear_shapes,
    softmax,
    text_shapes,
)

Array = np.ndarray[Any, Any]
STRIDE, STEM, SIZE_STEP = 4, 7, 8  # As in `models/image_encoder.py`.
_SHARPNESS, _NUM_RELATIONS, _PREFERENCE = 8.0, 6, 10.0  # As in `models/grounding_head.py`.
_Size = Annotated[int, Field(ge=2 * SIZE_STEP, multiple_of=SIZE_STEP)]


@dataclass(frozen=True, config=STRICT)
class ImageSpec:
    """Sizes of the image encoder."""

    channels: tuple[PositiveInt, PositiveInt]
    blocks: PositiveInt
    features: PositiveInt
    pool: tuple[PositiveInt, PositiveInt]


@dataclass(frozen=True, config=STRICT)
class TextSpec:
    """Sizes of the text encoder."""

    layers: PositiveInt
    heads: PositiveInt
    width: Annotated[int, Field(ge=8, multiple_of=2)]
    feedforward: PositiveInt


@dataclass(frozen=True, config=STRICT)
class GroundingSpec:
    """The `policy` block of a dual encoder's manifest."""

    height: _Size
    width: _Size | None
    embedding: PositiveInt
    image: ImageSpec
    text: TextSpec
    words: tuple[str, ...]
    num_buckets: PositiveInt
    max_tokens: PositiveInt
    temperature: PositiveFloat
    kind: Literal['dual_encoder'] = 'dual_encoder'

    def vocabulary(self) -> Vocabulary:
        """Return what turns texts into the network's input."""
        return Vocabulary(self.words, self.num_buckets, self.max_tokens, 1)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name -> shape of every tensor such a network needs."""
        quarter, eighth = self.image.channels
        size, width, text = self.image.features, self.text.width, 2 * self.text.width
        pooled = size * self.image.pool[0] * self.image.pool[1]
        words = len(self.vocabulary())
        shapes: dict[str, tuple[int, ...]] = {
            **_conv('image.stem', quarter, 3, STEM),
            **_conv('image.down', eighth, quarter),
            **_conv('image.of_fine', size, quarter, 1),
            'image.of_coarse.weight': (size, eighth, 1, 1),
            'image.of_place.weight': (size, 2),
            **linear_shapes('image_projection', self.embedding, pooled),
            **linear_shapes('text_projection', self.embedding, text),
            'log_scale': (),
            **text_shapes(
                'text.', self.text.layers, width, self.text.feedforward, words, self.num_buckets
            ),
            **linear_shapes('head.target', size, text),
            **linear_shapes('head.landmark', size, text),
            **linear_shapes('head.preference', 2, text),
            **linear_shapes('head.relation', _NUM_RELATIONS, text),
            **linear_shapes('head.nowhere', 2, text),
            **_conv('head.box', 4, size, 1),
        }
        for number in range(self.image.blocks):
            shapes |= _conv(f'image.fine.{number}', quarter, quarter)
            shapes |= _conv(f'image.coarse.{number}', eighth, eighth)
        return shapes


class ImageFeatures(NamedTuple):
    """Of one picture; what phrases are held against."""

    cells: Array  # [D, N]
    place: Array  # [N, 2], x and y of the cells' centres, of the height, from the centre.
    boxes: Array  # [N, 4], left, upper, right, lower edge, likewise.
    rows: int  # Of cells.
    embedding: Array  # [E], a unit vector.


class GroundingNetwork:
    """Forward passes of one version, one picture or text at a time."""

    def __init__(self, spec: GroundingSpec, tensors: Mapping[str, Array]):
        self.spec = spec
        self._vocabulary = spec.vocabulary()
        self._tensors = {name: contiguous(tensor) for name, tensor in tensors.items()}
        self._weights = {
            name.removesuffix('.weight'): contiguous(tensor.reshape(len(tensor), -1))
            for name, tensor in self._tensors.items()
            if tensor.ndim == 4
        }
        self._text = TextNetwork(
            self._tensors, 'text.', spec.text.layers, spec.text.heads, spec.max_tokens
        )
        self._places: dict[tuple[int, int], Array] = {}

    @property
    def size_step(self) -> int:
        """Heights and widths of pictures are multiples of it."""
        return SIZE_STEP

    def see(self, image: Array) -> ImageFeatures:
        """Look at a picture [H, W, 3] uint8, scaled already."""
        x = np.asarray(image, np.float32).transpose(2, 0, 1) * np.float32(2 / 255) - np.float32(1)
        x = self._conv(x, 'image.stem', STRIDE)
        blocks = self.spec.image.blocks
        for number in range(blocks):
            x = x + self._conv(x, f'image.fine.{number}')
        y = self._conv(x, 'image.down', 2)
        for number in range(blocks):
            y = y + self._conv(y, f'image.coarse.{number}')
        wide = self._weights['image.of_coarse'] @ y.reshape(len(y), -1)  # [D, N / 4]
        wide = wide.reshape(-1, *y.shape[1:]).repeat(2, axis=1).repeat(2, axis=2)
        rows, columns = x.shape[1:]
        place = self._place(rows, columns)  # [N, 2]
        cells = self._pointwise(x.reshape(len(x), -1), 'image.of_fine')
        cells = cells + wide.reshape(len(wide), -1)
        cells = np.maximum(cells + self._tensors['image.of_place.weight'] @ place.T, 0)
        pooled = _max_pooled(cells.reshape(-1, rows, columns), self.spec.image.pool)
        embedding = self._linear(pooled.reshape(-1), 'image_projection')
        reach = np.logaddexp(np.float32(0), self._pointwise(cells, 'head.box')).T  # [N, 4]
        boxes = np.concatenate([place - reach[:, :2], place + reach[:, 2:]], axis=1)
        return ImageFeatures(cells, place, boxes, rows, _unit(embedding))

    def read(self, text: str) -> Array:
        """Return what the text encoder says of a text, lower case, [2 width]."""
        x = self._text(self._vocabulary.encode([text]))
        return np.concatenate([x[0], x[1:].mean(0)])

    def text_embedding(self, text: Array) -> Array:
        """Return the unit vector [E] of what `read` gave."""
        return _unit(self._linear(text, 'text_projection'))

    def ground(self, features: ImageFeatures, text: Array) -> Array:
        """Return the scores of a phrase [N + 1]: of each cell, and of nowhere.

        Args:
            features: of the picture.
            text: what `read` gave.
        """
        cells, place = features.cells, features.place
        scale = np.float32(1 / math.sqrt(len(cells)))
        is_landmark = self._linear(text, 'head.landmark') @ cells * scale
        preferred = np.float32(_PREFERENCE) * (place @ self._linear(text, 'head.preference'))
        attention = softmax(is_landmark + preferred)
        offset = place - attention @ place
        distance = np.abs(offset)
        sharp = np.float32(_SHARPNESS)
        relations = np.concatenate(
            [np.tanh(sharp * offset), np.tanh(sharp * distance), distance], axis=1
        )
        score = self._linear(text, 'head.target') @ cells * scale
        score = score + relations @ self._linear(text, 'head.relation')
        constant, by_landmark = self._linear(text, 'head.nowhere')
        nowhere = constant + by_landmark / (1 + np.exp(-is_landmark.max()))
        scores: Array = np.append(score, nowhere)
        return scores

    def _place(self, rows: int, columns: int) -> Array:
        if (rows, columns) not in self._places:
            y = (np.arange(rows) + 0.5) / rows - 0.5
            x = (np.arange(columns) + 0.5 - columns / 2) / rows
            grid = np.stack(np.broadcast_arrays(x[None], y[:, None]), axis=-1)
            self._places[rows, columns] = grid.reshape(-1, 2).astype(np.float32)
        return self._places[rows, columns]

    def _conv(self, x: Array, name: str, stride: int = 1) -> Array:
        """Convolve [C, H, W], then ReLU; the map keeps its size but for the stride."""
        height, width = x.shape[1] // stride, x.shape[2] // stride
        kernel = self._tensors[f'{name}.weight'].shape[-1]
        edge = kernel // 2
        padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge)))
        windows = sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
        windows = windows[:, ::stride, ::stride][:, :height, :width]
        columns = windows.transpose(0, 3, 4, 1, 2).reshape(-1, height * width)
        y = np.dot(self._weights[name], columns)
        y += self._tensors[f'{name}.bias'][:, None]
        np.maximum(y, 0, out=y)
        return np.asarray(y.reshape(-1, height, width))

    def _pointwise(self, x: Array, name: str) -> Array:
        """Map [C, N] by a 1 x 1 convolution."""
        return np.asarray(self._weights[name] @ x + self._tensors[f'{name}.bias'][:, None])

    def _linear(self, x: Array, name: str) -> Array:
        return linear(self._tensors, x, name)


def _max_pooled(x: Array, size: tuple[int, int]) -> Array:
    """Return the largest of each part of [C, H, W], [C, *size]; parts as torch has them."""
    rows, columns = (
        [(n * side // parts, -(-(n + 1) * side // parts)) for n in range(parts)]
        for side, parts in zip(x.shape[1:], size, strict=True)
    )
    x = np.stack([x[:, start:end].max(1) for start, end in rows], axis=1)
    return np.stack([x[:, :, start:end].max(2) for start, end in columns], axis=2)


def _unit(x: Array) -> Array:
    return np.asarray(x / max(float(np.linalg.norm(x)), 1e-12))


def _conv(name: str, outputs: int, inputs: int, kernel: int = 3) -> dict[str, tuple[int, ...]]:
    return {f'{name}.weight': (outputs, inputs, kernel, kernel), f'{name}.bias': (outputs,)}
