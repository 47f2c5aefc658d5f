"""Spoken digits and pictures of digits: retrieval across senses on speakers never heard.

Pictures are scikit-learn's 8 x 8 digits, sounds the Free Spoken Digit Dataset. Phases vision and
audio learn without labels; fusion learns which belong together by class, from all speakers but
one, and lets eyes and ears learn along. Measured on that one, and on pictures never seen: R@1 at
the level of the class, each way, beside chance and ridge regression from pixels to MFCC.

Where several settings are named, each is tried on every other speaker in turn, by what was learned
from the rest of them; the speaker and the pictures that are measured on take no part in it.

    python benchmarks/nsca_digits.py [--quick] [--setting NAME ...] [--seed N]
        [--device cpu|cuda|auto]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from nsca_runs import DATA, pretrained, published
from reporting import table, write
from robot_learning.evaluation.nsca_suites import Line, retrieval_lines
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.phases.devices import device_named
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

GOAL, CHOSEN = 0.8, 'strangers'
LENGTH = 14_400  # Samples of a spoken digit, 0.9 s.
_LOOKS = ImageAugmentationConfig(
    smallest_crop=0.6, flip=0.0, hue=0.0, saturation=0.0, balance=0.0, grayscale=0.0
)


class Setting(NamedTuple):
    """What is tried."""

    model: NscaModelConfig
    hearings: SoundAugmentationConfig
    epochs: int = 40  # Of fusion.
    alone: int = 10  # Of eyes and ears.


_COURSE = NscaModelConfig(
    latent_size=128,
    state_size=64,
    image_size=32,
    base_channels=16,
    blocks_per_stage=0,
    mel_bands=40,
    audio_channels=8,
    audio_course=32,
    fusion_heads=4,
    fusion_layers=2,
    dropout=0.3,
)
_CLOSE = SoundAugmentationConfig(
    window_s=0.9,
    pitch_semitones=1.5,
    most_stretch=1.15,
    quietest_noise_db=45.0,
    loudest_noise_db=25.0,
)
_LEAN = replace(_COURSE, image_size=16, base_channels=8, fusion_layers=1, dropout=0.2)
_ALIKE = replace(_CLOSE, window_s=0.7, pitch_semitones=2.0, most_stretch=1.25, noise=0.0)
SETTINGS = {
    'course': Setting(_COURSE, _CLOSE),
    'voices': Setting(_COURSE, replace(_CLOSE, pitch_semitones=3.0, most_stretch=1.3)),
    'wide': Setting(replace(_COURSE, audio_channels=16, dropout=0.5), _CLOSE),
    'long': Setting(_COURSE, _CLOSE, 120, 30),
    'lean': Setting(_LEAN, _ALIKE, 80),
    'strangers': Setting(
        _LEAN, replace(_ALIKE, pitch_semitones=4.0, most_stretch=1.3, most_tone_db=6.0), 80
    ),
}


class Spoken(NamedTuple):
    """All digits, spoken and written."""

    sounds: list[Any]
    digits: Any  # [N]
    speakers: Any  # [N]
    pictures: Any  # [M, 64]
    shown: Any  # [M]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--setting', nargs='+', choices=SETTINGS, default=[CHOSEN])
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', default='cpu')
    options = parser.parse_args()
    begun = time.process_time()
    everything = spoken()
    speakers = sorted(set(everything.speakers))
    speaker = speakers[options.seed % len(speakers)]
    tried = {}
    if len(options.setting) > 1:
        tried = {
            name: choice(everything, name, speaker, options.seed, options.device, options.quick)
            for name in options.setting
        }
    chosen = max(tried, key=lambda name: _mean(tried[name])) if tried else options.setting[0]
    sides = divided(everything, speaker, (), options.seed)
    rows = [
        {'what': line.what, 'features': line.features, **line.score.to_dict()}
        for line in measured(chosen, *sides, options.seed, options.device, options.quick)
    ]
    table(rows)
    results = {
        'goal': GOAL,
        'rows': rows,
        'speaker': speaker,
        'setting': chosen,
        'tried': tried,
        'training': len(sides[0]),
        'held_out': len(sides[1]),
        'seed': options.seed,
        'device': options.device,
        'cpu_s': time.process_time() - begun,
    }
    write('nsca_digits', results, options.quick)


def spoken() -> Spoken:
    """Read both sets."""
    heard = open_paired(Path(DATA) / 'fsdd', check_files=False)
    samples = [heard.read(row) for row in range(len(heard))]
    pictures, shown = load_digits(return_X_y=True)
    return Spoken(
        [_fitted(sample.sound) for sample in samples],
        np.array([int(heard.classes[sample.label]) for sample in samples]),
        np.array(heard.groups),
        pictures,
        shown,
    )


def divided(
    everything: Spoken, speaker: str, absent: Sequence[str], seed: int
) -> tuple[PairedSet, PairedSet]:
    """Pair each spoken digit with a picture of it; one speaker and a fifth of pictures are held.

    Args:
        everything: to be divided.
        speaker: who is held out.
        absent: speakers of neither side; if there are any, another fifth of pictures is held, so
            that those which are measured on are not looked at.
        seed: of the pictures.
    """
    rng = np.random.default_rng(seed)
    fifth = rng.integers(0, 5, len(everything.shown))
    held = 1 if absent else 0
    is_shown = [(fifth != 0) & (fifth != held), fifth == held]
    is_other = everything.speakers != speaker
    is_used = ~np.isin(everything.speakers, list(absent))
    sides = []
    for usable, is_heard in zip(is_shown, (is_other & is_used, ~is_other), strict=True):
        images, sounds, labels = [], [], []
        for row in np.flatnonzero(is_heard):
            digit = int(everything.digits[row])
            drawn = int(rng.choice(np.flatnonzero(usable & (everything.shown == digit))))
            images.append(_image(everything.pictures[drawn]))
            sounds.append(everything.sounds[row])
            labels.append(digit)
        sides.append(_paired(images, sounds, labels, [str(number) for number in range(10)]))
    return sides[0], sides[1]


def choice(
    everything: Spoken, name: str, speaker: str, seed: int, device: str, quick: bool
) -> dict[str, dict[str, float]]:
    """Return R@1 of both ways for each speaker but the one that is measured on."""
    found = {}
    for other in sorted(set(everything.speakers) - {speaker}):
        sides = divided(everything, other, (speaker,), seed)
        found[other] = {
            line.what: line.score.value
            for line in measured(name, *sides, seed, device, quick)
            if line.features == 'learned' and line.what.endswith('R@1')
        }
    return found


def _mean(found: dict[str, dict[str, float]]) -> float:
    return float(np.mean([list(values.values()) for values in found.values()]))


def measured(
    name: str, train: PairedSet, held_out: PairedSet, seed: int, device: str, quick: bool
) -> Iterable[Line]:
    """Train all three phases; return retrieval at the level of the class."""
    setting = SETTINGS[name]
    alone = _passes(1 if quick else setting.alone)
    together = _passes(1 if quick else setting.epochs)

    def run(make: Callable[[], Any], modality: str) -> Any:
        place = device_named(device)
        return pretrained(make, train, held_out, modality, alone, seed, place)

    eyes = run(
        lambda: vision_objective(setting.model, VisionPhaseConfig(alone, augmentation=_LOOKS)),
        'image',
    )
    ears = run(
        lambda: audio_objective(
            setting.model, AudioPhaseConfig(alone, augmentation=setting.hearings)
        ),
        'sound',
    )
    config = FusionPhaseConfig(
        together,
        senses=('vision', 'audio'),
        loss=FusionLossConfig(same='class', absent=0.5),
        train_encoders=True,
        looks=_LOOKS,
        hearings=setting.hearings,
    )
    torch.manual_seed(seed)
    fusion = FusionObjective(setting.model, config)
    for sense, trained in (('vision', eyes), ('audio', ears)):
        weights = getattr(trained.published.model.perception, sense).state_dict()
        getattr(fusion.perception, sense).load_state_dict(weights)
    place = device_named(device)
    fusion.module.to(place)
    sides = [PairedBatches(part, ['image', 'sound']) for part in (train, held_out)]
    origin = Origin(['digits'])
    Passes(fusion, *sides, config.passes, None, None, origin, seed, place).run()
    lines = retrieval_lines(published(fusion), held_out, train)
    return [line for line in lines if 'same class' in line.what]


def _passes(epochs: int) -> PassesConfig:
    return PassesConfig(
        epochs=epochs,
        learning_rate=2e-3,
        weight_decay=0.05,
        warmup_updates=20,
        measure_epochs=epochs,
    )


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
