"""Made-up states of a driving robot with the action that a simple rule takes: for first trials.

A state is eight numbers, measured with an error of 0.3 % of each range:

- `clearance_front`, `clearance_left`, `clearance_right`: 0.1 to 3.5 m
- `goal_distance`: 0 to 5 m; `goal_cos`, `goal_sin`: of its bearing
- `speed`: -0.1 to 0.5 m/s; `turn_rate`: -1.5 to 1.5 rad/s

The rule sees the true state; the first line that holds decides:

1. nearer than 0.4 m to the goal: `stop`
2. less than 0.3 m of clearance in front: `reverse`
3. less than 0.8 m in front: turn to the side with more clearance
4. the goal lies more than 0.5 rad to a side: turn there
5. else: `forward`

Of all labels 1 % are replaced by another one, drawn at random: no classifier can be right there.
"""

from __future__ import annotations

import numpy as np

from robot_learning.trajectory.labelled_pairs import Array, LabelledPairs, checked

ACTION_NAMES = ('forward', 'reverse', 'stop', 'turn_left', 'turn_right')
STATE_NAMES = (
    'clearance_front',
    'clearance_left',
    'clearance_right',
    'goal_distance',
    'goal_cos',
    'goal_sin',
    'speed',
    'turn_rate',
)
_MEASUREMENT_ERROR = 0.003  # Standard deviation as a part of each range.
_WRONG_LABELS = 0.01


def synthetic_pairs(num_pairs: int = 10_000, seed: int = 0) -> LabelledPairs:
    """Draw states, let the rule act, then blur both; equal seeds give equal pairs."""
    rng = np.random.default_rng(seed)
    clearance = rng.uniform(0.1, 3.5, (num_pairs, 3))
    # A quarter of all robots stand before something, for decisions that free driving seldom asks.
    clearance[: num_pairs // 4, 0] = rng.uniform(0.1, 1.0, num_pairs // 4)
    distance = 5 * rng.beta(1.0, 1.5, num_pairs)
    bearing = rng.uniform(-np.pi, np.pi, num_pairs)
    action = drive_rule(clearance, distance, bearing)
    state = np.column_stack(
        [
            clearance,
            distance,
            np.cos(bearing),
            np.sin(bearing),
            rng.uniform(-0.1, 0.5, num_pairs),
            rng.uniform(-1.5, 1.5, num_pairs),
        ]
    )
    state += _MEASUREMENT_ERROR * np.ptp(state, axis=0) * rng.normal(size=state.shape)
    is_wrong = rng.random(num_pairs) < _WRONG_LABELS
    shift = rng.integers(1, len(ACTION_NAMES), num_pairs)
    action = np.where(is_wrong, (action + shift) % len(ACTION_NAMES), action)
    order = rng.permutation(num_pairs)
    labels = np.asarray(ACTION_NAMES)[action[order]]
    source = f'synthetic, {num_pairs} pairs, seed {seed}'
    return checked(state[order], labels, STATE_NAMES, source)


def drive_rule(clearance: Array, distance: Array, bearing: Array) -> Array:
    """Return the rule's actions [N] as indices into `ACTION_NAMES`.

    Args:
        clearance: [N, 3] metres in front, to the left and to the right.
        distance: [N] metres to the goal.
        bearing: [N] radians, positive to the left.
    """
    front, left, right = clearance.T
    forward, reverse, stop, turn_left, turn_right = range(len(ACTION_NAMES))
    return np.select(
        [
            distance < 0.4,
            front < 0.3,
            (front < 0.8) & (left >= right),
            front < 0.8,
            bearing > 0.5,
            bearing < -0.5,
        ],
        [stop, reverse, turn_left, turn_right, turn_left, turn_right],
        forward,
    )
