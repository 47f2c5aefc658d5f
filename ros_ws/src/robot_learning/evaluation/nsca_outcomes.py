"""How well rewards and ends are read off world states, seen and imagined."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from scipy import stats

from robot_learning.errors import DataError, NotEnoughDataError
from robot_learning.evaluation.nsca_features import Sequences
from robot_learning.evaluation.nsca_scores import Score
from robot_learning.evaluation.nsca_suites import Line
from robot_learning.models.nsca.published import Published
from robot_learning.trajectory.paired_data import PairedSet

Array = np.ndarray[Any, Any]
_RESAMPLES = 200


def outcome_lines(
    published: Published, sequences: Sequences, paired: PairedSet, horizon: int, seed: int
) -> Iterator[Line]:
    """Yield errors of rewards and the area under the curve of ends; intervals by window.

    Terminated steps are ends, truncated ones are not. Errors of rewards are squared and relative
    to those of the best constant, the mean of what is measured on.

    Args:
        published: version that has learned them.
        sequences: `paired` as states.
        paired: with `outcome`.
        horizon: steps ahead of the imagined figures.
        seed: of the intervals.

    Raises:
        DataError: the version or the data know no rewards.
        NotEnoughDataError: no reward differs from another.
    """
    if not published.has_outcomes:
        raise DataError(
            f'{published.where}: never learned rewards and ends, expected a version that did. '
            f'Train it on episodes that hold rewards.'
        )
    paired.require('outcome')
    rows = [sample.outcome for sample in paired]
    truth = np.stack([row for row in rows if row is not None])  # [N, T, 3]
    length = truth.shape[1]
    ahead = min(horizon, length - 2)
    begin = (length - 1 - ahead) // 2
    with torch.no_grad():
        future = published.model.world.imagine(
            sequences.states[:, : begin + 1],
            sequences.actions[:, : begin + 1],
            sequences.actions[:, begin : begin + ahead],
        )
        seen = _read(published, sequences.states)
        imagined = _read(published, future.mean[:, -1:])
    rng = np.random.default_rng(seed)
    last = begin + ahead
    for name, (reward, end), steps in (
        ('', seen, slice(None)),
        (f' {ahead} steps ahead', imagined, slice(last, last + 1)),
    ):
        true = truth[:, steps]
        score = _scored(_relative_error, reward, true[..., 0], rng, 1.0)
        if not np.isfinite(score.value):
            raise NotEnoughDataError(
                f'{paired.report.where}: no two rewards differ, expected some that do. Record '
                f'episodes of a task.'
            )
        yield Line('outcomes', f'reward{name}, squared error over the mean', 'learned', score)
        score = _scored(_area, end, true[..., 1], rng, 0.5)
        if np.isfinite(score.value):
            yield Line('outcomes', f'end{name}, area under the curve', 'learned', score)


def _read(published: Published, states: torch.Tensor) -> tuple[Array, Array]:
    """Return rewards and logits of ends, [N, T] each."""
    found = published.model.outcomes(published.model.world.scaled(states))
    return found.reward.numpy(), found.end_logit.numpy()


def _scored(
    measure: Callable[[Array, Array], float],
    predicted: Array,
    truth: Array,
    rng: np.random.Generator,
    chance: float,
) -> Score:
    """Measure known steps; the interval is by bootstrap over windows."""

    def of(rows: Array) -> float:
        is_known = np.isfinite(truth[rows])
        return measure(predicted[rows][is_known], truth[rows][is_known])

    everything = np.arange(len(truth))
    found = np.array([of(rng.choice(everything, len(truth))) for _ in range(_RESAMPLES)])
    finite = found[np.isfinite(found)]
    low, high = np.percentile(finite, [2.5, 97.5]) if len(finite) else (np.nan, np.nan)
    count = int(np.isfinite(truth).sum())
    return Score(of(everything), float(low), float(high), count, chance)


def _relative_error(predicted: Array, truth: Array) -> float:
    spread = float(np.square(truth - truth.mean()).sum()) if len(truth) else 0.0
    return float(np.square(predicted - truth).sum()) / spread if spread > 0 else float('nan')


def _area(score: Array, truth: Array) -> float:
    """Probability that an end scores above what is none (Mann-Whitney); NaN without both."""
    is_end = truth > 0.5
    ends, others = int(is_end.sum()), int((~is_end).sum())
    if not ends or not others:
        return float('nan')
    ranks = stats.rankdata(score)
    return float((ranks[is_end].sum() - ends * (ends + 1) / 2) / (ends * others))
