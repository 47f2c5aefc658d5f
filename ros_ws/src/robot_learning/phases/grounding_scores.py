"""How well phrases were found in pictures whose objects are known."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from robot_learning.language.intent_scores import expected_calibration_error
from robot_learning.models.image_encoder import coordinates

_FOUND = 0.5  # Confidence from which a phrase counts as found.


class GroundedBatch(NamedTuple):
    """R phrases, each in its picture."""

    log_share: Tensor  # [R, N + 1], of cells and of nowhere, at temperature 1.
    is_target: Tensor  # [R, N + 1] bool
    meant: Tensor  # [R, 4], NaN where nothing is meant.
    box: Tensor  # [R, 4], that was found.
    is_inside: Tensor  # [R, N + 1] bool, cells in that box.

    def every_other(self, start: int) -> GroundedBatch:
        """Return half of them."""
        return GroundedBatch(*(part[start::2] for part in self))


class Scores(NamedTuple):
    """NaN where there is nothing to count."""

    grounding_accuracy: float  # Of things that are there: the box's centre is in theirs.
    grounding_overlap: float  # Mean intersection over union.
    found: float  # Share of those that are there, by confidence.
    refused: float  # Share of those that are not.
    calibration_error: float  # Of the confidence; where nothing is meant, any place is wrong.


def best_boxes(log_share: Tensor, boxes: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Return the box at each phrase's best cell, and which cells it holds.

    Args:
        log_share: [R, N + 1].
        boxes: [R, 4, N], of each cell.
        rows: of the map.
        columns: of the map.

    Returns:
        [R, 4], and [R, N + 1] bool; nowhere is in none, the best cell always.
    """
    best = log_share[:, :-1].argmax(1)  # [R]
    box = boxes.gather(2, best[:, None, None].expand(-1, 4, 1)).squeeze(2)
    x, y = coordinates(rows, columns).to(box).flatten(0, 1).T
    margin = 0.5 / rows  # Half a cell.
    left, upper, right, lower = (edge[:, None] for edge in box.unbind(1))
    is_inside = (x >= left - margin) & (x <= right + margin)
    is_inside = is_inside & (y >= upper - margin) & (y <= lower + margin)
    is_inside = is_inside.scatter(1, best[:, None], True)
    return box, torch.cat([is_inside, is_inside.new_zeros(len(box), 1)], dim=1)


def scores_of(found: GroundedBatch, temperature: float) -> Scores:
    """Score what was found.

    Args:
        found: phrases in pictures.
        temperature: of the cells' scores.
    """
    share = (found.log_share / temperature).softmax(-1)
    confidence = (share * found.is_inside).sum(1)
    centre = (found.box[:, :2] + found.box[:, 2:]) / 2
    is_there = ~found.meant.isnan().any(1)
    meant = found.meant
    is_right = is_there & (centre >= meant[:, :2]).all(1) & (centre <= meant[:, 2:]).all(1)
    both = torch.minimum(found.box[:, 2:], meant[:, 2:]) - torch.maximum(
        found.box[:, :2], meant[:, :2]
    )
    shared = both.clamp(min=0).prod(1)
    areas = [(box[:, 2:] - box[:, :2]).prod(1) for box in (found.box, meant)]
    overlap = shared / (areas[0] + areas[1] - shared)
    is_found = confidence >= _FOUND
    return Scores(
        _mean(is_right[is_there]),
        _mean(overlap[is_there]),
        _mean(is_found[is_there]),
        _mean(~is_found[~is_there]),
        expected_calibration_error(confidence.numpy(), is_right.numpy()),
    )


def _mean(values: Tensor) -> float:
    return float(values.float().mean()) if len(values) else math.nan
