"""What a map that knows the truth would find: the ceiling of retrieval on the bench.

A linear map from an object's true properties, shape, material and the interaction to statistics of
its sound is fitted to the training objects. Pictures stand for whatever of the truth they show. On
unseen objects it says how far sounds follow from what things are; and within one interaction,
where only the object is left to tell, how much of a score is owed to recognising the interaction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from robot_learning.evaluation.nsca_baselines import ridge
from robot_learning.evaluation.nsca_features import states_of
from robot_learning.evaluation.nsca_scores import retrieval
from robot_learning.log_mel import log_mel
from robot_learning.model_store import ModelStore
from robot_learning.models.nsca.published import load_published
from robot_learning.sense_formats import PROPERTIES
from robot_learning.simulation.bench_objects import CLASSES
from robot_learning.simulation.interactions import KINDS
from robot_learning.trajectory.paired_data import PairedSet
from robot_learning.trajectory.paired_folders import TABLE
from robot_learning.trajectory.paired_sources import open_paired
from robot_learning.trajectory.sample_table import read_table

Array = np.ndarray[Any, Any]
RANK = 5
VISIBLE = ('size', 'transparency', 'roughness')


def ceilings(data: Path, models: Path, model: str) -> list[dict[str, Any]]:
    """Return R@5 over chance among all recordings, and among those of one interaction.

    Args:
        data: folder of the bench, with splits train and val.
        models: store.
        model: version of phase full, its newest good one.
    """
    paired = open_paired(data, check_files=False)
    table = read_table(data / TABLE)
    train, held_out = paired.split('train'), paired.split('val')
    kinds = [
        np.array([KINDS.index(table[source].interaction) for source in side.sources])
        for side in (train, held_out)
    ]
    heard = [
        np.stack([_statistics(sample.sound) for sample in side]) for side in (train, held_out)
    ]
    mean, scale = heard[0].mean(0), heard[0].std(0) + 1e-6
    heard = [(rows - mean) / scale for rows in heard]
    pairs = {}
    for name, wanted in (('all properties, truth', PROPERTIES), ('visible, truth', VISIBLE)):
        truth = [
            _truth(side, kind, wanted) for side, kind in zip((train, held_out), kinds, strict=True)
        ]
        pairs[name] = ridge(truth[0], heard[0], truth[1]), heard[1]
    store = ModelStore(models)
    version = load_published(*store.load(model, store.serving(model)), model)
    pairs['learned'] = tuple(
        states - states.mean(0)
        for states in (states_of(version, held_out, (sense,)) for sense in ('vision', 'audio'))
    )
    return [
        {
            'map': name,
            'among': among,
            **_ratios(pictures, sounds, groups),
        }
        for name, (pictures, sounds) in pairs.items()
        for among, groups in (
            ('all recordings', np.zeros_like(kinds[1])),
            ('those of the same interaction', kinds[1]),
        )
    ]


def _ratios(pictures: Array, sounds: Array, groups: Array) -> dict[str, float]:
    """R@5 over chance of both directions, mean over groups."""
    found: dict[str, list[float]] = {'sound by picture': [], 'picture by sound': []}
    for group in np.unique(groups):
        seen, heard = pictures[groups == group], sounds[groups == group]
        itself = np.eye(len(seen), dtype=bool)
        for direction, query, gallery in (
            ('sound by picture', seen, heard),
            ('picture by sound', heard, seen),
        ):
            score = retrieval(query, gallery, itself, RANK)
            found[direction].append(score.value / score.chance)
    return {direction: float(np.mean(values)) for direction, values in found.items()}


def _truth(side: PairedSet, kinds: Array, wanted: tuple[str, ...]) -> Array:
    names = np.array([side.classes[label].split('_') for label in side.labels])  # [N, 2]
    parts = sorted({part for name in CLASSES for part in name.split('_')})
    is_of = (names[:, :, None] == np.array(parts)).any(1)
    columns = [PROPERTIES.index(name) for name in wanted]
    rows = np.stack([sample.properties for sample in side])[:, columns]
    return np.concatenate([rows, is_of, np.eye(len(KINDS))[kinds]], axis=1)


def _statistics(sound: Array) -> Array:
    bands = log_mel(sound)
    return np.concatenate([part(bands, axis=0) for part in (np.mean, np.max, np.std)])
