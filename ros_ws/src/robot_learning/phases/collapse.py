"""Parts of a generative model that fall out of use while it learns: found, named, answered.

Running means tell whether a divergence, components, slots or codes are in use. What is not gets
an answer: the weight that works against it is changed by a factor of two, up to eight, and goes
back by as much once all is well.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

import torch
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from robot_learning.config import STRICT

_LOG = logging.getLogger(__name__)
_DECAY = 0.98
_FACTOR, _MOST = 2.0, 8.0


@dataclass(frozen=True, config=STRICT)
class CollapseConfig:
    """What counts as fallen out of use."""

    check_updates: PositiveInt = 100  # Between two looks.
    least_kl: NonNegativeFloat = 0.5  # Nats per frame, once beta is above a half.
    least_components: PositiveInt = 3  # In use; fewer if the model has fewer.
    most_overlap: NonNegativeFloat = 0.95  # Mean cosine of two slots' attention.
    least_perplexity: NonNegativeFloat = 4.0  # Of the codebook.


class Limit(NamedTuple):
    """When something has collapsed, and what is done then."""

    least: float | None  # Below it.
    most: float | None  # Above it.
    answer: str  # In words.


class CollapseWatch:
    """Follows named numbers; `state` [N, 3] is all it remembers: mean, weight, factor."""

    def __init__(self, limits: Mapping[str, Limit], check_updates: int):
        self._limits, self._check_updates = dict(limits), check_updates
        self.state = torch.zeros(len(limits), 3, dtype=torch.float64)
        self.state[:, 2] = 1.0
        self.count = torch.zeros((), dtype=torch.int64)

    def follow(self, numbers: Mapping[str, float]) -> list[str]:
        """Take the numbers of one update; return the names of what has just been answered."""
        for row, name in enumerate(self._limits):
            if name in numbers:
                self.state[row, 0] = _DECAY * self.state[row, 0] + (1 - _DECAY) * numbers[name]
                self.state[row, 1] = _DECAY * self.state[row, 1] + (1 - _DECAY)
        self.count += 1
        if int(self.count) % self._check_updates:
            return []
        return [name for row, name in enumerate(self._limits) if self._answered(row, name)]

    def factor(self, name: str) -> float:
        """Return how much the answer to `name` is stronger than at first."""
        return float(self.state[list(self._limits).index(name), 2])

    @property
    def collapsed(self) -> list[str]:
        """Name what is out of use by the running means."""
        return [name for row, name in enumerate(self._limits) if self._is_beyond(row, name)]

    def parts(self) -> dict[str, Tensor]:
        """Return what a checkpoint needs."""
        return {'collapse': self.state, 'collapse_count': self.count}

    def _mean(self, row: int) -> float:
        return float(self.state[row, 0] / self.state[row, 1].clamp_min(1e-12))

    def _is_beyond(self, row: int, name: str) -> bool:
        least, most, _ = self._limits[name]
        mean = self._mean(row)
        is_known = float(self.state[row, 1]) > 0
        return is_known and (
            (least is not None and mean < least) or (most is not None and mean > most)
        )

    def _answered(self, row: int, name: str) -> bool:
        factor = float(self.state[row, 2])
        if not self._is_beyond(row, name):
            self.state[row, 2] = max(factor / _FACTOR, 1.0)
            return False
        least, most, answer = self._limits[name]
        expected = f'at least {least}' if least is not None else f'at most {most}'
        _LOG.warning(
            'aime: %s has collapsed: mean %.3g, expected %s. %s',
            name,
            self._mean(row),
            expected,
            answer,
        )
        self.state[row, 2] = min(factor * _FACTOR, _MOST)
        return True
