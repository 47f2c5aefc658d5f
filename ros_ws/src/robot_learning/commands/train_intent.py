"""The part of `train` that learns from commands what they mean."""

from __future__ import annotations

import argparse
import dataclasses
import math
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.commands import intent_data, phase_settings
from robot_learning.commands.intent_data import FRAMES, GRAMMAR, Source, Split
from robot_learning.commands.model_keys import ask_passphrase
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.commands.train_report import write_report
from robot_learning.commands.train_tracking import Tracking, begin
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError
from robot_learning.language.command_files import Labelled
from robot_learning.model_signatures import read_signer
from robot_learning.model_store import ModelStore, parse_reference

if TYPE_CHECKING:
    from robot_learning.phases.intent import IntentConfig, IntentTraining, Scores
    from robot_learning.phases.training_session import Destination

PHASE = 'intent'


@dataclass(frozen=True, config=STRICT)
class _RecipeFile:
    """The keys of the file."""

    phase: str
    num_generated: PositiveInt = 12_000  # Commands that the grammar makes.
    num_frames: NonNegativeInt = 3000  # Commands made for HuRIC's frames, where these are learned.
    most_of_file: PositiveInt | None = None  # Commands taken of each file, at random.
    config: dict[str, Any] = field(default_factory=dict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what only --mode intent has."""
    parser.add_argument(
        '--beside',
        type=Path,
        action='append',
        default=[],
        metavar='PATH',
        help='of --mode intent: commands of others that help, with labels of their own',
    )
    parser.add_argument(
        '--robot-intents',
        action='store_true',
        help="of --mode intent: take the labels of public corpora for the robot's intents",
    )


def train_intent(options: argparse.Namespace) -> dict[str, Any]:
    """Train an intent model, publish it and return what was measured, as plain data.

    Args:
        options: of `train`. `data` holds files, sets by name, `grammar` or `frames`; None: the
            grammar.

    Raises:
        ConfigError: settings or options are wrong.
        DataError: the data cannot be read.
    """
    from robot_learning.phases import cpu
    from robot_learning.phases.intent import IntentTraining
    from robot_learning.phases.training_session import Destination

    if options.env is not None:
        raise ConfigError('--mode intent: found --env, expected --data or nothing. Leave it out.')
    name = options.name or PHASE
    parse_reference(name)
    settings = load_settings(options.config)
    signer = None
    if options.sign_with is not None:
        signer = read_signer(options.sign_with, ask_passphrase(options.sign_with))
    destination = Destination(
        options.models, name, options.output or options.models.parent, signer
    )
    cpu.settle()
    started = time.monotonic()
    with destination.claimed(PHASE):
        split, sources = _data(options, settings)
        beside = [
            intent_data.read(path, most=settings.most_of_file, seed=options.seed)
            for path in options.beside
        ]
        auxiliary = [commands for commands, _ in beside]
        sources += [source for _, source in beside]
        phase = settings.phase
        are_frames = any(source.name.startswith(f'{FRAMES},') for source in sources)
        if are_frames and not options.robot_intents:
            phase = dataclasses.replace(phase, variants=0)  # That grammar varies enough.
        training = IntentTraining(split.training, phase, options.seed, auxiliary)
        update = _run(training, split.held_out, begin(options, destination, PHASE, phase))
        training.calibrate(split.calibration)
        metrics = _metrics(training.measure(split.held_out))
        wall_s = round(time.monotonic() - started, 3)
        origin = {
            'command': shlex.join(['./run', 'train', *options.arguments]),
            'sources': [source.name for source in sources],
            'data': [source._asdict() for source in sources],
            'seed': options.seed,
            'update': update,
            'wall_s': wall_s,
        }
        version = _publish(training, metrics, origin, destination)
    result = {
        'model': name,
        'phase': PHASE,
        'version': version,
        'epoch': training.num_epochs,
        'update': update,
        'metrics': metrics,
        'labels': list(training.intents),
        'temperature': training.temperature,
        'min_confidence': training.min_confidence,
        'seed': options.seed,
        'data': [source.name for source in sources],
        'training': {'rows': len(split.training)},
        'calibration': {'rows': len(split.calibration)},
        'held_out': {'rows': len(split.held_out)},
        'wall_s': wall_s,
    }
    _print(result, options.models)
    result['report'] = str(write_report(options, destination, phase, result))
    return result


class Settings(NamedTuple):
    """What a file of settings says."""

    phase: IntentConfig
    num_generated: int
    num_frames: int
    most_of_file: int | None


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings; None: `config/phases/intent.yaml`.

    Raises:
        ConfigError: names every unknown key and wrong value.
    """
    from robot_learning.phases.intent import IntentConfig

    content, phase = phase_settings.load(PHASE, _RecipeFile, IntentConfig, path)
    return Settings(phase, content.num_generated, content.num_frames, content.most_of_file)


def _data(options: argparse.Namespace, settings: Settings) -> tuple[Split, list[Source]]:
    """Return all that is named, split; each source is split for itself."""
    parts: list[Split] = []
    sources: list[Source] = []
    for path in options.data or [Path(GRAMMAR)]:
        part, source = _part(path, options, settings)
        parts.append(part)
        sources.append(source)
    held = {command.text for part in parts for command in (*part.calibration, *part.held_out)}
    training = [c for part in parts for c in part.training if c.text not in held]
    more = intent_data.with_frames(training, settings.num_frames, options.seed)
    if more is not None:
        training = [command for command in more[0] if command.text not in held]
        sources.append(more[1])
    calibration = [c for part in parts for c in part.calibration]
    return Split(training, calibration, [c for part in parts for c in part.held_out]), sources


def _part(path: Path, options: argparse.Namespace, settings: Settings) -> tuple[Split, Source]:
    if str(path) == GRAMMAR:
        return intent_data.grammar(settings.num_generated, options.held_out, options.seed)
    if str(path) == FRAMES:
        commands, source = intent_data.frames(
            settings.num_frames, options.seed, options.robot_intents
        )
    else:
        commands, source = intent_data.read(
            path, options.robot_intents, settings.most_of_file, options.seed
        )
    return intent_data.split(commands, options.held_out, options.seed), source


def _run(training: IntentTraining, held_out: Sequence[Labelled], curves: Tracking) -> int:
    """Learn until all passes are made or somebody stops it; return the number of updates."""
    from tqdm import tqdm

    from robot_learning.phases.trainer import Progress

    is_silent = not sys.stderr.isatty()
    with (
        StopRequests() as requests,
        tqdm(total=training.epochs, desc=PHASE, unit='epoch', disable=is_silent) as bar,
    ):
        try:
            while training.num_epochs < training.epochs and not requests.is_requested:
                loss = training.epoch()
                metrics = {f'{PHASE}/loss': loss, **_metrics(training.measure(held_out))}
                bar.update(1)
                bar.set_postfix(accuracy=f'{metrics["held_out/accuracy"]:.3f}')
                curves.write(Progress('training', update=training.num_updates, metrics=metrics))
        finally:
            curves.close()
    return training.num_updates


def _publish(
    training: IntentTraining,
    metrics: Mapping[str, float],
    origin: Mapping[str, Any],
    destination: Destination,
) -> int:
    from robot_learning.phases.publishing import code_version, plain

    tensors, policy = training.published()
    manifest = {
        'policy': policy,
        'phase': PHASE,
        'config': plain(training.config),
        'metrics': dict(metrics),
        'score': metrics['held_out/accuracy'],
        'created': datetime.now(timezone.utc).isoformat(timespec='milliseconds'),
        'provenance': {**origin, 'code_version': code_version()},
    }
    arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
    store = ModelStore(destination.models, signer=destination.signer)
    return store.publish(destination.model_name, arrays, manifest)


def _metrics(scores: Scores) -> dict[str, float]:
    measured = scores._asdict()
    del measured['num_commands']
    return {f'held_out/{key}': value for key, value in measured.items() if math.isfinite(value)}


def _print(result: Mapping[str, Any], models: Path) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, title=f'{PHASE}, {result["epoch"]} passes')
    table.add_column('on held-out commands')
    table.add_column('value', justify='right')
    for name, value in result['metrics'].items():
        table.add_row(name.removeprefix('held_out/').replace('_', ' '), f'{value:.4f}')
    Console().print(table)
    print(
        f'{result["training"]["rows"]} commands to learn from, {result["held_out"]["rows"]} held '
        f'out. Version {result["version"]} of {result["model"]} is in {models}.'
    )
