"""Steps drawn the more often the more they surprised (Schaul et al. 2016, arXiv 1511.05952).

The proportional variant, section 3.3: P(i) = p_i^alpha / sum of p_k^alpha, where p_i is the size
of the last error at step i and alpha the exponent; a step that was never drawn has the largest
p so far.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from robot_learning.errors import NotEnoughDataError
from robot_learning.trajectory.episode import Array

_SMALLEST = 1e-6  # Added to every error, so that no step is never drawn again.


class Drawn(NamedTuple):
    """Places of a batch and how they came into it."""

    place: Array  # [B]
    selection_ratio: Array  # [B] float32, P(i) to that of a uniform draw, 1/N.


class Priorities:
    """Which places of a ring of steps are drawn how often.

    Args:
        capacity: of the ring.
        exponent: alpha; 1 draws in proportion to the errors, near 0 almost uniformly.
    """

    def __init__(self, capacity: int, exponent: float):
        self._tree = _SumTree(capacity)
        self._capacity = capacity
        self._exponent = exponent
        self._largest = 1.0  # Of all errors so far.
        self._num_known = 0  # Steps of the ring, appended so far, that were taken in.
        self._num_drawable = 0

    def take_in(self, has_next: Array, num_appended: int) -> None:
        """Give new steps of the ring the largest priority, and none to those without successor.

        Args:
            has_next: [capacity] bool, by place.
            num_appended: steps that were ever put into the ring.
        """
        if num_appended == self._num_known:
            return
        # The step that was the newest one may have got its successor since.
        first = max(self._num_known - 1, num_appended - self._capacity, 0)
        places = np.arange(first, num_appended) % self._capacity
        is_drawable = has_next[places]
        self._num_drawable += int(is_drawable.sum() - (self._tree.get(places) > 0).sum())
        self._tree.set(places, np.where(is_drawable, self._largest**self._exponent, 0.0))
        self._num_known = num_appended

    def fill(self, values: Array, has_next: Array, num_appended: int, largest: float) -> None:
        """Be as another one was over these steps; those without a value get the largest."""
        self._largest = largest
        known = values if len(values) == self._capacity else np.zeros(self._capacity)
        known = np.where(known > 0, known, largest**self._exponent)
        self._tree.set(np.arange(self._capacity), np.where(has_next, known, 0.0))
        self._num_drawable = int(has_next.sum())
        self._num_known = num_appended

    def draw(self, batch_size: int, rng: np.random.Generator) -> Drawn:
        """Draw places, one out of each of `batch_size` equal parts of the sum.

        Raises:
            NotEnoughDataError: no step has a successor yet.
        """
        total = self._tree.total
        if total <= 0:
            raise NotEnoughDataError(
                f'buffer: holds {min(self._num_known, self._capacity)} steps, none of which has '
                f'a successor. Record at least two consecutive steps of an episode.'
            )
        targets = (np.arange(batch_size) + rng.random(batch_size)) / batch_size * total
        places = self._tree.find(targets)
        ratio = self._tree.get(places) * (self._num_drawable / total)
        return Drawn(places, ratio.astype(np.float32))

    def update(self, places: Array, error: Array) -> None:
        """Remember how wrong the last prediction was at places that were drawn."""
        priority = np.abs(error).astype(np.float64) + _SMALLEST
        self._largest = max(self._largest, float(priority.max()))
        self._tree.set(places, priority**self._exponent)

    def state(self) -> dict[str, Any]:
        """Return plain data for `restored`."""
        packed = zlib.compress(self._tree.values.tobytes(), 1)
        return {
            'values': base64.b64encode(packed).decode(),
            'exponent': self._exponent,
            'largest': self._largest,
        }


def restored(state: Mapping[str, Any], has_next: Array, num_appended: int) -> Priorities:
    """Return priorities that go on from `state`, bit by bit, over the ring it belongs to.

    Where the ring holds other steps than then, they get the largest priority or none.
    """
    priorities = Priorities(len(has_next), state['exponent'])
    values = np.frombuffer(zlib.decompress(base64.b64decode(state['values'])), np.float64)
    priorities.fill(values, has_next, num_appended, state['largest'])
    return priorities


class _SumTree:
    """Numbers by place, and the sum of every pair, pair of pairs and so on above them.

    A sum is always that of the two numbers below it, never adjusted by a difference: so it does
    not drift, and follows from the numbers alone.
    """

    def __init__(self, capacity: int):
        self._depth = max(1, (capacity - 1).bit_length())
        self._first = 1 << self._depth  # Of the leaves; node i has the children 2i and 2i + 1.
        self._capacity = capacity
        self._nodes = np.zeros(2 * self._first)

    @property
    def total(self) -> float:
        """The sum of all."""
        return float(self._nodes[1])

    @property
    def values(self) -> Array:
        """All numbers, [capacity]."""
        return self._nodes[self._first : self._first + self._capacity]

    def get(self, places: Array) -> Array:
        """Return the numbers at places."""
        values: Array = self._nodes[places + self._first]
        return values

    def set(self, places: Array, values: Array) -> None:
        """Write numbers; of a place that is named twice the last one counts."""
        nodes = places + self._first
        self._nodes[nodes] = values
        for _ in range(self._depth):
            nodes = nodes >> 1
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def find(self, targets: Array) -> Array:
        """Return where the running sum of the numbers passes each target, below `total`."""
        nodes, rest = np.ones(len(targets), np.intp), targets.copy()
        for _ in range(self._depth):
            nodes = 2 * nodes
            left = self._nodes[nodes]
            # Rounding must not lead to where nothing is.
            goes_right = (rest >= left) & (self._nodes[nodes + 1] > 0)
            rest -= np.where(goes_right, left, 0.0)
            nodes += goes_right
        places: Array = nodes - self._first
        return places
