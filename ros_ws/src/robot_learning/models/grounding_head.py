"""Where in a picture the thing is that a phrase names: text and map of features meet here.

A phrase gives three things: what to look for, a landmark ("the can" in "left of the can"), and
how place counts. First the landmark is attended to, with a preference for places ("the leftmost");
then every cell is scored by how much it looks like what is meant and how it lies to the landmark.
A phrase may name nothing that is there: then "nowhere" has the highest score.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.models.image_encoder import coordinates

SHARPNESS = 8.0  # Of "is left of": 1 / 8 of the picture's height makes it quite sure.
NUM_RELATIONS = 6


class Grounding(NamedTuple):
    """Scores of P phrases in each of B pictures, and boxes round what may be there."""

    log_share: Tensor  # [B, P, h w + 1], log probabilities of the cells; the last is nowhere.
    landmark: Tensor  # [B, P, h w], how much each cell is taken for the landmark.


class GroundingHead(nn.Module):
    """Scores cells for phrases.

    Args:
        num_features: D of a cell.
        num_text: size of a phrase's vector.
    """

    def __init__(self, num_features: int, num_text: int):
        super().__init__()
        self.target = nn.Linear(num_text, num_features)
        self.landmark = nn.Linear(num_text, num_features)
        self.preference = nn.Linear(num_text, 2)
        self.relation = nn.Linear(num_text, NUM_RELATIONS)
        self.nowhere = nn.Linear(num_text, 2)
        self.box = nn.Conv2d(num_features, 4, 1)

    def forward(self, cells: Tensor, text: Tensor) -> Grounding:
        """Score every cell for every phrase.

        Args:
            cells: [B, D, h, w].
            text: [B, P, num_text].
        """
        size, rows, columns = cells.shape[1:]
        flat = cells.flatten(2)  # [B, D, N]
        place = coordinates(rows, columns).to(cells).flatten(0, 1)  # [N, 2]
        scale = size**-0.5
        is_landmark = self.landmark(text) @ flat * scale  # [B, P, N]
        preferred = 10 * self.preference(text) @ place.T
        attention = (is_landmark + preferred).softmax(-1)
        relations = relation_features(place, attention @ place)  # [B, P, N, R]
        score = self.target(text) @ flat * scale
        score = score + (relations @ self.relation(text).unsqueeze(-1)).squeeze(-1)
        constant, by_landmark = self.nowhere(text).unbind(-1)
        nowhere = constant + by_landmark * torch.sigmoid(is_landmark.amax(-1))
        scores = torch.cat([score, nowhere.unsqueeze(-1)], dim=-1)
        return Grounding(F.log_softmax(scores, dim=-1), attention)

    def boxes(self, cells: Tensor) -> Tensor:
        """Return the box of whatever each cell belongs to (FCOS, arXiv 1904.01355).

        Args:
            cells: [B, D, h, w].

        Returns:
            [B, 4, h w]: left, upper, right and lower edge in units of the picture's height, from
            its centre; meaningless where nothing is.
        """
        reach = F.softplus(self.box(cells)).flatten(2)  # [B, 4, N], from the cell's centre.
        x, y = coordinates(*cells.shape[2:]).to(cells).flatten(0, 1).T
        left, upper, right, lower = reach.unbind(1)
        return torch.stack([x - left, y - upper, x + right, y + lower], dim=1)


def relation_features(place: Tensor, landmark: Tensor) -> Tensor:
    """Return how cells lie to landmarks: beside, above or below, and how far.

    Args:
        place: [N, 2] of the cells.
        landmark: [..., 2] of the landmarks.

    Returns:
        [..., N, NUM_RELATIONS].
    """
    offset = place - landmark.unsqueeze(-2)  # [..., N, 2]
    side = torch.tanh(SHARPNESS * offset)
    distance = offset.abs()
    return torch.cat([side, torch.tanh(SHARPNESS * distance), distance], dim=-1)
