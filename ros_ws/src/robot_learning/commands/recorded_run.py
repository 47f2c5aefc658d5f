"""What a run's episodes and bag tell afterwards: returns, pictures, latencies."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.errors import DataError
from robot_learning.evaluation.run_record import SensorFrame
from robot_learning.trajectory.bags.bag_reader import open_bag
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.signals import DECISIONS
from robot_learning.trajectory.store import TrajectoryStore

Array = np.ndarray[Any, Any]

_COLOURFUL = 80  # Spread of red, green and blue, 0 to 255; walls and floor stay below.
_LOG = logging.getLogger(__name__)


class RecordedEpisode(NamedTuple):
    """One episode of a run, in the order of driving."""

    session: str
    source_episode: int  # The simulator's number in its session; -1: unknown.
    num_steps: int
    last_step: int  # Control steps of the run at its end.
    episode_return: float
    success: bool
    is_complete: bool
    counts: dict[str, dict[str, int]]  # Topic -> what became of its messages, zeros left out.


def recorded_episodes(episodes: Path) -> list[RecordedEpisode]:
    """Read the returns of all episodes of all sessions; observations stay on disk."""
    result: list[RecordedEpisode] = []
    total = 0
    for episode in TrajectoryStore(episodes).episodes(fields=()):
        total += len(episode)
        result.append(
            RecordedEpisode(
                session=str(episode.attributes['session']),
                source_episode=int(episode.attributes.get('source_episode', -1)),
                num_steps=len(episode),
                last_step=total,
                episode_return=float(np.nansum(episode.reward)),
                success=bool(episode.attributes.get('success', False)),
                is_complete=episode.is_complete,
                counts=episode.attributes.get('counts', {}),
            )
        )
    return result


def message_counts(episodes: Sequence[RecordedEpisode]) -> dict[str, dict[str, int]]:
    """Add up what became of the messages of each topic over all episodes."""
    total: dict[str, dict[str, int]] = {}
    for episode in episodes:
        for topic, counts in episode.counts.items():
            sums = total.setdefault(topic, {})
            for name, count in counts.items():
                sums[name] = sums.get(name, 0) + count
    return {topic: total[topic] for topic in sorted(total)}


def sensor_frames(episodes: Path, contract: RobotContract, count: int) -> list[SensorFrame]:
    """Pick steps with a camera image, or at least a scan, evenly over the run."""
    store = TrajectoryStore(episodes)
    paths = store.segments()
    wanted = [name for name in ('camera', 'scan', 'pose', 'goal') if name in contract.observation]
    frames = []
    for index in _evenly(len(paths), 2 * count):
        try:
            pieces = store.read_segment(paths[index], wanted)
        except DataError:  # Damaged or pruned meanwhile; another segment will do.
            continue
        frame = _best_frame(pieces, contract)
        if frame is not None:
            frames.append(frame)
    with_image = [frame for frame in frames if frame.image is not None]
    chosen = with_image or frames
    return [chosen[i] for i in _evenly(len(chosen), count)]


def _evenly(length: int, count: int) -> list[int]:
    """Return up to `count` indices spread evenly over 0 to `length` - 1."""
    if not length:
        return []
    return [int(i) for i in np.unique(np.linspace(0, length - 1, count).astype(int))]


def _best_frame(pieces: Sequence[Episode], contract: RobotContract) -> SensorFrame | None:
    """Take the step with the most colourful image, which shows objects; else any scan."""
    candidates: list[tuple[float, int, Episode, int]] = []
    for piece in pieces:
        if 'scan' not in piece.observations:
            continue
        seen = piece.present['scan'].copy()
        if 'camera' in piece.present and (seen & piece.present['camera']).any():
            seen &= piece.present['camera']
        for step in map(int, np.flatnonzero(seen)):
            colour = 0.0
            if 'camera' in piece.present and piece.present['camera'][step]:
                image = piece.observations['camera'][step].astype(np.int16)
                colour = float(np.mean(image.max(2) - image.min(2) > _COLOURFUL))
            candidates.append((colour, len(candidates), piece, step))
    if not candidates:
        return None
    _, _, piece, step = max(candidates)
    return _frame(piece, step, contract)


def _frame(piece: Episode, step: int, contract: RobotContract) -> SensorFrame:
    spec = contract.observation['scan']
    beams = spec.shape[0]
    has_image = 'camera' in piece.present and bool(piece.present['camera'][step])
    bearing = distance = None
    if 'pose' in piece.observations and 'goal' in piece.observations:
        pose, goal = piece.observations['pose'][step], piece.observations['goal'][step]
        offset = goal[:2] - pose[:2]
        bearing = float(np.arctan2(offset[1], offset[0]) - pose[2])
        distance = float(np.hypot(*offset))
    version = int(piece.model_version[step])
    driver = f'version {version}' if version >= 0 else 'no model yet'
    return SensorFrame(
        caption=f'episode {piece.episode}, step {piece.offset + step}, {driver}',
        image=np.array(piece.observations['camera'][step]) if has_image else None,
        ranges=np.array(piece.observations['scan'][step]),
        beam_angles=np.linspace(
            spec.angle_min or 0.0, 6.28 if spec.angle_max is None else spec.angle_max, beams
        ),
        range_max=spec.range_max or 3.5,
        goal_bearing=bearing,
        goal_distance_m=distance,
    )


def recorded_latency_ms(bags: Path) -> Array:
    """Read from the bags of a run how long each decision took [N] ms.

    Bags that were not closed in order, as after a kill, are passed over.
    """
    latencies: list[float] = []
    for folder in sorted(path for path in bags.glob('*') if path.is_dir()):
        try:
            with open_bag(folder) as reader:
                wanted = [c for c in reader.connections if c.topic.endswith(f'/{DECISIONS}')]
                for connection, _, data in reader.messages(wanted) if wanted else ():
                    message: Any = reader.deserialize(data, connection.msgtype)
                    latencies.append(message.latency_ms)
        except DataError as error:
            _LOG.warning('%s', error)
    values = np.asarray(latencies, float)
    return values[values >= 0]  # -1: unknown.
