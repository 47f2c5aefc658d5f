"""Small folders of paired files, for tests of what reads them."""

import numpy as np
from robot_learning.trajectory.image_files import encode_png
from robot_learning.trajectory.paired_data import PairedSample
from robot_learning.trajectory.paired_writer import PairedWriter
from robot_learning.trajectory.sample_table import SampleRow
from robot_learning.trajectory.sound_files import encode_wav

STEPS = 4


def sample(seed=0):
    """Return random arrays of every sense."""
    rng = np.random.default_rng(seed)
    frames = np.tile(rng.integers(0, 256, (STEPS, 1, 4, 3), np.uint8), (1, 64, 16, 1))
    sound = (rng.integers(-32768, 32768, 3200) / 32768).astype(np.float32)
    action = np.zeros((STEPS, 16), np.float32)
    action[:, :4] = rng.normal(size=(STEPS, 4))
    felt = rng.normal(size=(STEPS, 3)).astype(np.float32)
    return PairedSample(frames[0], sound, felt, action, frames, -1, None, '')


def row(group='cup_0', **more):
    return SampleRow(group, np.linspace(0, 1, 9, dtype=np.float32), **more)


def folder(path, names=('bowl', 'cup'), count=3, splits=('train', 'val')):
    """Write a whole set of `count` samples per class and split; return its root."""
    with PairedWriter(path) as writer:
        for split in splits:
            for name in names:
                for number in range(count):
                    writer.add(split, name, sample(number), row(f'{name}_{split}_{number}'))
        writer.finish({'synthetic': True, 'notes': ['for tests']})
    return path


def tone(hertz=440.0, seconds=0.2, rate_hz=16_000):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate_hz)) / rate_hz) / 2


def write_png(path, value=100, size=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(np.full((size, size, 3), value, np.uint8)))


def write_wav(path, sound=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_wav(tone() if sound is None else sound))
