"""Data sets as others write them, without anything of ours, in their published layouts."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FPS = 10
STATE = 'observation.state'


def write_robomimic(path: Path, lengths: tuple[int, ...] = (5, 3), next_obs: bool = True) -> Path:
    """Write demonstrations of an arm whose pose is 100 * demonstration + step."""
    with h5py.File(path, 'w') as file:
        data = file.create_group('data')
        data.attrs['total'] = sum(lengths)
        data.attrs['env_args'] = json.dumps({'env_name': 'Lift', 'type': 1, 'env_kwargs': {}})
        for number, length in enumerate(lengths):
            demo = data.create_group(f'demo_{number}')
            demo.attrs['num_samples'] = length
            demo['actions'] = np.full((length, 2), 0.5)
            demo['rewards'] = np.arange(length, dtype=np.float64)
            demo['dones'] = (np.arange(length) == length - 1).astype(np.int64)
            poses = 100.0 * number + np.arange(length + 1)
            for group, rows in (('obs', poses[:-1]), ('next_obs', poses[1:])):
                if group == 'obs' or next_obs:
                    demo[f'{group}/eef_pos'] = np.stack([rows] * 3, axis=1)
                    demo[f'{group}/joints'] = np.stack([rows] * 7, axis=1)
    return path


def write_lerobot(
    root: Path,
    lengths: tuple[int, ...] = (6, 4),
    pictures: str = 'video',
    success: bool = True,
    version: str = 'v3.0',
) -> Path:
    """Write a set with one camera, whose brightness and state count the frames."""
    (root / 'meta' / 'episodes' / 'chunk-000').mkdir(parents=True)
    (root / 'data' / 'chunk-000').mkdir(parents=True)
    total = sum(lengths)
    columns = _columns(lengths, success)
    key = 'observation.images.top'
    frames = [np.full((64, 96, 3), 20 + 5 * i, np.uint8) for i in range(total)]
    if pictures == 'image':
        columns[key] = pa.array([{'bytes': _png(frame), 'path': None} for frame in frames])
    pq.write_table(pa.table(columns), root / 'data' / 'chunk-000' / 'file-000.parquet')
    if pictures == 'video':
        _write_video(root / 'videos' / key / 'chunk-000' / 'file-000.mp4', frames)
    rows = _episode_rows(lengths, key if pictures == 'video' else None)
    pq.write_table(
        pa.Table.from_pylist(rows), root / 'meta' / 'episodes' / 'chunk-000' / 'file-000.parquet'
    )
    (root / 'meta' / 'info.json').write_text(json.dumps(_info(lengths, key, pictures, version)))
    pq.write_table(
        pa.table({'task_index': [0], '__index_level_0__': ['lift the cube']}),
        root / 'meta' / 'tasks.parquet',
    )
    return root


def _columns(lengths: tuple[int, ...], success: bool) -> dict[str, Any]:
    total = sum(lengths)
    frame_index = np.concatenate([np.arange(length) for length in lengths])
    episode = np.repeat(np.arange(len(lengths)), lengths)
    is_last = np.concatenate([np.arange(length) == length - 1 for length in lengths])
    state = np.arange(total * 5, dtype=np.float32)
    return {
        STATE: pa.FixedSizeListArray.from_arrays(pa.array(state), 5),
        'action': pa.FixedSizeListArray.from_arrays(pa.array(np.ones(total * 2, np.float32)), 2),
        'next.reward': frame_index.astype(np.float32),
        'next.done': is_last,
        'next.success': is_last & (episode == 0) & success,
        'timestamp': (frame_index / FPS).astype(np.float32),
        'frame_index': frame_index,
        'episode_index': episode,
        'index': np.arange(total),
        'task_index': np.zeros(total, np.int64),
    }


def _episode_rows(lengths: tuple[int, ...], video_key: str | None) -> list[dict[str, Any]]:
    rows, start = [], 0
    for number, length in enumerate(lengths):
        row = {
            'episode_index': number,
            'tasks': ['lift the cube'],
            'length': length,
            'data/chunk_index': 0,
            'data/file_index': 0,
            'dataset_from_index': start,
            'dataset_to_index': start + length,
        }
        if video_key is not None:
            row[f'videos/{video_key}/chunk_index'] = row[f'videos/{video_key}/file_index'] = 0
            row[f'videos/{video_key}/from_timestamp'] = start / FPS
            row[f'videos/{video_key}/to_timestamp'] = (start + length) / FPS
        rows.append(row)
        start += length
    return rows


def _info(lengths: tuple[int, ...], key: str, pictures: str, version: str) -> dict[str, Any]:
    def scalar(dtype: str) -> dict[str, Any]:
        return {'dtype': dtype, 'shape': [1], 'names': None}

    indices = ('frame_index', 'episode_index', 'index', 'task_index')
    features = {
        STATE: {'dtype': 'float32', 'shape': [5], 'names': list('xyzuv')},
        'action': {'dtype': 'float32', 'shape': [2], 'names': ['forward', 'turn']},
        'next.reward': scalar('float32'),
        'next.done': scalar('bool'),
        'next.success': scalar('bool'),
        'timestamp': scalar('float32'),
        **{name: scalar('int64') for name in indices},
    }
    if pictures != 'none':
        names = ['height', 'width', 'channels']
        features[key] = {'dtype': pictures, 'shape': [64, 96, 3], 'names': names}
    return {
        'codebase_version': version,
        'robot_type': 'arm',
        'total_episodes': len(lengths),
        'total_frames': sum(lengths),
        'total_tasks': 1,
        'chunks_size': 1000,
        'data_files_size_in_mb': 100,
        'video_files_size_in_mb': 200,
        'fps': FPS,
        'splits': {'train': f'0:{len(lengths)}'},
        'data_path': 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet',
        'video_path': 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4',
        'features': features,
    }


def _png(frame: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, 'PNG')
    return file.getvalue()


def _write_video(path: Path, frames: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', FPS, options={'crf': '10', 'g': '2'})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = 'yuv420p'
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
