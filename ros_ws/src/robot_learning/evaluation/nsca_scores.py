"""The six evaluations of NSCA as functions of features; every figure with a 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from robot_learning.errors import NotEnoughDataError
from robot_learning.proportions import wilson_interval

Array = np.ndarray[Any, Any]
_RESAMPLES = 200


class Score(NamedTuple):
    """One figure."""

    value: float
    low: float  # 95 % interval.
    high: float
    count: int  # type: ignore[assignment]  # What it was measured on.
    chance: float  # What guessing gets; NaN where that means nothing.

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; NaN as None."""
        return {
            name: None if isinstance(entry, float) and not np.isfinite(entry) else entry
            for name, entry in self._asdict().items()
        }


def accuracy(predicted: Array, truth: Array, chance: float) -> Score:
    """Share of right answers, with Wilson's interval."""
    right, count = int((predicted == truth).sum()), len(truth)
    low, high = wilson_interval(right, count)
    return Score(right / count, low, high, count, chance)


def prototype_classification(
    train: Array, train_labels: Array, test: Array, test_labels: Array
) -> Score:
    """Take each test row for the class whose mean it resembles most, by cosine.

    Zero-shot where the prototypes come from another sense than the rows: nobody ever said what
    class a sound has, only the pictures' classes are known.
    """
    names = np.unique(train_labels)
    centre = train.mean(0)
    prototypes = np.stack([(train[train_labels == name] - centre).mean(0) for name in names])
    similar = _cosine(test - test.mean(0), prototypes)
    return accuracy(names[similar.argmax(1)], test_labels, 1 / len(names))


def few_shot(
    features: Array,
    labels: Array,
    num_ways: int,
    num_shots: int,
    rng: np.random.Generator,
    num_episodes: int = 300,
    num_queries: int = 5,
) -> Score:
    """N-way K-shot by nearest class mean, on classes that nothing was learned from.

    The interval is that of the mean over episodes.

    Raises:
        NotEnoughDataError: too few classes have enough samples.
    """
    needed = num_shots + 1
    names = [name for name in np.unique(labels) if (labels == name).sum() >= needed]
    if len(names) < num_ways:
        raise NotEnoughDataError(
            f'{num_ways}-way {num_shots}-shot: {len(names)} classes have {needed} samples or '
            f'more, expected {num_ways}. Add classes or ask for fewer.'
        )
    rows = _unit(features - features.mean(0))
    scores = []
    for _ in range(num_episodes):
        support, queries, truth = [], [], []
        for way, name in enumerate(rng.choice(names, num_ways, replace=False)):
            members = rng.permutation(np.flatnonzero(labels == name))
            support.append(rows[members[:num_shots]].mean(0))
            asked = members[num_shots : num_shots + num_queries]
            queries.append(rows[asked])
            truth += [way] * len(asked)
        found = (np.concatenate(queries) @ _unit(np.stack(support)).T).argmax(1)
        scores.append(float((found == np.array(truth)).mean()))
    mean, error = float(np.mean(scores)), float(np.std(scores) / np.sqrt(len(scores)))
    return Score(mean, mean - 1.96 * error, mean + 1.96 * error, num_episodes, 1 / num_ways)


def retrieval(query: Array, gallery: Array, is_right: Array, rank: int) -> Score:
    """R@k: how often something right is among the `rank` nearest, by cosine.

    Args:
        query: [N, D].
        gallery: [M, D].
        is_right: [N, M] bool.
        rank: k.
    """
    similar = _cosine(query, gallery)
    nearest = np.argsort(-similar, axis=1, kind='stable')[:, :rank]
    is_hit = np.take_along_axis(is_right, nearest, axis=1).any(1)
    right = is_right.sum(1)
    total = len(gallery)
    misses = np.array([_all_miss(total, int(count), rank) for count in right])
    low, high = wilson_interval(int(is_hit.sum()), len(query))
    return Score(float(is_hit.mean()), low, high, len(query), float(1 - misses.mean()))


def correlation(predicted: Array, truth: Array, kind: str, rng: np.random.Generator) -> Score:
    """Pearson's or Spearman's coefficient over known values, interval by bootstrap."""
    is_known = np.isfinite(truth) & np.isfinite(predicted)
    x, y = predicted[is_known], truth[is_known]
    measure: Callable[..., Any] = stats.pearsonr if kind == 'pearson' else stats.spearmanr

    def of(rows: Array) -> float:
        if len(rows) < 3 or np.ptp(x[rows]) == 0 or np.ptp(y[rows]) == 0:
            return float('nan')
        return float(measure(x[rows], y[rows]).statistic)

    everything = np.arange(len(x))
    found = [of(rng.choice(everything, len(x))) for _ in range(_RESAMPLES)] if len(x) > 2 else []
    finite = [value for value in found if np.isfinite(value)]
    low, high = np.percentile(finite, [2.5, 97.5]) if finite else (np.nan, np.nan)
    return Score(of(everything), float(low), float(high), len(x), 0.0)


class Trial(NamedTuple):
    """What is predicted around one intervention on one property."""

    before: float
    after: float
    repeat: float  # Nothing changed but the noise.
    true_change: float


def causal_accuracy(trials: Sequence[Trial]) -> Score:
    """How often the change an intervention makes is predicted, against its matched control.

    Right means: the predicted change has the true sign, and it is larger than what the control
    makes, whose true change is nothing. Guessing gets a quarter: half for each.
    """
    right = sum(
        np.sign(trial.after - trial.before) == np.sign(trial.true_change)
        and abs(trial.after - trial.before) > abs(trial.repeat - trial.before)
        for trial in trials
    )
    low, high = wilson_interval(int(right), len(trials))
    return Score(right / len(trials), low, high, len(trials), 0.25)


def mean_score(values: Array, rng: np.random.Generator, chance: float = float('nan')) -> Score:
    """Mean over samples, interval by bootstrap."""
    means = [float(rng.choice(values, len(values)).mean()) for _ in range(_RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Score(float(values.mean()), float(low), float(high), len(values), chance)


def _all_miss(total: int, right: int, rank: int) -> float:
    """Probability that `rank` random draws without repetition are all wrong."""
    wrong = total - right
    draws = np.arange(min(rank, total))
    return float(np.prod(np.maximum(wrong - draws, 0) / (total - draws)))


def _unit(rows: Array) -> Array:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    result: Array = rows / np.maximum(lengths, 1e-12)
    return result


def _cosine(a: Array, b: Array) -> Array:
    similar: Array = _unit(a) @ _unit(b).T
    return similar
