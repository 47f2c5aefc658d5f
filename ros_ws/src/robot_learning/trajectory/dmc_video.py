"""Windows of video with the actions taken: DeepMind Control trajectories, or a robot's own.

Normalisation: frames are float32 in [0, 1]; actions are mapped so that the least and the largest
of each component are -1 and 1 (a component that never changes is 0); rewards are as recorded, NaN
where there was none. Step t of a window holds what was received on arriving and the action then
chosen, as everywhere in this project.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from robot_learning.errors import DataError, NotEnoughDataError
from robot_learning.trajectory.buffer import GAP_PERIODS
from robot_learning.trajectory.episode import Array, Episode
from robot_learning.trajectory.formats.foreign import regular_stamps, whole_episode

CAMERA = 'camera'
_MIN_LENGTH = 2
_FRAMES_AT_ONCE = 500
_LEAST_SPREAD = 1e-3  # Of videos in which nothing moves.


class Bounds(NamedTuple):
    """Least and largest of each action component, [A] float32."""

    low: Array
    high: Array

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> Bounds:
        """Return those of the actions that were executed; the last of an episode was not."""
        actions = np.concatenate([episode.action[:-1] for episode in episodes])
        return cls(actions.min(0), actions.max(0))

    def normalised(self, action: Array) -> Array:
        """Map actions [..., A] to [-1, 1]; what lies beyond is clipped."""
        span = self.high - self.low
        scaled = (action - self.low) / np.where(span > 0, span, 1) * 2 - 1
        return np.asarray(np.where(span > 0, np.clip(scaled, -1, 1), 0), np.float32)

    def restored(self, action: Array) -> Array:
        """Map [-1, 1] back to units of the robot."""
        return np.asarray(self.low + (action + 1) / 2 * (self.high - self.low), np.float32)


class DMCVideoDataset:
    """Windows of consecutive steps; none crosses a gap in time or shows a missing picture.

    `dataset[i]` holds `observations` [T, 3, S, S] float32, `actions` [T, A] float32, `rewards` [T]
    float32, `terminated` and `truncated` [T] bool.

    Args:
        episodes: with a field of pictures [T, H, W, 3] uint8.
        length: T, 2 or more; 16 to 32 are usual.
        stride: steps between the starts of two windows.
        image_size: S; pictures that are a whole number of times as large are averaged.
        bounds: of actions; None: those of these episodes.
        camera: name of the field.

    Raises:
        DataError: an episode has no such pictures, actions differ in size or are not finite.
        NotEnoughDataError: no stretch of steps is as long as a window.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        length: int = 16,
        stride: int = 1,
        image_size: int = 64,
        bounds: Bounds | None = None,
        camera: str = CAMERA,
    ):
        if length < _MIN_LENGTH:
            raise DataError(
                f'video: windows of {length} steps, expected at least {_MIN_LENGTH}. Raise length.'
            )
        _check(episodes, camera)
        self.length, self.image_size = length, image_size
        self._episodes = list(episodes)
        self._frames = [
            _resized(episode.observations[camera], image_size, _name(episode))
            for episode in episodes
        ]
        self.bounds = bounds or Bounds.of(self._episodes)
        self._starts = [
            (number, start)
            for number, episode in enumerate(self._episodes)
            for first, stop in _stretches(episode, camera)
            for start in range(first, stop - length + 1, stride)
        ]
        if not self._starts:
            longest = max((len(e) for e in self._episodes), default=0)
            raise NotEnoughDataError(
                f'video: {len(self._episodes)} episodes, the longest of {longest} steps, hold no '
                f'{length} steps without a gap. Record longer or lower length.'
            )

    @property
    def action_size(self) -> int:
        """A."""
        return len(self.bounds.low)

    @property
    def num_steps(self) -> int:
        """Steps of all episodes."""
        return sum(len(episode) for episode in self._episodes)

    def frame_statistics(self) -> tuple[Array, float]:
        """Return the mean frame [3, S, S] in [0, 1], and how far frames are from it (RMS)."""
        count = self.num_steps
        mean = sum(frames.sum(0, dtype=np.float64) for frames in self._frames) / count
        squares = sum(
            float(((part - mean) ** 2).sum())
            for frames in self._frames
            for part in np.array_split(frames, -(-len(frames) // _FRAMES_AT_ONCE))
        )
        spread = np.sqrt(squares / (count * mean.size))
        return (mean / 255).transpose(2, 0, 1).astype(np.float32), max(spread / 255, _LEAST_SPREAD)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> dict[str, Array]:
        number, start = self._starts[index]
        episode, part = self._episodes[number], slice(start, start + self.length)
        frames = self._frames[number][part].astype(np.float32) / 255
        return {
            'observations': np.ascontiguousarray(frames.transpose(0, 3, 1, 2)),
            'actions': self.bounds.normalised(episode.action[part]),
            'rewards': episode.reward[part].astype(np.float32),
            'terminated': episode.terminated[part],
            'truncated': episode.truncated[part],
        }


def episodes_of_arrays(where: str, arrays: dict[str, Any], period_ns: int) -> Iterator[Episode]:
    """Yield the episodes that plain arrays hold, one behind the other.

    Step t of such arrays holds what was seen, what was done then and what that earned; ours holds
    what was received on arriving. So rewards move one step on, and the last action of an episode,
    whose result was not recorded, counts as not executed.

    Args:
        where: what to call the source in errors.
        arrays: `observations` [T, C, H, W] or [T, H, W, C], uint8 or float in [0, 1]; `actions`
            [T, A]; `rewards` [T] if known; `dones` [T], or `terminated` and `truncated`.
        period_ns: between two steps.

    Raises:
        DataError: an array is missing or does not fit.
    """
    frames, actions = _pictures(where, arrays), _actions(where, arrays)
    count = len(actions)
    rewards = np.asarray(arrays.get('rewards', np.full(count, np.nan)), np.float32)
    ends = {
        name: np.asarray(arrays[name]).astype(bool)
        for name in ('dones', 'terminated', 'truncated')
        if name in arrays
    }
    lengths = {'observations': len(frames), 'actions': count, 'rewards': rewards.size}
    lengths |= {name: values.size for name, values in ends.items()}
    if len(set(lengths.values())) != 1:
        listed = ', '.join(f'{name} {length}' for name, length in lengths.items())
        raise DataError(f'{where}: arrays differ in length ({listed}), expected one step each.')
    rewards = rewards.reshape(count)
    ended = np.zeros(count, bool)
    for values in ends.values():
        ended |= values.reshape(count)
    stops = sorted({*(np.flatnonzero(ended) + 1).tolist(), count})
    for number, (start, stop) in enumerate(itertools.pairwise([0, *stops])):
        if stop - start < _MIN_LENGTH:
            continue
        arrived = np.concatenate([np.zeros(1, np.float32), rewards[start : stop - 1]])
        is_terminal = bool(ends.get('terminated', ended[:0])[start:stop].any())
        yield whole_episode(
            number,
            {CAMERA: frames[start:stop]},
            actions[start:stop],
            arrived,
            regular_stamps(stop - start, period_ns),
            where,
            is_terminal,
        )


def _pictures(where: str, arrays: dict[str, Any]) -> Array:
    """Return uint8 [T, H, W, 3]."""
    if 'observations' not in arrays:
        raise DataError(
            f'{where}: holds {", ".join(map(str, arrays)) or "nothing"}, expected observations, '
            f'actions, rewards and dones. Write it again.'
        )
    frames = np.asarray(arrays['observations'])
    if frames.ndim == 4 and frames.shape[1] == 3 and frames.shape[3] != 3:
        frames = frames.transpose(0, 2, 3, 1)
    if frames.ndim != 4 or frames.shape[3] != 3:
        raise DataError(
            f'{where}: observations have shape {list(frames.shape)}, expected pictures '
            f'[T, 3, H, W]. Write it again.'
        )
    if frames.dtype == np.uint8:
        return frames
    if frames.dtype.kind != 'f' or not np.isfinite(frames).all() or not _is_share(frames):
        raise DataError(
            f'{where}: observations are {frames.dtype} beyond [0, 1] or not finite, expected '
            f'uint8, or shares of full brightness. Write it again.'
        )
    return np.round(frames * 255).astype(np.uint8)


def _is_share(frames: Array) -> bool:
    return bool(frames.size and frames.min() >= 0 and frames.max() <= 1)


def _actions(where: str, arrays: dict[str, Any]) -> Array:
    actions = np.asarray(arrays.get('actions', ()))
    if actions.ndim != 2 or actions.dtype.kind not in 'biuf' or not len(actions):
        raise DataError(
            f'{where}: actions are {actions.dtype} {list(actions.shape)}, expected numbers '
            f'[T, A]. Write it again.'
        )
    return actions.astype(np.float32)


def _check(episodes: Sequence[Episode], camera: str) -> None:
    sizes = set()
    for episode in episodes:
        frames = episode.observations.get(camera)
        if frames is None:
            known = ', '.join(episode.observations) or 'nothing'
            raise DataError(
                f'{_name(episode)}: has no field {camera!r}, only {known}. Record pictures '
                f'(collect --dmc, or --camera), or name the field that holds them.'
            )
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
            raise DataError(
                f'{_name(episode)}: {camera} is {frames.dtype} {list(frames.shape)}, expected '
                f'uint8 pictures [T, H, W, 3]. Name another field.'
            )
        if not np.isfinite(episode.action[:-1]).all():
            raise DataError(
                f'{_name(episode)}: actions are not finite, expected numbers. Leave it out.'
            )
        sizes.add(episode.action.shape[1])
    if len(sizes) > 1:
        raise DataError(
            f'video: episodes have actions of {sorted(sizes)} components, expected one robot. '
            f'Name the data of one.'
        )


def _resized(frames: Array, size: int, name: str) -> Array:
    height, width = frames.shape[1:3]
    if (height, width) == (size, size):
        return frames
    times = height // size
    if height != width or times < 1 or height % size:
        raise DataError(
            f'{name}: pictures are {height} x {width}, expected {size} x {size} or a whole number '
            f'of times as large. Record them so, or set image_size.'
        )
    blocks = frames.reshape(len(frames), size, times, size, times, 3)
    return np.asarray(np.round(blocks.mean((2, 4))), np.uint8)


def _stretches(episode: Episode, camera: str) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) of steps that follow each other and show a picture."""
    usable = episode.present[camera]
    steps = np.diff(episode.stamp_ns)
    gap = GAP_PERIODS * float(np.median(steps)) if len(steps) else 0.0
    joined = usable[1:] & usable[:-1] & (steps <= gap)
    for start, stop in itertools.pairwise([0, *(np.flatnonzero(~joined) + 1), len(episode)]):
        if usable[start]:
            yield int(start), int(stop)


def _name(episode: Episode) -> str:
    return f'episode {episode.episode} of {episode.attributes.get("source", "the data")}'
