"""Learns from commands what they mean: intent, slots, and how sure that is.

Commands belong to no episode; so this phase has a loop of its own, in passes over the commands.
Few commands learn with the help of others: auxiliary groups share all of the network but its last
layer, where every group has outputs of its own. Only those of the first group are published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from robot_learning.config import STRICT
from robot_learning.errors import NotEnoughDataError, TrainingError
from robot_learning.language.augmentation import variants
from robot_learning.language.command_files import Labelled
from robot_learning.language.intent_scores import (
    OUT_OF_SCOPE_NAMES,
    expected_calibration_error,
    macro_f1,
    slot_f1,
)
from robot_learning.language.tags import OUTSIDE, Span, all_tags, spans_of, tags_of
from robot_learning.language.tokens import Encoded, Vocabulary, tokens
from robot_learning.models.intent import IntentLogits, IntentModel, IntentModelConfig

_IGNORED = -100  # Tag of what is no token, or is not known.
_ROWS_AT_ONCE = 512
_VOTES_WEIGHTS = (0.01, 0.25, 0.5, 1.0)  # Candidates of `calibrate`.
_VOTES = frozenset(('votes.weight', 'piece_votes.weight'))
_MOST_VARIANTS = 20_000  # Of all own commands together; many commands need fewer each.


@dataclass(frozen=True, config=STRICT)
class IntentConfig:
    """The guide's network, and how it is trained."""

    model: IntentModelConfig = IntentModelConfig()
    epochs: PositiveInt = 20
    min_updates: NonNegativeInt = 600  # Few commands get more passes than `epochs`.
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 1e-3  # Rises over the warm-up, then falls to 0 in a cosine.
    votes_learning_rate: PositiveFloat = 1e-2  # Of the linear classifier.
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1
    weight_decay: NonNegativeFloat = 1e-2
    gradient_norm: PositiveFloat = 1.0
    slot_weight: NonNegativeFloat = 1.0  # Of the tags' cross-entropy beside the intent's.
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.05
    min_count: PositiveInt = 2  # Rarer words are known by their pieces only.
    variants: NonNegativeInt = 10  # Of each own command at most, see language/augmentation.py.
    auxiliary_ratio: NonNegativeFloat = 4.0  # Auxiliary commands of a pass, per own command.
    rejected_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.02  # See `calibrate`.


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
    out_of_scope_recall: float  # By class or by confidence; NaN where all are in scope.


class _Group(NamedTuple):
    """Commands with labels of their own, and where these stand among the model's outputs."""

    intents: tuple[str, ...]
    tags: tuple[str, ...]
    first_intent: int
    first_tag: int


class IntentTraining:
    """A model that gets better with every pass.

    Args:
        commands: to learn from.
        config: of the phase.
        seed: of weights, order and dropout.
        auxiliary: groups of other commands, each with labels of its own.

    Raises:
        NotEnoughDataError: there are fewer than two intents.
    """

    def __init__(
        self,
        commands: Sequence[Labelled],
        config: IntentConfig,
        seed: int,
        auxiliary: Sequence[Sequence[Labelled]] = (),
    ):
        self.config = config
        everything = (commands, *auxiliary)
        self._groups = _groups(everything)
        self.intents, self.tags = self._groups[0].intents, self._groups[0].tags
        if len(self.intents) < 2:
            raise NotEnoughDataError(
                f'commands: {len(commands)} with {len(self.intents)} intents, expected at least '
                f'two intents. Name more data.'
            )
        self._num_copies = min(config.variants, _MOST_VARIANTS // len(commands))
        everything = (_with_variants(commands, self._num_copies, seed), *auxiliary)
        texts = [command.text for group in everything for command in group]
        self.vocabulary = Vocabulary.of(
            (c.text for group in (commands, *auxiliary) for c in group), config.min_count
        )
        self.temperature = 1.0  # Of the intent's logits, see `calibrate`.
        self.votes_weight = 1.0  # Beside the encoder's logits; never 0, so that it can be undone.
        self.min_confidence = 0.0  # Below it a command is out of scope.
        self.num_epochs = 0
        self.num_updates = 0
        self._rng = np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = _model(config.model, self.vocabulary, self._groups)
            self._noise = torch.random.get_rng_state()
        self._batch = self.vocabulary.encode(texts)
        self._targets = self._targets_of(everything)
        self._num_own = len(commands)
        others = len(texts) - len(everything[0])
        self._num_others = min(round(config.auxiliary_ratio * len(commands)), others)
        named = list(self.model.named_parameters())
        votes = [each for name, each in named if name in _VOTES]
        encoder = [each for name, each in named if name not in _VOTES]
        groups: list[dict[str, Any]] = [
            {'params': encoder},
            {'params': votes, 'lr': config.votes_learning_rate},
        ]
        self._optimizer = torch.optim.AdamW(
            groups,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        per_epoch = -(-(self._num_own + self._num_others) // config.batch_size)
        self.epochs = max(config.epochs, -(-config.min_updates // per_epoch))
        total = self.epochs * per_epoch
        warmup = max(round(config.warmup_ratio * total), 1)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer,
            lambda n: min((n + 1) / warmup, 0.5 * (1 + np.cos(np.pi * min(n / total, 1.0)))),
        )

    def epoch(self) -> float:
        """Learn from every own command once, and from some auxiliary ones; return the mean loss.

        Raises:
            TrainingError: it is not finite.
        """
        order = self._order()
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
                self.num_updates += 1
                total += float(loss.detach()) * len(rows)
            self._noise = torch.random.get_rng_state()
        self.num_epochs += 1
        if not np.isfinite(total):
            raise TrainingError(
                f'intent: the loss of pass {self.num_epochs} is not finite. Lower learning_rate.'
            )
        return total / len(order)

    def calibrate(self, commands: Sequence[Labelled]) -> float:
        """Choose temperature and weight of the votes: these commands' intents become most likely.

        Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2. Also choose the
        confidence below which a command is out of scope, so that `rejected_ratio` of those that
        are in scope fall below it. Take commands that were not learned from. Returns the
        temperature.
        """
        known = [command for command in commands if command.intent in self.intents]
        if not known:
            return self.temperature
        logits = self._logits(self.vocabulary.encode([c.text for c in known]))
        target = torch.tensor([self.intents.index(command.intent) for command in known])
        voted = logits.voted / self.votes_weight
        losses = {
            (weight, float(temperature)): float(
                F.cross_entropy((logits.encoded + weight * voted) / temperature, target)
            )
            for weight in _VOTES_WEIGHTS
            for temperature in torch.logspace(-1, 1, 81)
        }
        self.votes_weight, self.temperature = min(losses, key=lambda key: losses[key])
        intent = logits.encoded + self.votes_weight * voted
        confidence = (intent / self.temperature).softmax(-1).amax(-1).numpy()
        is_in_scope = [command.intent not in OUT_OF_SCOPE_NAMES for command in known]
        if any(is_in_scope):
            inside = confidence[np.array(is_in_scope)]
            self.min_confidence = float(np.quantile(inside, self.config.rejected_ratio))
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
        marked = [(c.spans, f.spans) for f, c in zip(found, commands, strict=True) if c.has_slots]
        return Scores(
            len(commands),
            float(np.mean(is_right)),
            macro_f1([c.intent for c in commands], [f.intent for f in found]),
            slot_f1([expected for expected, _ in marked], [spans for _, spans in marked]),
            expected_calibration_error([f.confidence for f in found], is_right),
            self._out_of_scope_recall(commands, found),
        )

    def _out_of_scope_recall(
        self, commands: Sequence[Labelled], found: Sequence[Understood]
    ) -> float:
        refused = [
            f.intent in OUT_OF_SCOPE_NAMES or f.confidence < self.min_confidence
            for f, c in zip(found, commands, strict=True)
            if c.intent in OUT_OF_SCOPE_NAMES
        ]
        return float(np.mean(refused)) if refused else float('nan')

    def published(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors to serve and their description; auxiliary outputs are cut off."""
        state = {
            name: value.detach().clone()
            for name, value in self.model.state_dict().items()
            if name != 'positions'
        }
        for name, count in (('intent', len(self.intents)), ('tags', len(self.tags))):
            for part in ('weight', 'bias'):
                state[f'{name}.{part}'] = state[f'{name}.{part}'][:count]
        for name in state.keys() & _VOTES:
            state[name] = self.votes_weight * state[name][:, : len(self.intents)]
        model = self.config.model
        description = {
            'kind': 'intent_transformer',
            'layers': model.layers,
            'heads': model.heads,
            'width': model.width,
            'feedforward': model.feedforward,
            'piece_votes': model.piece_votes,
            **self.vocabulary.describe(),
            'intents': list(self.intents),
            'tags': list(self.tags),
            'temperature': self.temperature,
            'min_confidence': self.min_confidence,
        }
        return {name: value.contiguous() for name, value in state.items()}, description

    def _order(self) -> Tensor:
        """Return the rows of a pass: each own command or a variant of it, and auxiliary ones."""
        copies = 1 + self._num_copies
        copy = self._rng.integers(0, copies, self._num_own)
        own = np.arange(self._num_own) + self._num_own * copy
        first, end = copies * self._num_own, len(self._batch.words)
        others = first + self._rng.choice(end - first, self._num_others, replace=False)
        return torch.from_numpy(self._rng.permutation(np.concatenate([own, others])))

    def _loss(self, rows: Tensor) -> Tensor:
        words, grams, mask, phrases = (
            torch.from_numpy(array[rows.numpy()]) for array in self._batch
        )
        length = int(mask.sum(1).max())  # The longest of these, not of all.
        logits = self.model(
            words[:, :length], grams[:, :length], mask[:, :length], phrases[:, : 2 * length]
        )
        group, intent, tags = (target[rows] for target in self._targets)
        loss: Tensor = logits.intent.new_zeros(())
        for number in sorted(set(group.tolist())):
            own, is_own = self._groups[number], group == number
            for outputs in (logits.encoded, logits.voted):  # Each learns as if it were alone.
                loss = loss + F.cross_entropy(
                    outputs[is_own, own.first_intent :][:, : len(own.intents)],
                    intent[is_own],
                    reduction='sum',
                    label_smoothing=self.config.label_smoothing,
                )
            marks = tags[is_own, :length]
            if len(own.tags) > 1 and bool((marks != _IGNORED).any()):
                outputs = logits.tags[is_own, :, own.first_tag :][..., : len(own.tags)]
                slots = F.cross_entropy(
                    outputs.flatten(0, 1), marks.flatten(), ignore_index=_IGNORED
                )
                loss = loss + self.config.slot_weight * slots * is_own.sum()
        return loss / len(rows)

    @torch.no_grad()
    def _logits(self, batch: Encoded) -> IntentLogits:
        self.model.eval()
        parts = [
            self.model(
                *(torch.from_numpy(array[start : start + _ROWS_AT_ONCE]) for array in batch)
            )
            for start in range(0, len(batch.words), _ROWS_AT_ONCE)
        ]
        encoded, voted, tags = (torch.cat(column) for column in zip(*parts, strict=True))
        num_intents = len(self.intents)
        voted = self.votes_weight * voted[:, :num_intents]
        return IntentLogits(encoded[:, :num_intents], voted, tags[..., : len(self.tags)])

    def _targets_of(
        self, everything: Sequence[Sequence[Labelled]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return group [N], intent [N] and tags [N, T], the last two counted within the group."""
        groups: list[int] = []
        intents: list[int] = []
        tags = torch.full(self._batch.words.shape, _IGNORED)
        for number, (commands, group) in enumerate(zip(everything, self._groups, strict=True)):
            intent_numbers = {intent: place for place, intent in enumerate(group.intents)}
            tag_numbers = {tag: place for place, tag in enumerate(group.tags)}
            for command in commands:
                if command.has_slots:
                    marked = tags_of(tokens(command.text), command.spans) or [OUTSIDE]
                    known = [tag_numbers[tag] for tag in marked][: self.vocabulary.max_tokens]
                    tags[len(groups), : len(known)] = torch.tensor(known)
                groups.append(number)
                intents.append(intent_numbers[command.intent])
        return torch.tensor(groups), torch.tensor(intents), tags


def _with_variants(commands: Sequence[Labelled], copies: int, seed: int) -> list[Labelled]:
    made = variants(commands, copies, seed)
    return [*commands, *(command for copy in made for command in copy)]


def _groups(everything: Sequence[Sequence[Labelled]]) -> list[_Group]:
    groups: list[_Group] = []
    first_intent, first_tag = 0, 0
    for commands in everything:
        intents = tuple(sorted({command.intent for command in commands}))
        tags = all_tags(name for command in commands for _, _, name in command.spans)
        groups.append(_Group(intents, tags, first_intent, first_tag))
        first_intent, first_tag = first_intent + len(intents), first_tag + len(tags)
    return groups


def _model(
    config: IntentModelConfig, vocabulary: Vocabulary, groups: Sequence[_Group]
) -> IntentModel:
    return IntentModel(
        config,
        num_words=len(vocabulary),
        num_buckets=vocabulary.num_buckets,
        num_intents=sum(len(group.intents) for group in groups),
        num_tags=sum(len(group.tags) for group in groups),
        max_tokens=vocabulary.max_tokens,
        num_phrases=vocabulary.num_phrases,
    )
