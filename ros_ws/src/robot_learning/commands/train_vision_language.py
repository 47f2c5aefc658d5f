"""The part of `train` that learns what words say about pictures."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.commands import phase_settings, train_passes
from robot_learning.commands.argument_types import whole_number
from robot_learning.commands.train_processes import Team, team_of
from robot_learning.commands.train_report import write_report
from robot_learning.config import STRICT
from robot_learning.errors import ConfigError

if TYPE_CHECKING:
    from robot_learning.models.clip_encoder import ClipImageEncoder
    from robot_learning.phases.image_text_data import Item
    from robot_learning.phases.vision_language import VisionLanguage, VisionLanguageConfig

PHASE = 'vision_language'
NAME = 'grounding'  # Of the model, where nobody says another.


@dataclass(frozen=True, config=STRICT)
class _RecipeFile:
    """The keys of the file."""

    phase: str
    num_scenes: PositiveInt = 3000  # Rendered to learn from, where --data is `world` or nothing.
    num_held_out: PositiveInt = 400  # Others, to measure on.
    # Weights of a CLIP image encoder: name on Hugging Face, or folder; '': our own, from scratch.
    pretrained: str = ''
    is_frozen: bool = True  # Of a pretrained encoder only what is put on top learns.
    config: dict[str, Any] = field(default_factory=dict)


class Settings(NamedTuple):
    """What a file of settings says."""

    phase: VisionLanguageConfig
    num_scenes: int
    num_held_out: int
    pretrained: str
    is_frozen: bool


class _Data(NamedTuple):
    training: list[Item]
    held_out: list[Item]
    sources: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what only --mode vision_language has."""
    parser.add_argument(
        '--pretrained',
        metavar='NAME',
        help='of --mode vision_language: CLIP on Hugging Face or in a folder, as image encoder',
    )
    parser.add_argument(
        '--scenes',
        type=whole_number(20),
        metavar='N',
        help='of --mode vision_language: scenes to render and learn from, a tenth more to measure',
    )


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings; None: `config/phases/vision_language.yaml`.

    Raises:
        ConfigError: names every unknown key and wrong value.
    """
    from robot_learning.phases.vision_language import VisionLanguageConfig

    content, phase = phase_settings.load(PHASE, _RecipeFile, VisionLanguageConfig, path)
    return Settings(
        phase, content.num_scenes, content.num_held_out, content.pretrained, content.is_frozen
    )


def train_vision_language(options: argparse.Namespace) -> dict[str, Any]:
    """Train a dual encoder, publish it and return what was measured, as plain data.

    Args:
        options: of `train`. `data` holds folders, sets by name, or `world`; None: the world.

    Raises:
        ConfigError: settings or options are wrong.
        DataError: the data cannot be read.
        EnvironmentSetupError: this machine cannot render, or lacks a package.
    """
    from robot_learning.phases import cpu
    from robot_learning.phases.passes import Origin

    cpu.settle()
    settings = load_settings(options.config)
    if options.pretrained:
        settings = settings._replace(pretrained=options.pretrained)
    if options.scenes:
        held_out = options.scenes // 10
        settings = settings._replace(num_scenes=options.scenes, num_held_out=held_out)
    passes = train_passes.with_options(settings.phase.passes, options)
    settings = settings._replace(phase=_fitting(settings, passes, options.data))
    destination = train_passes.destination_of(options, NAME)
    with team_of(options) as team, destination.claimed(PHASE):
        assert destination.output is not None, 'there is an output folder'
        kept = destination.output / 'scenes'
        objective, data, batches = _prepared(options, settings, team, kept)
        origin = Origin(data.sources)
        training = train_passes.make_passes(
            objective, *batches, passes, destination, PHASE, origin, options.seed, team
        )
        progress = train_passes.run_passes(
            options, training, destination, PHASE, settings.phase, team
        )
        if not team.place.is_first:
            return {}
        from robot_learning.phases.image_text_data import counts

        sizes = {'training': counts(data.training), 'held_out': counts(data.held_out)}
        result = train_passes.result_of(options, destination, PHASE, progress, sizes, data.sources)
    train_passes.print_result(result, options.models)
    result['report'] = str(write_report(options, destination, settings.phase, result))
    return result


def _fitting(settings: Settings, passes: Any, data: Sequence[Path] | None) -> VisionLanguageConfig:
    """Return the settings of the phase with pictures square where they are not all rendered."""
    from robot_learning.commands.vision_language_data import WORLD

    phase = dataclasses.replace(settings.phase, passes=passes)
    is_world = all(str(path) == WORLD for path in data or [])
    if phase.model.width is None and not is_world:
        model = dataclasses.replace(phase.model, width=phase.model.height)
        phase = dataclasses.replace(phase, model=model)
    return phase


def _prepared(
    options: argparse.Namespace, settings: Settings, team: Team, kept: Path
) -> tuple[VisionLanguage, _Data, tuple[Any, Any]]:
    """Return what learns, and its data, read and as batches."""
    from robot_learning.commands import vision_language_data as source
    from robot_learning.language.tokens import Vocabulary
    from robot_learning.models.image_encoder import STRIDE
    from robot_learning.phases.image_text_data import ImageTextData, Texts, all_texts
    from robot_learning.phases.vision_language import VisionLanguage

    phase = settings.phase
    image = _pretrained(settings)
    size = source.size_of(phase.model, STRIDE if image is None else image.stride)
    data = _read(options, settings, size, kept)
    known = Vocabulary.of(
        (t for item in data.training for t in (*item.captions, *(p for p, _ in item.phrases))),
        phase.min_count,
    )
    vocabulary = Vocabulary(known.words, phase.num_buckets, phase.max_tokens, 1)
    texts = Texts(all_texts(data.training, data.held_out), vocabulary)
    description = None if image is None else image.describe()
    objective = VisionLanguage(phase, vocabulary, texts, options.seed, image, description)
    objective.module.to(team.device)
    batches = tuple(
        ImageTextData(part, texts, size.num_cells) for part in (data.training, data.held_out)
    )
    return objective, data, (batches[0], batches[1])


def _pretrained(settings: Settings) -> ClipImageEncoder | None:
    if not settings.pretrained:
        return None
    from robot_learning.models.clip_encoder import ClipImageEncoder

    model = settings.phase.model
    encoder = ClipImageEncoder.pretrained(
        settings.pretrained, model.image, is_frozen=settings.is_frozen
    )
    if model.height % encoder.stride or (model.width or 0) % encoder.stride:
        raise ConfigError(
            f'{PHASE}: pictures of {model.height} x {model.width} pixels, expected multiples of '
            f'{encoder.stride}, the patches of {settings.pretrained}. Change height and width.'
        )
    return encoder


def _read(options: argparse.Namespace, settings: Settings, size: Any, kept: Path) -> _Data:
    from robot_learning.commands import vision_language_data as source

    paths = options.data or [Path(source.WORLD)]
    data = _Data([], [], [])
    if any(str(path) == source.WORLD for path in paths):
        counts = {source.LEARNED: settings.num_scenes, source.HELD_OUT: settings.num_held_out}
        told = [
            source.told_scenes(count, options.seed, part, folder=kept)
            for part, count in counts.items()
        ]
        data.training.extend(source.world_items(told[0], size))
        data.held_out.extend(source.world_items(told[1], size))
        data.sources.append(f'{source.WORLD}, seed {options.seed}')
    for images in source.read_folders(paths):
        learned, held = images.split(options.held_out, options.seed)
        data.training.extend(source.folder_items(images, learned, size))
        data.held_out.extend(source.folder_items(images, held, size))
        data.sources.append(source.source_name(images, options.held_out, options.seed))
    return data
