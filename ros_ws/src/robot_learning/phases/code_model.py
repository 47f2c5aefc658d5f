"""Learns robot-API code for commands, from nothing: a small causal transformer and its tokenizer.

Commands belong to no episode; so this phase has a loop of its own, in passes over the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from robot_learning.config import STRICT
from robot_learning.errors import NotEnoughDataError, TrainingError
from robot_learning.language.code_corpus import Example
from robot_learning.language.code_prompt import prompt
from robot_learning.language.code_scores import Scores, score
from robot_learning.models.code_model import CodeModel, CodeModelConfig, continued
from robot_learning.models.code_tokens import CodeTokens

IGNORED = -100  # Label of what is not to be learned: the prompt and the padding.
_BATCHES_SORTED = 50  # Batches are cut from this many at a time, sorted by length.


@dataclass(frozen=True, config=STRICT)
class CodeTrainingConfig:
    """Sizes of network and corpus, and how it is trained."""

    model: CodeModelConfig = CodeModelConfig()
    num_tokens: Annotated[int, Field(ge=300, le=20_000)] = 1024  # Of the tokenizer, at most.
    num_examples: PositiveInt = 75_000  # Made, where no records are given.
    typo_ratio: Annotated[float, Field(ge=0, le=1)] = 0.05  # Of the examples that are made.
    held_out_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.1  # Of the phrases, or records.
    epochs: PositiveInt = 2
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 2e-3  # Rises over the warm-up, then falls to 0 in a cosine.
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.05
    weight_decay: NonNegativeFloat = 0.05
    gradient_norm: PositiveFloat = 1.0
    word_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # Tokens of prompts that are hidden.
    num_validation: NonNegativeInt = 1500  # Examples made of phrases that are held out.


class CodeTraining:
    """A model that gets better with every pass.

    Args:
        records: to learn from.
        config: of the phase.
        seed: of weights, order and dropout.

    Raises:
        NotEnoughDataError: there is none.
    """

    def __init__(self, records: Sequence[Example], config: CodeTrainingConfig, seed: int):
        if not records:
            raise NotEnoughDataError('code: got no records, expected some. Name more data.')
        self.config = config
        prompts = [prompt(record.input) for record in records]
        codes = [record.output for record in records]
        self.tokens = CodeTokens.learned(
            (f'{before}{code}' for before, code in zip(prompts, codes, strict=True)),
            config.num_tokens,
        )
        self._rows = labelled_rows(self.tokens, prompts, codes, config.model.max_tokens)
        self.num_epochs = 0
        self._rng = np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = CodeModel(config.model, len(self.tokens))
            self._noise = torch.random.get_rng_state()
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=config.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.num_updates = config.epochs * -(-len(records) // config.batch_size)
        warmup = max(round(config.warmup_ratio * self.num_updates), 1)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer,
            lambda n: min(
                (n + 1) / warmup, 0.5 * (1 + np.cos(np.pi * min(n / self.num_updates, 1.0)))
            ),
        )

    def epoch(self) -> Iterator[float]:
        """Learn from every record once; yield the loss of each update.

        Raises:
            TrainingError: it is not finite.
        """
        self.model.train()
        for rows in self._batches():
            with torch.random.fork_rng(devices=[]):
                torch.random.set_rng_state(self._noise)
                loss = self._loss(rows)
                self._noise = torch.random.get_rng_state()
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_norm)
            self._optimizer.step()
            self._schedule.step()
            value = float(loss.detach())
            if not np.isfinite(value):
                raise TrainingError(
                    f'code: the loss in pass {self.num_epochs + 1} is not finite. '
                    f'Lower learning_rate.'
                )
            yield value
        self.num_epochs += 1

    def generate(self, texts: Sequence[str]) -> list[str]:
        """Return the likeliest code of each command, held to no grammar."""
        self.model.eval()
        prompts = self.tokens.encode_all([prompt(text) for text in texts])
        return [
            self.tokens.decode(code) for code in continued(self.model, prompts, self.tokens.end)
        ]

    def measure(self, records: Sequence[Example]) -> Scores:
        """Score on records that were not learned from."""
        return score(records, self.generate([record.input for record in records]))

    def _batches(self) -> Iterator[list[tuple[list[int], int]]]:
        """Yield rows of like length, in an order that is new in every pass."""
        size, rows = self.config.batch_size, self._rows
        order = self._rng.permutation(len(rows))
        for start in range(0, len(order), size * _BATCHES_SORTED):
            part = order[start : start + size * _BATCHES_SORTED]
            part = part[np.argsort([len(rows[i][0]) for i in part], kind='stable')]
            cuts = list(range(0, len(part), size))
            for cut in self._rng.permutation(cuts):
                yield [rows[i] for i in part[cut : cut + size]]

    def _loss(self, rows: list[tuple[list[int], int]]) -> Tensor:
        tokens, labels = padded(rows)
        if self.config.word_dropout:
            is_prompt = labels == IGNORED
            is_hidden = is_prompt & (torch.rand(tokens.shape) < self.config.word_dropout)
            tokens = tokens.masked_fill(is_hidden, 0)
        hidden = self.model.hidden(tokens)[:, :-1]
        wanted = labels[:, 1:]
        is_wanted = wanted != IGNORED
        logits = self.model.logits(hidden[is_wanted])  # Of the code only.
        return F.cross_entropy(logits, wanted[is_wanted])


def labelled_rows(
    tokens: CodeTokens, prompts: Sequence[str], codes: Sequence[str], max_tokens: int
) -> list[tuple[list[int], int]]:
    """Return tokens of prompt, code and end, with how many of them are the prompt's.

    Raises:
        NotEnoughDataError: one is longer than the model reads; names it by its index.
    """
    rows = []
    pairs = zip(tokens.encode_all(prompts), tokens.encode_all(codes), strict=True)
    for index, (before, code) in enumerate(pairs):
        row = [*before, *code, tokens.end]
        if len(row) > max_tokens:
            raise NotEnoughDataError(
                f'code: record {index} has {len(row)} tokens, expected at most {max_tokens}. '
                f'Shorten it or raise max_tokens.'
            )
        rows.append((row, len(before)))
    return rows


def padded(rows: Sequence[tuple[Sequence[int], int]], pad: int = 0) -> tuple[Tensor, Tensor]:
    """Return tokens [B, T] and labels [B, T]; prompts and padding have the label IGNORED."""
    length = max(len(tokens) for tokens, _ in rows)
    found = torch.full((len(rows), length), pad)
    labels = torch.full((len(rows), length), IGNORED)
    for index, (tokens, num_prompt) in enumerate(rows):
        found[index, : len(tokens)] = torch.tensor(tokens)
        labels[index, num_prompt : len(tokens)] = torch.tensor(tokens[num_prompt:])
    return found, labels
