"""The bench: how fast it records, what materials sound like, whether properties can be sensed.

1. Recordings per processor second of one process, with and without camera.
2. The same can of four materials, struck once with the same impulse: spectral centroid, strongest
   frequency, and time until 60 dB of the energy are gone (backward integration, Schroeder 1965).
3. Spearman correlation of each property with what kernel ridge regression reads from plain
   statistics of all six interactions, on objects that it did not learn from (five folds). A floor
   for learners, not a learner.

    python benchmarks/interactions.py [--quick]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from reporting import table, write
from robot_learning.log_mel import log_mel
from robot_learning.sense_formats import PROPERTIES, SAMPLE_RATE_HZ
from robot_learning.simulation.bench_objects import (
    MATERIALS,
    BenchObject,
    draw_object,
    with_property,
)
from robot_learning.simulation.impact_sound import Impact, contact_duration, pressure
from robot_learning.simulation.interactions import KINDS, Bench, Recording
from scipy.stats import spearmanr

NUM_OBJECTS = 45
FINGER_PA = 2e9
RIDGE = 0.3
FOLDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true')
    options = parser.parse_args()
    num_objects = 10 if options.quick else NUM_OBJECTS
    results = {
        'throughput': throughput(2 if options.quick else 4),
        'materials': materials(),
        'properties': properties(num_objects),
        'num_objects': num_objects,
    }
    print(write('interactions', results, options.quick))


def throughput(num_objects: int) -> list[dict]:
    rows = []
    for has_camera in (True, False):
        bench = Bench(has_camera)
        items = [draw_object(seed) for seed in range(num_objects)]
        bench.record(items[0], 'strike', 0)
        start_s = time.process_time()
        for seed, item in enumerate(items):
            for kind in KINDS:
                bench.record(item, kind, seed)
        spent_s = time.process_time() - start_s
        bench.close()
        count = num_objects * len(KINDS)
        rows.append(
            {
                'camera': 'yes' if has_camera else 'no',
                'recordings': count,
                'CPU s each': spent_s / count,
                'recordings per CPU s': count / spent_s,
                'times real time': count * 1.6 / spent_s,
            }
        )
    table(rows)
    return rows


def materials() -> list[dict]:
    rows = []
    for name in ('steel', 'wood', 'plastic', 'rubber'):
        item = typical(name)
        moduli = (item.surface_modulus_pa, item.resonator.young_modulus_pa, FINGER_PA)
        duration_s = contact_duration(item.mass_kg / 2, item.size_m / 2, 0.3, moduli)
        impact = Impact(0.0, 0.02, duration_s, (0.5, 0.4))
        sound = pressure(item.resonator, [impact], 3 * SAMPLE_RATE_HZ)
        rows.append({'can of': name, 'contact ms': 1e3 * duration_s, **spectrum_and_decay(sound)})
    table(rows)
    return rows


def typical(material: str) -> BenchObject:
    """Return a can whose properties are exactly those of a material, and else alike."""
    item = draw_object(0, f'{material}_can')
    for name in ('hardness', 'weight', 'rigidity', 'transparency', 'roughness'):
        item = with_property(item, name, getattr(MATERIALS[material], name))
    for name, value in (('size', 0.5), ('animacy', 0.0), ('containment', 0.0)):
        item = with_property(item, name, value)
    return item


def spectrum_and_decay(sound: np.ndarray) -> dict:
    power = np.abs(np.fft.rfft(sound)) ** 2
    frequency = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE_HZ)
    left = np.cumsum(sound[::-1] ** 2)[::-1]
    is_over = left < 1e-6 * left[0]
    return {
        'centroid Hz': float((power * frequency).sum() / power.sum()),
        'strongest Hz': float(frequency[power.argmax()]),
        '60 dB s': float(is_over.argmax() / SAMPLE_RATE_HZ) if is_over.any() else None,
    }


def properties(num_objects: int) -> list[dict]:
    bench = Bench()
    known, senses = [], []
    for number in range(num_objects):
        item = draw_object(9_000_000 + number)
        recordings = [bench.record(item, kind, number) for kind in KINDS]
        senses.append(np.concatenate([statistics(one) for one in recordings]))
        known.append(item.properties)
    bench.close()
    values, features = np.asarray(known), np.asarray(senses)
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    predicted = held_out(features @ features.T / features.shape[1], values)
    rows = [
        {'property': name, 'Spearman': float(spearmanr(predicted[:, i], values[:, i]).statistic)}
        for i, name in enumerate(PROPERTIES)
    ]
    rows.append(
        {'property': 'mean', 'Spearman': float(np.mean([row['Spearman'] for row in rows]))}
    )
    table(rows)
    return rows


def statistics(recording: Recording) -> np.ndarray:
    bands, felt = log_mel(recording.sound), recording.proprioception
    frames = recording.frames.astype(np.float32)
    blocks = frames[0].reshape(16, 4, 16, 4, 3)[6:14, :, 4:12]
    return np.concatenate(
        [
            *(part(bands, axis=0)[::2] for part in (np.mean, np.max, np.std)),
            *(part(felt, axis=0) for part in (np.mean, np.std, np.max, np.min)),
            blocks.mean(axis=(1, 3)).ravel(),
            blocks.std(axis=(1, 3)).ravel(),
            np.abs(frames[8] - frames[0]).mean(axis=(0, 1)),
        ]
    )


def held_out(kernel: np.ndarray, values: np.ndarray) -> np.ndarray:
    order = np.random.default_rng(0).permutation(len(values))
    predicted = np.zeros_like(values)
    for fold in range(FOLDS):
        test = order[fold::FOLDS]
        train = np.setdiff1d(order, test)
        mean = values[train].mean(axis=0)
        inner = kernel[np.ix_(train, train)] + RIDGE * np.eye(len(train))
        weights = np.linalg.solve(inner, values[train] - mean)
        predicted[test] = kernel[np.ix_(test, train)] @ weights + mean
    return predicted


if __name__ == '__main__':
    main()
