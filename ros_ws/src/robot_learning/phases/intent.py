"""Learns from commands what they mean: intent, slots, and how sure that is.

Commands belong to no episode; so this phase has a loop of its own, in passes over the commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from robot_learning.config import STRICT
from robot_learning.errors import NotEnoughDataError, TrainingError
from robot_learning.language.command_files import Labelled
from robot_learning.language.tags import OUTSIDE, Span, all_tags, spans_of, tags_of
from robot_learning.language.tokens import Encoded, Vocabulary, tokens
from robot_learning.models.intent import (
    IntentLogits,
    IntentModel,
    IntentModelConfig,
    expected_calibration_error,
)

_IGNORED = -100  # Tag of what is no token.
_ROWS_AT_ONCE = 512


@dataclass(frozen=True, config=STRICT)
class IntentConfig:
    """The guide's network, and how it is trained."""

    model: IntentModelConfig = IntentModelConfig()
    epochs: PositiveInt = 20
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 1e-3  # Rises over the warm-up, then falls to 0 in a cosine.
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1
    weight_decay: NonNegativeFloat = 1e-2
    gradient_norm: PositiveFloat = 1.0
    slot_weight: NonNegativeFloat = 1.0  # Of the tags' cross-entropy beside the intent's.
    min_count: PositiveInt = 2  # Rarer words are known by their pieces only.


class Understood(NamedTuple):
    """What a command was taken for."""

    intent: str
    confidence: float  # Calibrated, 0 to 1.
    spans: tuple[Span, ...]


class Scores(NamedTuple):
    """Of a model on commands that it has not learned from."""

    num_commands: int
    accuracy: float
    macro_f1: float  # Mean over intents.
    slot_f1: float  # Of whole slots: place and name; NaN where there are none.
    calibration_error: float


class IntentTraining:
    """A model that gets better with every pass.

    Args:
        commands: to learn from.
        config: of the phase.
        seed: of weights, order and dropout.

    Raises:
        NotEnoughDataError: there are fewer than two intents.
    """

    def __init__(self, commands: Sequence[Labelled], config: IntentConfig, seed: int):
        self.config = config
        self.intents = tuple(sorted({command.intent for command in commands}))
        if len(self.intents) < 2:
            raise NotEnoughDataError(
                f'commands: {len(commands)} with {len(self.intents)} intents, expected at least '
                f'two intents. Name more data.'
            )
        names = {name for command in commands for _, _, name in command.spans}
        self.tags = all_tags(names)
        self.vocabulary = Vocabulary.of((c.text for c in commands), config.min_count)
        self.temperature = 1.0  # Of the intent's logits, see `calibrate`.
        self.num_epochs = 0
        self._rng = np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = IntentModel(
                config.model,
                len(self.vocabulary),
                self.vocabulary.num_buckets,
                len(self.intents),
                len(self.tags),
                self.vocabulary.max_tokens,
            )
            self._noise = torch.random.get_rng_state()
        self._batch = self._encode(commands)
        self._targets = self._targets_of(commands, self._batch)
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        per_epoch = -(-len(commands) // config.batch_size)
        total = config.epochs * per_epoch
        warmup = max(round(config.warmup_ratio * total), 1)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer,
            lambda n: min((n + 1) / warmup, 0.5 * (1 + np.cos(np.pi * min(n / total, 1.0)))),
        )

    def epoch(self) -> float:
        """Learn from every command once; return the mean loss.

        Raises:
            TrainingError: it is not finite.
        """
        order = torch.from_numpy(self._rng.permutation(len(self._batch.words)))
        total = 0.0
        self.model.train()
        with torch.random.fork_rng(devices=[]):
            torch.random.set_rng_state(self._noise)
            for rows in torch.split(order, self.config.batch_size):
                loss = self._loss(rows)
                self._optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_norm)
                self._optimizer.step()
                self._schedule.step()
                total += float(loss.detach()) * len(rows)
            self._noise = torch.random.get_rng_state()
        self.num_epochs += 1
        if not np.isfinite(total):
            raise TrainingError(
                f'intent: the loss of pass {self.num_epochs} is not finite. Lower learning_rate.'
            )
        return total / len(order)

    def calibrate(self, commands: Sequence[Labelled]) -> float:
        """Choose the temperature that makes the intents of these commands most likely.

        Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2. Take commands
        that were not learned from. Returns it.
        """
        known = [command for command in commands if command.intent in self.intents]
        logits = self._logits(self._encode(known)).intent
        target = torch.tensor([self.intents.index(command.intent) for command in known])
        candidates = torch.logspace(-1, 1, 81)
        losses = [F.cross_entropy(logits / each, target) for each in candidates]
        self.temperature = float(candidates[int(torch.stack(losses).argmin())])
        return self.temperature

    def understand(self, texts: Sequence[str]) -> list[Understood]:
        """Return what each command means, lower case or not."""
        lowered = [text.lower() for text in texts]
        logits = self._logits(self.vocabulary.encode(lowered))
        best = (logits.intent / self.temperature).softmax(-1).max(-1)
        tags = logits.tags.argmax(-1)
        found = []
        for row, text in enumerate(lowered):
            marked = [self.tags[tag] for tag in tags[row].tolist()]
            found.append(
                Understood(
                    self.intents[int(best.indices[row])],
                    float(best.values[row]),
                    spans_of(tokens(text), marked),
                )
            )
        return found

    def measure(self, commands: Sequence[Labelled]) -> Scores:
        """Score commands that were not learned from."""
        found = self.understand([command.text for command in commands])
        is_right = [f.intent == c.intent for f, c in zip(found, commands, strict=True)]
        return Scores(
            len(commands),
            float(np.mean(is_right)),
            _macro_f1([c.intent for c in commands], [f.intent for f in found]),
            _slot_f1([c.spans for c in commands], [f.spans for f in found]),
            expected_calibration_error([f.confidence for f in found], is_right),
        )

    def _loss(self, rows: Tensor) -> Tensor:
        words, grams, mask = (torch.from_numpy(array[rows.numpy()]) for array in self._batch)
        length = int(mask.sum(1).max())  # The longest of these, not of all.
        logits = self.model(words[:, :length], grams[:, :length], mask[:, :length])
        intent, tags = (target[rows] for target in self._targets)
        loss = F.cross_entropy(logits.intent, intent)
        if self.config.slot_weight and len(self.tags) > 1:
            flat = logits.tags.flatten(0, 1), tags[:, :length].flatten()
            slots = F.cross_entropy(*flat, ignore_index=_IGNORED)
            loss = loss + self.config.slot_weight * slots
        return loss

    @torch.no_grad()
    def _logits(self, batch: Encoded) -> IntentLogits:
        self.model.eval()
        parts = [
            self.model(
                *(torch.from_numpy(array[start : start + _ROWS_AT_ONCE]) for array in batch)
            )
            for start in range(0, len(batch.words), _ROWS_AT_ONCE)
        ]
        return IntentLogits(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _encode(self, commands: Sequence[Labelled]) -> Encoded:
        return self.vocabulary.encode([command.text for command in commands])

    def _targets_of(self, commands: Sequence[Labelled], batch: Encoded) -> tuple[Tensor, Tensor]:
        intents = torch.tensor([self.intents.index(command.intent) for command in commands])
        numbers = {tag: number for number, tag in enumerate(self.tags)}
        tags = torch.full(batch.words.shape, _IGNORED)
        for row, command in enumerate(commands):
            marked = tags_of(tokens(command.text), command.spans)[: self.vocabulary.max_tokens]
            tags[row, : len(marked)] = torch.tensor([numbers[tag] for tag in marked or [OUTSIDE]])
        return intents, tags


def _macro_f1(expected: Sequence[str], found: Sequence[str]) -> float:
    scores = []
    for intent in sorted(set(expected)):
        both = sum(e == f == intent for e, f in zip(expected, found, strict=True))
        scores.append(2 * both / (expected.count(intent) + list(found).count(intent)))
    return float(np.mean(scores))


def _slot_f1(expected: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]]) -> float:
    num_expected, num_found = sum(map(len, expected)), sum(map(len, found))
    if not num_expected + num_found:
        return float('nan')
    both = sum(len(set(e) & set(f)) for e, f in zip(expected, found, strict=True))
    return 2 * both / (num_expected + num_found)
