"""A dual encoder whose image side is a CLIP transformer, served by torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.errors import ModelRefusedError
from robot_learning.language.tokens import Vocabulary
from robot_learning.serving.grounding_network import ImageFeatures, TextSpec

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, config=STRICT)
class ClipGroundingSpec:
    """The `policy` block of such a manifest."""

    height: Annotated[int, Field(ge=16, multiple_of=8)]
    width: Annotated[int, Field(ge=16, multiple_of=8)] | None
    embedding: PositiveInt
    text: TextSpec
    words: tuple[str, ...]
    num_buckets: PositiveInt
    max_tokens: PositiveInt
    temperature: PositiveFloat
    clip: dict[str, Any]  # Configuration of the transformer.
    kind: Literal['dual_encoder_clip'] = 'dual_encoder_clip'


class ClipGroundingNetwork:
    """The same as `GroundingNetwork`, by torch.

    Raises:
        ModelRefusedError: the tensors are not those of such a network.
    """

    def __init__(self, spec: ClipGroundingSpec, tensors: Mapping[str, Array], where: str):
        import torch

        from robot_learning.models.clip_encoder import ClipImageEncoder
        from robot_learning.models.dual_encoder import DualEncoder, DualEncoderConfig
        from robot_learning.models.image_encoder import ImageEncoderConfig
        from robot_learning.models.text_encoder import TextEncoderConfig

        self.spec = spec
        self._torch = torch
        self._vocabulary = Vocabulary(spec.words, spec.num_buckets, spec.max_tokens, 1)
        text = spec.text
        config = DualEncoderConfig(
            height=spec.height,
            width=spec.width,
            embedding=spec.embedding,
            image=ImageEncoderConfig(features=len(tensors.get('image.cells.bias', [0]))),
            text=TextEncoderConfig(text.layers, text.heads, text.width, text.feedforward),
        )
        self._model = DualEncoder(
            config,
            len(self._vocabulary),
            spec.num_buckets,
            spec.max_tokens,
            ClipImageEncoder(spec.clip, config.image),
        )
        try:
            self._model.load_state_dict({n: torch.from_numpy(a) for n, a in tensors.items()})
        except RuntimeError as error:
            raise ModelRefusedError(
                f'{where}: its tensors are not those of its description ({error}). Publish it '
                f'anew.'
            ) from error
        self._model.eval()

    @property
    def size_step(self) -> int:
        """Heights and widths of pictures are multiples of it."""
        return int(self._model.image.stride)

    def see(self, image: Array) -> ImageFeatures:
        """Look at a picture [H, W, 3] uint8, scaled already."""
        from robot_learning.models.image_encoder import coordinates

        with self._torch.no_grad():
            x = self._torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
            features = self._model.see(x)
            rows, columns = features.cells.shape[2:]
            return ImageFeatures(
                features.cells[0].flatten(1).numpy(),
                coordinates(rows, columns).flatten(0, 1).numpy(),
                self._model.head.boxes(features.cells)[0].T.numpy(),
                rows,
                self._model.image_embedding(features)[0].numpy(),
            )

    def read(self, text: str) -> Array:
        """Return what the text encoder says of a text, lower case, [2 width]."""
        read = self._vocabulary.encode([text])
        words = np.concatenate([[0], read.words[0]])
        grams = np.concatenate([np.zeros_like(read.grams[0, :1]), read.grams[0]])
        tokens = np.arange(1, len(words))[None]
        parts = (self._torch.from_numpy(part) for part in (tokens, words, grams))
        with self._torch.no_grad():
            found: Array = self._model.text(*parts)[0].numpy()
        return found

    def text_embedding(self, text: Array) -> Array:
        """Return the unit vector [E] of what `read` gave."""
        with self._torch.no_grad():
            found: Array = self._model.text_embedding(self._torch.from_numpy(text)[None])[
                0
            ].numpy()
        return found

    def ground(self, features: ImageFeatures, text: Array) -> Array:
        """Return the scores of a phrase [N + 1]: of each cell, and of nowhere."""
        cells = self._torch.from_numpy(features.cells)
        cells = cells.view(1, len(cells), features.rows, -1)
        with self._torch.no_grad():
            found = self._model.head(cells, self._torch.from_numpy(text)[None, None])
        scores: Array = found.log_share[0, 0].numpy()
        return scores
