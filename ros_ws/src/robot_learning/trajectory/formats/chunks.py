"""Episodes on their way into a data set: piece by piece, so that memory stays small."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from robot_learning.trajectory.episode import Episode, join


class Chunk(NamedTuple):
    """Consecutive steps of one trajectory; every step is in exactly one chunk."""

    trajectory: int  # Position among the exported ones, from 0.
    begins: bool  # Holds the trajectory's first step that there is.
    ends: bool  # Holds the last one.
    steps: Episode


class Transitions(NamedTuple):
    """Steps with an action, and for each the step at which it arrived."""

    trajectory: int
    begins: bool
    before: Episode  # [N], may be empty.
    after: Episode  # [N], `before` one step later.
    last: Episode | None  # [1], set where the trajectory ends; no action left it.


def chunks(pieces: Iterable[Episode]) -> Iterator[Chunk]:
    """Number the trajectories that the pieces belong to, and mark their ends."""
    number = -1
    held: Chunk | None = None
    for piece in pieces:
        begins = not is_continued(held.steps if held else None, piece)
        if held is not None:
            yield held._replace(ends=begins)
        number += begins
        held = Chunk(number, begins, False, piece)
    if held is not None:
        yield held._replace(ends=True)


def is_continued(previous: Episode | None, piece: Episode) -> bool:
    """Tell whether `piece` goes on with the trajectory of the piece before it."""
    if previous is None or not previous.is_followed_by(piece):
        return False
    return bool(previous.attributes.get('session') == piece.attributes.get('session'))


class Pairing:
    """Turns chunks into transitions, holding each newest step until its successor comes."""

    def __init__(self) -> None:
        self._held: Episode | None = None

    def pair(self, chunk: Chunk) -> Transitions:
        """Return all transitions whose both steps are known now."""
        held = None if chunk.begins else self._held
        steps = chunk.steps if held is None else join([held, chunk.steps])
        count = len(steps) - 1
        last = steps.slice(count, count + 1)
        self._held = last
        return Transitions(
            chunk.trajectory,
            chunk.begins,
            steps.slice(0, count),
            steps.slice(1, count + 1),
            last if chunk.ends else None,
        )


class Headers:
    """What each trajectory says about itself, gathered while its chunks pass."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []

    def note(self, chunk: Chunk) -> None:
        """Take what a chunk says; what later chunks say wins."""
        steps = chunk.steps
        if chunk.begins:
            entry: dict[str, Any] = {'episode': steps.episode, 'offset': steps.offset}
            self._entries.append({**entry, 'length': 0, 'attributes': {}})
        entry = self._entries[-1]
        entry['length'] += len(steps)
        entry['is_complete'] = steps.is_complete
        entry['attributes'].update(json.loads(json.dumps(steps.attributes, default=_plain)))

    @property
    def entries(self) -> list[dict[str, Any]]:
        """One plain mapping per trajectory: episode, offset, length, is_complete, attributes."""
        return self._entries

    @property
    def num_partial(self) -> int:
        """Trajectories of which the start or the end is missing."""
        return sum(entry['offset'] > 0 or not entry['is_complete'] for entry in self._entries)


def num_bytes(steps: Episode) -> int:
    """Return the size of the observations and actions of `steps` in memory."""
    return sum(values.nbytes for values in (*steps.observations.values(), steps.action))


def _plain(value: Any) -> Any:
    """Turn numpy values in an episode's attributes into JSON."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f'attribute of type {type(value).__name__} cannot be stored as JSON')
