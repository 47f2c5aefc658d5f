"""The arrays of one episode, or of a piece of one, and the order of time in them.

Step t holds the observation o_t, the reward and the ends received on arriving at t,
`is_first`, and the action chosen from o_t. An episode of n actions has n + 1 steps; the
action of its last step was never executed and is the stop command.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from robot_learning.errors import DataError

Array = np.ndarray[Any, Any]

FLAT = (
    'stamp_ns',
    'action',
    'commanded',
    'altered',
    'log_prob',
    'model_version',
    'reward',
    'terminated',
    'truncated',
    'is_first',
    'exploring',
    'intervention',
)  # Arrays of an episode that do not depend on the contract's fields.
LATER = ('exploring', 'intervention')  # Those that recordings of before do not have: False.
PER_FIELD = ('observations', 'field_stamp_ns', 'present')  # Mappings of field name to array.


@dataclass
class Episode:
    """Consecutive steps of one episode. All arrays have length T along their first axis.

    A gap is a step at which a field had no reading young enough: `present` is False there,
    the value repeats the last one known (zeros before the first), and the age says how old it is.
    A step at which a required field was missing is not there at all: stamps jump there.
    """

    episode: int  # Number in its recording; pieces of one episode share it.
    offset: int  # Steps of the episode before this piece; 0: the piece holds its start.
    stamp_ns: Array  # [T] int64, moment of the control step.
    observations: dict[str, Array]  # [T, ...] each, contract shapes and dtypes.
    field_stamp_ns: dict[str, Array]  # [T] int64 each, measured stamp; -1: no reading yet.
    present: dict[str, Array]  # [T] bool each; False marks a gap.
    action: Array  # [T, A] float32, executed, contract units.
    commanded: Array  # [T, A] float32, before the gate; without a gate equal to `action`.
    altered: Array  # [T] bool, the gate changed the action.
    log_prob: Array  # [T] float32 of `commanded`, NaN where no policy drew it.
    model_version: Array  # [T] int64, -1 where no model acted.
    reward: Array  # [T] float32, received on arriving; NaN where no task gave one.
    terminated: Array  # [T] bool, the task ended on arriving here.
    truncated: Array  # [T] bool, watching stopped on arriving here.
    is_first: Array  # [T] bool.
    # [T] bool, the policy drew `commanded` at random instead of taking its best action.
    exploring: Array = field(default_factory=lambda: np.zeros(0, bool))
    # [T] bool, a person gave `commanded`, not the policy.
    intervention: Array = field(default_factory=lambda: np.zeros(0, bool))
    is_complete: bool = False  # The piece holds the last step of its episode.
    attributes: dict[str, Any] = field(
        default_factory=dict
    )  # Counts, seed, source, randomisation.

    def __post_init__(self) -> None:
        for name in LATER:
            if not getattr(self, name).size:
                setattr(self, name, np.zeros(len(self), bool))

    def __len__(self) -> int:
        return len(self.stamp_ns)

    @property
    def field_age_s(self) -> dict[str, Array]:
        """[T] float32 each, age of the reading at its step; infinite where there was none yet."""
        return {
            name: np.where(stamp < 0, np.inf, (self.stamp_ns - stamp) * 1e-9).astype(np.float32)
            for name, stamp in self.field_stamp_ns.items()
        }

    def is_followed_by(self, piece: Episode) -> bool:
        """Tell whether `piece` holds the steps right behind this piece's."""
        end = self.offset + len(self)
        return not self.is_complete and (piece.episode, piece.offset) == (self.episode, end)

    def slice(self, start: int, stop: int) -> Episode:
        """Return steps `start` to `stop` (exclusive) as a piece that shares memory with this."""
        stop = min(stop, len(self))
        parts: dict[str, Any] = {name: getattr(self, name)[start:stop] for name in FLAT}
        for name in PER_FIELD:
            parts[name] = {f: values[start:stop] for f, values in getattr(self, name).items()}
        ends = self.is_complete and stop == len(self)
        return replace(self, offset=self.offset + start, is_complete=ends, **parts)


def join(pieces: Sequence[Episode]) -> Episode:
    """Return consecutive pieces of one episode as one piece; the last one's attributes win.

    Raises:
        DataError: the pieces belong to different episodes or steps are missing between them.
    """
    first = pieces[0]
    if len(pieces) == 1:
        return first
    for before, piece in itertools.pairwise(pieces):
        if not before.is_followed_by(piece):
            raise DataError(
                f'episode {first.episode}: piece of episode {piece.episode} begins at step '
                f'{piece.offset}, expected step {before.offset + len(before)} of episode '
                f'{first.episode}. Join only consecutive pieces of one episode.'
            )
    parts: dict[str, Any] = {
        name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in FLAT
    }
    for name in PER_FIELD:
        parts[name] = {
            f: np.concatenate([getattr(piece, name)[f] for piece in pieces])
            for f in getattr(first, name)
        }
    attributes: dict[str, Any] = {}
    for piece in pieces:
        attributes.update(piece.attributes)
    return replace(first, is_complete=pieces[-1].is_complete, attributes=attributes, **parts)
