"""The part of `train` that learns how to learn from few examples."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning import contract as contracts
from robot_learning.commands import meta_data, phase_settings, train_passes
from robot_learning.commands.meta_data import Kind, Robots
from robot_learning.commands.train_processes import team_of
from robot_learning.commands.train_report import write_report
from robot_learning.config import STRICT
from robot_learning.trajectory.character_files import split_classes
from robot_learning.trajectory.driving_examples import Drive

if TYPE_CHECKING:
    from robot_learning.phases.meta import MetaConfig, MetaObjective
    from robot_learning.phases.meta_tasks import Tasks

PHASE = 'meta'
_FILES = {'sinusoids': 'meta_sinusoids', 'robots': 'meta_robots', 'pictures': 'meta'}


@dataclass(frozen=True, config=STRICT)
class _RecipeFile:
    """The keys of the file."""

    phase: str
    num_robots: PositiveInt = 120  # That drive in the embedded world, where --data is `robots`.
    seconds: PositiveFloat = 20.0  # Each of them.
    config: dict[str, Any] = field(default_factory=dict)


class Settings(NamedTuple):
    """What a file of settings says."""

    phase: MetaConfig
    robots: Robots


class Prepared(NamedTuple):
    """What learns, and from what."""

    objective: MetaObjective
    training: Tasks
    held_out: Tasks
    sizes: dict[str, dict[str, int]]
    sources: list[str]


def train_meta(options: argparse.Namespace) -> dict[str, Any]:
    """Train a meta-learner, publish it and return what was measured, as plain data.

    Args:
        options: of `train`. `data` holds an archive or folder of pictures, recordings, `robots` or
            `sinusoids`; None: the last.

    Raises:
        ConfigError: settings or options are wrong.
        DataError: the data cannot be read.
        NotEnoughDataError: there are too few classes, pictures or control steps.
    """
    from robot_learning.phases import cpu
    from robot_learning.phases.passes import Origin

    cpu.settle()
    kind = meta_data.kind_of(options.data)
    settings = load_settings(options.config, kind)
    passes = train_passes.with_options(settings.phase.passes, options)
    settings = settings._replace(phase=dataclasses.replace(settings.phase, passes=passes))
    destination = train_passes.destination_of(options, PHASE)
    with team_of(options) as team, destination.claimed(PHASE):
        prepared = prepare(options, settings, kind)
        prepared.objective.module.to(team.device)
        training = train_passes.make_passes(
            prepared.objective,
            prepared.training,
            prepared.held_out,
            passes,
            destination,
            PHASE,
            Origin(prepared.sources),
            options.seed,
            team,
        )
        progress = train_passes.run_passes(
            options, training, destination, PHASE, settings.phase, team
        )
        if not team.place.is_first:
            return {}
        result = train_passes.result_of(
            options, destination, PHASE, progress, prepared.sizes, prepared.sources
        )
    train_passes.print_result(result, options.models)
    result['report'] = str(write_report(options, destination, settings.phase, result))
    return result


def load_settings(path: Path | None = None, kind: Kind = 'pictures') -> Settings:
    """Read the settings; None: those of `config/phases` for this kind of data.

    Raises:
        ConfigError: names every unknown key and wrong value.
    """
    from robot_learning.phases.meta import MetaConfig

    if path is None:
        path = contracts.robots_directory().parent / 'phases' / f'{_FILES[kind]}.yaml'
    content, phase = phase_settings.load(PHASE, _RecipeFile, MetaConfig, path)
    return Settings(phase, Robots(content.num_robots, content.seconds))


def prepare(options: argparse.Namespace, settings: Settings, kind: Kind) -> Prepared:
    """Read the data, hold a part of it out, and make what learns."""
    if kind == 'pictures':
        return _of_pictures(options, settings)
    return _of_curves(options, settings) if kind == 'sinusoids' else _of_robots(options, settings)


def _of_pictures(options: argparse.Namespace, settings: Settings) -> Prepared:
    from robot_learning.phases.meta import MetaObjective
    from robot_learning.phases.meta_tasks import PictureTasks, Shots

    config = settings.phase
    data = meta_data.pictures(options.data[0], config.picture_size, config.colours)
    split = split_classes(data, options.held_out, options.seed)
    shots = Shots(config.shots, config.queries)
    training = PictureTasks(
        split.training,
        config.ways,
        shots,
        config.num_tasks,
        options.seed,
        config.turns,
        config.jitter,
    )
    held_out = PictureTasks(
        split.held_out, config.ways, shots, config.num_held_out_tasks, options.seed + 1
    )
    objective = MetaObjective(config, training.shape, options.seed, split.training.classes)
    sizes = {
        name: {'rows': len(part.images), 'classes': len(part.classes)}
        for name, part in (('training', split.training), ('held_out', split.held_out))
    }
    groups = f', without {", ".join(split.held_out_groups)}' if split.held_out_groups else ''
    return Prepared(objective, training, held_out, sizes, [f'{data.source}{groups}'])


def _of_curves(options: argparse.Namespace, settings: Settings) -> Prepared:
    from robot_learning.phases.meta import MetaObjective
    from robot_learning.phases.meta_tasks import Shots, SinusoidTasks

    config = settings.phase
    shots = Shots(config.shots, config.queries)
    training = SinusoidTasks(shots, config.num_tasks, options.seed)
    held_out = SinusoidTasks(shots, config.num_held_out_tasks, options.seed + 1)
    objective = MetaObjective(config, training.shape, options.seed)
    sizes = {'training': {'rows': len(training)}, 'held_out': {'rows': len(held_out)}}
    return Prepared(objective, training, held_out, sizes, [meta_data.SINUSOIDS])


def _of_robots(options: argparse.Namespace, settings: Settings) -> Prepared:
    from robot_learning.phases.meta import MetaObjective
    from robot_learning.phases.meta_tasks import DriveTasks, Shots

    config = settings.phase
    found = meta_data.drives(
        options.data, options.robot, settings.robots, options.seed, is_measured=False
    )
    parts = _split(found, options.held_out, options.seed)
    shots = Shots(config.shots, config.queries)
    training = DriveTasks(parts[0], shots, config.num_tasks, options.seed)
    held_out = DriveTasks(parts[1], shots, config.num_held_out_tasks, options.seed + 1)
    objective = MetaObjective(config, training.shape, options.seed)
    objective.prepare(training.statistics())
    sizes = {
        name: {'rows': sum(len(drive.inputs) for drive in part), 'robots': len(part)}
        for name, part in zip(('training', 'held_out'), parts, strict=True)
    }
    sources = [str(path) for path in options.data]
    return Prepared(objective, training, held_out, sizes, sources)


def _split(found: list[Drive], ratio: float, seed: int) -> tuple[list[Drive], list[Drive]]:
    order = np.random.default_rng(seed).permutation(len(found))
    count = min(max(round(ratio * len(found)), 2), len(found))
    held = set(order[:count].tolist())
    return (
        [drive for index, drive in enumerate(found) if index not in held],
        [drive for index, drive in enumerate(found) if index in held],
    )
