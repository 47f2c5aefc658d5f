"""The intent encoder in numpy: what `models/intent.py` computes, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.language.tokens import Vocabulary
from robot_learning.serving.policy import contiguous
from robot_learning.serving.text_network import TextNetwork, linear, linear_shapes, text_shapes

Array = np.ndarray[Any, Any]


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
        intents = len(self.intents)
        words = len(self.vocabulary())
        shapes = {
            **text_shapes('', self.layers, self.width, self.feedforward, words, self.num_buckets),
            'votes.weight': (self.num_phrases + 1, intents),
            **linear_shapes('intent', intents, 2 * self.width),
            **linear_shapes('tags', len(self.tags), self.width),
        }
        if self.piece_votes:
            shapes['piece_votes.weight'] = (self.num_buckets + 1, intents)
        return shapes


class IntentNetwork:
    """Forward pass of one version, one text at a time."""

    def __init__(self, spec: IntentSpec, tensors: Mapping[str, Array]):
        self.spec = spec
        self._vocabulary = spec.vocabulary()
        self._tensors = {name: contiguous(tensor) for name, tensor in tensors.items()}
        self._text = TextNetwork(self._tensors, '', spec.layers, spec.heads, spec.max_tokens)

    def __call__(self, text: str) -> tuple[Array, Array]:
        """Return the logits of the intent [I] and of each token's tag [T, S].

        Args:
            text: lower case.
        """
        read = self._vocabulary.encode([text])
        x = self._text(read)
        votes = self._voted('votes', read.phrases[0])
        if self.spec.piece_votes:
            votes = votes + self._voted('piece_votes', read.grams[0])
        intent = linear(self._tensors, np.concatenate([x[0], x[1:].mean(0)]), 'intent') + votes
        return intent, linear(self._tensors, x[1:], 'tags')

    def _voted(self, name: str, voters: Array) -> Array:
        given = voters[voters > 0]
        total = self._tensors[f'{name}.weight'][given].sum(0)
        return np.asarray(total / np.sqrt(np.float32(max(len(given), 1))))
