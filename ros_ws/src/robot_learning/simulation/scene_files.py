"""Scenes as one file, so that nobody renders the same ones twice."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_learning import durable_files
from robot_learning.errors import DataError
from robot_learning.simulation.rendered_scenes import Scene, VisibleObject, box_of

Array = np.ndarray[Any, Any]


def save(path: Path, scenes: Sequence[Scene]) -> None:
    """Write scenes of one size; the file appears complete or not at all."""
    labels = np.zeros((len(scenes), *scenes[0].image.shape[:2]), np.uint8)
    things = []
    for number, scene in enumerate(scenes):
        for place, thing in enumerate(scene.objects, 1):
            labels[number][thing.mask] = place
        things.append([(t.kind, t.color, t.distance_m, t.bearing_rad) for t in scene.objects])
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        images=np.stack([scene.image for scene in scenes]),
        labels=labels,
        things=np.array(json.dumps(things)),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    durable_files.replace(path, buffer.getvalue())


def load(path: Path) -> list[Scene]:
    """Read what `save` wrote.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            images, labels = stored['images'], stored['labels']
            things = json.loads(str(stored['things']))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f'{path}: holds no scenes ({error}). Delete it; they are rendered anew.'
        ) from error
    return [
        Scene(image, tuple(_object(thing, label == n) for n, thing in enumerate(row, 1)))
        for image, label, row in zip(images, labels, things, strict=True)
    ]


def _object(thing: Sequence[Any], mask: Array) -> VisibleObject:
    kind, color, distance_m, bearing_rad = thing
    return VisibleObject(kind, color, distance_m, bearing_rad, mask, box_of(mask))
