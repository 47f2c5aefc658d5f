"""Pictures with captions, and where there are any, with phrases for things in them, as batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from robot_learning.errors import DataError
from robot_learning.language.tokens import Vocabulary, tokens
from robot_learning.phases.phase import Array, Batch

NOTHING = -1  # Instead of the number of an object: the phrase means none.


class Thing(NamedTuple):
    """An object in a picture."""

    cells: Array  # [N] bool, the cells of the map that show it, at least one.
    box: tuple[
        float, float, float, float
    ]  # Left, upper, right, lower; of the height, from centre.


class Item(NamedTuple):
    """One picture with what is said about it."""

    image: Array  # [H, W, 3] uint8
    captions: tuple[str, ...]  # Of all of it, lower case; at least one.
    group: str  # Pictures of one group share their captions: none is another's negative.
    things: tuple[Thing, ...] = ()
    phrases: tuple[tuple[str, int], ...] = ()  # Lower case, and the thing's number or NOTHING.


class Texts:
    """All texts of a training as token numbers, ready for any device.

    Args:
        texts: each once.
        vocabulary: of the model.
    """

    def __init__(self, texts: Sequence[str], vocabulary: Vocabulary):
        self.number = {text: number for number, text in enumerate(texts)}
        split = [[t.text for t in tokens(text)][: vocabulary.max_tokens] or [''] for text in texts]
        place: dict[str, int] = {}  # Token -> its row in the tables.
        words, grams = [0], [np.zeros(_num_grams(vocabulary), np.int64)]
        for text, row in zip(texts, split, strict=True):
            if all(token in place for token in row):
                continue
            read = vocabulary.encode([text])
            for token, word, pieces in zip(row, read.words[0], read.grams[0], strict=True):
                if token not in place:
                    place[token] = len(words)
                    words.append(int(word))
                    grams.append(pieces)
        self._words, self._grams = torch.tensor(words), torch.from_numpy(np.stack(grams))
        length = max(map(len, split), default=1)
        self._tokens = torch.zeros(len(split), length, dtype=torch.int32)
        for number, row in enumerate(split):
            self._tokens[number, : len(row)] = torch.tensor([place[token] for token in row])

    def read(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return tokens, words and grams of texts [R], as the text encoder takes them."""
        found = self._tokens[numbers.cpu()].long()
        found = found[:, : max(int((found > 0).sum(1).max()), 1)]
        used, places = torch.unique(found, return_inverse=True)
        if used[0] != 0:  # No text is shorter than the longest.
            used, places = torch.cat([used.new_zeros(1), used]), places + 1
        parts = places, self._words[used], self._grams[used]
        tokens, words, grams = (part.to(numbers.device) for part in parts)
        return tokens, words, grams


class ImageTextData:
    """Rows of pictures with numbers of their texts; see `Batches` in `phases/batch_plan.py`.

    Args:
        items: pictures of one size.
        texts: knows every caption and phrase.
        num_cells: of the model's map for such pictures.

    Raises:
        DataError: pictures differ in size.
    """

    def __init__(self, items: Sequence[Item], texts: Texts, num_cells: int):
        shapes = {item.image.shape for item in items}
        if len(shapes) > 1:
            raise DataError(
                f'pictures: found {len(shapes)} sizes such as {sorted(shapes)[:2]}, expected one. '
                f'Scale them alike.'
            )
        self._items, self._num_cells = items, num_cells
        groups = sorted({item.group for item in items})
        place = {group: number for number, group in enumerate(groups)}
        self._group = np.array([place[item.group] for item in items])
        self._captions = _padded([[texts.number[c] for c in i.captions] for i in items], -1)
        self._phrases = _padded([[texts.number[p] for p, _ in i.phrases] for i in items], -1)
        self._targets = _padded([[t for _, t in i.phrases] for i in items], NOTHING)

    def __len__(self) -> int:
        return len(self._items)

    def read(self, rows: Array) -> Batch:
        """Return these rows.

        `image` [B, H, W, 3] uint8; `group` [B]; `captions` [B, C] and `phrases` [B, P], numbers of
        texts, -1 behind the last; `cells` [B, P, N + 1] bool, the last is nowhere; `box`
        [B, 4, N] and `object` [B, N] bool of the cells' things; `meant` [B, P, 4], the box of what
        a phrase means, NaN for nothing.
        """
        num, size = self._num_cells, self._phrases.shape[1]
        cells = np.zeros((len(rows), size, num + 1), bool)
        meant = np.full((len(rows), size, 4), np.nan, np.float32)
        box = np.zeros((len(rows), 4, num), np.float32)
        is_object = np.zeros((len(rows), num), bool)
        for place, row in enumerate(rows.tolist()):
            item = self._items[row]
            for thing in item.things:
                box[place][:, thing.cells] = np.array(thing.box, np.float32)[:, None]
                is_object[place] |= thing.cells
            for number, (_, target) in enumerate(item.phrases):
                if target == NOTHING:
                    cells[place, number, -1] = True
                else:
                    cells[place, number, :-1] = item.things[target].cells
                    meant[place, number] = item.things[target].box
        arrays = {
            'image': np.stack([self._items[row].image for row in rows.tolist()]),
            'group': self._group[rows],
            'captions': self._captions[rows],
            'phrases': self._phrases[rows],
            'cells': cells,
            'meant': meant,
            'box': box,
            'object': is_object,
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def all_texts(*items: Sequence[Item]) -> list[str]:
    """Return every caption and phrase once, in alphabetical order."""
    return sorted(
        {
            text
            for part in items
            for item in part
            for text in (*item.captions, *(phrase for phrase, _ in item.phrases))
        }
    )


def counts(items: Sequence[Item]) -> Mapping[str, int]:
    """Return how much there is, for reports."""
    return {
        'rows': len(items),
        'captions': sum(len(item.captions) for item in items),
        'phrases': sum(len(item.phrases) for item in items),
    }


def _num_grams(vocabulary: Vocabulary) -> int:
    return int(vocabulary.encode(['']).grams.shape[-1])


def _padded(rows: Sequence[Sequence[int]], value: int) -> np.ndarray[Any, Any]:
    length = max(map(len, rows), default=0)
    table = np.full((len(rows), length), value, np.int64)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table
