"""The exports are loaded by robomimic and lerobot themselves, where these are installed.

Both want packages of their own, so that they live in another environment:

    python3 -m venv readers
    readers/bin/pip install robomimic==0.3.0 lerobot==0.4.4
    export ROBOT_LEARNING_READERS=$PWD/readers/bin/python
    ./run test tests/trajectory/test_export_real_readers.py
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_robot import camera_robot, fill
from robot_learning.trajectory.formats.exporting import export
from robot_learning.trajectory.formats.source import EpisodeSource

SCRIPT = Path(__file__).parent / 'foreign_readers.py'
DEADLINE_S = 240  # Loading torch and both libraries on a busy machine.
FIELDS = ('pose', 'scan', 'camera')


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    return fill(tmp_path_factory.mktemp('recorded') / 'store')


def load(package: str, *arguments: str) -> dict[str, Any]:
    """Read a data set with the real package; skip where there is none."""
    python = os.environ.get('ROBOT_LEARNING_READERS', '')
    if not python:
        pytest.skip(f'ROBOT_LEARNING_READERS names no Python with {package}')
    clean = ('PYTHONPATH', 'LD_LIBRARY_PATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE')
    environment = {k: v for k, v in os.environ.items() if k not in clean}
    is_there = subprocess.run(
        [python, '-c', f'import importlib.util as u; assert u.find_spec("{package}")'],
        env=environment,
        capture_output=True,
        timeout=DEADLINE_S,
    )
    if is_there.returncode:
        pytest.skip(f'{python}: has no {package}')
    result = subprocess.run(
        [python, str(SCRIPT), package, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_robomimic_reads_the_export(store, tmp_path):
    out = tmp_path / 'out.hdf5'
    export(EpisodeSource(store.root), 'robomimic', out)
    found = load('robomimic', str(out), *FIELDS)
    episodes = [episode for episode in store.episodes() if len(episode) > 1]
    assert found['environment']['env_name'] == 'cyclops'
    assert found['train'] + found['valid'] == ['demo_0', 'demo_1', 'demo_3']
    for cache in ('all', 'low_dim', 'None'):
        read = found[cache]
        expected = np.concatenate([episode.action[:-1] for episode in episodes])
        np.testing.assert_allclose(read['actions'], expected, rtol=1e-6)
        expected = np.concatenate([episode.reward[1:] for episode in episodes])
        np.testing.assert_allclose(read['rewards'], expected, rtol=1e-6)
        ends = [t == len(e) - 2 for e in episodes for t in range(len(e) - 1)]
        np.testing.assert_array_equal(np.array(read['dones'], bool), ends)
        for field in FIELDS:
            for group, steps in (('obs', slice(0, -1)), ('next_obs', slice(1, None))):
                sums = [
                    episode.observations[field][steps].astype(np.float64).reshape(n, -1).sum(1)
                    for episode in episodes
                    for n in [len(episode) - 1]
                ]
                np.testing.assert_allclose(read[group][field], np.concatenate(sums), rtol=1e-5)


@pytest.mark.parametrize('images', ['video', 'png'])
def test_lerobot_reads_the_export(store, tmp_path, images):
    from robot_learning.trajectory.formats.lerobot import LeRobotConfig

    out = tmp_path / 'out'
    config = LeRobotConfig(use_videos=images == 'video', crf=10, task='go there')
    export(EpisodeSource(store.root), 'lerobot', out, config)
    found = load('lerobot', str(out))
    episodes = [episode for episode in store.episodes() if len(episode) > 1]
    assert found['lengths'] == [len(episode) - 1 for episode in episodes]
    assert (found['episodes'], found['fps']) == (3, 10) and set(found['tasks']) == {'go there'}
    expected = np.concatenate([episode.action[:-1] for episode in episodes])
    np.testing.assert_array_equal(np.array(found['action'], np.float32), expected)
    stamps = np.concatenate([episode.stamp_ns[:-1] for episode in episodes])
    assert found['stamp_ns'] == stamps.tolist()
    pose = np.concatenate([episode.observations['pose'][:-1] for episode in episodes])
    np.testing.assert_array_equal(np.array(found['state'], np.float32)[:, :3], pose)
    features = {
        'observation.images.camera': [3, 64, 64],
        'observation.images.grey': [3, 64, 64],
        'observation.state': [11],
        'observation.scan': [90],
        'observation.depth': [6, 8, 1],
        'observation.fix': [3],
        'action': [2],
    }
    assert found['policy_features'] == features
    assert found['window'] == {'action': [2, 2], 'observation.state': [2, 11]}
    for field in ('camera', 'grey'):
        seen = [e.observations[field][:-1].mean((1, 2, 3)) / 255 for e in episodes]
        means = found['camera'][f'observation.images.{field}']
        tolerance = 0.02 if images == 'video' else 1e-6
        np.testing.assert_allclose(means, np.concatenate(seen), atol=tolerance)
    assert set(camera_robot().observation) >= {'camera', 'grey'}
