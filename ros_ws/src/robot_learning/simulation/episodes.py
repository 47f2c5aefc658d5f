"""One episode after the other in one world: numbers, seeds, returns, beginnings and ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from robot_learning.simulation.observed_world import ObservedWorld
from robot_learning.simulation.world import World

# Seeds of drawn episodes stay below this; evaluation layouts lie above and are never met.
SEED_LIMIT = 10_000_000
_SEED_STRIDE = 100_003  # Prime, so that neighbouring runs share no early episodes.
_RECENT = 100


class Arrival(NamedTuple):
    """What the task says at one control step; step 0 is the first observation."""

    stamp_ns: int
    episode: int
    step: int
    reward: float
    terminated: bool
    truncated: bool
    success: bool


class EpisodeEdge(NamedTuple):
    """Beginning or end of an episode."""

    stamp_ns: int
    episode: int
    seed: int
    terminated: bool
    truncated: bool
    success: bool
    reason: str
    info: dict[str, Any]


class Episodes:
    """Runs a world from episode to episode; the k-th layout follows from the first seed."""

    def __init__(self, world: World | ObservedWorld, seed: int):
        self._world = world
        self._first_seed = seed
        self.number = -1
        self._return = 0.0
        self._arrival: Arrival
        self._reason = ''
        self._recent_successes: deque[bool] = deque(maxlen=_RECENT)

    @property
    def arrival(self) -> Arrival:
        """The newest control step."""
        return self._arrival

    @property
    def is_over(self) -> bool:
        """The task has ended the episode, or time is up."""
        return self._arrival.terminated or self._arrival.truncated

    @property
    def success_rate(self) -> float:
        """Share of successes among the last 100 episodes that the task ended; 0 before any."""
        recent = self._recent_successes
        return sum(recent) / len(recent) if recent else 0.0

    def begin(
        self,
        seed: int | None = None,
        robot_pose: Sequence[float] | None = None,
        goal_pose: Sequence[float] | None = None,
    ) -> EpisodeEdge:
        """Reset the world and stand at step 0 of the next episode.

        Raises:
            SimulationError: the poses are not free; the world stays as it was.
        """
        world = self._world
        if seed is None:
            seed = episode_seed(self._first_seed, self.number + 1)
        world.begin(seed, robot_pose, goal_pose)
        self.number += 1
        self._return, self._reason = 0.0, ''
        self._arrival = Arrival(world.time_ns, self.number, 0, 0.0, False, False, False)
        layout = world.layout
        info = {
            'randomisation': world.randomisation,
            'start': layout.robot,
            'goal': world.task.goal,
            'objects': layout.objects,
        }
        return EpisodeEdge(world.time_ns, self.number, seed, False, False, False, '', info)

    def arrive(self) -> Arrival:
        """Take stock after one control period."""
        world = self._world
        outcome = world.judge()
        self._return += outcome.reward
        self._reason = outcome.reason
        self._arrival = Arrival(
            world.time_ns,
            self.number,
            world.num_steps,
            outcome.reward,
            outcome.terminated,
            outcome.truncated,
            outcome.success,
        )
        if self.is_over:
            self._recent_successes.append(outcome.success)
        return self._arrival

    def end(self, reason: str = 'operator') -> EpisodeEdge:
        """Describe the end; an episode that the task did not end is cut off for `reason`."""
        world, arrival = self._world, self._arrival
        info = {
            'return': self._return,
            'num_steps': arrival.step,
            'summary': world.task.summary(),
            'randomisation': world.randomisation,
        }
        return EpisodeEdge(
            world.time_ns,
            self.number,
            world.seed,
            arrival.terminated,
            not arrival.terminated,
            arrival.success,
            self._reason or reason,
            info,
        )


def episode_seed(first_seed: int, episode: int) -> int:
    """Return the layout seed of the k-th episode of a run."""
    return (first_seed * _SEED_STRIDE + episode) % SEED_LIMIT
