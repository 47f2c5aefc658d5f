"""What lerobot 0.4.4 relies on when it opens a data set, checked without it.

Written after reading how that version loads metadata, tables, statistics and videos; the real
reader confirms it in test_export_real_readers.py where it is installed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_INDICES = {'frame_index', 'episode_index', 'index', 'task_index'}
_TOLERANCE_S = 1e-4  # Within which a frame must lie at its timestamp.
_STATISTICS = {'min', 'max', 'mean', 'std', 'count', 'q01', 'q10', 'q50', 'q90', 'q99'}
_INFO = {
    'codebase_version': str,
    'robot_type': str,
    'total_episodes': int,
    'total_frames': int,
    'total_tasks': int,
    'chunks_size': int,
    'data_files_size_in_mb': int,
    'video_files_size_in_mb': int,
    'fps': (int, float),
    'splits': dict,
    'data_path': str,
    'features': dict,
}


def check(root: Path) -> None:
    """Assert that a folder is a data set that lerobot opens and reads to its end."""
    info = json.loads((root / 'meta' / 'info.json').read_text())
    for key, kind in _INFO.items():
        assert isinstance(info[key], kind), key
    assert info['codebase_version'] == 'v3.0'
    episodes = _read(root / 'meta' / 'episodes')
    data = _read(root / 'data')
    _check_features(info['features'])
    _check_totals(info, episodes, data)
    _check_tasks(root, info, data)
    _check_columns(info['features'], data)
    _check_statistics(root, info['features'], episodes)
    for row in episodes.to_pylist():
        _check_episode(root, info, row, data)


def _read(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob('*/*.parquet'))])


def _check_features(features: dict[str, Any]) -> None:
    for key, feature in features.items():
        assert '/' not in key
        assert set(feature) >= {'dtype', 'shape', 'names'}, key
        assert feature['shape'], f'{key}: a shape needs at least one axis'
        if feature['dtype'] in ('video', 'image'):
            assert len(feature['shape']) == 3 and feature['shape'][2] == 3
            assert feature['names'] == ['height', 'width', 'channels']
        else:
            np.dtype(feature['dtype'])
        if feature['dtype'] == 'video':
            assert {'video.height', 'video.width', 'video.codec', 'video.fps'} <= set(
                feature['info']
            )
        if isinstance(feature['names'], list) and feature['dtype'] not in ('video', 'image'):
            assert len(feature['names']) == feature['shape'][0]
    assert features['timestamp'] == {'dtype': 'float32', 'shape': [1], 'names': None}
    for key in _INDICES:
        assert features[key] == {'dtype': 'int64', 'shape': [1], 'names': None}


def _check_totals(info: dict[str, Any], episodes: pa.Table, data: pa.Table) -> None:
    assert info['total_episodes'] == len(episodes)
    assert info['total_frames'] == len(data)
    assert info['splits'] == {'train': f'0:{len(episodes)}'}
    assert data.column('index').to_pylist() == list(range(len(data)))
    assert episodes.column('episode_index').to_pylist() == list(range(len(episodes)))


def _check_tasks(root: Path, info: dict[str, Any], data: pa.Table) -> None:
    """The index that pandas restores is the text; its place is the number."""
    tasks = pq.read_table(root / 'meta' / 'tasks.parquet')
    described = json.loads(tasks.schema.metadata[b'pandas'])
    (index,) = described['index_columns']
    texts = tasks.column(index).to_pylist()
    assert all(isinstance(text, str) and text for text in texts)
    assert tasks.column('task_index').to_pylist() == list(range(info['total_tasks']))
    assert set(data.column('task_index').to_pylist()) <= set(range(len(texts)))


def _check_columns(features: dict[str, Any], data: pa.Table) -> None:
    """Every feature but videos is a column of its dtype, and there are no others."""
    wanted = {key for key, feature in features.items() if feature['dtype'] != 'video'}
    assert set(data.column_names) == wanted
    for key in wanted:
        feature, kind = features[key], data.schema.field(key).type
        assert data.column(key).null_count == 0
        if feature['dtype'] == 'image':
            assert pa.types.is_struct(kind) and {f.name for f in kind} == {'bytes', 'path'}
            continue
        if feature['shape'] == [1]:
            assert not pa.types.is_nested(kind), key
        elif len(feature['shape']) == 1:
            assert pa.types.is_fixed_size_list(kind) and kind.list_size == feature['shape'][0]
        while pa.types.is_nested(kind):
            kind = kind.value_type
        assert np.dtype(kind.to_pandas_dtype()) == np.dtype(feature['dtype']), key


def _check_statistics(root: Path, features: dict[str, Any], episodes: pa.Table) -> None:
    text = (root / 'meta' / 'stats.json').read_text()
    assert 'NaN' not in text and 'Infinity' not in text
    statistics = json.loads(text)
    columns = [name for name in episodes.column_names if name.startswith('stats/')]
    assert {name.split('/')[1] for name in columns} == set(statistics)
    for key, entry in statistics.items():
        assert set(entry) == _STATISTICS
        is_picture = features[key]['dtype'] in ('video', 'image')
        assert ('image' in key) == is_picture, 'lerobot takes such names for pictures'
        shape = (3, 1, 1) if is_picture else tuple(features[key]['shape'])
        for name, values in entry.items():
            expected = (1,) if name == 'count' else shape
            found = np.shape(values)
            assert found == expected or int(np.prod(found)) == int(np.prod(expected)), (key, name)
        low, middle, high = (np.array(entry[name]) for name in ('min', 'mean', 'max'))
        assert np.all(low <= middle + 1e-6) and np.all(middle <= high + 1e-6), key
    assert {'action', 'observation.state'} <= set(statistics)


def _check_episode(root: Path, info: dict[str, Any], row: dict[str, Any], data: pa.Table) -> None:
    first, stop = row['dataset_from_index'], row['dataset_to_index']
    rows = data.slice(first, stop - first)
    length = row['length']
    assert len(rows) == length > 0 and row['tasks']
    assert set(rows.column('episode_index').to_pylist()) == {row['episode_index']}
    assert rows.column('frame_index').to_pylist() == list(range(length))
    stamps = rows.column('timestamp').to_numpy()
    np.testing.assert_allclose(stamps, np.arange(length) / info['fps'], atol=_TOLERANCE_S)
    place = {name: row[f'data/{name}'] for name in ('chunk_index', 'file_index')}
    assert (root / info['data_path'].format(**place)).is_file()
    for key, feature in info['features'].items():
        if feature['dtype'] == 'video':
            _check_video(root, info, row, key, stamps)


def _check_video(
    root: Path, info: dict[str, Any], row: dict[str, Any], key: str, stamps: np.ndarray
) -> None:
    """Every frame of the episode lies at its time; nothing but the format's codec is assumed."""
    place = {name: row[f'videos/{key}/{name}'] for name in ('chunk_index', 'file_index')}
    path = root / info['video_path'].format(video_key=key, **place)
    start, end = row[f'videos/{key}/from_timestamp'], row[f'videos/{key}/to_timestamp']
    assert abs(end - start - len(stamps) / info['fps']) < _TOLERANCE_S
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert [stream.height, stream.width, 3] == info['features'][key]['shape']
        times = np.array([frame.time for frame in container.decode(stream)])
    nearest = np.abs(times[:, None] - (start + stamps)[None]).min(axis=0)
    assert nearest.max() < _TOLERANCE_S
