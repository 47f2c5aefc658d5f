"""Which interactions a data set consists of: objects, splits, and matched interventions.

Every object is in one split only, so what is held out is held out by object. An intervention is
four recordings: an object as it is; the same, one property changed; the first again with other
noise of the sensors; and another object that shares the property's value with the first.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from robot_learning.sense_formats import PROPERTIES
from robot_learning.simulation.bench_objects import (
    CLASSES,
    BenchObject,
    draw_object,
    opposite,
    with_property,
)
from robot_learning.simulation.interactions import KINDS, Kind

# In which interactions a property shows most.
SHOWN_BY: dict[str, tuple[Kind, ...]] = {
    'hardness': ('strike', 'drop'),
    'weight': ('lift', 'shake', 'push'),
    'size': ('lift', 'squeeze', 'push'),
    'animacy': ('strike', 'push', 'squeeze'),
    'rigidity': ('squeeze', 'lift'),
    'transparency': ('push', 'lift', 'strike'),
    'roughness': ('push', 'squeeze'),
    'temperature': ('lift', 'squeeze', 'shake'),
    'containment': ('shake',),
}
_OBJECTS_PER_SEED = 1_000_000
_FIRST_INTERVENTION = 500_000  # Objects of interventions are no others' of the same seed.


class Plan(NamedTuple):
    """One recording to make."""

    split: str  # 'train', 'val' or 'interventions'.
    item: BenchObject
    kind: Kind
    seed: int  # Of place, moods and light.
    noise_seed: int = 0
    pair: str = ''  # Matched recordings share it.
    role: str = ''  # 'before', 'after', 'repeat' or 'other'.
    changed: str = ''  # The property that a pair changes.


def plan_set(
    num_interactions: int, num_interventions: int, seed: int, val_share: float = 0.2
) -> list[Plan]:
    """Return the recordings of a set; equal arguments give equal sets.

    Objects take part in all six interactions each, classes in turn.

    Args:
        num_interactions: recordings of the splits 'train' and 'val' together.
        num_interventions: matched changes, four recordings each; properties in turn.
        seed: objects, places and noise follow from it.
        val_share: part of the objects held out.
    """
    rng = np.random.default_rng([seed, 701])
    num_objects = math.ceil(num_interactions / len(KINDS))
    num_held = round(val_share * num_objects)
    held = set(rng.permutation(num_objects)[:num_held].tolist())
    order = np.concatenate(
        [rng.permutation(len(CLASSES)) for _ in range(num_objects // len(CLASSES) + 1)]
    )
    first = seed * _OBJECTS_PER_SEED
    plans = []
    for number in range(num_objects):
        item = draw_object(first + number, CLASSES[order[number]])
        split = 'val' if number in held else 'train'
        plans += [Plan(split, item, kind, first + number) for kind in KINDS]
    del plans[num_interactions:]
    for number in range(num_interventions):
        plans += _intervention(number, first + _FIRST_INTERVENTION + 2 * number)
    return plans


def _intervention(number: int, seed: int) -> list[Plan]:
    name = PROPERTIES[number % len(PROPERTIES)]
    kinds = SHOWN_BY[name]
    kind = kinds[number // len(PROPERTIES) % len(kinds)]
    item = draw_object(seed)
    changed = with_property(item, name, opposite(name, item.value(name)))
    other = with_property(draw_object(seed + 1), name, item.value(name))
    pair = f'{number:05d}'
    return [
        Plan('interventions', item, kind, seed, 0, pair, 'before', name),
        Plan('interventions', changed, kind, seed, 0, pair, 'after', name),
        Plan('interventions', item, kind, seed, 1, pair, 'repeat', name),
        Plan('interventions', other, kind, seed, 0, pair, 'other', name),
    ]
