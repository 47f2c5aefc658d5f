"""The LeRobot export keeps to the published layout, with the meaning of every column."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from camera_robot import camera_robot, fill, make_episode
from lerobot_rules import check
from robot_learning.errors import ConfigError, NotEnoughDataError, StoreError
from robot_learning.trajectory.formats.exporting import export
from robot_learning.trajectory.formats.lerobot import LeRobotConfig
from robot_learning.trajectory.formats.lerobot_statistics import (
    EpisodeStatistics,
    FrameSample,
    combine,
)
from robot_learning.trajectory.formats.npz import NpzConfig
from robot_learning.trajectory.formats.source import EpisodeSource
from robot_learning.trajectory.formats.video import CameraVideo, VideoConfig, VideoReader
from robot_learning.trajectory.store import TrajectoryStore


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    return fill(tmp_path_factory.mktemp('recorded') / 'store')


@pytest.fixture(scope='module')
def exported(store, tmp_path_factory):
    out = tmp_path_factory.mktemp('exported') / 'out'
    export(EpisodeSource(store.root), 'lerobot', out, LeRobotConfig(task='go there'))
    return out


def rows(out):
    files = sorted((out / 'data').glob('*/*.parquet'))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def test_video_and_image_sets_keep_the_rules(store, exported, tmp_path):
    check(exported)
    export(EpisodeSource(store.root), 'lerobot', tmp_path / 'o', LeRobotConfig(use_videos=False))
    check(tmp_path / 'o')


def test_large_sets_go_on_in_further_files(store, tmp_path):
    config = LeRobotConfig(use_videos=False, max_table_bytes=1000)
    export(EpisodeSource(store.root), 'lerobot', tmp_path / 'o', config)
    assert len(list((tmp_path / 'o' / 'data' / 'chunk-000').iterdir())) == 3
    check(tmp_path / 'o')


def test_rows_are_the_steps_with_an_action_and_what_they_led_to(store, exported):
    found = rows(exported)
    episodes = [episode for episode in store.episodes() if len(episode) > 1]
    assert len(found) == sum(len(episode) - 1 for episode in episodes)
    at = 0
    for number, episode in enumerate(episodes):
        for t in range(len(episode) - 1):
            row = found[at + t]
            assert row['episode_index'] == number and row['stamp_ns'] == episode.stamp_ns[t]
            np.testing.assert_array_equal(row['action'], episode.action[t])
            np.testing.assert_equal(row['next.reward'], episode.reward[t + 1])
            ends = t == len(episode) - 2
            assert row['next.done'] == ends
            assert row['next.terminated'] == (ends and bool(episode.terminated[-1]))
            assert row['next.truncated'] == (ends and bool(episode.truncated[-1]))
            assert row['model_version'] == episode.model_version[t]
            assert row['intervention'] == episode.intervention[t]
            masks = [bool(episode.present[f][t]) for f in camera_robot().observation]
            assert row['present'] == masks
            pose = episode.observations['pose'][t]
            np.testing.assert_array_equal(row['observation.state'][:3], pose)
            np.testing.assert_array_equal(row['observation.fix'], episode.observations['fix'][t])
            np.testing.assert_array_equal(
                row['observation.depth'], episode.observations['depth'][t]
            )
        at += len(episode) - 1


def test_names_task_robot_and_rate_are_told(exported):
    info = json.loads((exported / 'meta' / 'info.json').read_text())
    assert (info['robot_type'], info['fps']) == ('cyclops', 10)
    features = info['features']
    assert features['observation.state']['names'][:5] == [
        'pose.x',
        'pose.y',
        'pose.yaw',
        'velocity.forward',
        'velocity.yaw_rate',
    ]
    assert features['action']['names'] == ['linear.x', 'angular.z']
    assert features['observation.scan']['shape'] == [90]
    assert features['observation.depth']['shape'] == [6, 8, 1]
    assert features['present']['names'] == list(camera_robot().observation)
    tasks = pq.read_table(exported / 'meta' / 'tasks.parquet')
    assert tasks.column('__index_level_0__').to_pylist() == ['go there']
    policies_see = [k for k in features if k.startswith(('observation', 'action'))]
    ours = {'stamp_ns', 'present', 'commanded', 'log_prob', 'next.terminated'}
    assert not ours & set(policies_see) and ours <= set(features)


def test_another_rate_is_written_and_its_distance_from_the_stamps_told(store, tmp_path):
    out = tmp_path / 'o'
    config = LeRobotConfig(fps=20, use_videos=False)
    report = export(EpisodeSource(store.root), 'lerobot', out, config)
    check(out)
    assert rows(out)[1]['timestamp'] == pytest.approx(0.05)
    assert 'timestamp is frame_index / 20, up to 0.5' in report.losses[0]  # 11 steps of 0.05 s.


def test_pictures_of_odd_size_are_kept_as_pictures(tmp_path):
    data = camera_robot().to_dict()['observation']
    data['camera'] |= {'shape': [63, 64, 3]}
    from recordings import robot

    contract = robot(observation=data, robot='odd')
    episode = make_episode(0, 5, 10**9, True)
    episode.observations['camera'] = episode.observations['camera'][:, :63]
    store = TrajectoryStore(tmp_path / 'store')
    store.write_segment([episode], 'odd', contract)
    report = export(EpisodeSource(store.root), 'lerobot', tmp_path / 'o')
    check(tmp_path / 'o')
    assert list(report.facts['videos']) == ['grey']


def test_episodes_without_an_action_make_no_set(store, tmp_path):
    for kind, name in (('lerobot', 'o'), ('robomimic', 'o.hdf5')):
        with pytest.raises(NotEnoughDataError, match='no episode has two steps'):
            export(EpisodeSource(store.root, chosen='2'), kind, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_wrong_settings_are_named(store, tmp_path):
    source = EpisodeSource(store.root)
    with pytest.raises(ConfigError, match="format 'zarr': is unknown, expected one of robomimic"):
        export(source, 'zarr', tmp_path / 'o')
    with pytest.raises(ConfigError, match='has a NpzConfig, expected LeRobotConfig'):
        export(source, 'lerobot', tmp_path / 'o', NpzConfig())
    with pytest.raises(ConfigError, match=r'is no name of an HDF5 file, expected \.hdf5'):
        export(source, 'robomimic', tmp_path / 'o')


def test_videos_of_every_codec_and_rate_are_read_back_at_their_time(tmp_path):
    ramp = [np.full((64, 64, 3), 2 * i, np.uint8) for i in range(110)]
    for codec, fps in (('av1', 30), ('h264', 2.5), ('h264', 1000 / 33)):
        root = tmp_path / f'{codec}{fps:.0f}'
        config = VideoConfig(codec=codec, crf=10, max_file_bytes=1)
        video = CameraVideo(root, 'top', (64, 64, 3), fps, config)
        places = []
        for part in (ramp[:90], ramp[90:]):
            video.begin()
            video.add(np.stack(part))
            places.append(video.end())
        fact = video.close()
        assert fact['frames_compared'] > 50 and fact['psnr_db'] > 35
        assert [place.file_index for place in places] == [0, 1]  # Files of one byte at most.
        for place, part in zip(places, (ramp[:90], ramp[90:]), strict=True):
            name = f'videos/top/chunk-000/file-{place.file_index:03d}.mp4'
            reader = VideoReader(root / name, 1 << 20)
            stamps = [place.from_timestamp + i / fps for i in range(len(part))]
            for found, expected in zip(reader.frames(stamps, 1e-3), part, strict=True):
                assert abs(found.mean() - expected.mean()) < 3
            reader.close()


def test_small_pictures_take_the_codec_that_can(tmp_path):
    with pytest.raises(StoreError, match='32x32 are too small for AV1, expected at least 64'):
        CameraVideo(tmp_path, 'top', (32, 32, 3), 10, VideoConfig(codec='av1'))
    video = CameraVideo(tmp_path, 'top', (32, 32, 3), 10, VideoConfig())
    assert video.description['video.codec'] == 'h264'
    video.abort()


def test_statistics_agree_with_plain_arithmetic_and_leave_out_what_is_not_finite():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 3))
    values[7, 1] = np.inf
    parts = [values[:150], values[150:]]
    entries = []
    for part in parts:
        gathered = EpisodeStatistics()
        gathered.take({'scan': part, 'none': np.full((len(part), 2), np.nan)})
        entries.append(gathered.result())
    assert set(entries[0]) == {'scan'}
    whole = combine(entries)['scan']
    finite = values[:, 0]
    assert whole['count'] == [400]
    np.testing.assert_allclose(whole['mean'][0], finite.mean())
    np.testing.assert_allclose(whole['std'][0], finite.std())
    assert np.isfinite(whole['max']).all() and whole['max'][2] == values[:, 2].max()
    expected = np.average([np.quantile(p[:, 0], 0.9) for p in parts], weights=[150, 250])
    np.testing.assert_allclose(whole['q90'][0], expected)


def test_a_sample_of_frames_is_spread_evenly():
    sample = FrameSample(8)
    for start in range(0, 100, 7):
        stop = min(start + 7, 100)
        sample.take(np.arange(start, stop).reshape(-1, 1, 1, 1))
    numbers = [number for number, _ in sample.frames]
    assert len(numbers) <= 8 and set(np.diff(numbers)) == {numbers[1]} and numbers[-1] > 80
    assert [int(frame[0, 0, 0]) for _, frame in sample.frames] == numbers
