"""All pictures of one NSCA version on held-out samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from robot_learning.evaluation import nsca_pictures, nsca_suites
from robot_learning.evaluation.nsca_features import (
    Sequences,
    latents_of,
    senses_in,
    sequences_of,
    states_of,
)
from robot_learning.models.nsca.published import Published
from robot_learning.trajectory.paired_data import PairedSet

Array = np.ndarray[Any, Any]
_MOST_SAMPLES, _NUM_QUERIES, _NUM_FOUND = 200, 6, 5


def drawn(published: Published, held_out: PairedSet, horizon: int = 10) -> dict[str, bytes]:
    """Return PNGs by file name: maps of latents, retrieval, reliability, imagined futures.

    Args:
        published: the version; what its phase or the data do not allow is left out.
        held_out: samples.
        horizon: steps to imagine.

    Raises:
        DataError: the data hold none of the version's senses.
    """
    chosen = held_out.subset(range(min(len(held_out), _MOST_SAMPLES)))
    files = {
        f'map_{sense}.png': nsca_pictures.embedding_map(
            latents_of(published, chosen, sense), chosen.labels, chosen.classes
        )
        for sense in senses_in(published, chosen)
    }
    has = set(chosen.modalities)
    if published.has_states and {'image', 'sound'} <= has:
        files['retrieval.png'] = _retrieval(published, chosen)
    if published.kind == 'nsca_full' and {'frames', 'action'} <= has:
        sequences = sequences_of(published, chosen)
        found = nsca_suites.dynamics(published, sequences, horizon, seed=0)
        curve = found.reliability
        files['reliability.png'] = nsca_pictures.reliability_curve(
            curve.expected, curve.observed, curve.error
        )
        files['errors.png'] = nsca_pictures.errors_by_horizon(found.own, found.still)
        files['imagined.png'] = _future(published, sequences, horizon)
    return files


def _retrieval(published: Published, chosen: PairedSet) -> bytes:
    """Show pictures found by sounds: the picture of the sound first, then the nearest."""
    seen = _directions(states_of(published, chosen, ('vision',)))
    heard = _directions(states_of(published, chosen, ('audio',)))
    rows = np.linspace(0, len(chosen) - 1, min(_NUM_QUERIES, len(chosen))).astype(int)
    nearest = np.argsort(-(heard[rows] @ seen.T), axis=1)[:, :_NUM_FOUND]
    images: list[Any] = [sample.image for sample in chosen]
    labels = chosen.labels
    return nsca_pictures.retrieval_sheet(
        [images[row] for row in rows],
        [[images[place] for place in line] for line in nearest],
        [
            [bool(labels[place] == labels[row]) for place in line]
            for row, line in zip(rows, nearest, strict=True)
        ],
    )


def _future(published: Published, sequences: Sequences, horizon: int) -> bytes:
    length = sequences.states.shape[1]
    begin = length // 3
    steps = min(horizon, length - begin - 1)
    future = published.model.world.imagine(
        sequences.states[:1, : begin + 1],
        sequences.actions[:1, : begin + 1],
        sequences.actions[:1, begin : begin + steps],
    )
    return nsca_pictures.imagined_beside_real(
        sequences.states[0].numpy(), future.mean[0].numpy(), future.log_std[0].exp().numpy(), begin
    )


def _directions(rows: Array) -> Array:
    centred = rows - rows.mean(0)
    result: Array = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    return result
