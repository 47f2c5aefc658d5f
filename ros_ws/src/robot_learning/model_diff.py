"""What changed between two versions of a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_learning.model_store import Array, ModelStore


@dataclass(frozen=True)
class TensorChange:
    """How one tensor differs between two versions; NaN where shapes differ."""

    name: str
    before: tuple[int, ...] | None  # Shape; None: only in the other version.
    after: tuple[int, ...] | None
    relative_change: float  # Norm of the difference over the norm before.
    max_change: float  # Largest absolute difference.


@dataclass(frozen=True)
class ModelDiff:
    """What differs between two versions."""

    tensors: tuple[TensorChange, ...]
    manifest: dict[str, tuple[Any, Any]]  # Dotted key -> value before and after.


def compare(store: ModelStore, name: str, before: int, after: int) -> ModelDiff:
    """Compare two versions tensor by tensor and their manifests key by key."""
    old, old_manifest = store.load(name, before)
    new, new_manifest = store.load(name, after)
    tensors = tuple(_change(key, old.get(key), new.get(key)) for key in sorted({*old, *new}))
    flat_old, flat_new = _flatten(old_manifest), _flatten(new_manifest)
    keys = sorted({*flat_old, *flat_new})
    changed = {key: (flat_old.get(key), flat_new.get(key)) for key in keys}
    return ModelDiff(tensors, {k: pair for k, pair in changed.items() if pair[0] != pair[1]})


def _change(name: str, before: Array | None, after: Array | None) -> TensorChange:
    shapes = [None if t is None else tuple(t.shape) for t in (before, after)]
    if before is None or after is None or before.shape != after.shape:
        return TensorChange(name, shapes[0], shapes[1], math.nan, math.nan)
    difference = after.astype(np.float64) - before
    norm = float(np.linalg.norm(before))
    relative = float(np.linalg.norm(difference)) / norm if norm else math.inf
    largest = float(np.abs(difference).max(initial=0))
    return TensorChange(name, shapes[0], shapes[1], relative if largest else 0.0, largest)


def _flatten(value: Any, prefix: str = '') -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, entry in value.items():
        flat |= _flatten(entry, f'{prefix}.{key}' if prefix else str(key))
    return flat
