"""Loads a data set with the real robomimic or lerobot and prints what it read, as JSON.

Runs in an environment of its own: `python foreign_readers.py robomimic FILE FIELD ...`,
`python foreign_readers.py lerobot FOLDER`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np


def read_robomimic(path: str, fields: list[str]) -> dict[str, Any]:
    import robomimic.utils.file_utils as file_utils
    import robomimic.utils.obs_utils as obs_utils
    from robomimic.utils.dataset import SequenceDataset

    images = [field for field in fields if field == 'camera']
    low_dim = [field for field in fields if field not in images]
    specification = {'obs': {'low_dim': low_dim, 'rgb': images}}
    obs_utils.initialize_obs_utils_with_obs_specs(specification)
    result: dict[str, Any] = {
        'environment': file_utils.get_env_metadata_from_dataset(path),
        'shapes': file_utils.get_shape_metadata_from_dataset(path)['all_shapes'],
    }
    for cache in ('all', 'low_dim', None):
        dataset = SequenceDataset(
            hdf5_path=path,
            obs_keys=fields,
            dataset_keys=('actions', 'rewards', 'dones'),
            load_next_obs=True,
            frame_stack=1,
            seq_length=1,
            hdf5_cache_mode=cache,
            hdf5_use_swmr=True,
        )
        items = [dataset[i] for i in range(len(dataset))]
        result[str(cache)] = {
            'actions': [item['actions'][0].tolist() for item in items],
            'rewards': [float(item['rewards'][0]) for item in items],
            'dones': [float(item['dones'][0]) for item in items],
            'obs': _sums(items, 'obs', fields),
            'next_obs': _sums(items, 'next_obs', fields),
        }
    for mask in ('train', 'valid'):
        dataset = SequenceDataset(path, fields, ('actions',), filter_by_attribute=mask)
        result[mask] = dataset.demos
    return result


def _sums(items: list[Any], group: str, fields: list[str]) -> dict[str, list[float]]:
    return {
        f: [float(np.asarray(item[group][f], np.float64).sum()) for item in items] for f in fields
    }


def read_lerobot(path: str) -> dict[str, Any]:
    from lerobot.datasets.compute_stats import aggregate_stats
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    from lerobot.datasets.utils import dataset_to_policy_features

    dataset = LeRobotDataset('local/export', root=path, video_backend='pyav')
    items = [dataset[i] for i in range(len(dataset))]
    aggregate_stats([dataset.meta.stats, dataset.meta.stats])
    policy = dataset_to_policy_features(dataset.features)
    fps = dataset.fps
    windows = LeRobotDataset(
        'local/export',
        root=path,
        video_backend='pyav',
        delta_timestamps={'action': [0, 1 / fps], 'observation.state': [-1 / fps, 0]},
    )
    return {
        'episodes': dataset.num_episodes,
        'frames': dataset.num_frames,
        'fps': fps,
        'cameras': dataset.meta.camera_keys,
        'policy_features': {key: list(value.shape) for key, value in policy.items()},
        'lengths': [episode['length'] for episode in dataset.meta.episodes],
        'tasks': [item['task'] for item in items],
        'action': [item['action'].tolist() for item in items],
        'state': [item['observation.state'].tolist() for item in items],
        'reward': [float(item['next.reward']) for item in items],
        'done': [bool(item['next.done']) for item in items],
        'stamp_ns': [int(item['stamp_ns']) for item in items],
        'shapes': {key: list(np.shape(value)) for key, value in items[0].items()},
        'window': {key: list(windows[0][key].shape) for key in ('action', 'observation.state')},
        'camera': {
            key: [float(item[key].mean()) for item in items] for key in dataset.meta.camera_keys
        },
    }


def _accept_any_torchvision() -> Any:
    """Let a torchvision load whose compiled part does not fit the installed torch."""
    import torch

    with contextlib.suppress(RuntimeError, ImportError):
        importlib.import_module('torchvision')
        return None  # It fits.
    library = torch.library.Library('torchvision', 'FRAGMENT')
    library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    return library


def main() -> int:
    kind, path, *fields = sys.argv[1:]
    os.environ['HF_HUB_OFFLINE'] = '1'
    with contextlib.redirect_stdout(sys.stderr):  # The libraries print what they do.
        library = _accept_any_torchvision()
        found = read_robomimic(path, fields) if kind == 'robomimic' else read_lerobot(path)
    del library
    json.dump(found, sys.stdout)
    return 0


if __name__ == '__main__':
    assert Path(sys.argv[2]).exists()
    sys.exit(main())
