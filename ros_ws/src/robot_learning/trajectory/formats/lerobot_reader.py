"""Reads LeRobot data sets, version 3: ours exactly but for video, others with assumptions."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from robot_learning import contract as contracts
from robot_learning import foreign_files
from robot_learning.contract import RobotContract
from robot_learning.errors import DataError
from robot_learning.trajectory.contract_match import check_contract
from robot_learning.trajectory.episode import FLAT, PER_FIELD, Array, Episode, join
from robot_learning.trajectory.formats import lerobot_layout as layouts
from robot_learning.trajectory.formats import lerobot_tables as tables
from robot_learning.trajectory.formats.foreign import whole_episode
from robot_learning.trajectory.formats.parquet_files import read_table
from robot_learning.trajectory.formats.video import VideoReader

_LARGEST_JSON = 256 << 20
# Names of files: only these parts, and numbers of few digits.
_PART = re.compile(r'\{(video_key|(chunk|file)_index(:0?\d{0,2}d?)?)\}')
_REFUSAL = foreign_files.Refusal(DataError, 'Copy the data set again from its source.')
_BLOCK_BYTES = 64 << 20  # Pictures read at a time.
ASSUMPTIONS = (
    'stamps: timestamp of every episode, which begins at 0.',
    'every field was read at every step.',
    'actions are in units of the contract, and were executed as they stand.',
    'an episode ends truncated, unless next.terminated or next.success says that its task '
    'ended; then the last reward stands at a step of its own, whose observation is a gap.',
)


class _Row(NamedTuple):
    """An episode and where it stands."""

    number: int
    first: int  # Row in the data files, counted over all of them.
    length: int
    data_file: Path
    videos: dict[str, tuple[Path, float]]  # Key -> file and start in seconds.


def is_lerobot(path: Path) -> bool:
    """Tell a LeRobot data set of any version."""
    return (path / layouts.INFO).is_file()


def read_lerobot(
    path: Path | str,
    contract: RobotContract | None = None,
    fields: tuple[str, ...] | None = None,
) -> Iterator[Episode]:
    """Yield the episodes of a data set, large ones in pieces.

    Fields of foreign sets are called as there: `observation.state`, `observation.images.top`.

    Args:
        path: folder of the data set.
        contract: our own sets must have been recorded with it; None: not checked.
        fields: observation fields to read; None: all.

    Raises:
        DataError: the set is broken, of another version, or lacks a field.
        ContractError: the set is ours and names another contract.
    """
    dataset = _Dataset(Path(path))
    ours = dataset.ours()
    if ours is None:
        yield from _foreign(dataset, contract, fields)
        return
    if contract is not None:
        check_contract(dataset.path, ours['contract'], contract)
    yield from _exported(dataset, ours, fields)


class _Dataset:
    """The files of one data set."""

    def __init__(self, path: Path):
        self.path = path
        self.info = self._json(layouts.INFO)
        version = str(self.info.get('codebase_version'))
        if not version.startswith('v3'):
            raise DataError(
                f'{path}: is a LeRobot data set of version {version}, expected v3. Convert it '
                f'with lerobot.datasets.v30.convert_dataset_v21_to_v30.'
            )
        self.features: dict[str, dict[str, Any]] = self.info['features']
        self.cameras = {
            key: feature
            for key, feature in self.features.items()
            if feature['dtype'] in ('video', 'image')
        }
        self.episodes = [self._row(row) for row in self._episode_table()]
        self._table: tuple[Path, pa.Table] | None = None

    def ours(self) -> dict[str, Any] | None:
        """Return what our export says, if the set still holds what it speaks of."""
        if not (self.path / layouts.OURS).is_file():
            return None
        ours = self._json(layouts.OURS)
        told = {
            entry['episode_index']: entry['length'] - 1
            for entry in ours['trajectories']
            if entry['episode_index'] is not None
        }
        return ours if told == {row.number: row.length for row in self.episodes} else None

    def columns(self, row: _Row) -> pa.Table:
        """Return the rows of one episode."""
        if self._table is None or self._table[0] != row.data_file:
            self._table = None  # One at a time in memory.
            self._table = (row.data_file, read_table(row.data_file))
        table = self._table[1]
        index = table.column('episode_index').to_numpy()
        places = np.flatnonzero(index == row.number)
        if len(places) != row.length or places[-1] - places[0] != row.length - 1:
            raise DataError(
                f'{row.data_file}: holds {len(places)} rows of episode {row.number}, expected '
                f'{row.length} by {layouts.EPISODES}. Copy the data set again.'
            )
        return table.slice(places[0], row.length)

    def column(self, table: pa.Table, key: str) -> Array:
        """Return one column as its feature describes it."""
        feature = self.features[key]
        try:
            return tables.array(table.column(key), feature['dtype'], tuple(feature['shape']))
        except (ValueError, TypeError, pa.ArrowException) as error:
            raise DataError(
                f'{self.path}: column {key} is not what {layouts.INFO} says ({error}). Copy '
                f'the data set again.'
            ) from error

    def frames(self, key: str, row: _Row, table: pa.Table) -> Iterator[Array]:
        """Yield the pictures [H, W, 3] of one episode."""
        if self.features[key]['dtype'] == 'image':
            yield from (self.picture(key, value) for value in table.column(key))
            return
        file, start_s = row.videos[key]
        stamps = start_s + table.column('timestamp').to_numpy().astype(np.float64)
        reader = VideoReader(file, self._most_pixels(key))
        try:
            yield from reader.frames(stamps.tolist(), 0.5 / float(self.info['fps']))
        finally:
            reader.close()

    def picture(self, key: str, value: pa.Scalar) -> Array:
        """Return one picture [H, W, 3] that stands in a table."""
        return tables.read_picture(value.as_py(), self._most_pixels(key))

    def inside(self, name: str) -> Path:
        """Return the path of a file that the set names.

        Raises:
            DataError: it is not below the data set.
        """
        file = (self.path / name).resolve()
        if not file.is_relative_to(self.path.resolve()):
            raise DataError(
                f'{self.path}: names the file {name!r}, which is outside of it. Do not use this '
                f'data set.'
            )
        return file

    def _most_pixels(self, key: str) -> int:
        """Return how many pixels a picture may have, in whatever order its axes are named."""
        return math.prod(map(int, self.features[key]['shape']))

    def _named(self, pattern: str, row: dict[str, Any], prefix: str, **more: str) -> Path:
        """Return a file by the pattern of its name and the numbers in an episode's row."""
        text = str(self.info[pattern])
        if '{' in _PART.sub('', text):
            raise ValueError(f'{pattern} is {text[:200]!r}, expected chunk and file numbers in it')
        numbers = {name: int(row[prefix + name]) for name in ('chunk_index', 'file_index')}
        return self.inside(text.format(**numbers, **more))

    def _json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        text = foreign_files.read(path, _LARGEST_JSON, _REFUSAL)
        try:
            content: dict[str, Any] = json.loads(text)
            if not isinstance(content, dict):
                raise ValueError(f'a {type(content).__name__}, expected a mapping')
        except (ValueError, RecursionError) as error:
            raise _REFUSAL(path, f'is no description of a data set ({error})') from error
        return content

    def _episode_table(self) -> list[dict[str, Any]]:
        files = sorted((self.path / 'meta' / 'episodes').glob('*/*.parquet'))
        if not files:
            raise DataError(
                f'{self.path}: holds no meta/episodes/*/*.parquet, expected a table of episodes. '
                f'Copy the data set again.'
            )
        rows = []
        for file in files:
            rows += read_table(file, 'stats/').to_pylist()
        return sorted(rows, key=lambda row: int(row['episode_index']))

    def _row(self, row: dict[str, Any]) -> _Row:
        videos = {}
        for key, feature in self.cameras.items():
            if feature['dtype'] == 'video':
                video = self._named('video_path', row, f'videos/{key}/', video_key=key)
                videos[key] = (video, float(row[f'videos/{key}/from_timestamp']))
        data_file = self._named('data_path', row, 'data/')
        first, stop = int(row['dataset_from_index']), int(row['dataset_to_index'])
        return _Row(int(row['episode_index']), first, stop - first, data_file, videos)


def _exported(
    dataset: _Dataset, ours: dict[str, Any], fields: tuple[str, ...] | None
) -> Iterator[Episode]:
    contract = contracts.from_dict(ours['contract'], str(dataset.path / layouts.OURS))
    layout = layouts.plan(contract, bool(ours['use_videos']))
    final = read_table(dataset.inside(layouts.FINAL_STEPS))
    rows = {row.number: row for row in dataset.episodes}
    for place, entry in enumerate(ours['trajectories']):
        row = rows.get(entry['episode_index'])
        table = None if row is None else dataset.columns(row)
        last = _light(final.slice(place, 1), dataset, layout, contract, entry)
        light = last
        if table is not None:
            steps = _light(table, dataset, layout, contract, entry)
            steps.is_complete, last.offset = False, steps.offset + len(steps)
            light = join([steps, last])
        sources = {
            field: _with_final(dataset, camera.key, row, table, final.slice(place, 1))
            for field, camera in layout.cameras.items()
        }
        shapes = {field: camera.shape for field, camera in layout.cameras.items()}
        wanted = layout.fields if fields is None else fields
        yield from _in_blocks(light, sources, shapes, wanted)


def _light(
    table: pa.Table,
    dataset: _Dataset,
    layout: layouts.Layout,
    contract: RobotContract,
    entry: dict[str, Any],
) -> Episode:
    """Return the steps of a table as an episode without pictures."""
    columns = {key: dataset.column(table, key) for key in table.column_names if _is_plain(key)}
    observations: dict[str, Array] = {}
    start = 0
    for field, size in layout.state.items():
        observations[field] = columns[layouts.STATE][:, start : start + size]
        start += size
    for field, key in layout.arrays.items():
        observations[field] = columns[key]
    shapes = {'action': (contract.action_size,), 'commanded': (contract.action_size,)}
    flat: dict[str, Any] = {
        name: columns[name].reshape(-1, *shapes.get(name, ())) for name in FLAT
    }
    groups: dict[str, Any] = {
        kind: {field: columns[kind][:, i] for i, field in enumerate(layout.fields)}
        for kind in ('present', 'field_stamp_ns')
    }
    return Episode(
        episode=entry['episode'],
        offset=entry['offset'],
        observations=observations,
        is_complete=entry['is_complete'],
        attributes=entry['attributes'],
        **groups,
        **flat,
    )


def _with_final(
    dataset: _Dataset, key: str, row: _Row | None, table: pa.Table | None, final: pa.Table
) -> Iterator[Array]:
    """Yield the pictures of an episode and that of its final step."""
    if row is not None and table is not None:
        yield from dataset.frames(key, row, table)
    yield dataset.picture(key, final.column(key)[0])


def _in_blocks(
    light: Episode,
    sources: dict[str, Iterator[Array]],
    shapes: dict[str, tuple[int, ...]],
    wanted: tuple[str, ...],
) -> Iterator[Episode]:
    """Add the pictures block by block; keep only the wanted fields."""
    cameras = [field for field in sources if field in wanted]
    row = sum(int(np.prod(shapes[field])) for field in cameras)
    block = max(1, _BLOCK_BYTES // max(row, 1))
    for start in range(0, len(light), block):
        piece = light.slice(start, start + block)
        for field in cameras:
            frames = np.stack([next(sources[field]) for _ in range(len(piece))])
            piece.observations[field] = frames[..., : shapes[field][-1]]
        for kind in PER_FIELD:
            values = getattr(piece, kind)
            setattr(piece, kind, {field: values[field] for field in wanted})
        yield piece


def _foreign(
    dataset: _Dataset, contract: RobotContract | None, fields: tuple[str, ...] | None
) -> Iterator[Episode]:
    known = [
        key
        for key, feature in dataset.features.items()
        if key.startswith('observation') and feature['dtype'] != 'string'
    ]
    wanted = tuple(known) if fields is None else fields
    absent = [key for key in (*wanted, 'action') if key not in dataset.features]
    if absent:
        raise DataError(
            f'{dataset.path}: holds no {", ".join(absent)}, only {", ".join(dataset.features)}. '
            f'Choose from these.'
        )
    stop = None if contract is None else contract.action_stop
    cameras = {key: dataset.cameras[key]['shape'] for key in wanted if key in dataset.cameras}
    shapes = {key: (*map(int, shape[:2]), 3) for key, shape in cameras.items()}
    for row in dataset.episodes:
        table = dataset.columns(row)
        light = _foreign_steps(dataset, table, row, wanted, stop)
        repeats = len(light) - row.length
        sources = {key: _with_gap(dataset.frames(key, row, table), repeats) for key in cameras}
        yield from _in_blocks(light, sources, shapes, wanted)


def _foreign_steps(
    dataset: _Dataset, table: pa.Table, row: _Row, wanted: tuple[str, ...], stop: Array | None
) -> Episode:
    """Return the steps of one episode without pictures.

    Where the task is known to have ended with the last action, a step is added that holds the
    last reward; its observation, which the set does not have, is a gap.
    """
    numbers = [key for key in wanted if key not in dataset.cameras]
    observations = {key: dataset.column(table, key) for key in numbers}
    action = dataset.column(table, 'action').astype(np.float32)
    reward = np.full(row.length + 1, np.nan, np.float32)
    if 'next.reward' in dataset.features:
        reward[1:] = dataset.column(table, 'next.reward')[:, 0]
    stamps_s = dataset.column(table, 'timestamp')[:, 0].astype(np.float64)
    stamp_ns = np.rint(stamps_s * 1e9).astype(np.int64)
    terminated = any(
        bool(dataset.column(table, key)[-1, 0])
        for key in ('next.terminated', 'next.success')
        if key in dataset.features
    )
    if terminated:
        period_ns = round(1e9 / float(dataset.info['fps']))
        observations = {key: np.concatenate([v, v[-1:]]) for key, v in observations.items()}
        last = np.zeros_like(action[0]) if stop is None else stop
        action = np.concatenate([action, last[None]])
        stamp_ns = np.append(stamp_ns, stamp_ns[-1] + period_ns)
    reward = reward[: len(action)]
    source = str(dataset.path)
    episode = whole_episode(row.number, observations, action, reward, stamp_ns, source, terminated)
    for key in wanted:
        episode.field_stamp_ns[key] = stamp_ns.copy()
        episode.present[key] = np.ones(len(stamp_ns), bool)
        if terminated:
            episode.field_stamp_ns[key][-1] = stamp_ns[-2]
            episode.present[key][-1] = False
    return episode


def _with_gap(frames: Iterator[Array], repeats: int) -> Iterator[Array]:
    """Yield all frames, and the last one again so many times."""
    for frame in frames:
        yield frame
    for _ in range(repeats):
        yield frame


def _is_plain(key: str) -> bool:
    return not key.startswith('observation.images.')
