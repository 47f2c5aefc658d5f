"""Sight, self-supervised from scratch on photographs in shops: linear probe and few shots.

Phase vision learns without labels from four fifths of split `train` of the grocery set, and never
sees a picture of the unseen classes (every fifth coarse class). Then, beside pixels, gradients,
shares of colours and the encoder before training:

    own split      linear probe on coarse classes, asked on the other fifth of `train`
    other shops    the same, asked on the set's own split `val`, from other shops
    few shots      5-way 1-shot and 5-shot on the unseen classes

Pictures of one shop resemble each other, so the own split is easier than other shops.

    python benchmarks/nsca_vision.py [--quick] [--epochs N] [--seed N]
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from nsca_runs import DATA, latents, of_classes, pretrained, untrained, without_classes
from reporting import table, write
from robot_learning.evaluation import nsca_baselines
from robot_learning.evaluation.nsca_probe import fit_probe
from robot_learning.evaluation.nsca_scores import Score, accuracy, few_shot
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.models.nsca.front_end import colour_shares
from robot_learning.phases.nsca_augmentation import ImageAugmentationConfig
from robot_learning.phases.nsca_contrast import ContrastConfig, ContrastiveObjective
from robot_learning.phases.nsca_vision import VisionPhaseConfig, vision_objective
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.trajectory.paired_sources import open_paired

GOALS = {'own split': 0.50, 'few shots': 0.65}
MODEL = NscaModelConfig(blocks_per_stage=0)
LOOKS = ImageAugmentationConfig(
    brightness=0.3, contrast=0.3, saturation=0.3, balance=0.1, hue=0.02, grayscale=0.05
)
Array = np.ndarray[Any, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--epochs', type=int, default=12)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    epochs = 1 if options.quick else options.epochs
    paired = open_paired(DATA / 'grocery', image_size=64, check_files=False)
    train, other_shops = paired.split('train'), paired.split('val')
    training, own = train.divide(0.2, options.seed)
    unseen = [int(name) for name in np.unique(train.labels)[::5]]
    config = VisionPhaseConfig(
        PassesConfig(epochs=epochs, learning_rate=2e-3, warmup_updates=40, measure_epochs=epochs),
        ContrastConfig(),
        LOOKS,
    )

    def make() -> ContrastiveObjective:
        return vision_objective(MODEL, config)

    run = pretrained(
        make, without_classes(training, unseen), own, 'image', config.passes, options.seed
    )
    before = untrained(make, options.seed)
    features = {
        'pixels': _cheap(nsca_baselines.pixels),
        'gradients (HOG)': _cheap(nsca_baselines.gradients),
        'shares of colours': _cheap(_shares),
        'encoder before training': lambda part: latents(before, part, 'vision'),
        'self-supervised': lambda part: latents(run.published, part, 'vision'),
    }
    rows, results = [], []
    for name, read in features.items():
        learned = read(training)
        probe = fit_probe(learned, training.labels, len(paired.classes))
        scores = {
            'own split': _asked(probe, read(own), own.labels),
            'other shops': _asked(probe, read(other_shops), other_shops.labels),
        }
        strangers = of_classes(train, unseen)
        shown = read(strangers)
        for shots in (1, 5):
            rng = np.random.default_rng(options.seed)
            scores[f'5-way {shots}-shot'] = few_shot(shown, strangers.labels, 5, shots, rng)
        results.append({'features': name, **{k: v.to_dict() for k, v in scores.items()}})
        rows.append({'features': name, **{k: _text(v) for k, v in scores.items()}})
    table(rows)
    write(
        'nsca_vision',
        {
            'goals': GOALS,
            'rows': results,
            'seed': options.seed,
            'epochs': epochs,
            'updates': run.updates,
            'cpu_s': run.cpu_s,
            'waited_share': run.waited_share,
            'pictures': {'training': len(training), 'own': len(own), 'other': len(other_shops)},
            'unseen_classes': len(unseen),
            'chance': {'coarse': 1 / len(paired.classes), 'few_shot': 0.2},
        },
        options.quick,
    )


def _cheap(make: Any) -> Any:
    return lambda part: np.stack([make(sample.image) for sample in part])


def _shares(image: Array) -> Array:
    pixels = torch.from_numpy(np.moveaxis(image, 2, 0).copy()).float().unsqueeze(0) / 255
    found: Array = colour_shares(pixels)[0].numpy()
    return found


def _asked(probe: Any, features: Array, labels: Array) -> Score:
    return accuracy(probe.predict(features), labels, 1 / 43)


def _text(score: Score) -> str:
    return f'{score.value:.3f} ({score.low:.3f} to {score.high:.3f})'


if __name__ == '__main__':
    main()
