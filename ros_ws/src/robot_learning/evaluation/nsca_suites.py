"""The evaluations of NSCA on paired samples, each beside chance and a cheap baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from robot_learning.errors import NotEnoughDataError
from robot_learning.evaluation import nsca_baselines as baselines
from robot_learning.evaluation.nsca_features import (
    Sequences,
    latents_of,
    senses_in,
    states_of,
)
from robot_learning.evaluation.nsca_probe import fit_probe
from robot_learning.evaluation.nsca_scores import (
    Score,
    Trial,
    accuracy,
    causal_accuracy,
    correlation,
    few_shot,
    mean_score,
    prototype_classification,
    retrieval,
)
from robot_learning.models.nsca.calibration import Reliability, reliability
from robot_learning.models.nsca.config import PROPERTIES
from robot_learning.models.nsca.published import Published
from robot_learning.trajectory.paired_data import PairedSet

Array = np.ndarray[Any, Any]
_MOST_FOLDS = 10  # Groups that are held out one after the other.
_FEATURES: dict[str, dict[str, Callable[[Any], Array]]] = {
    'vision': {
        'pixels': lambda sample: baselines.pixels(sample.image),
        'gradients': lambda sample: baselines.gradients(sample.image),
    },
    'audio': {'MFCC': lambda sample: baselines.cepstra(sample.sound)},
    'proprioception': {'readings': lambda sample: baselines.readings(sample.proprioception)},
}


class Line(NamedTuple):
    """One row of a table."""

    suite: str
    what: str
    features: str  # 'learned' or the cheap ones.
    score: Score


def representation_lines(
    published: Published, paired: PairedSet, suite: str, seed: int
) -> Iterator[Line]:
    """Yield linear probe, nearest prototype or few-shot of every sense, cheap features beside.

    Raises:
        NotEnoughDataError: too few classes or samples.
    """
    for sense in senses_in(published, paired):
        tables = {'learned': latents_of(published, paired, sense)}
        tables |= {
            name: np.stack([make(sample) for sample in paired])
            for name, make in _FEATURES[sense].items()
        }
        for name, features in tables.items():
            if suite == 'probe':
                yield Line(suite, f'{sense}, linear probe', name, probe(features, paired, seed))
            elif suite == 'few_shot':
                for shots in (1, 5):
                    rng = np.random.default_rng(seed)
                    score = few_shot(features, paired.labels, 5, shots, rng)
                    yield Line(suite, f'{sense}, 5-way {shots}-shot', name, score)
            else:
                yield Line(suite, f'{sense}, prototypes', name, prototypes(features, paired))


def probe(features: Array, paired: PairedSet, seed: int) -> Score:
    """Linear probe: trained on split train, asked on val; else group by group held out."""
    right, truth = [], []
    for learned, asked in divisions(paired, seed):
        fitted = fit_probe(features[learned], paired.labels[learned], len(paired.classes), seed)
        right.append(fitted.predict(features[asked]))
        truth.append(paired.labels[asked])
    num_classes = len(np.unique(paired.labels))
    return accuracy(np.concatenate(right), np.concatenate(truth), 1 / num_classes)


def prototypes(features: Array, paired: PairedSet) -> Score:
    """Nearest class mean, the means from what a probe would be trained on."""
    hits, count = 0.0, 0
    for learned, asked in divisions(paired, 0):
        score = prototype_classification(
            features[learned], paired.labels[learned], features[asked], paired.labels[asked]
        )
        hits, count = hits + score.value * score.count, count + score.count
    right = np.arange(count) < round(hits)
    return accuracy(right, np.ones(count, bool), 1 / len(np.unique(paired.labels)))


def divisions(paired: PairedSet, seed: int) -> list[tuple[Array, Array]]:
    """Return (learned from, asked) indices: train and val, each group, or a random fifth."""
    everything = np.arange(len(paired))
    splits = np.array(splits_of(paired))
    if {'train', 'val'} <= set(splits):
        return [(everything[splits == 'train'], everything[splits == 'val'])]
    groups = np.array(paired.groups)
    names = np.unique(groups)
    if 2 <= len(names) <= _MOST_FOLDS:
        return [(everything[groups != name], everything[groups == name]) for name in names]
    order = np.random.default_rng(seed).permutation(everything)
    fifth = max(len(order) // 5, 1)
    return [(np.sort(order[fifth:]), np.sort(order[:fifth]))]


def zero_shot_lines(
    published: Published, held_out: PairedSet, train: PairedSet | None
) -> Iterator[Line]:
    """Yield classes of sounds whose prototypes are pictures: no sound ever had a label.

    Args:
        published: version with states.
        held_out: whose sounds are classified.
        train: whose pictures make the prototypes; None: those of `held_out`.

    Raises:
        DataError: pictures or sounds are missing.
    """
    known = (train or held_out).require('image', 'sound')
    tables = {
        'learned': (
            states_of(published, known, ('vision',)),
            states_of(published, held_out, ('audio',)),
        )
    }
    if train is not None:
        _, heard, mapped = _pixels_to_sound(train, held_out)
        tables['pixels to MFCC'] = mapped(train), heard
    for name, (pictures, sounds) in tables.items():
        score = prototype_classification(pictures, known.labels, sounds, held_out.labels)
        yield Line('zero_shot', 'class of a sound, by prototypes of pictures', name, score)


def retrieval_lines(
    published: Published, held_out: PairedSet, train: PairedSet | None
) -> Iterator[Line]:
    """Yield R@1, 5 and 10 between pictures and sounds, both ways, by sample and by class.

    Args:
        published: version with states.
        held_out: queries and gallery.
        train: that the cheap map from pixels to MFCC is fitted to; None: there is none.

    Raises:
        DataError: pictures or sounds are missing.
    """
    held_out.require('image', 'sound')
    tables = {
        'learned': (
            states_of(published, held_out, ('vision',)),
            states_of(published, held_out, ('audio',)),
        )
    }
    if train is not None:
        seen, heard, _ = _pixels_to_sound(train, held_out)
        tables['pixels to MFCC'] = seen, heard
    itself = np.eye(len(held_out), dtype=bool)
    classes = held_out.labels[:, None] == held_out.labels
    for name, (pictures, sounds) in tables.items():
        for direction, query, gallery in (
            ('sound by picture', _centred(pictures), _centred(sounds)),
            ('picture by sound', _centred(sounds), _centred(pictures)),
        ):
            for level, is_right in (('same sample', itself), ('same class', classes)):
                for rank in (1, 5, 10):
                    score = retrieval(query, gallery, is_right, rank)
                    yield Line('retrieval', f'{direction}, {level}, R@{rank}', name, score)


class DynamicsResult(NamedTuple):
    """What was imagined beside what happened."""

    lines: list[Line]
    reliability: Reliability
    own: Array  # [H], mean squared error.
    still: Array  # [H], where nothing changes.


def dynamics(
    published: Published, sequences: Sequences, horizon: int, seed: int
) -> DynamicsResult:
    """Imagine from several moments of each episode, with the true actions.

    Raises:
        NotEnoughDataError: the episodes are too short.
    """
    length = sequences.states.shape[1]
    horizon = min(horizon, length - 2)
    if horizon < 1:
        raise NotEnoughDataError(
            f'dynamics: episodes have {length} steps, expected at least 3. Record longer.'
        )
    errors, moves, scores = [], [], []
    latest = length - 1 - horizon
    for begin in sorted({latest // 3, 2 * latest // 3, latest}):
        with torch.no_grad():
            future = published.model.world.imagine(
                sequences.states[:, : begin + 1],
                sequences.actions[:, : begin + 1],
                sequences.actions[:, begin : begin + horizon],
            )
        target = sequences.states[:, begin + 1 : begin + 1 + horizon]
        error = (target - future.mean).numpy()
        errors.append(np.square(error).mean(2))
        moves.append((target - sequences.states[:, begin : begin + 1]).square().mean(2).numpy())
        scores.append(error / future.log_std.exp().numpy())
    own, still = np.mean(errors, axis=0), np.mean(moves, axis=0)  # [N, H]
    rng = np.random.default_rng(seed)
    lines = []
    for step in sorted({1, 5, 10, horizon} & set(range(1, horizon + 1))):
        ratio = _ratio(own[:, step - 1], still[:, step - 1], rng)
        lines.append(
            Line('dynamics', f'error relative to persistence, {step} steps', 'learned', ratio)
        )
    found = reliability(np.concatenate(scores))
    by_episode = np.array([reliability(row).error for row in np.concatenate(scores, axis=1)])
    spread = mean_score(by_episode, rng)
    lines.append(
        Line(
            'dynamics',
            'expected calibration error',
            'learned',
            Score(found.error, float('nan'), float('nan'), spread.count, float('nan')),
        )
    )
    return DynamicsResult(lines, found, own.mean(0), still.mean(0))


def property_lines(
    sequences: Sequences, paired: PairedSet, cheap: Array | None, seed: int
) -> Iterator[Line]:
    """Yield Pearson and Spearman of every property, and the mean of Spearman's.

    Of each recording alone, and, where objects took part in several, of each object: there the
    mean of what its recordings say, as no single interaction shows everything.
    """
    truth = _truth(paired)
    tables = {'learned': sequences.properties}
    if cheap is not None:
        tables['correlational'] = cheap
    for name, values in tables.items():
        yield from _correlations(values, truth, name, '', seed)
        if all(paired.groups) and len(set(paired.groups)) < len(paired):
            means = [_of_objects(table, paired.groups) for table in (values, truth)]
            yield from _correlations(means[0], means[1], name, ' of objects', seed)


def _correlations(
    values: Array, truth: Array, features: str, whose: str, seed: int
) -> Iterator[Line]:
    rng = np.random.default_rng(seed)
    found = []
    for column, prop in enumerate(PROPERTIES):
        for kind in ('pearson', 'spearman'):
            score = correlation(values[:, column], truth[:, column], kind, rng)
            if np.isfinite(score.value):
                yield Line('properties', f'{prop}{whose}, {kind}', features, score)
                found += [score.value] if kind == 'spearman' else []
    if found:
        mean = mean_score(np.array(found), rng, 0.0)
        yield Line('properties', f'mean of Spearman over properties{whose}', features, mean)


def _of_objects(values: Array, groups: Sequence[str]) -> Array:
    """Return the means over the rows of each group."""
    names = np.array(groups)
    return np.stack([values[names == name].mean(0) for name in sorted(set(groups))])


def causal_lines(sequences: Sequences, paired: PairedSet, cheap: Array | None) -> Iterator[Line]:
    """Yield accuracy of predicted changes under intervention, per property and in all."""
    truth = _truth(paired)
    tables = {'learned': sequences.properties}
    if cheap is not None:
        tables['correlational'] = cheap
    for name, values in tables.items():
        trials: dict[str, list[Trial]] = {}
        for change in paired.interventions:
            column = change.property
            trials.setdefault(PROPERTIES[column], []).append(
                Trial(
                    values[change.before, column],
                    values[change.after, column],
                    values[change.repeat, column],
                    truth[change.after, column] - truth[change.before, column],
                )
            )
        for prop, found in trials.items():
            yield Line('causal', prop, name, causal_accuracy(found))
        everything = [trial for found in trials.values() for trial in found]
        yield Line('causal', 'all properties', name, causal_accuracy(everything))


def _truth(paired: PairedSet) -> Array:
    """Properties of every recording [N, 9]; the callers' sets have them."""
    rows = [sample.properties for sample in paired]
    return np.stack([row for row in rows if row is not None])


def correlational_properties(train: PairedSet, asked: PairedSet) -> Array:
    """Predict properties by ridge regression on cheap features of everything that was sensed."""
    truth = _truth(train)
    return baselines.ridge(cheap_features(train), truth, cheap_features(asked))


def cheap_features(paired: PairedSet) -> Array:
    """Return pixels of the first and last frame, MFCC and mean readings of each sample."""
    rows = []
    for sample in paired:
        parts = []
        if sample.frames is not None:
            parts += [
                baselines.pixels(sample.frames[0], 8),
                baselines.pixels(sample.frames[-1], 8),
            ]
        if sample.sound is not None:
            parts.append(baselines.cepstra(sample.sound))
        if sample.proprioception is not None:
            parts.append(baselines.readings(sample.proprioception))
        rows.append(np.concatenate(parts))
    return np.stack(rows)


def _pixels_to_sound(
    train: PairedSet, held_out: PairedSet
) -> tuple[Array, Array, Callable[[PairedSet], Array]]:
    """Map pixels to MFCC by ridge regression; return pictures and sounds there, and the map."""
    seen = np.stack([baselines.pixels(sample.image) for sample in train])
    heard = np.stack([baselines.cepstra(sample.sound) for sample in train])
    mean, scale = heard.mean(0), heard.std(0) + 1e-6

    def mapped(paired: PairedSet) -> Array:
        asked = np.stack([baselines.pixels(sample.image) for sample in paired])
        return baselines.ridge(seen, (heard - mean) / scale, asked)

    own = np.stack([baselines.cepstra(sample.sound) for sample in held_out])
    return mapped(held_out), (own - mean) / scale, mapped


def splits_of(paired: PairedSet) -> list[str]:
    """Return the split of each sample."""
    of_source = {
        source: name for name in paired.split_names for source in paired.split(name).sources
    }
    return [of_source[source] for source in paired.sources]


def _ratio(own: Array, still: Array, rng: np.random.Generator) -> Score:
    """Ratio of means over episodes, interval by bootstrap."""
    rows = [rng.integers(0, len(own), len(own)) for _ in range(500)]
    found = [own[row].mean() / max(still[row].mean(), 1e-12) for row in rows]
    low, high = np.percentile(found, [2.5, 97.5])
    value = float(own.mean() / max(still.mean(), 1e-12))
    return Score(value, float(low), float(high), len(own), 1.0)


def _centred(rows: Array) -> Array:
    result: Array = rows - rows.mean(0)
    return result
