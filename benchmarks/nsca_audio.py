"""Hearing, self-supervised from scratch on environmental sounds: linear probe over four folds.

For each fold of ESC-10 phase audio learns without labels from the three others, a linear probe
learns from these, and both are asked on the fold. Beside it, in the same folds: MFCC with a
support vector machine, MFCC with the same probe, log-mel statistics, the encoder before training.

    python benchmarks/nsca_audio.py [--quick] [--epochs N] [--seed N]
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from nsca_runs import DATA, latents, pretrained, untrained
from reporting import table, write
from robot_learning.evaluation import nsca_baselines
from robot_learning.evaluation.nsca_probe import fit_probe
from robot_learning.evaluation.nsca_scores import Score, accuracy
from robot_learning.log_mel import log_mel
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.phases.nsca_audio import AudioPhaseConfig, audio_objective
from robot_learning.phases.nsca_augmentation import SoundAugmentationConfig
from robot_learning.phases.nsca_contrast import ContrastConfig, ContrastiveObjective
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.trajectory.paired_sources import open_paired
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

GOAL = 0.85
MODEL = NscaModelConfig(blocks_per_stage=0, audio_channels=8)
Array = np.ndarray[Any, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--epochs', type=int, default=30)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    epochs = 1 if options.quick else options.epochs
    paired = open_paired(DATA / 'esc10', check_files=False)
    folds = np.unique(paired.groups)
    config = AudioPhaseConfig(
        PassesConfig(
            epochs=epochs,
            batch_size=48,
            learning_rate=2e-3,
            warmup_updates=10,
            measure_epochs=epochs,
        ),
        ContrastConfig(),
        SoundAugmentationConfig(window_s=1.0),
    )

    def make() -> ContrastiveObjective:
        return audio_objective(MODEL, config)

    right: dict[str, list[Array]] = {}
    cpu_s, updates, waited = 0.0, 0, []
    mfcc = np.stack([nsca_baselines.cepstra(sample.sound) for sample in paired])
    bands = np.stack([_statistics(sample.sound) for sample in paired])
    before = latents(untrained(make, options.seed), paired, 'audio')
    for fold in folds:
        is_held = np.array(paired.groups) == fold
        rest, held = np.flatnonzero(~is_held), np.flatnonzero(is_held)
        run = pretrained(
            make, paired.subset(rest), paired.subset(held), 'sound', config.passes, options.seed
        )
        cpu_s, updates = cpu_s + run.cpu_s, updates + run.updates
        waited.append(run.waited_share)
        tables = {
            'MFCC, probe': mfcc,
            'log-mel statistics, probe': bands,
            'encoder before training, probe': before,
            'self-supervised, probe': latents(run.published, paired, 'audio'),
        }
        labels = paired.labels
        for name, features in tables.items():
            probe = fit_probe(features[rest], labels[rest], len(paired.classes), options.seed)
            right.setdefault(name, []).append(probe.predict(features[held]) == labels[held])
        machine = _support_vectors().fit(mfcc[rest], labels[rest])
        right.setdefault('MFCC, SVM', []).append(machine.predict(mfcc[held]) == labels[held])
    rows, results = [], []
    for name, parts in right.items():
        hits = np.concatenate(parts)
        score = accuracy(hits, np.ones(len(hits), bool), 1 / len(paired.classes))
        by_fold = [float(part.mean()) for part in parts]
        results.append({'features': name, **score.to_dict(), 'by_fold': by_fold})
        rows.append({'features': name, 'accuracy': _text(score), 'folds': _folds(by_fold)})
    table(rows)
    write(
        'nsca_audio',
        {
            'goal': GOAL,
            'rows': results,
            'seed': options.seed,
            'epochs': epochs,
            'updates': updates,
            'cpu_s': cpu_s,
            'waited_share': float(np.mean(waited)),
            'sounds': len(paired),
        },
        options.quick,
    )


def _support_vectors() -> Any:
    pipeline = make_pipeline(StandardScaler(), SVC())
    choices = {'svc__C': [1, 3, 10, 30], 'svc__gamma': ['scale', 0.003, 0.01]}
    return GridSearchCV(pipeline, choices, cv=3)


def _statistics(sound: Any) -> Array:
    bands = log_mel(sound)
    found: Array = np.concatenate([bands.mean(0), bands.std(0)])
    return found


def _folds(shares: list[float]) -> str:
    return ', '.join(f'{share:.3f}' for share in shares)


def _text(score: Score) -> str:
    return f'{score.value:.3f} ({score.low:.3f} to {score.high:.3f})'


if __name__ == '__main__':
    main()
