"""The part of `train` that learns from labelled pairs instead of episodes."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from robot_learning.commands import phase_settings
from robot_learning.commands.model_keys import ask_passphrase
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.commands.train_report import write_report
from robot_learning.commands.train_tracking import Tracking, begin
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError
from robot_learning.model_signatures import read_signer
from robot_learning.model_store import ModelStore, parse_reference

if TYPE_CHECKING:
    from robot_learning.phases.neural_policy import NeuralPolicyConfig, PairScores, PairTraining
    from robot_learning.phases.training_session import Destination
    from robot_learning.trajectory.labelled_pairs import LabelledPairs

PHASE = 'neural_policy'
SYNTHETIC = 'synthetic'  # As --data: pairs are made up.


@dataclass(frozen=True, config=STRICT)
class _RecipeFile:
    """The keys of the file."""

    phase: str
    config: dict[str, Any] = field(default_factory=dict)


def train_pairs(options: argparse.Namespace) -> dict[str, Any]:
    """Train a classifier, publish it and return what was measured, as plain data.

    Args:
        options: of `train`. `data` holds one path, or `synthetic`; `name` None is the phase's.

    Raises:
        ConfigError: settings or options are wrong.
        DataError: the data cannot be read.
    """
    from robot_learning.phases import cpu
    from robot_learning.phases.neural_policy import PairTraining, split_pairs
    from robot_learning.phases.training_session import Destination

    name = options.name or PHASE
    parse_reference(name)
    settings = load_settings(options.config)
    signer = None
    if options.sign_with is not None:
        signer = read_signer(options.sign_with, ask_passphrase(options.sign_with))
    output = options.output or options.models.parent
    destination = Destination(options.models, name, output, signer)
    cpu.settle()
    with destination.claimed(PHASE):
        pairs = _pairs(options.data or [], settings, options.seed)
        split = split_pairs(pairs, options.held_out, options.seed)
        checkpoints = destination.checkpoints(PHASE)
        training = PairTraining(pairs, split, settings, options.seed, checkpoints)
        training.resume()
        is_new = training.epoch < settings.epochs  # Else the version is there already.
        curves = begin(options, destination, PHASE, settings)
        scores = _run(training, settings.epochs, curves)
        version = ModelStore(destination.models).newest(name)
        if is_new or version is None:
            version = _publish(training, pairs, scores, destination, options.seed)
    result = {
        'model': name,
        'phase': PHASE,
        'version': version,
        'epoch': training.epoch,
        'update': training.update,
        'metrics': _metrics(scores),
        'labels': list(pairs.labels),
        'confusion': scores.confusion.tolist(),
        'seed': options.seed,
        'data': [pairs.source],
        'training': {'rows': len(split.training)},
        'held_out': {'rows': len(split.held_out)},
        'wall_s': round(training.wall_s, 3),
    }
    _print(result, options.models)
    result['report'] = str(write_report(options, destination, settings, result))
    return result


def load_settings(path: Path | None = None) -> NeuralPolicyConfig:
    """Read the settings; None: `config/phases/neural_policy.yaml`.

    Raises:
        ConfigError: names every unknown key and wrong value.
    """
    from robot_learning.phases.neural_policy import NeuralPolicyConfig

    return phase_settings.load(PHASE, _RecipeFile, NeuralPolicyConfig, path)[1]


def _pairs(paths: list[Path], settings: NeuralPolicyConfig, seed: int) -> LabelledPairs:
    from robot_learning.trajectory.labelled_pairs import read_pairs
    from robot_learning.trajectory.synthetic_pairs import synthetic_pairs

    if len(paths) != 1:
        raise ConfigError(
            f'--data: found {len(paths)} of them, expected one for {PHASE}. Join the files, or '
            f'write --data {SYNTHETIC}.'
        )
    if str(paths[0]) == SYNTHETIC:
        return synthetic_pairs(settings.num_synthetic, seed)
    return read_pairs(paths[0])


def _run(training: PairTraining, epochs: int, curves: Tracking) -> PairScores:
    from tqdm import tqdm

    from robot_learning.phases.trainer import Progress

    is_silent = not sys.stderr.isatty()
    with (
        StopRequests() as requests,
        tqdm(
            total=epochs, initial=training.epoch, desc=PHASE, unit='epoch', disable=is_silent
        ) as bar,
    ):

        def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
            bar.update(1)
            bar.set_postfix(accuracy=f'{metrics["held_out/accuracy"]:.3f}')
            curves.write(Progress('training', update=training.update, metrics=metrics))

        try:
            return training.run(lambda: requests.is_requested, on_epoch)
        finally:
            curves.close()


def _publish(
    training: PairTraining,
    pairs: LabelledPairs,
    scores: PairScores,
    destination: Destination,
    seed: int,
) -> int:
    from robot_learning.phases.publishing import code_version, plain

    tensors, policy = training.published()
    manifest = {
        'policy': policy,
        'state_names': list(pairs.state_names),
        'phase': PHASE,
        'config': plain(training.phase.config),
        'metrics': _metrics(scores),
        'score': scores.accuracy,
        'created': datetime.now(timezone.utc).isoformat(timespec='milliseconds'),
        'provenance': {
            'sources': [pairs.source],
            'seed': seed,
            'code_version': code_version(),
            'update': training.update,
            'wall_s': round(training.wall_s, 3),
        },
    }
    arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
    store = ModelStore(destination.models, signer=destination.signer)
    return store.publish(destination.model_name, arrays, manifest)


def _metrics(scores: PairScores) -> dict[str, float]:
    metrics = {
        'held_out/accuracy': scores.accuracy,
        'held_out/loss': scores.loss,
        'held_out/majority_accuracy': scores.majority_accuracy,
    }
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _print(result: Mapping[str, Any], models: Path) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    accuracy = result['metrics']['held_out/accuracy']
    majority = result['metrics']['held_out/majority_accuracy']
    table = Table(box=box.SIMPLE)
    table.add_column('true label')
    for label in result['labels']:
        table.add_column(str(label), justify='right')
    for label, counts in zip(result['labels'], result['confusion'], strict=True):
        table.add_row(str(label), *(str(count) for count in counts))
    print(f'{PHASE}, {result["epoch"]} epochs: {accuracy:.1%} of held-out rows right')
    Console().print(table)
    print(
        f'Columns: what was answered. Always the most frequent label: {majority:.1%}. '
        f'{result["training"]["rows"]} rows to learn from, {result["held_out"]["rows"]} held '
        f'out. Version {result["version"]} of {result["model"]} is in {models}.'
    )
