"""Pictures and words in one space (CLIP, arXiv 2103.00020), and words found in pictures."""

from __future__ import annotations

import math
from dataclasses import field
from typing import Annotated, Any

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.config import STRICT
from robot_learning.models.grounding_head import GroundingHead
from robot_learning.models.image_encoder import (
    SIZE_STEP,
    ConvEncoder,
    ImageEncoderConfig,
    ImageFeatures,
)
from robot_learning.models.text_encoder import TextEncoder, TextEncoderConfig

_FIRST_SCALE = 1 / 0.07  # CLIP's; the same paper bounds it by 100.
MAX_SCALE = 100.0
_Side = Annotated[int, Field(ge=2 * SIZE_STEP, multiple_of=SIZE_STEP)]  # Pixels.


@dataclass(frozen=True, config=STRICT)
class DualEncoderConfig:
    """Sizes of both sides."""

    # Pixels; pictures are brought to it, and their widths to the same scale.
    height: Annotated[int, Field(ge=2 * SIZE_STEP, multiple_of=SIZE_STEP)] = 72
    width: Annotated[int, Field(ge=2 * SIZE_STEP, multiple_of=SIZE_STEP)] | None = (
        None  # By aspect.
    )
    image: ImageEncoderConfig = field(default_factory=ImageEncoderConfig)
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    embedding: PositiveInt = 96  # Size of the common space.


class DualEncoder(nn.Module):
    """Image encoder, text encoder, what makes both comparable, and the grounding head.

    Args:
        config: sizes.
        num_words: of the vocabulary.
        num_buckets: of pieces of words.
        max_tokens: of a text.
        image: another image encoder, such as `models/clip_encoder.py`; None: the one of `config`.
    """

    def __init__(
        self,
        config: DualEncoderConfig,
        num_words: int,
        num_buckets: int,
        max_tokens: int,
        image: nn.Module | None = None,
    ):
        super().__init__()
        self.config = config
        encoder: Any = image if image is not None else ConvEncoder(config.image)
        self.image = encoder
        self.text = TextEncoder(config.text, num_words, num_buckets, max_tokens)
        num_text = 2 * config.text.width
        self.image_projection = nn.Linear(encoder.num_pooled, config.embedding)
        self.text_projection = nn.Linear(num_text, config.embedding)
        self.log_scale = nn.Parameter(torch.tensor(math.log(_FIRST_SCALE)))
        self.head = GroundingHead(encoder.num_features, num_text)

    @property
    def scale(self) -> Tensor:
        """What similarities are multiplied by: one over the temperature, 1 to MAX_SCALE."""
        return self.log_scale.clamp(0.0, math.log(MAX_SCALE)).exp()

    def see(self, image: Tensor) -> ImageFeatures:
        """Look at pictures [B, 3, H, W] in 0 to 1."""
        features: ImageFeatures = self.image(image)
        return features

    def image_embedding(self, features: ImageFeatures) -> Tensor:
        """Return unit vectors [B, E]."""
        return F.normalize(self.image_projection(features.pooled), dim=-1)

    def text_embedding(self, text: Tensor) -> Tensor:
        """Return unit vectors [B, E] of what the text encoder gave [B, 2 width]."""
        return F.normalize(self.text_projection(text), dim=-1)
