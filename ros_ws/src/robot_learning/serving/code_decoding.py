"""Code token by token under a grammar: the likeliest one, and what else it could have been."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from robot_learning.language.code_grammar import Walk
from robot_learning.model_store import Array

LogProb = Callable[[list[int]], Array]


class Fork(NamedTuple):
    """A choice between tokens."""

    place: int  # How many tokens come before it.
    choice: int  # How many choices come before it.
    other: int  # The second likeliest token that the grammar allows.
    gap: float  # By how much its log-probability is less than that of the likeliest.


class Draft(NamedTuple):
    """What was decoded."""

    tokens: list[int]
    log_probs: list[float]  # Of each choice, before the grammar had its say.
    forks: list[Fork]  # Choices that the grammar left open, in their order.

    @property
    def probability(self) -> float:
        """The geometric mean over the choices."""
        return math.exp(self.log_prob / max(len(self.log_probs), 1))

    @property
    def log_prob(self) -> float:
        """The sum over the choices."""
        return sum(self.log_probs)


def greedy(
    log_prob: LogProb,
    prompt: Sequence[int],
    walk: Walk,
    end: int,
    room: int,
    begun: Sequence[int] = (),
) -> Draft:
    """Return the likeliest tokens under a grammar, one after the other.

    Args:
        log_prob: takes the newest tokens, gives the log-probabilities [V] of the next one.
        prompt: what comes before, as far as `log_prob` does not know it yet.
        walk: through the grammar, at its start.
        end: the token that ends it.
        room: tokens at most; what forces itself may go beyond.
        begun: tokens of the code that are settled, of which the last was chosen; `log_prob` knows
            all but that one. `log_probs` of what is returned begin after them.
    """
    found = list(begun)
    for token in found:
        walk.take(token)
    step = [found[-1], *_forced(walk, found)] if found else list(prompt)
    draft = Draft(found, [], [])
    while len(found) < room and not walk.is_over:
        scores = log_prob(step)
        allowed = np.where(walk.allowed(), scores, -np.inf)
        token = int(allowed.argmax())
        draft.log_probs.append(float(scores[token]))
        allowed[token] = -np.inf
        other = int(allowed.argmax())
        if np.isfinite(allowed[other]):
            gap = float(scores[token] - scores[other])
            draft.forks.append(Fork(len(found), len(draft.log_probs) - 1, other, gap))
        if token == end:
            break
        walk.take(token)
        found.append(token)
        step = [token, *_forced(walk, found)]
    return draft


def _forced(walk: Walk, found: list[int]) -> list[int]:
    """Go on by what must come next, and return it."""
    forced = walk.forced()
    for each in forced:
        walk.take(each)
    found += forced
    return forced


def taken_otherwise(draft: Draft, fork: Fork, go_on: Callable[[list[int]], Draft] | None) -> Draft:
    """Return what a draft becomes with the other token at a fork.

    Args:
        draft: the likeliest tokens.
        fork: one of its forks.
        go_on: takes the tokens that are settled then, gives the draft that they begin; None: the
            other token ends the code.
    """
    chosen = [*draft.log_probs[: fork.choice], draft.log_probs[fork.choice] - fork.gap]
    begun = draft.tokens[: fork.place]
    if go_on is None:
        return Draft(begun, chosen, [])
    rest = go_on([*begun, fork.other])
    return Draft(rest.tokens, [*chosen, *rest.log_probs], [])
