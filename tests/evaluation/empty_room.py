"""A world for tests whose answers are known: a point that moves as commanded in an empty room."""

import numpy as np
from robot_learning.evaluation.layouts import LayoutChoice
from robot_learning.evaluation.navigation import Arrival
from robot_learning.evaluation.run_record import MapScene

TIME_LIMIT_STEPS = 40


class EmptyRoom:
    """Actions are velocities in m/s along x and y; leaving the 4 x 4 m room is a collision."""

    control_period_s = 0.2

    def reset(self, layout):
        rng = np.random.default_rng(layout.seed)
        start = layout.start or (*rng.uniform(-1.5, -0.5, 2), 0.0)
        goal = layout.goal or tuple(rng.uniform(0.5, 1.5, 2))
        self._start, self._goal = start, np.asarray(goal, float)
        self._place, self._steps = np.asarray(start[:2], float), 0
        return self._observe()

    def step(self, action):
        self._place = self._place + np.asarray(action) * self.control_period_s
        self._steps += 1
        success = bool(np.hypot(*(self._goal - self._place)) < 0.3)
        crashed = bool(np.abs(self._place).max() > 2)
        late = self._steps >= TIME_LIMIT_STEPS
        reason = 'goal' if success else 'collision' if crashed else 'time_limit' if late else ''
        terminated = success or crashed
        return Arrival(
            self._observe(), float(success), terminated, late and not terminated, success, reason
        )

    def position(self):
        return tuple(self._place)

    def scene(self):
        return MapScene((2, 2), [], [], self._start, tuple(self._goal), 0.3)

    def shortest_path(self):
        return np.stack([np.asarray(self._start[:2]), self._goal])

    def _observe(self):
        return {'place': self._place.astype(np.float32), 'goal': self._goal.astype(np.float32)}


class Straight:
    """Drives straight at the goal at 1 m/s."""

    def __init__(self, world):
        del world

    def reset(self, seed):
        del seed

    def act(self, observation):
        offset = observation['goal'] - observation['place']
        return offset / np.hypot(*offset)


class Noisy:
    """Drives at random, from the layout's seed."""

    def __init__(self, world):
        del world

    def reset(self, seed):
        self._rng = np.random.default_rng(seed)

    def act(self, observation):
        del observation
        return self._rng.normal(0.5, 1.0, 2)


class Away:
    """Drives away from the goal until it hits the wall."""

    def __init__(self, world):
        del world

    def reset(self, seed):
        del seed

    def act(self, observation):
        del observation
        return np.array([-1.0, 0.0])


def choices(num_layouts):
    return [LayoutChoice(seed) for seed in range(num_layouts)]
