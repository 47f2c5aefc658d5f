"""Sight, self-supervised from scratch on photographs in shops: linear probe and few shots.

Phase vision learns without labels from four fifths of split `train` of the grocery set, and never
sees a picture of the unseen classes (every fifth coarse class). Then, beside pixels, gradients,
shares of colours and the encoder before training:

    own split      linear probe on coarse classes, asked on the other fifth of `train`
    other shops    the same, asked on the set's own split `val`, from other shops
    few shots      5-way 1-shot and 5-shot on the unseen classes

Pictures of one shop resemble each other, so the own split is easier than other shops. Where
several settings are named, the one counts whose probe does best within the four fifths, by
cross-validation; nothing else is asked for the choice. `small` learns on one core in minutes, the
others are for a GPU.

    python benchmarks/nsca_vision.py [--quick] [--setting NAME ...] [--epochs N] [--seed N]
        [--device cpu|cuda|auto]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from nsca_runs import DATA, Run, latents, of_classes, pretrained, untrained, without_classes
from reporting import table, write
from robot_learning.evaluation import nsca_baselines
from robot_learning.evaluation.nsca_probe import fit_probe
from robot_learning.evaluation.nsca_scores import Score, accuracy, few_shot
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.models.nsca.front_end import colour_shares
from robot_learning.phases.devices import device_named
from robot_learning.phases.nsca_augmentation import ImageAugmentationConfig
from robot_learning.phases.nsca_contrast import ContrastConfig, ContrastiveObjective
from robot_learning.phases.nsca_vision import VisionPhaseConfig, vision_objective
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.trajectory.paired_data import PairedSet
from robot_learning.trajectory.paired_sources import open_paired

GOALS = {'own split': 0.50, 'few shots': 0.65}
LEARNED, CHOSEN = 'self-supervised', 'small'
Array = np.ndarray[Any, Any]
Reader = Callable[[PairedSet], Array]


class Setting(NamedTuple):
    """What is tried."""

    model: NscaModelConfig
    looks: ImageAugmentationConfig
    batch_size: int
    temperature: float = 0.2
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4

    def phase(self, epochs: int) -> VisionPhaseConfig:
        """Return the phase's settings for so many passes."""
        passes = PassesConfig(
            epochs=epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            warmup_updates=40,
            measure_epochs=epochs,
        )
        return VisionPhaseConfig(passes, ContrastConfig(temperature=self.temperature), self.looks)


_MILD = ImageAugmentationConfig(
    brightness=0.3, contrast=0.3, saturation=0.3, balance=0.1, hue=0.02, grayscale=0.05
)
_STRONG = replace(_MILD, smallest_crop=0.1, brightness=0.5, contrast=0.5, balance=0.2)
_GUIDE = NscaModelConfig()
_SHARP = replace(_GUIDE, image_size=96)
SETTINGS = {
    'small': Setting(replace(_GUIDE, blocks_per_stage=0), _MILD, 64),
    'guide': Setting(_GUIDE, _MILD, 256),
    'strong': Setting(_GUIDE, _STRONG, 256),
    'sharp': Setting(_SHARP, _MILD, 256),
    'sharp, cool': Setting(_SHARP, _MILD, 256, temperature=0.1, weight_decay=1e-2),
    'sharp, strong': Setting(_SHARP, _STRONG, 256, weight_decay=1e-2),
    'sharp, wide': Setting(replace(_SHARP, base_channels=64), _MILD, 256, weight_decay=1e-2),
}


class Data(NamedTuple):
    """Who learns from what, and where it is asked."""

    training: PairedSet
    own: PairedSet
    other_shops: PairedSet
    seen: PairedSet  # Training, without the unseen classes: what sight learns from.
    strangers: PairedSet  # Unseen classes.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--setting', nargs='+', choices=SETTINGS, default=[CHOSEN])
    parser.add_argument('--epochs', type=int, default=12)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', default='cpu')
    options = parser.parse_args()
    epochs = 1 if options.quick else options.epochs
    data = opened(options.seed)
    rows = [
        figures(name, read, data, options.seed)
        for name, read in {
            'pixels': _each(nsca_baselines.pixels),
            'gradients (HOG)': _each(nsca_baselines.gradients),
            'shares of colours': _each(_shares),
        }.items()
    ]
    tried = [learned(name, data, epochs, options.seed, options.device) for name in options.setting]
    best = max(tried, key=lambda one: float(one['rows'][-1]['within training']))
    rows += best['rows']
    table([_shown(row) for row in rows])
    results = {
        'goals': GOALS,
        **{what: value for what, value in best.items() if what != 'rows'},
        'rows': rows,
        'tried': [one | {'rows': one['rows'][-1:]} for one in tried],
        **about(data, options.seed),
    }
    write('nsca_vision', results, options.quick)


def opened(seed: int) -> Data:
    """Divide the pictures, 96 x 96 as they are stored."""
    paired = open_paired(DATA / 'grocery', check_files=False)
    train = paired.split('train')
    training, own = train.divide(0.2, seed)
    unseen = [int(name) for name in np.unique(train.labels)[::5]]
    seen, strangers = without_classes(training, unseen), of_classes(train, unseen)
    return Data(training, own, paired.split('val'), seen, strangers)


def about(data: Data, seed: int) -> dict[str, Any]:
    """Return how much there is of what."""
    return {
        'seed': seed,
        'pictures': {name: len(part) for name, part in data._asdict().items()},
        'unseen_classes': len(np.unique(data.strangers.labels)),
        'chance': {'coarse': 1 / len(data.training.classes), 'few_shot': 0.2},
    }


def learned(name: str, data: Data, epochs: int, seed: int, device: str) -> dict[str, Any]:
    """Train one setting; return its rows and what the training took."""
    setting = SETTINGS[name]
    config = setting.phase(epochs)

    def make() -> ContrastiveObjective:
        return vision_objective(setting.model, config)

    run: Run = pretrained(
        make, data.seen, data.own, 'image', config.passes, seed, device_named(device)
    )
    before = untrained(make, seed)
    rows = [
        figures(
            'encoder before training', lambda part: latents(before, part, 'vision'), data, seed
        ),
        figures(LEARNED, lambda part: latents(run.published, part, 'vision'), data, seed),
    ]
    return {
        'setting': name,
        'rows': rows,
        'epochs': epochs,
        'updates': run.updates,
        'cpu_s': run.cpu_s,
        'wall_s': run.wall_s,
        'device': run.device,
        'waited_share': run.waited_share,
    }


def figures(name: str, read: Reader, data: Data, seed: int) -> dict[str, Any]:
    """Ask features everything; 'within training' is what settings are chosen by."""
    features, num_classes = read(data.training), len(data.training.classes)
    probe = fit_probe(features, data.training.labels, num_classes)
    scores: dict[str, Score] = {}
    for what, part in (('own split', data.own), ('other shops', data.other_shops)):
        scores[what] = accuracy(probe.predict(read(part)), part.labels, 1 / num_classes)
    shown = read(data.strangers)
    for shots in (1, 5):
        rng = np.random.default_rng(seed)
        scores[f'5-way {shots}-shot'] = few_shot(shown, data.strangers.labels, 5, shots, rng)
    return {
        'features': name,
        'within training': probe.within,
        **{what: score.to_dict() for what, score in scores.items()},
    }


def _each(make: Callable[[Array], Array]) -> Reader:
    return lambda part: np.stack([make(_required(sample.image)) for sample in part])


def _required(image: Array | None) -> Array:
    assert image is not None, 'the set has pictures'
    return image


def _shares(image: Array) -> Array:
    pixels = torch.from_numpy(np.moveaxis(image, 2, 0).copy()).float().unsqueeze(0) / 255
    found: Array = colour_shares(pixels)[0].numpy()
    return found


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        what: f'{score["value"]:.3f} ({score["low"]:.3f} to {score["high"]:.3f})'
        if isinstance(score, dict)
        else score
        for what, score in row.items()
    }


if __name__ == '__main__':
    main()
