"""The part of `train` that every phase of passes over fixed data shares."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_learning.commands.argument_types import number_above, whole_number
from robot_learning.commands.model_keys import ask_passphrase
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.commands.train_metrics import shown
from robot_learning.commands.train_processes import Team
from robot_learning.commands.train_tracking import begin
from robot_learning.errors import ConfigError
from robot_learning.model_signatures import read_signer
from robot_learning.model_store import ModelStore, parse_reference

if TYPE_CHECKING:
    from robot_learning.phases.batch_plan import Batches
    from robot_learning.phases.passes import Objective, Origin, Passes
    from robot_learning.phases.passes_config import PassesConfig
    from robot_learning.phases.trainer import Progress
    from robot_learning.phases.training_session import Destination

_OPTIONS = {  # Of the command -> of PassesConfig.
    'epochs': 'epochs',
    'max_updates': 'max_updates',
    'batch_size': 'batch_size',
    'accumulation': 'accumulation',
    'learning_rate': 'learning_rate',
    'schedule': 'schedule',
    'precision': 'precision',
    'workers': 'workers',
    'compile': 'compile',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what overrides the settings of passes; once, for all modes that make them."""
    group = parser.add_argument_group(
        'passes over fixed data', 'of --mode nsca, aime, vision_language and meta'
    )
    group.add_argument('--epochs', type=whole_number(1), metavar='N', help='passes')
    group.add_argument('--max-updates', type=whole_number(1), metavar='N', help='at most')
    group.add_argument('--batch-size', type=whole_number(2), metavar='N')
    group.add_argument(
        '--accumulation', type=whole_number(1), metavar='N', help='batches of one update'
    )
    group.add_argument('--learning-rate', type=number_above(0), metavar='X')
    group.add_argument('--schedule', choices=('cosine', 'linear', 'constant'))
    group.add_argument('--precision', choices=('float32', 'bfloat16', 'float16'))
    group.add_argument(
        '--workers', type=whole_number(0), metavar='N', help='processes that read data ahead'
    )
    group.add_argument('--compile', action='store_true', default=None, help='torch.compile')


def with_options(config: PassesConfig, options: argparse.Namespace) -> PassesConfig:
    """Return the settings with what the command line says instead."""
    given = {
        name: value
        for option, name in _OPTIONS.items()
        if (value := getattr(options, option, None)) is not None
    }
    return dataclasses.replace(config, **given)


def destination_of(options: argparse.Namespace, default_name: str) -> Destination:
    """Return where results of `train` go, signed where asked for.

    Raises:
        ConfigError: --env is given, or the name is none.
    """
    from robot_learning.phases.training_session import Destination

    if options.env is not None:
        raise ConfigError(
            f'--mode {options.mode}: found --env, expected --data. It learns from recorded data; '
            f'make some with ./run collect.'
        )
    name = options.name or default_name
    parse_reference(name)
    signer = None
    if options.sign_with is not None:
        signer = read_signer(options.sign_with, ask_passphrase(options.sign_with))
    return Destination(options.models, name, options.output or options.models.parent, signer)


def make_passes(
    objective: Objective,
    training: Batches,
    held_out: Batches,
    config: PassesConfig,
    destination: Destination,
    phase: str,
    origin: Origin,
    seed: int,
    team: Team,
) -> Passes:
    """Put a training together and let it go on where it was stopped."""
    from robot_learning.phases.passes import Passes
    from robot_learning.phases.publishing import Publisher

    publisher = None
    if team.place.is_first:
        store = ModelStore(destination.models, signer=destination.signer)
        publisher = Publisher(
            store, destination.model_name, phase, seed, config.keep_best, config.keep_newest
        )
    passes = Passes(
        objective,
        training,
        held_out,
        config,
        publisher,
        destination.checkpoints(phase),
        origin,
        seed,
        team.device,
        team.place,
    )
    passes.resume()
    return passes


def run_passes(
    options: argparse.Namespace,
    passes: Passes,
    destination: Destination,
    phase: str,
    settings: Any,
    team: Team,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Learn with a progress bar, curves and Ctrl-C; return where training stands.

    Args:
        options: of `train`.
        passes: that begin or go on.
        destination: where curves go.
        phase: its name.
        settings: of the phase, a dataclass, shown beside its curves.
        team: which process this is; only the first shows and writes.
        on_progress: hears every report too.
    """
    from tqdm import tqdm

    is_silent = not (team.place.is_first and sys.stderr.isatty())
    with contextlib.ExitStack() as stack:
        requests = stack.enter_context(StopRequests())
        bar = stack.enter_context(
            tqdm(total=passes.num_updates, desc=phase, unit='update', disable=is_silent)
        )
        curves = begin(options, destination, phase, settings) if team.place.is_first else None
        if curves is not None:
            stack.callback(curves.close)

        def report(progress: Progress) -> None:
            bar.update(progress.update - bar.n)
            bar.set_postfix(shown(phase, progress.metrics))
            if curves is not None:
                curves.write(progress)
            on_progress(progress)

        return passes.run(lambda: requests.is_requested, report)


def result_of(
    options: argparse.Namespace,
    destination: Destination,
    phase: str,
    progress: Progress,
    sizes: Mapping[str, Mapping[str, int]],
    sources: Sequence[str],
) -> dict[str, Any]:
    """Return what `train` writes as JSON, for `write_report` too.

    Args:
        options: of `train`.
        destination: where the version is.
        phase: its name.
        progress: at the end.
        sizes: 'training' and 'held_out' -> counts by what is counted: {'rows': 100}.
        sources: names of the data.
    """
    return {
        'model': destination.model_name,
        'phase': phase,
        **dataclasses.asdict(progress),
        'metrics': {n: value for n, value in progress.metrics.items() if math.isfinite(value)},
        'seed': options.seed,
        'data': list(sources),
        **{name: dict(counts) for name, counts in sizes.items()},
    }


def print_result(result: Mapping[str, Any], models: Path) -> None:
    """Show what was measured on held-out data, and where the version is."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, title=f'{result["phase"]}, {result["update"]} updates')
    table.add_column('on held-out data')
    table.add_column('value', justify='right')
    for name, value in result['metrics'].items():
        if name.startswith('held_out/'):
            table.add_row(name.removeprefix('held_out/').replace('_', ' '), f'{value:.5g}')
    Console().print(table)
    print(f'Version {result["version"]} of {result["model"]} is in {models}.')
