"""Demonstrations of others become episodes of ours; what they do not say is filled in openly."""

from __future__ import annotations

from typing import Any

import numpy as np

from robot_learning.trajectory.episode import Array, Episode

DEFAULT_PERIOD_NS = 50_000_000  # Where neither data nor contract say how fast steps follow.


def whole_episode(
    number: int,
    observations: dict[str, Array],
    action: Array,
    reward: Array,
    stamp_ns: Array,
    source: str,
    terminated: bool = False,
) -> Episode:
    """Return a complete episode in which every field was read at every step.

    Args:
        number: of the episode.
        observations: field -> [T, ...].
        action: [T, A]; that of the last step was not executed.
        reward: [T], received on arriving; NaN where unknown.
        stamp_ns: [T].
        source: the data set's path.
        terminated: the task ended with the last step; otherwise it is truncated there.
    """
    count = len(action)
    is_last = np.arange(count) == count - 1
    attributes: dict[str, Any] = {'source': source, 'reason': 'end_of_demonstration'}
    return Episode(
        episode=number,
        offset=0,
        stamp_ns=stamp_ns,
        observations=observations,
        field_stamp_ns={name: stamp_ns.copy() for name in observations},
        present={name: np.ones(count, bool) for name in observations},
        action=np.asarray(action, np.float32),
        commanded=np.array(action, np.float32),
        altered=np.zeros(count, bool),
        log_prob=np.full(count, np.nan, np.float32),
        model_version=np.full(count, -1, np.int64),
        reward=np.asarray(reward, np.float32),
        terminated=is_last & terminated,
        truncated=is_last & (not terminated),
        is_first=np.arange(count) == 0,
        is_complete=True,
        attributes=attributes,
    )


def regular_stamps(count: int, period_ns: int) -> Array:
    """Return `count` stamps from 0 on, one period apart."""
    return np.arange(count, dtype=np.int64) * period_ns
