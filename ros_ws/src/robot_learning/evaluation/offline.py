"""A policy's actions against recorded ones, beside two predictors that know no observation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np

from robot_learning.errors import NotEnoughDataError
from robot_learning.trajectory.episode import Episode

Array = np.ndarray[Any, Any]

_STRETCH = 50  # Steps that are drawn again together.
_NUM_RESAMPLES = 1000


class BatchPolicy(Protocol):
    """A policy asked about many steps at once, episode by episode.

    `is_first` [N] marks where an episode begins: nothing before is remembered. `action` [N, A] is
    what was carried out, in contract units; the answer at a step may depend on those before it.
    """

    def mode(self, observations: dict[str, Array], is_first: Array, action: Array) -> Array:
        """Return its actions [N, A] in contract units without chance."""

    def log_prob(
        self, observations: dict[str, Array], is_first: Array, action: Array
    ) -> Array | None:
        """Return the log-likelihood [N] of the actions; None: it cannot be told."""


class OfflineResult(NamedTuple):
    """Errors over all recorded steps that have an action and every needed field."""

    num_steps: int
    num_episodes: int
    num_skipped: int  # Steps with gaps in needed fields.
    mean_absolute_error: list[float]  # [A] contract units.
    mean_error: list[float]  # Per action component, of the mean predictor.
    persistence_error: list[float]  # Of the predictor that repeats the last action.
    error_interval_95: list[tuple[float, float]]  # Of the policy's, by resampling stretches.
    log_likelihood: float | None  # Mean, nats per step, of the normalised action; None: unknown.

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return self._asdict()


class _Steps(NamedTuple):
    observations: dict[str, Array]
    action: Array  # [N, A]
    previous: Array  # [N, A]
    is_first: Array  # [N] bool
    is_compared: Array  # [N] bool: the others are only seen.
    num_skipped: int


def offline_error(
    policy: BatchPolicy,
    fields: Iterable[str],
    episodes: Iterable[Episode],
    mean_action: Array | None = None,
) -> OfflineResult:
    """Compare the policy's actions with the executed ones of recorded episodes.

    Args:
        policy: what to judge.
        fields: observation fields it needs; steps where one is a gap are skipped.
        episodes: the recording.
        mean_action: [A] of the training data; None: the mean of this recording, which favours
            the mean predictor.

    Raises:
        NotEnoughDataError: not one step can be compared.
    """
    fields = tuple(fields)
    steps = _collect([_usable(episode, fields) for episode in episodes], fields)
    chosen = steps.is_compared
    given = steps.observations, steps.is_first, steps.action
    predicted, log_prob = policy.mode(*given)[chosen], policy.log_prob(*given)
    action = steps.action[chosen]
    mean = action.mean(0) if mean_action is None else mean_action
    return OfflineResult(
        num_steps=len(action),
        num_episodes=int(steps.is_first.sum()),
        num_skipped=steps.num_skipped,
        mean_absolute_error=_error(predicted, action),
        mean_error=_error(mean, action),
        persistence_error=_error(steps.previous[chosen], action),
        error_interval_95=_interval(np.abs(predicted - action), steps.is_first.cumsum()[chosen]),
        log_likelihood=None if log_prob is None else float(log_prob[chosen].mean()),
    )


def _interval(errors: Array, episode: Array, seed: int = 0) -> list[tuple[float, float]]:
    """Return 95 % intervals of the mean errors [N, A].

    Neighbouring steps say nearly the same: whole stretches of an episode are drawn again.
    """
    place = np.arange(len(errors)) - np.searchsorted(episode, episode)  # Within the episode.
    _, stretch = np.unique(episode * len(errors) + place // _STRETCH, return_inverse=True)
    count = np.bincount(stretch)  # [S]
    sums = np.stack([np.bincount(stretch, weights=column) for column in errors.T])  # [A, S]
    drawn = np.random.default_rng(seed).integers(0, len(count), (_NUM_RESAMPLES, len(count)))
    means = sums[:, drawn].sum(2) / count[drawn].sum(1)  # [A, resamples]
    low, high = np.quantile(means, (0.025, 0.975), axis=1)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _error(predicted: Array, action: Array) -> list[float]:
    return [float(value) for value in np.abs(predicted - action).mean(0)]


def _usable(episode: Episode, fields: tuple[str, ...]) -> _Steps:
    """Take the steps that hold every field; compare those that have an action before them.

    The action of an episode's last step was never executed.
    """
    count = len(episode) - 1 if episode.is_complete else len(episode)
    keep = np.ones(max(count, 0), bool)
    for name in fields:
        keep &= episode.present[name][:count]
    index = np.flatnonzero(keep)
    return _Steps(
        {name: episode.observations[name][index] for name in fields},
        episode.action[index],
        episode.action[index - 1],
        np.arange(len(index)) == 0,
        index > 0,
        count - int((index > 0).sum()),
    )


def _collect(parts: list[_Steps], fields: tuple[str, ...]) -> _Steps:
    num_skipped = sum(part.num_skipped for part in parts)
    if not any(part.is_compared.any() for part in parts):
        raise NotEnoughDataError(
            f'evaluation data: holds no step with the fields {", ".join(fields)} and an action '
            f'before it ({num_skipped} skipped). Record longer or choose other data.'
        )
    return _Steps(
        {name: np.concatenate([part.observations[name] for part in parts]) for name in fields},
        np.concatenate([part.action for part in parts]),
        np.concatenate([part.previous for part in parts]),
        np.concatenate([part.is_first for part in parts]),
        np.concatenate([part.is_compared for part in parts]),
        num_skipped,
    )
