"""The newest picture of a camera: looked at when somebody asks about it, and only once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from robot_learning.errors import MessageError
from robot_learning.serving.grounding import Found, GroundingModel, Look

Array = np.ndarray[Any, Any]


class Answer(NamedTuple):
    """What was found in one picture."""

    stamp_ns: int  # Of the picture.
    height: int  # Pixels.
    width: int
    found: list[Found]  # One per phrase, in their order.


class Gaze:
    """Holds the newest picture.

    Args:
        model: looks at it.
        max_age_s: an older picture says nothing about now.
    """

    def __init__(self, model: GroundingModel, max_age_s: float):
        self._model, self._max_age_s = model, max_age_s
        self._read: Callable[[], Array] | None = None
        self._stamp_ns, self._came_s = -1, 0.0
        self._look: Look | None = None
        self.num_looks = 0  # Pictures that were looked at.

    def take(self, stamp_ns: int, came_s: float, read: Callable[[], Array]) -> None:
        """Take a picture in place of the one before.

        Args:
            stamp_ns: when it was taken.
            came_s: when it came, on a clock that only runs forwards.
            read: gives its pixels [H, W, 3] uint8, rgb; called at most once.
        """
        self._stamp_ns, self._came_s, self._read = stamp_ns, came_s, read
        self._look = None

    @property
    def is_new(self) -> bool:
        """Whether there is a picture that nobody has looked at."""
        return self._read is not None and self._look is None

    def find(self, phrases: Sequence[str], now_s: float) -> Answer:
        """Find phrases in the newest picture.

        Args:
            phrases: what to find.
            now_s: the same clock as `came_s`.

        Raises:
            MessageError: there is no picture, only an old one, or one of another kind.
            CommandError: a phrase is empty or too long.
        """
        if self._read is None:
            raise MessageError('camera: no picture has come yet. Look whether it publishes.')
        age_s = now_s - self._came_s
        if age_s > self._max_age_s:
            raise MessageError(
                f'camera: the newest picture came {age_s:.1f} s ago, expected at most '
                f'{self._max_age_s:g} s. Look whether it still publishes.'
            )
        if self._look is None:
            self._look = self._model.look(self._read())
            self.num_looks += 1
        found = self._model.find(self._look, phrases)
        return Answer(self._stamp_ns, self._look.height, self._look.width, found)
