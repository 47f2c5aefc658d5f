"""The arrays of one episode, or of a piece of one, and the order of time in them.

Step t holds the observation o_t, the reward and the ends received on arriving at t,
`is_first`, and the action chosen from o_t. An episode of n actions has n + 1 steps; the
action of its last step was never executed and is the stop command.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass
class Episode:
    """Consecutive steps of one episode. All arrays have length T along their first axis.

    A gap is a step at which a field had no reading young enough: `present` is False there,
    the value repeats the last one known (zeros before the first), and the age says how old it is.
    """

    episode: int  # Number in its recording; pieces of one episode share it.
    offset: int  # Steps of the episode before this piece; 0: the piece holds its start.
    stamp_ns: Array  # [T] int64, moment of the control step.
    observations: dict[str, Array]  # [T, ...] each, contract shapes and dtypes.
    field_stamp_ns: dict[str, Array]  # [T] int64 each, measured stamp of the reading; -1: none yet.
    present: dict[str, Array]  # [T] bool each; False marks a gap.
    action: Array  # [T, A] float32, executed, contract units.
    commanded: Array  # [T, A] float32, before the gate; equal to `action` when no gate stood there.
    altered: Array  # [T] bool, the gate changed the action.
    log_prob: Array  # [T] float32 of `commanded`, NaN where no policy drew it.
    model_version: Array  # [T] int64, -1 where no model acted.
    reward: Array  # [T] float32, received on arriving; NaN where no task gave one.
    terminated: Array  # [T] bool, the task ended on arriving here.
    truncated: Array  # [T] bool, watching stopped on arriving here.
    is_first: Array  # [T] bool.
    is_complete: bool = False  # The piece holds the last step of its episode.
    attributes: dict[str, Any] = field(default_factory=dict)  # Counts, seed, source, randomisation.

    def __len__(self) -> int:
        return len(self.stamp_ns)
