"""Which action a recording without commands stands for: the motion that followed.

Bags of a driven robot seldom hold its commands. An action field may then name an observation
field with `derive_from`, and the action of step t becomes what happened between t and t + 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from robot_learning.contract import ObservationField
from robot_learning.message_types import default_part

Array = np.ndarray[Any, Any]


def derive_action(source: ObservationField, now: Array, after: Array, elapsed_s: float) -> Array:
    """Return the action [A] of the step at which `now` was read.

    A `pose2d` source gives the forward speed and yaw rate that carry one pose into the next
    along a circular arc: the way out for logs whose twist is empty or in unknown units. Any
    other source, for example `twist2d`, gives what was measured at the next step.

    Args:
        source: the contract's description of the readings.
        now: reading of step t.
        after: reading of step t + 1.
        elapsed_s: time between the measured stamps of the two readings. Without any there is
            no speed: NaN.
    """
    if (source.part or default_part(source.type)) != 'pose2d':
        return np.asarray(after, np.float32)
    if elapsed_s <= 0:
        return np.full(2, np.nan, np.float32)
    turn = math.remainder(float(after[2]) - float(now[2]), 2 * math.pi)
    dx, dy = float(after[0]) - float(now[0]), float(after[1]) - float(now[1])
    heading = float(now[2]) + turn / 2  # A circular arc's chord points half the turn ahead.
    chord = math.cos(heading) * dx + math.sin(heading) * dy
    half = turn / 2
    arc = chord * half / math.sin(half) if abs(half) > 1e-6 else chord
    return np.array((arc / elapsed_s, turn / elapsed_s), np.float32)
