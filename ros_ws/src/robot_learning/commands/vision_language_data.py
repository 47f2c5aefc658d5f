"""What the dual encoder learns from and is measured on: rendered scenes, folders, sets by name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from robot_learning.errors import DataError
from robot_learning.language import scene_descriptions
from robot_learning.language.scene_descriptions import Phrase
from robot_learning.models.dual_encoder import DualEncoderConfig
from robot_learning.models.image_encoder import SIZE_STEP
from robot_learning.models.picture_scaling import scaled, scaled_width
from robot_learning.phases.image_text_data import NOTHING, Item, Thing
from robot_learning.simulation import scene_files
from robot_learning.simulation.rendered_scenes import RenderedScenes, Scene, SceneConfig
from robot_learning.trajectory import captioned_images
from robot_learning.trajectory.captioned_images import Captioned, CaptionedImages

Array = np.ndarray[Any, Any]
WORLD = 'world'  # As --data: scenes of the embedded world.
LEARNED, HELD_OUT, MEASURED = range(3)  # Scenes of one seed that do not mix.
_SHOWN = 0.25  # Of a cell that an object covers, so that the cell shows it.


class Told(NamedTuple):
    """A scene with what is said about it."""

    scene: Scene
    captions: tuple[str, ...]
    phrases: tuple[Phrase, ...]


class Sized(NamedTuple):
    """What pictures are brought to."""

    height: int
    width: int
    stride: int  # Pixels per cell of the model's map.

    @property
    def num_cells(self) -> int:
        """Of the map."""
        return (self.height // self.stride) * (self.width // self.stride)


def told_scenes(
    count: int,
    seed: int,
    part: int,
    num_captions: int = 3,
    num_phrases: int = 12,
    config: SceneConfig | None = None,
    folder: Path | None = None,
) -> list[Told]:
    """Render scenes and say something about each.

    Args:
        count: how many.
        seed: the same gives the same scenes and words.
        part: LEARNED, HELD_OUT or MEASURED; no scene is in two of them.
        num_captions: of each scene.
        num_phrases: of each scene.
        config: of the scenes.
        folder: where they are kept, so that the next time nothing is rendered; None: nowhere.

    Raises:
        EnvironmentSetupError: this machine cannot render.
        DataError: a file in the folder is damaged.
    """
    rng = random.Random(f'{seed}:{part}')
    return [
        Told(
            scene,
            tuple(scene_descriptions.caption(scene.objects, rng) for _ in range(num_captions)),
            tuple(scene_descriptions.phrases(scene.objects, rng, num_phrases)),
        )
        for scene in _scenes(count, seed, part, config or SceneConfig(), folder)
    ]


def world_items(told: Sequence[Told], size: Sized) -> list[Item]:
    """Return scenes as the phase takes them."""
    return [
        Item(
            scaled(each.scene.image, size.height, size.width),
            each.captions,
            each.captions[0],
            tuple(
                Thing(cells_of(thing.mask, size), _stretched(thing.box, thing.mask.shape, size))
                for thing in each.scene.objects
            ),
            tuple((p.text, NOTHING if p.target is None else p.target) for p in each.phrases),
        )
        for each in told
    ]


def folder_items(images: CaptionedImages, rows: Sequence[Captioned], size: Sized) -> list[Item]:
    """Return pictures of a folder as the phase takes them.

    Raises:
        DataError: one cannot be read.
    """
    return [
        Item(scaled(images.load(row.name), size.height, size.width), row.captions, row.group)
        for row in rows
    ]


def cells_of(mask: Array, size: Sized) -> Array:
    """Return which cells [N] show an object whose pixels are `mask` [H, W]; at least one does."""
    columns, rows = size.width // size.stride, size.height // size.stride
    small = Image.fromarray(mask.astype(np.float32)).resize((columns, rows), Image.Resampling.BOX)
    covered = np.asarray(small).ravel()
    cells: Array = covered >= min(_SHOWN, covered.max())
    return cells


def size_of(config: DualEncoderConfig, stride: int, scene: SceneConfig | None = None) -> Sized:
    """Return what pictures are brought to; without a width, that of the scenes' aspect."""
    scene = scene or SceneConfig()
    width = config.width or scaled_width(scene.height, scene.width, config.height, SIZE_STEP)
    return Sized(config.height, width, stride)


def read_folders(paths: Sequence[Path]) -> list[CaptionedImages]:
    """Read all that is named but the world.

    Raises:
        DataError: one cannot be read, or two have the same name.
    """
    found = [captioned_images.read(path) for path in paths if str(path) != WORLD]
    names = [images.name for images in found]
    if len(set(names)) < len(names):
        raise DataError(f'--data: found {", ".join(names)}, expected each once. Rename a folder.')
    return found


def source_name(images: CaptionedImages, share: float, seed: int) -> str:
    """Return how a version's provenance names data; `held_out_of` reads it."""
    digest = f'sha256 {images.sha256}, ' if images.sha256 else ''
    return f'{images.name}, {digest}held out {share:g} with seed {seed}'


def unseen(images: CaptionedImages, sources: Sequence[str]) -> tuple[list[Captioned], str]:
    """Return the pictures that a version did not learn from, and why these, for people.

    Args:
        images: to measure on.
        sources: of the version's provenance.
    """
    marked = [row for row in images.rows if row.split in ('val', 'test')]
    if marked:
        return marked, 'those marked val or test'
    for source in sources:
        if images.sha256 and f'sha256 {images.sha256},' in source:
            share, _, seed = source.partition(', held out ')[2].partition(' with seed ')
            return images.split(float(share), int(seed))[1], 'those held out while learning'
    return list(images.rows), 'all; the version has not learned from this set'


def _scenes(
    count: int, seed: int, part: int, config: SceneConfig, folder: Path | None
) -> list[Scene]:
    settings = json.dumps(dataclasses.asdict(config), sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
    path = folder / f'{WORLD}-{seed}-{part}-{count}-{digest}.npz' if folder else None
    if path is not None and path.is_file():
        return scene_files.load(path)
    drawer = np.random.default_rng([seed, part])
    renderer = RenderedScenes(config)
    try:
        scenes = [renderer.draw(drawer) for _ in range(count)]
    finally:
        renderer.close()
    if path is not None:
        scene_files.save(path, scenes)
    return scenes


def _stretched(
    box: tuple[float, float, float, float], shape: tuple[int, ...], size: Sized
) -> tuple[float, float, float, float]:
    """Return a box in the scaled picture, whose aspect may differ."""
    stretch = size.width / size.height * shape[0] / shape[1]
    return box[0] * stretch, box[1], box[2] * stretch, box[3]
