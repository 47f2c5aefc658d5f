"""The part of `train` that learns NSCA's phases: sight, sound, fusion, dynamics, everything."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_learning.commands.train_passes import (
    destination_of,
    make_passes,
    print_result,
    result_of,
    run_passes,
    with_options,
)
from robot_learning.commands.train_processes import Team, team_of
from robot_learning.commands.train_report import write_report
from robot_learning.errors import ConfigError
from robot_learning.model_store import ModelStore

if TYPE_CHECKING:
    from robot_learning.phases.nsca_config import NscaConfig
    from robot_learning.phases.nsca_preparation import Data
    from robot_learning.phases.training_session import Destination

MODE = 'nsca'
SHORT_NAMES = ('vision', 'audio', 'fusion', 'dynamics', 'full')
PHASES = tuple(f'{MODE}_{name}' for name in SHORT_NAMES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what only --mode nsca has."""
    parser.add_argument(
        '--resume',
        action='store_true',
        help='of --mode nsca: go on where it was stopped, which it does anyway',
    )


def train_nsca(options: argparse.Namespace) -> dict[str, Any]:
    """Train the phases that the options name, publish them and return what was measured.

    Args:
        options: of `train`; `phase` is one of `SHORT_NAMES`, with or without nsca_, 'all' or
            None: all.

    Raises:
        ConfigError: settings or options are wrong.
        DataError: the data cannot be read, or lack a sense.
        StoreError: a phase that must come first has no version yet.
    """
    from robot_learning.phases import cpu

    if not options.data:
        raise ConfigError(
            '--mode nsca: found no --data, expected recordings of senses. Name a folder, an HDF5 '
            'file, a trajectory store or hf:NAME; ./run collect --interactions makes some.'
        )
    settings = load_settings(options.config)
    names = phase_names(options.phase, settings)
    destination = destination_of(options, MODE)
    cpu.settle()
    with team_of(options) as team:
        data = open_data(options.data, options.held_out, options.seed, settings, team)
        results = [
            _train_phase(name, data, settings, options, destination, team) for name in names
        ]
    found = [result for result in results if result]
    return found[0] if len(found) == 1 else {'model': destination.model_name, 'phases': found}


def phase_names(phase: str | None, settings: NscaConfig) -> tuple[str, ...]:
    """Return the phases that --phase means, in order; all of them: those of the senses chosen.

    Raises:
        ConfigError: there is none of that name.
    """
    if phase in (None, 'all'):
        return settings.phases()
    short = str(phase).removeprefix(f'{MODE}_')
    if short not in SHORT_NAMES:
        raise ConfigError(
            f'--phase: found {phase!r}, expected all or one of {", ".join(SHORT_NAMES)}. '
            f'Choose one of them.'
        )
    return (short,)


def load_settings(path: Path | None = None) -> NscaConfig:
    """Read the settings; None: `config/phases/nsca.yaml`.

    Raises:
        ConfigError: names every unknown key and wrong value.
    """
    from robot_learning.phases import nsca_config

    return nsca_config.load(path)


def open_data(
    paths: Sequence[Path], share: float, seed: int, settings: NscaConfig, team: Team
) -> Data:
    """Open the data and divide them: by their own splits train and val, else at random.

    Raises:
        ConfigError: several are named.
        DataError: nothing readable is there.
    """
    from robot_learning.phases.nsca_preparation import Data
    from robot_learning.trajectory.paired_sources import open_paired

    if len(paths) > 1:
        raise ConfigError(
            f'--data: found {len(paths)}, expected one for --mode nsca. Put them into one folder.'
        )
    text = str(paths[0])
    paired = open_paired(
        text if text.startswith('hf:') else paths[0],
        image_size=settings.model.image_size,
        window=settings.model.temporal_length,
    )
    if team.place.is_first:
        print(paired.report.text())
    if {'train', 'val'} <= set(paired.split_names):
        return Data(paired.split('train'), paired.split('val'))
    return Data(*paired.divide(share, seed))


def _train_phase(
    name: str,
    data: Data,
    settings: NscaConfig,
    options: argparse.Namespace,
    base: Destination,
    team: Team,
) -> dict[str, Any]:
    """Train one phase; of several processes all but the first return nothing."""
    from robot_learning.commands.nsca_pictures import pictures_of
    from robot_learning.phases.nsca_preparation import prepare
    from robot_learning.phases.passes import Origin

    phase = f'{MODE}_{name}'
    destination = dataclasses.replace(base, model_name=f'{base.model_name}-{name}')
    report = data.training.report
    with _claimed(destination, phase, team):
        store = ModelStore(base.models, signer=base.signer)
        prepared = prepare(name, data, settings, store, base.model_name, options.seed, team.device)
        if team.place.is_first:
            for where in prepared.earlier:
                print(f'{phase}: stands on {where}')
        sources = [
            f'{report.where} ({report.kind}{", synthetic" if report.synthetic else ""})',
            *prepared.earlier,
        ]
        passes = make_passes(
            prepared.objective,
            prepared.training,
            prepared.held_out,
            with_options(prepared.passes, options),
            destination,
            phase,
            Origin(sources),
            options.seed,
            team,
        )
        progress = run_passes(options, passes, destination, phase, prepared.objective.config, team)
        if not team.place.is_first:
            return {}
        sizes = {
            'training': {'rows': len(prepared.training)},
            'held_out': {'rows': len(prepared.held_out)},
        }
        result = result_of(options, destination, phase, progress, sizes, [report.where])
        result |= {'stands_on': list(prepared.earlier), 'data_report': report.to_dict()}
        print_result(result, base.models)
        pictures = pictures_of(name, data, destination)
    result['report'] = str(
        write_report(options, destination, prepared.objective.config, result, pictures)
    )
    return result


@contextlib.contextmanager
def _claimed(destination: Destination, phase: str, team: Team) -> Iterator[None]:
    with destination.claimed(phase) if team.place.is_first else contextlib.nullcontext():
        yield
