"""Robot-API code for a command, from a model version, under the grammar of the table of verbs."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from robot_learning.config import from_mapping
from robot_learning.errors import CommandError, ModelRefusedError
from robot_learning.language.code_agreement import agrees
from robot_learning.language.code_grammar import NOTHING, CodeGrammar, Walk, numbers_said
from robot_learning.language.code_prompt import prompt
from robot_learning.language.program import Program, parse
from robot_learning.model_store import Array, ModelStore
from robot_learning.models.code_model import Cache, CodeModel, CodeModelConfig
from robot_learning.models.code_tokens import CodeTokens
from robot_learning.serving.code_adapters import Adapter, merged
from robot_learning.serving.code_decoding import Draft, LogProb, greedy, taken_otherwise

PRETRAINED = Path(__file__).resolve().parent.parent / 'pretrained'  # A model store.
NAME = 'code'  # Of the model there.
_MIN_NEW_TOKENS, _MAX_NEW_TOKENS = 64, 256
_MOST_FORKS = 8  # That are tried where the likeliest code does not agree with the command.
_MOST_WORSE = 6.0  # Nats by which another draft may be less likely.
_MOST_WORSE_ADAPTED = 2.0  # Adapters may have been taught values that nobody says.
_SAYS_NOTHING = (
    'command: asks for nothing that this robot can do, or leaves out what, where or how far. '
    'Say it in full, for example: drive forward 1 metre.'
)


class Generated(NamedTuple):
    """Code for a command, and what the checker says of it."""

    code: str
    confidence: float  # That it is what was meant, calibrated, 0 to 1.
    verdict: str = ''  # Why it must not run; empty: it may.
    program: Program | None = None  # The checked tree, where it may run.


class CodeWriter(Protocol):
    """What writes code."""

    def generate(self, text: str, abilities: frozenset[str] | None = None) -> Generated:
        """Return code for a command, checked for a robot of these abilities; None: any.

        Raises:
            CommandError: the text is empty, too long or not in plain letters.
        """


class Calibration(NamedTuple):
    """What a mean token probability is worth: a line through its logit (Platt 1999)."""

    slope: float = 1.0
    intercept: float = 0.0

    def confidence(self, probability: float) -> float:
        """Return how often an answer of that probability is right."""
        return 1 / (1 + math.exp(-(self.slope * _logit(probability) + self.intercept)))

    @classmethod
    def fitted(cls, probabilities: Sequence[float], is_right: Sequence[bool]) -> Calibration:
        """Return what makes these answers likeliest; take commands that were not learned from.

        One right and one wrong answer in the middle are added, so that answers that are all
        right do not make it sure of everything.
        """
        logits = np.array([*map(_logit, probabilities), 0.0, 0.0])
        target = np.array([*map(float, is_right), 0.0, 1.0])
        inputs = np.stack([logits, np.ones_like(logits)], 1)  # [N, 2]
        line = np.array([1.0, 0.0])
        for _ in range(50):  # Newton's method on the convex loss, with a slight ridge.
            found = 1 / (1 + np.exp(-(inputs @ line)))
            gradient = inputs.T @ (found - target) + 1e-3 * line
            curvature = inputs.T @ (inputs * (found * (1 - found))[:, None]) + 1e-3 * np.eye(2)
            line = line - np.clip(np.linalg.solve(curvature, gradient), -1.0, 1.0)
        return cls(float(line[0]), float(line[1]))


def _logit(probability: float) -> float:
    p = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(p / (1 - p))


class CodeGenerator:
    """A loaded model that writes code, one command at a time.

    Args:
        tensors: of the version.
        manifest: of the version.
        grammar: to decode under; None: that of the table of verbs.
        copies_numbers: write no number that the command does not say, see `numbers_said`.

    Raises:
        ModelRefusedError: it is no code model, or its parts do not fit together.
    """

    def __init__(
        self,
        tensors: Mapping[str, Array],
        manifest: Mapping[str, Any],
        grammar: CodeGrammar | None = None,
        copies_numbers: bool = True,
    ):
        where = f'{manifest.get("model", NAME)}@{manifest.get("version", "?")}'
        described = manifest.get('code')
        if not isinstance(described, dict) or not isinstance(described.get('tokenizer'), str):
            raise ModelRefusedError(
                f'{where}: its manifest describes no code model. Name one that "train --mode '
                f'code" made.'
            )
        self.manifest = manifest
        self._copies_numbers, self._is_adapted = copies_numbers, False
        self._base = tensors
        self.tokens = CodeTokens(described['tokenizer'])
        config = from_mapping(CodeModelConfig, described.get('model', {}), f'{where}: code.model')
        self._model = CodeModel(config, len(self.tokens))
        weights = {key: torch.from_numpy(np.array(v, np.float32)) for key, v in tensors.items()}
        try:
            self._model.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelRefusedError(
                f'{where}: its weights do not fit its description ({str(error)[:300]}). '
                f'Use another version.'
            ) from None
        self._model.eval().requires_grad_(False)
        self._calibration = Calibration(*described.get('calibration', ()))
        self._grammar = grammar or CodeGrammar(self.tokens.text, len(self.tokens), self.tokens.end)

    @classmethod
    def load(
        cls, store: ModelStore | None = None, name: str = NAME, version: int | None = None
    ) -> CodeGenerator:
        """Load a version from a store; by default the one that comes with the project.

        Raises:
            StoreError: there is no such version.
            ModelRefusedError: it is damaged, or no code model.
        """
        return cls(*(store or ModelStore(PRETRAINED)).load(name, version))

    def generate(self, text: str, abilities: frozenset[str] | None = None) -> Generated:
        """Return code for a command, checked for a robot of these abilities; None: any.

        Raises:
            CommandError: the text is empty, too long or not in plain letters.
        """
        code, probability = self.decode(text)
        return checked(code, self._calibration.confidence(probability), abilities)

    @torch.inference_mode()
    def decode(self, text: str) -> tuple[str, float]:
        """Return the likeliest code under the grammar, and its tokens' mean probability.

        Where that does not hold the values that the command names, one that differs at a single
        choice and does hold them is preferred, if it is not much less likely. The mean is
        geometric, over the tokens that the grammar left a choice about, of the probabilities
        that the model gave them before the grammar had its say.

        Raises:
            CommandError: the text is empty, too long or not in plain letters.
        """
        asked = prompt(text)
        step = self.tokens.encode(asked)
        room = min(_MAX_NEW_TOKENS, self._model.config.max_tokens - len(step))
        if room < _MIN_NEW_TOKENS:
            most = self._model.config.max_tokens - _MIN_NEW_TOKENS
            raise CommandError(
                f'command: has {len(step)} tokens, expected at most {most}. Say less at once.'
            )
        cache: Cache = []
        said = numbers_said(asked) if self._copies_numbers and not self._is_adapted else None
        start = self._grammar.walk(said)
        draft = greedy(self._follows(cache), step, start.copy(), self.tokens.end, room)
        if self._copies_numbers and not agrees(asked, self.tokens.decode(draft.tokens)):
            draft = self._reconsidered(asked, draft, cache, start, room)
        return self.tokens.decode(draft.tokens), draft.probability

    def _follows(self, cache: Cache) -> LogProb:
        """Return what gives log-probabilities after the tokens in a cache, and takes them in."""

        def log_prob(tokens: list[int]) -> Array:
            logits = self._model.step(torch.tensor([tokens]), cache)
            found: Array = logits[0].log_softmax(-1).numpy()
            return found

        return log_prob

    def _reconsidered(
        self, asked: str, draft: Draft, cache: Cache, start: Walk, room: int
    ) -> Draft:
        """Return the likeliest of the drafts that differ at one fork and agree with the command.

        Args:
            asked: the prompt.
            draft: what does not agree.
            cache: after it.
            start: of the grammar.
            room: tokens at most.
        """
        num_prompt = len(self.tokens.encode(asked))
        least = draft.log_prob - (_MOST_WORSE_ADAPTED if self._is_adapted else _MOST_WORSE)
        found = []
        for fork in sorted(draft.forks, key=lambda fork: fork.gap)[:_MOST_FORKS]:
            past = num_prompt + fork.place
            log_prob = self._follows(
                [(key[:, :, :past], value[:, :, :past]) for key, value in cache]
            )
            go_on = functools.partial(greedy, log_prob, (), start.copy(), self.tokens.end, room)
            is_over = fork.other == self.tokens.end
            other = taken_otherwise(draft, fork, None if is_over else go_on)
            code = self.tokens.decode(other.tokens)
            if other.log_prob > least and code != NOTHING and agrees(asked, code):
                found.append(other)
        return max(found, key=lambda each: each.log_prob, default=draft)

    def with_adapter(self, adapter: Adapter | None) -> CodeGenerator:
        """Return a generator of the same base with another adapter merged in; None: with none.

        This one stays as it is, so several adapters can be kept and switched between commands.
        What an adapter was taught may hold numbers that nobody said, so it may write any.

        Raises:
            ModelRefusedError: the adapter was made for another model.
        """
        tensors = self._base if adapter is None else merged(self._base, adapter)
        other = CodeGenerator(tensors, self.manifest, self._grammar, self._copies_numbers)
        other._base, other._is_adapted = self._base, adapter is not None
        return other


def checked(code: str, confidence: float, abilities: frozenset[str] | None = None) -> Generated:
    """Return code with what the checker says of it."""
    if code == NOTHING:
        return Generated('', confidence, _SAYS_NOTHING)
    try:
        return Generated(code, confidence, '', parse(code, abilities))
    except CommandError as error:
        return Generated(code, confidence, str(error))


class CodeVote:
    """Several generators that decide together: the program that most of them write.

    Programs count as the same when the checker reads the same from them; of equally many votes
    the more confident ones win.
    """

    def __init__(self, generators: Sequence[CodeWriter]):
        assert generators
        self._generators = list(generators)

    def generate(self, text: str, abilities: frozenset[str] | None = None) -> Generated:
        """Return the code of the majority; its confidence is the mean over all who voted.

        Raises:
            CommandError: the text is empty, too long or not in plain letters.
        """
        answers = [each.generate(text, abilities) for each in self._generators]
        return vote(answers)


def vote(answers: Sequence[Generated]) -> Generated:
    """Return the answer of which most say the same; others count as no confidence in it."""
    groups: list[list[Generated]] = []
    for answer in answers:
        for group in groups:
            if _is_same(group[0], answer):
                group.append(answer)
                break
        else:
            groups.append([answer])
    won = max(groups, key=lambda group: (len(group), sum(each.confidence for each in group)))
    best = max(won, key=lambda each: each.confidence)
    return best._replace(confidence=sum(each.confidence for each in won) / len(answers))


def _is_same(one: Generated, other: Generated) -> bool:
    if one.program is None or other.program is None:
        return one.program is other.program and one.code == other.code
    return one.program.statements == other.program.statements
