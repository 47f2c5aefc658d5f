"""Cheap features to stand beside learned ones: pixels, gradients, colours, MFCC, mean readings."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.fft import dct

from robot_learning.log_mel import log_mel, onset

Array = np.ndarray[Any, Any]
_NUM_CEPSTRA = 20
_CELLS, _BINS = 8, 9  # Of histograms of gradients.


def pixels(image: Array | None, side: int = 16) -> Array:
    """Colours of a picture [H, W, 3] uint8 on a coarse grid, [side * side * 3]."""
    assert image is not None, 'required before'
    return _means(image.astype(np.float32) / 255, side).reshape(-1)


def gradients(image: Array | None) -> Array:
    """Histograms of oriented gradients (Dalal & Triggs 2005), 8 x 8 cells of 9 bins.

    Cells are normalised in blocks of 2 x 2.
    """
    assert image is not None, 'required before'
    gray = image.astype(np.float32).mean(2) / 255
    down, right = np.gradient(gray)
    size = np.hypot(down, right)
    place = (np.arctan2(down, right) % np.pi) / np.pi * _BINS
    low = place.astype(int) % _BINS
    share = place - np.floor(place)
    bins = np.arange(_BINS)
    near = (low[..., None] == bins) * (size * (1 - share))[..., None]
    maps = near + ((low[..., None] + 1) % _BINS == bins) * (size * share)[..., None]
    cells = _means(maps, _CELLS)
    blocks = np.concatenate(
        [cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], axis=2
    )
    blocks = blocks / (np.linalg.norm(blocks, axis=2, keepdims=True) + 1e-4)
    result: Array = blocks.reshape(-1).astype(np.float32)
    return result


def cepstra(sound: Array | None) -> Array:
    """Mean and spread over time of 20 MFCC, of their changes, and of the onset, [82]."""
    assert sound is not None, 'required before'
    bands = log_mel(sound)
    coefficients = dct(bands, norm='ortho', axis=1)[:, :_NUM_CEPSTRA]
    changes = np.diff(coefficients, axis=0, prepend=coefficients[:1])
    rises = onset(bands)[:, None]
    parts = (coefficients, changes, rises)
    features = [fold(part, axis=0) for part in parts for fold in (np.mean, np.std)]
    result: Array = np.concatenate(features).astype(np.float32)
    return result


def readings(values: Array | None) -> Array:
    """Mean, spread and last of proprioception [T, P]."""
    assert values is not None, 'required before'
    result: Array = np.concatenate([values.mean(0), values.std(0), values[-1]]).astype(np.float32)
    return result


def ridge(train: Array, truth: Array, test: Array, penalty: float = 10.0) -> Array:
    """Predict columns of `truth` [N, K] for `test` by ridge regression; NaN rows are left out."""
    mean, scale = train.mean(0), train.std(0) + 1e-6
    x, asked = (train - mean) / scale, (test - mean) / scale
    found = np.full((len(test), truth.shape[1]), np.nan)
    for column in range(truth.shape[1]):
        is_known = np.isfinite(truth[:, column])
        if is_known.sum() < 2:
            continue
        centre, target = x[is_known].mean(0), truth[is_known, column]
        rows = x[is_known] - centre
        gram = rows @ rows.T + penalty * np.eye(len(rows))  # Dual: rows are fewer than columns.
        weight = rows.T @ np.linalg.solve(gram, target - target.mean())
        found[:, column] = (asked - centre) @ weight + target.mean()
    return found


def _means(maps: Array, side: int) -> Array:
    """Mean over side x side cells, [H, W, C] to [side, side, C]."""
    rows = np.array_split(np.arange(maps.shape[0]), side)
    columns = np.array_split(np.arange(maps.shape[1]), side)
    down = np.stack([maps[row].mean(0) for row in rows])
    result: Array = np.stack([down[:, column].mean(1) for column in columns], axis=1)
    return result
