"""The part of `train` that learns from video: AIME's model, and policies inferred with it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic.dataclasses import dataclass

from robot_learning import contract as contracts
from robot_learning.commands import phase_settings
from robot_learning.commands.evaluate_aime import draw_usage
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
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError
from robot_learning.model_store import ModelStore, parse_reference
from robot_learning.phases.passes_config import PassesConfig

if TYPE_CHECKING:
    from robot_learning.phases.action_inference import ActionInferenceConfig
    from robot_learning.phases.aime import AimeConfig
    from robot_learning.phases.passes import Objective
    from robot_learning.phases.training_session import Destination
    from robot_learning.phases.video_data import VideoWindows
    from robot_learning.trajectory.dmc_video import Bounds
    from robot_learning.trajectory.episode import Episode

MODE = PHASE = 'aime'
IMITATION = 'action_inference'
PHASES = (PHASE, IMITATION)
_BAGS = ('.bag', '.mcap', '.db3')
_MEASURED_STRIDE = 2  # Held-out windows, in lengths: they lie so far apart.


@dataclass(frozen=True, config=STRICT)
class _RecipeFile:
    """The keys of the file."""

    phase: str
    passes: PassesConfig = PassesConfig()
    config: dict[str, Any] = field(default_factory=dict)


class Videos(NamedTuple):
    """Windows to learn from and to measure on, and what they are made of."""

    training: VideoWindows
    held_out: VideoWindows
    num_episodes: tuple[int, int]

    @property
    def sizes(self) -> dict[str, dict[str, int]]:
        """Counts of both, for the report."""
        return {
            name: {'episodes': count, 'steps': part.dataset.num_steps, 'windows': len(part)}
            for name, count, part in zip(
                ('training', 'held_out'), self.num_episodes, self[:2], strict=True
            )
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what only --mode aime has."""
    parser.add_argument(
        '--imitate-with',
        metavar='NAME[@VERSION]',
        help='of --mode aime: infer a policy from videos of --data, with this AIME model',
    )


def train_aime(options: argparse.Namespace) -> dict[str, Any]:
    """Train what the options name on video, publish it and return what was measured.

    Args:
        options: of `train`.

    Raises:
        ConfigError: settings or options are wrong.
        DataError: the data cannot be read or hold no pictures.
    """
    from robot_learning.phases import cpu

    if not options.data:
        raise ConfigError(
            '--mode aime: found no --data, expected recordings with pictures. Make some with '
            './run collect --dmc walker_walk --out walker.'
        )
    imitates = options.imitate_with is not None or options.phase == IMITATION
    if imitates and options.imitate_with is None:
        raise ConfigError(
            f'--phase {IMITATION}: found no model to watch with. Name it: --imitate-with NAME.'
        )
    cpu.settle()
    phase = IMITATION if imitates else PHASE
    destination = destination_of(options, phase)
    with team_of(options) as team:
        claimed = destination.claimed(phase) if team.place.is_first else contextlib.nullcontext()
        with claimed:
            if imitates:
                return _imitate(options, destination, team)
            return _learn(options, destination, team)


def load_settings(path: Path | None = None) -> tuple[PassesConfig, AimeConfig]:
    """Read the settings of the model's training; None: `config/phases/aime.yaml`.

    Raises:
        ConfigError: names every unknown key and wrong value.
    """
    from robot_learning.phases.aime import AimeConfig

    content, checked = phase_settings.load(PHASE, _RecipeFile, AimeConfig, path)
    return content.passes, checked


def load_imitation(path: Path | None = None) -> tuple[PassesConfig, ActionInferenceConfig]:
    """Read the settings of action inference; None: `config/phases/action_inference.yaml`.

    Raises:
        ConfigError: names every unknown key and wrong value.
    """
    from robot_learning.phases.action_inference import ActionInferenceConfig

    content, checked = phase_settings.load(IMITATION, _RecipeFile, ActionInferenceConfig, path)
    return content.passes, checked


def read_data(options: argparse.Namespace, camera: str) -> list[Episode]:
    """Read the episodes of --data; only bags need the contract that --robot names."""
    from robot_learning.phases.video_data import read_videos

    needs_contract = any(path.suffix in _BAGS for path in options.data)
    contract = contracts.load(options.robot) if needs_contract else None
    return read_videos(options.data, camera, contract)


def split_videos(
    episodes: Sequence[Episode],
    length: int,
    stride: int,
    image_size: int,
    camera: str,
    share: float,
    seed: int,
    bounds: Bounds | None = None,
) -> Videos:
    """Hold whole episodes out and cut both parts into windows.

    Raises:
        DataError: episodes hold no fitting pictures.
        NotEnoughDataError: there are too few steps.
    """
    from robot_learning.phases.validation import split_episodes
    from robot_learning.phases.video_data import VideoWindows
    from robot_learning.trajectory.dmc_video import DMCVideoDataset

    split = split_episodes(episodes, share, seed)
    training = DMCVideoDataset(split.training, length, stride, image_size, bounds, camera)
    apart = max(_MEASURED_STRIDE * length, 1)
    held_out = DMCVideoDataset(split.held_out, length, apart, image_size, training.bounds, camera)
    counts = len(split.training), len(split.held_out)
    return Videos(VideoWindows(training), VideoWindows(held_out), counts)


def num_epochs(config: PassesConfig, num_rows: int, num_processes: int = 1) -> float:
    """Return how many passes will be made, where `max_updates` may end them earlier."""
    batch = min(config.batch_size, num_rows // num_processes)
    per_epoch = max(num_rows // (batch * config.accumulation * num_processes), 1)
    if config.max_updates is None:
        return float(config.epochs)
    return min(float(config.epochs), config.max_updates / per_epoch)


def _learn(options: argparse.Namespace, destination: Destination, team: Team) -> dict[str, Any]:
    from robot_learning.phases.aime import AimeTraining

    passes, config = load_settings(options.config)
    passes = with_options(passes, options)
    episodes = read_data(options, config.camera)
    size = config.model.image_size
    videos = split_videos(
        episodes,
        config.length,
        config.stride,
        size,
        config.camera,
        options.held_out,
        options.seed,
    )
    epochs = num_epochs(passes, len(videos.training), team.place.size)
    dataset = videos.training.dataset
    objective = AimeTraining(config, dataset, epochs, options.seed, team.device)
    result = _run(options, destination, team, PHASE, objective, videos, passes, config)
    if result and objective.collapsed:
        print(f'Out of use: {", ".join(objective.collapsed)}. See the log for what was done.')
    return result


def _imitate(options: argparse.Namespace, destination: Destination, team: Team) -> dict[str, Any]:
    from robot_learning.models.aime.model import load_model
    from robot_learning.phases.action_inference import ActionInference
    from robot_learning.trajectory.dmc_video import Bounds

    passes, config = load_imitation(options.config)
    passes = with_options(passes, options)
    store = ModelStore(options.models)
    name, version = parse_reference(options.imitate_with)
    tensors, manifest = store.load(name, version)
    where = f'{name}@{manifest["version"]}'
    model, action_range = load_model(tensors, manifest, where)
    videos = split_videos(
        read_data(options, config.camera),
        config.length,
        config.stride,
        model.config.image_size,
        config.camera,
        options.held_out,
        options.seed,
        Bounds(*action_range),
    )
    if videos.training.dataset.action_size != model.action_size:
        raise ConfigError(
            f'{where}: knows actions of {model.action_size} components, the data have '
            f'{videos.training.dataset.action_size}. Name data of the same robot.'
        )
    objective = ActionInference(
        model.to(team.device), Bounds(*action_range), manifest['policy'], config, options.seed
    )
    result = _run(options, destination, team, IMITATION, objective, videos, passes, config)
    return result | {'model_watched_with': where} if result else result


def _run(
    options: argparse.Namespace,
    destination: Destination,
    team: Team,
    phase: str,
    objective: Objective,
    videos: Videos,
    passes: PassesConfig,
    settings: Any,
) -> dict[str, Any]:
    from robot_learning.phases.passes import Origin

    sources = [str(path) for path in options.data]
    training = make_passes(
        objective,
        videos.training,
        videos.held_out,
        passes,
        destination,
        phase,
        Origin(sources),
        options.seed,
        team,
    )
    progress = run_passes(options, training, destination, phase, settings, team)
    if not team.place.is_first:
        return {}
    result = result_of(options, destination, phase, progress, videos.sizes, sources)
    result['settings'] = {'passes': dataclasses.asdict(passes)}
    print_result(result, options.models)
    report = write_report(options, destination, settings, result)
    result['report'] = str(report)
    if phase == PHASE:
        curves = report.parents[1] / 'tensorboard' / f'{destination.model_name}-{phase}'
        draw_usage(report.with_name(f'{report.stem}-components.png'), curves)
    return result
