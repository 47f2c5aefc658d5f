"""Text to numbers for models: words that are known, and pieces of words for those that are not."""

from __future__ import annotations

import itertools
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
PAD, UNKNOWN = 0, 1  # The first two word numbers.
_FIRST_WORD = 2
# What only ends a sentence says nothing; corpora differ in whether they have it.
_TOKEN = re.compile(r"-?\d+(?:\.\d+)?|[a-z]+(?:'[a-z]+)?|(?![.!]+(?:\s|$))[^\sa-z\d]")
_GRAMS = (2, 3, 4)  # Lengths of pieces, edges of the word included.
_MAX_GRAMS = 24  # Per word; what is longer is cut.


class Token(NamedTuple):
    """A word, a number or a sign, and where it stands in the lower-case text."""

    text: str
    start: int
    end: int  # Exclusive.


class Encoded(NamedTuple):
    """Texts as a batch; what is missing to the longest is PAD."""

    words: Array  # [B, T] int64.
    grams: Array  # [B, T, G] int64, 0: none; pieces of each word, hashed.
    mask: Array  # [B, T] bool, True where a token stands.
    phrases: Array  # [B, 2 T] int64, 0: none; each word and the pair that it ends, hashed.


def tokens(text: str) -> list[Token]:
    """Split lower-case text."""
    return [Token(match[0], match.start(), match.end()) for match in _TOKEN.finditer(text)]


def shape_of(token: str) -> str:
    """Return the token as the vocabulary knows it: all numbers are one word."""
    return '<number>' if token[-1].isdigit() else token


class Vocabulary:
    """The words a model knows, most frequent first, and how many pieces it tells apart.

    Args:
        words: known words, without PAD and UNKNOWN.
        num_buckets: of pieces; two that fall into one look alike.
        max_tokens: longer texts are cut.
        num_phrases: buckets of words and pairs of words.
    """

    def __init__(
        self,
        words: Sequence[str],
        num_buckets: int = 4096,
        max_tokens: int = 64,
        num_phrases: int = 16_384,
    ):
        self.words = tuple(words)
        self.num_buckets = num_buckets
        self.max_tokens = max_tokens
        self.num_phrases = num_phrases
        self._numbers = {word: number for number, word in enumerate(self.words, _FIRST_WORD)}

    @classmethod
    def of(cls, texts: Iterable[str], min_count: int = 2, max_words: int = 20_000) -> Vocabulary:
        """Return the vocabulary of texts, without words that are rarer than `min_count`."""
        counts = Counter(shape_of(token.text) for text in texts for token in tokens(text))
        common = sorted(
            (word for word, count in counts.items() if count >= min_count),
            key=lambda word: (-counts[word], word),
        )
        return cls(common[:max_words])

    def __len__(self) -> int:
        return len(self.words) + _FIRST_WORD

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Return texts, lower case, as a batch; an empty one is a single UNKNOWN."""
        split = [[token.text for token in tokens(text)][: self.max_tokens] for text in texts]
        split = [words or [''] for words in split]
        length = max(map(len, split), default=1)
        batch = Encoded(
            np.zeros((len(split), length), np.int64),
            np.zeros((len(split), length, _MAX_GRAMS), np.int64),
            np.zeros((len(split), length), bool),
            np.zeros((len(split), 2 * length), np.int64),
        )
        for row, words in enumerate(split):
            shapes = [shape_of(word) if word else '' for word in words]
            pairs = itertools.pairwise(('<', *shapes))
            for place, (shape, pair) in enumerate(zip(shapes, pairs, strict=True)):
                batch.words[row, place] = self._numbers.get(shape, UNKNOWN)
                found = self._pieces(shape)
                batch.grams[row, place, : len(found)] = found
                batch.phrases[row, 2 * place] = _bucket(shape, self.num_phrases)
                batch.phrases[row, 2 * place + 1] = _bucket(' '.join(pair), self.num_phrases)
            batch.mask[row, : len(words)] = True
        return batch

    def describe(self) -> dict[str, Any]:
        """Return plain data for `from_description`."""
        return {
            'words': list(self.words),
            'num_buckets': self.num_buckets,
            'max_tokens': self.max_tokens,
            'num_phrases': self.num_phrases,
        }

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Vocabulary:
        """Return what `describe` described."""
        return cls(**description)

    def _pieces(self, word: str) -> list[int]:
        marked = f'<{word}>'
        pieces = [
            marked[start : start + length]
            for length in _GRAMS
            for start in range(len(marked) - length + 1)
        ]
        return [_bucket(piece, self.num_buckets) for piece in pieces[:_MAX_GRAMS]]


def _bucket(piece: str, count: int) -> int:
    """Return a number from 1 on, the same in every process, unlike Python's own hash."""
    return 1 + zlib.crc32(piece.encode()) % count
