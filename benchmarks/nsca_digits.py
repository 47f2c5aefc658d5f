"""Spoken digits and pictures of digits: retrieval across senses on speakers never heard.

Pictures are scikit-learn's 8 x 8 digits, sounds the Free Spoken Digit Dataset. Phases vision and
audio learn without labels; fusion learns which belong together by class, from all speakers but
one. Measured on that one, and on pictures never seen: R@1 and R@5 at the level of the class, each
way, beside chance and ridge regression from pixels to MFCC.

    python benchmarks/nsca_digits.py [--quick] [--seed N]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nsca_runs import DATA, pretrained, published
from reporting import table, write
from robot_learning.evaluation.nsca_suites import retrieval_lines
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.phases.nsca_audio import AudioPhaseConfig, audio_objective
from robot_learning.phases.nsca_augmentation import (
    ImageAugmentationConfig,
    SoundAugmentationConfig,
)
from robot_learning.phases.nsca_data import PairedBatches
from robot_learning.phases.nsca_fusion import (
    FusionLossConfig,
    FusionObjective,
    FusionPhaseConfig,
)
from robot_learning.phases.nsca_vision import VisionPhaseConfig, vision_objective
from robot_learning.phases.passes import Origin, Passes
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.trajectory.paired_arrays import from_arrays
from robot_learning.trajectory.paired_data import PairedSet
from robot_learning.trajectory.paired_sources import open_paired
from sklearn.datasets import load_digits

GOAL = 0.8
MODEL = NscaModelConfig(
    latent_size=128,
    state_size=64,
    image_size=32,
    base_channels=16,
    blocks_per_stage=0,
    audio_channels=8,
    fusion_heads=4,
    fusion_layers=2,
)
LENGTH = 12_000  # Samples of a spoken digit, 0.75 s.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    begun = time.process_time()
    train, held_out, speaker = digits(options.seed)
    epochs = 1 if options.quick else 12
    passes = PassesConfig(
        epochs=epochs, learning_rate=2e-3, warmup_updates=20, measure_epochs=epochs
    )
    looks = ImageAugmentationConfig(
        smallest_crop=0.6, flip=0.0, hue=0.0, saturation=0.0, balance=0.0, grayscale=0.0
    )
    hearing = SoundAugmentationConfig(window_s=0.7, pitch_semitones=1.0, most_stretch=1.15)
    eyes = pretrained(
        lambda: vision_objective(MODEL, VisionPhaseConfig(passes, augmentation=looks)),
        train, held_out, 'image', passes, options.seed,
    )  # fmt: skip
    ears = pretrained(
        lambda: audio_objective(MODEL, AudioPhaseConfig(passes, augmentation=hearing)),
        train, held_out, 'sound', passes, options.seed,
    )  # fmt: skip
    config = FusionPhaseConfig(
        PassesConfig(
            epochs=2 * epochs,
            learning_rate=1e-3,
            warmup_updates=20,
            measure_epochs=2 * epochs,
        ),
        senses=('vision', 'audio'),
        loss=FusionLossConfig(same='class', absent=0.5),
    )
    torch.manual_seed(options.seed)
    fusion = FusionObjective(MODEL, config)
    for sense, run in (('vision', eyes), ('audio', ears)):
        trained = getattr(run.published.model.perception, sense)
        getattr(fusion.perception, sense).load_state_dict(trained.state_dict())
    sides = [PairedBatches(part, ['image', 'sound']) for part in (train, held_out)]
    Passes(fusion, *sides, config.passes, None, None, Origin(['digits']), options.seed).run()
    lines = [
        line
        for line in retrieval_lines(published(fusion), held_out, train)
        if 'same class' in line.what
    ]
    rows = [
        {'what': line.what, 'features': line.features, **line.score.to_dict()} for line in lines
    ]
    table(rows)
    results = {
        'goal': GOAL,
        'rows': rows,
        'speaker': speaker,
        'training': len(train),
        'held_out': len(held_out),
        'seed': options.seed,
        'cpu_s': time.process_time() - begun,
    }
    write('nsca_digits', results, options.quick)


def digits(seed: int) -> tuple[PairedSet, PairedSet, str]:
    """Pair each spoken digit with a picture of it; one speaker and a fifth of pictures are held.

    Returns:
        Training, held out, and the speaker held out.
    """
    spoken = open_paired(Path(DATA) / 'fsdd', check_files=False)
    speakers = sorted(set(spoken.groups))
    speaker = speakers[seed % len(speakers)]
    pictures, shown = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    is_kept = rng.random(len(shown)) < 0.8
    sides = []
    for is_training in (True, False):
        rows = [i for i, name in enumerate(spoken.groups) if (name != speaker) == is_training]
        usable = is_kept if is_training else ~is_kept
        images, sounds, labels = [], [], []
        for row in rows:
            sample = spoken.read(row)
            digit = int(spoken.classes[sample.label])
            drawn = int(rng.choice(np.flatnonzero(usable & (shown == digit))))
            images.append(_image(pictures[drawn]))
            sounds.append(_fitted(sample.sound))
            labels.append(digit)
        classes = [str(number) for number in range(10)]
        sides.append(_paired(images, sounds, labels, classes))
    return sides[0], sides[1], speaker


def _paired(images: Any, sounds: Any, labels: list[int], classes: Sequence[str]) -> PairedSet:
    return from_arrays('digits', {'image': images, 'sound': sounds}, labels, classes)


def _image(pixels: Any) -> Any:
    image = np.kron(pixels.reshape(8, 8) * (255 / 16), np.ones((4, 4))).astype(np.uint8)
    return np.repeat(image[:, :, None], 3, axis=2)


def _fitted(sound: Any) -> Any:
    sound = np.asarray(sound, np.float32)[:LENGTH]
    return np.pad(sound, (0, LENGTH - len(sound)))


if __name__ == '__main__':
    main()
