"""Writes a LeRobot data set, version 3: parquet tables, videos and what describes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.contract import RobotContract
from robot_learning.errors import NotEnoughDataError
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.formats import lerobot_layout as layouts
from robot_learning.trajectory.formats import lerobot_statistics as statistics
from robot_learning.trajectory.formats import lerobot_tables as tables
from robot_learning.trajectory.formats.chunks import Chunk, Headers, Pairing, Transitions
from robot_learning.trajectory.formats.losses import Tally
from robot_learning.trajectory.formats.video import CameraVideo, Codec, Crf, VideoConfig

FORMAT = 1
_MEGABYTE = 1 << 20
_ROW_GROUP_BYTES = 8 * _MEGABYTE
_INDICES = ('timestamp', 'frame_index', 'episode_index', 'index', 'task_index')


@dataclass(frozen=True, config=STRICT)
class LeRobotConfig:
    """How a data set is written."""

    fps: PositiveFloat | None = None  # Unset: the control rate of the contract.
    task: str | None = None  # Unset: what the episode says, else the contract's task.
    use_videos: bool = True  # Else every picture is a PNG in the table: exact and large.
    codec: Codec = 'auto'
    crf: Crf | None = None  # Unset: as the codec needs it.
    max_table_bytes: PositiveInt = 100 * _MEGABYTE


class LeRobotWriter:
    """Writes one data set; `close` completes it."""

    def __init__(self, path: Path, contract: RobotContract, config: LeRobotConfig):
        (path / 'meta' / 'episodes' / 'chunk-000').mkdir(parents=True)
        self._path = path
        self._contract = contract
        self._config = config
        rate = config.fps or contract.control_rate_hz
        self._fps: float = int(rate) if rate == int(rate) else rate
        self._layout = layouts.plan(contract, config.use_videos)
        video = VideoConfig(codec=config.codec, crf=config.crf)
        self._videos = {
            field: CameraVideo(path, camera.key, camera.shape, self._fps, video)
            for field, camera in self._layout.cameras.items()
            if camera.is_video
        }
        self._data = _Table(path, layouts.DATA_PATH, config.max_table_bytes)
        self._final = _Table(path, layouts.FINAL_STEPS, 1 << 62)
        self._pairing = Pairing()
        self._headers = Headers()
        self._tally = Tally()
        self._tasks: dict[str, int] = {}
        self._features: dict[str, Any] = {}
        self._rows: list[dict[str, Any]] = []  # One per episode.
        self._statistics: list[statistics.Statistics] = []
        self._gathered = statistics.EpisodeStatistics()
        self._open: dict[str, Any] | None = None  # The row of the open episode.
        self._num_frames = 0
        self._worst_drift_s = 0.0

    def add(self, chunk: Chunk) -> None:
        """Write one chunk."""
        self._headers.note(chunk)
        self._tally.note(chunk)
        transitions = self._pairing.pair(chunk)
        if transitions.begins:
            self._open = None
        if len(transitions.before):
            if self._open is None:
                self._begin(transitions.before)
            self._write(transitions)
        if transitions.last is not None:
            self._end(transitions.last)

    def close(self) -> tuple[list[str], dict[str, Any]]:
        """Complete the files; return what LeRobot does not hold, and facts.

        Raises:
            NotEnoughDataError: no episode has an action.
        """
        if not self._rows:
            raise NotEnoughDataError(
                'lerobot: no episode has two steps, so there is no action to learn from. '
                'Choose longer episodes.'
            )
        self._data.close()
        self._final.close()
        facts = {field: video.close() for field, video in self._videos.items()}
        rows = [
            {**row, 'meta/episodes/chunk_index': 0, 'meta/episodes/file_index': 0}
            for row in self._rows
        ]
        self._flatten_statistics(rows)
        pq.write_table(pa.Table.from_pylist(rows), self._path / layouts.EPISODES)
        pq.write_table(tables.tasks_table(list(self._tasks)), self._path / layouts.TASKS)
        whole = statistics.to_lists(statistics.combine(self._statistics))
        _write_json(self._path / layouts.STATS, whole)
        _write_json(self._path / layouts.INFO, self._info())
        _write_json(self._path / layouts.OURS, self._ours())
        return self._losses(facts), {'fps': self._fps, 'videos': facts}

    def abort(self) -> None:
        """Give up; what was written is worthless."""
        self._data.close()
        self._final.close()
        for video in self._videos.values():
            video.abort()

    def _begin(self, before: Episode) -> None:
        place = self._data.begin()
        task = self._task(before)
        self._tasks.setdefault(task, len(self._tasks))
        self._open = {
            'episode_index': len(self._rows),
            'tasks': [task],
            'length': 0,
            'data/chunk_index': place[0],
            'data/file_index': place[1],
            'dataset_from_index': self._num_frames,
        }
        self._gathered = statistics.EpisodeStatistics()
        self._first_ns = int(before.stamp_ns[0])
        for video in self._videos.values():
            video.begin()

    def _write(self, transitions: Transitions) -> None:
        assert self._open is not None
        before, row = transitions.before, self._open
        columns = self._layout.columns(before, transitions.after)
        count = len(before)
        frame_index = row['length'] + np.arange(count)
        ideal_s = frame_index / self._fps
        measured_s = (before.stamp_ns - self._first_ns) * 1e-9
        self._worst_drift_s = max(self._worst_drift_s, float(np.abs(measured_s - ideal_s).max()))
        columns |= {
            'timestamp': ideal_s.astype(np.float32),
            'frame_index': frame_index,
            'episode_index': np.full(count, row['episode_index']),
            'index': self._num_frames + np.arange(count),
            'task_index': np.full(count, self._tasks[row['tasks'][0]]),
        }
        if not self._features:
            described = {key: columns[key] for key in columns if key not in _INDICES}
            self._features = layouts.features(self._layout, self._contract, described)
        self._gathered.take(columns)
        written = {key: tables.column(values) for key, values in columns.items()}
        for field, camera in self._layout.cameras.items():
            frames = before.observations[field]
            self._gathered.take_frames(camera.key, frames)
            if camera.is_video:
                self._videos[field].add(frames)
            else:
                written[camera.key] = tables.pictures(frames)
        self._data.write(pa.table(written))
        row['length'] += count
        self._num_frames += count

    def _end(self, last: Episode) -> None:
        """Keep the last step, which has no action, and complete the episode's row."""
        columns = self._layout.own_columns(last)
        written = {key: tables.column(values) for key, values in columns.items()}
        for field, camera in self._layout.cameras.items():
            written[camera.key] = tables.pictures(last.observations[field])
        self._final.write(pa.table(written))
        row, entry = self._open, self._headers.entries[-1]
        entry['episode_index'] = None if row is None else row['episode_index']
        if row is None:
            return
        row['dataset_to_index'] = self._num_frames
        for field, video in self._videos.items():
            key = self._layout.cameras[field].key
            for name, value in video.end()._asdict().items():
                row[f'videos/{key}/{name}'] = value
        self._rows.append(row)
        self._statistics.append(self._gathered.result())

    def _task(self, steps: Episode) -> str:
        if self._config.task is not None:
            return self._config.task
        told = steps.attributes.get('task')
        if isinstance(told, str) and told:
            return told
        task = self._contract.task
        return task.name.replace('_', ' ') if task else self._contract.description

    def _flatten_statistics(self, rows: list[dict[str, Any]]) -> None:
        keys = dict.fromkeys(key for entry in self._statistics for key in entry)
        for row, entry in zip(rows, self._statistics, strict=True):
            for key in keys:
                for name in self._statistic_names(key):
                    found = entry.get(key)
                    row[f'stats/{key}/{name}'] = None if found is None else found[name].tolist()

    def _statistic_names(self, key: str) -> list[str]:
        return list(next(entry[key] for entry in self._statistics if key in entry))

    def _info(self) -> dict[str, Any]:
        for field, video in self._videos.items():
            self._features[self._layout.cameras[field].key]['info'] = video.description
        return {
            'codebase_version': layouts.VERSION,
            'robot_type': self._contract.robot,
            'total_episodes': len(self._rows),
            'total_frames': self._num_frames,
            'total_tasks': len(self._tasks),
            'chunks_size': layouts.FILES_PER_CHUNK,
            'data_files_size_in_mb': self._config.max_table_bytes // _MEGABYTE,
            'video_files_size_in_mb': VideoConfig().max_file_bytes // _MEGABYTE,
            'fps': self._fps,
            'splits': {'train': f'0:{len(self._rows)}'},
            'data_path': layouts.DATA_PATH,
            'video_path': layouts.VIDEO_PATH if self._videos else None,
            'features': self._features,
        }

    def _ours(self) -> dict[str, Any]:
        return {
            'format': FORMAT,
            'contract_hash': self._contract.hash,
            'contract': self._contract.to_dict(),
            'use_videos': self._config.use_videos,
            'trajectories': self._headers.entries,
        }

    def _losses(self, facts: dict[str, dict[str, Any]]) -> list[str]:
        losses = [
            f'measured stamps: timestamp is frame_index / {self._fps:g}, up to '
            f'{self._worst_drift_s:.3f} s beside them; the column stamp_ns holds them.',
            'the step after the last action: LeRobot has no row for it. It stands in '
            f'{layouts.FINAL_STEPS}.',
        ]
        for field, fact in facts.items():
            losses.append(
                f'{field}: {fact["codec"]} video (crf {fact["crf"]}) loses detail, PSNR '
                f'{fact["psnr_db"]} dB, worst frame {fact["worst_frame_psnr_db"]} dB of '
                f'{fact["frames_compared"]} compared. With --images png nothing is lost.'
            )
        losses += [*self._tally.gaps(), *self._tally.unknown_rewards()]
        single = len(self._headers.entries) - len(self._rows)
        if single:
            losses.append(f'{single} episodes of one step have no action: only a final step.')
        if self._headers.num_partial:
            losses.append(
                f'{self._headers.num_partial} episodes lack their start or end; LeRobot takes '
                f'them for whole ones.'
            )
        return losses


class _Table:
    """A parquet table over one or more files; new files begin between episodes."""

    def __init__(self, root: Path, pattern: str, max_bytes: int):
        self._root = root
        self._pattern = pattern
        self._max_bytes = max_bytes
        self._number = -1
        self._num_bytes = max_bytes  # Opens the first file.
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []  # Small tables make slow files.
        self._waiting_bytes = 0

    def begin(self) -> tuple[int, int]:
        """Begin an episode; return the chunk and file it stands in."""
        if self._num_bytes >= self._max_bytes:
            self.close()
            self._number += 1
            self._num_bytes = 0
        return divmod(self._number, layouts.FILES_PER_CHUNK)

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        self._waiting.append(table)
        self._waiting_bytes += table.nbytes
        self._num_bytes += table.nbytes
        if self._waiting_bytes >= _ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Complete the open file."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _flush(self) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        if self._writer is None:
            chunk_index, file_index = divmod(max(self._number, 0), layouts.FILES_PER_CHUNK)
            name = self._pattern.format(chunk_index=chunk_index, file_index=file_index)
            path = self._root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, table.schema, compression='snappy')
        self._writer.write_table(table)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=4, allow_nan=False) + '\n', encoding='utf-8')
