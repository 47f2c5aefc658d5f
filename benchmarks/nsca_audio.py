"""Hearing, self-supervised from scratch on environmental sounds: linear probe over four folds.

For each fold of ESC-10 phase audio learns without labels from the three others, a linear probe
learns from these, and both are asked on the fold. Of several settings, that counts which does best
within the three: its probe learns from two of them and is asked on the third, each in turn.
Beside it, in the same folds: MFCC with a support vector machine, MFCC with the same probe, log-mel
statistics, the encoder before training. Results are written after every fold. Published results
compared all five settings on a GPU: --settings plain rooms sharp wide long --device cuda

    python benchmarks/nsca_audio.py [--quick] [--settings NAME ...] [--epochs N] [--seed N]
        [--device cuda]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
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
from robot_learning.trajectory.paired_data import PairedSet
from robot_learning.trajectory.paired_sources import open_paired
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

GOAL = 0.85
Array = np.ndarray[Any, Any]


class Setting(NamedTuple):
    """What may be better or worse."""

    epochs: int
    model: NscaModelConfig = NscaModelConfig(blocks_per_stage=0, audio_channels=8, audio_rates=7)
    contrast: ContrastConfig = ContrastConfig(covariance_weight=0.04)
    augmentation: SoundAugmentationConfig = SoundAugmentationConfig(window_s=2.5)
    learning_rate: float = 2e-3

    def objective(self) -> ContrastiveObjective:
        """Make the phase as it begins."""
        return audio_objective(self.model, self.config())

    def config(self) -> AudioPhaseConfig:
        """Return the phase's settings."""
        passes = PassesConfig(
            epochs=self.epochs,
            batch_size=48,
            learning_rate=self.learning_rate,
            warmup_updates=10,
            measure_epochs=self.epochs,
        )
        return AudioPhaseConfig(passes, self.contrast, self.augmentation)


_ROOMS = SoundAugmentationConfig(window_s=2.5, most_tone_db=6.0, mask=0.3)
SETTINGS = {
    'plain': Setting(41),
    'rooms': Setting(41, augmentation=_ROOMS),
    'sharp': Setting(
        41,
        contrast=ContrastConfig(temperature=0.1, covariance_weight=0.1),
        augmentation=_ROOMS,
    ),
    'wide': Setting(
        41,
        NscaModelConfig(blocks_per_stage=1, audio_channels=16, audio_rates=7),
        augmentation=_ROOMS,
    ),
    'long': Setting(82, augmentation=_ROOMS),
}


class Trial(NamedTuple):
    """One setting, trained for one fold."""

    name: str
    latents: Array  # [N, latent_size] of all sounds.
    within: float  # Accuracy within the folds of the training.
    cpu_s: float
    updates: int
    waited_share: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--settings', nargs='+', choices=SETTINGS, default=['long'])
    parser.add_argument('--epochs', type=int, help='of all settings')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', type=torch.device, default='cpu')
    options = parser.parse_args()
    paired = open_paired(DATA / 'esc10', check_files=False)
    settings = {name: SETTINGS[name] for name in options.settings}
    epochs = 1 if options.quick else options.epochs
    if epochs:
        settings = {name: one._replace(epochs=epochs) for name, one in settings.items()}
    compare(paired, settings, options.seed, options.device, options.quick)


def compare(
    paired: PairedSet,
    settings: Mapping[str, Setting],
    seed: int,
    device: torch.device,
    is_quick: bool,
) -> None:
    """Learn and ask, fold by fold."""
    folds, labels = np.array(paired.groups), paired.labels
    first = next(iter(settings.values()))
    fixed = {
        'MFCC, probe': np.stack([nsca_baselines.cepstra(sample.sound) for sample in paired]),
        'log-mel statistics, probe': np.stack([_statistics(sample.sound) for sample in paired]),
        'encoder before training, probe': latents(
            untrained(first.objective, seed), paired, 'audio'
        ),
    }
    right: dict[str, list[Array]] = {}
    trials: list[list[Trial]] = []
    for fold in np.unique(folds):
        is_held = folds == fold
        trials.append([_trial(name, paired, is_held, settings, seed, device) for name in settings])
        best = max(trials[-1], key=lambda trial: trial.within)
        tables = {**fixed, 'self-supervised, probe': best.latents}
        for name, features in tables.items():
            hits = _hits(features, labels, ~is_held, is_held, seed)
            right.setdefault(name, []).append(hits)
        mfcc = fixed['MFCC, probe']
        machine = _support_vectors().fit(mfcc[~is_held], labels[~is_held])
        right.setdefault('MFCC, SVM', []).append(machine.predict(mfcc[is_held]) == labels[is_held])
        _report(right, trials, paired, settings, seed, device, is_quick)


def _trial(
    name: str,
    paired: PairedSet,
    is_held: Array,
    settings: Mapping[str, Setting],
    seed: int,
    device: torch.device,
) -> Trial:
    setting = settings[name]
    rest, held = np.flatnonzero(~is_held), np.flatnonzero(is_held)
    run = pretrained(
        setting.objective,
        paired.subset(rest),
        paired.subset(held),
        'sound',
        setting.config().passes,
        seed,
        device,
    )
    found = latents(run.published, paired, 'audio')
    folds = np.array(paired.groups)
    hits = [
        _hits(found, paired.labels, ~is_held & (folds != fold), folds == fold, seed)
        for fold in np.unique(folds[~is_held])
    ]
    within = float(np.concatenate(hits).mean())
    return Trial(name, found, within, run.cpu_s, run.updates, run.waited_share)


def _hits(features: Array, labels: Array, learned: Array, asked: Array, seed: int) -> Array:
    probe = fit_probe(features[learned], labels[learned], int(labels.max()) + 1, seed)
    found: Array = probe.predict(features[asked]) == labels[asked]
    return found


def _report(
    right: Mapping[str, Sequence[Array]],
    trials: Sequence[Sequence[Trial]],
    paired: PairedSet,
    settings: Mapping[str, Setting],
    seed: int,
    device: torch.device,
    is_quick: bool,
) -> None:
    rows, results = [], []
    for name, parts in right.items():
        hits = np.concatenate(list(parts))
        score = accuracy(hits, np.ones(len(hits), bool), 1 / len(paired.classes))
        by_fold = [float(part.mean()) for part in parts]
        results.append({'features': name, **score.to_dict(), 'by_fold': by_fold})
        rows.append({'features': name, 'accuracy': _text(score), 'folds': _shares(by_fold)})
    table(rows)
    every = [trial for fold in trials for trial in fold]
    write(
        'nsca_audio',
        {
            'goal': GOAL,
            'rows': results,
            'seed': seed,
            'device': _device(device),
            'sounds': len(paired),
            'settings': {name: str(setting) for name, setting in settings.items()},
            'within_training_folds': [{one.name: one.within for one in fold} for fold in trials],
            'chosen': [max(fold, key=lambda one: one.within).name for fold in trials],
            'updates': sum(trial.updates for trial in every),
            'cpu_s': sum(trial.cpu_s for trial in every),
            'waited_share': float(np.mean([trial.waited_share for trial in every])),
        },
        is_quick,
    )


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else str(device)


def _support_vectors() -> Any:
    pipeline = make_pipeline(StandardScaler(), SVC())
    choices = {'svc__C': [1, 3, 10, 30], 'svc__gamma': ['scale', 0.003, 0.01]}
    return GridSearchCV(pipeline, choices, cv=3)


def _statistics(sound: Any) -> Array:
    bands = log_mel(sound)
    found: Array = np.concatenate([bands.mean(0), bands.std(0)])
    return found


def _shares(shares: Sequence[float]) -> str:
    return ', '.join(f'{share:.3f}' for share in shares)


def _text(score: Score) -> str:
    return f'{score.value:.3f} ({score.low:.3f} to {score.high:.3f})'


if __name__ == '__main__':
    main()
