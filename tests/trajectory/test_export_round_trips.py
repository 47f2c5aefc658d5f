"""Every format gives back what was exported, or says what it does not hold."""

from __future__ import annotations

import json

import numpy as np
import pytest
from camera_robot import camera_robot, fill, make_episode
from recordings import assert_equal
from robot_learning import contract as contracts
from robot_learning.errors import (
    ConfigError,
    ContractError,
    DataError,
    NotEnoughDataError,
    StoreError,
)
from robot_learning.trajectory.datasets import read_episodes
from robot_learning.trajectory.formats import robomimic_reader
from robot_learning.trajectory.formats.exporting import export
from robot_learning.trajectory.formats.importing import import_dataset
from robot_learning.trajectory.formats.lerobot import LeRobotConfig
from robot_learning.trajectory.formats.npz import NpzConfig
from robot_learning.trajectory.formats.robomimic import RobomimicConfig
from robot_learning.trajectory.formats.source import EpisodeSource
from robot_learning.trajectory.store import TrajectoryStore

EXACT = {
    'npz': NpzConfig(),
    'npz compressed': NpzConfig(compress=True),
    'robomimic': RobomimicConfig(),
    'robomimic scaled': RobomimicConfig(normalize_actions=True),
    'lerobot': LeRobotConfig(use_videos=False),
}
CAMERAS = ('camera', 'grey')


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    return fill(tmp_path_factory.mktemp('recorded') / 'store')


def there_and_back(store, tmp_path, kind, config=None, chosen=None):
    out = tmp_path / ('out.hdf5' if kind == 'robomimic' else 'out')
    report = export(EpisodeSource(store.root, chosen=chosen), kind, out, config)
    back = TrajectoryStore(tmp_path / 'back')
    imported = import_dataset(out, kind, camera_robot(), back)
    return report, imported, list(back.episodes())


@pytest.mark.parametrize('name', EXACT)
def test_everything_comes_back_bit_by_bit(store, tmp_path, name):
    kind = name.split()[0]
    report, imported, back = there_and_back(store, tmp_path, kind, EXACT[name])
    assert (report.num_episodes, report.num_steps) == (4, 30)
    assert (imported.num_episodes, imported.num_steps) == (4, 30)
    assert imported.sessions == ['monday', 'tuesday'] and imported.assumptions == []
    for found, expected in zip(back, store.episodes(), strict=True):
        assert_equal(found, expected)
        assert found.attributes == expected.attributes


def test_video_is_the_only_thing_that_lerobot_loses_and_it_is_measured(store, tmp_path):
    report, _, back = there_and_back(store, tmp_path, 'lerobot', LeRobotConfig(crf=12))
    for found, expected in zip(back, store.episodes(), strict=True):
        for camera in CAMERAS:
            seen = expected.observations[camera]
            error = np.mean((found.observations[camera] - seen.astype(np.float64)) ** 2)
            assert error < 255**2 / 10**3  # 30 dB.
            np.testing.assert_array_equal(found.observations[camera][-1], seen[-1])
            found.observations[camera] = seen
        assert_equal(found, expected)
    for camera in CAMERAS:
        fact = report.facts['videos'][camera]
        assert fact['codec'] in ('av1', 'h264') and 30 < fact['psnr_db'] < 99
        assert any(
            text.startswith(f'{camera}: {fact["codec"]} video') and f'{fact["psnr_db"]} dB' in text
            for text in report.losses
        )


@pytest.mark.parametrize('kind', ['robomimic', 'lerobot'])
def test_what_a_format_does_not_hold_is_named_and_lies_beside_the_data(store, tmp_path, kind):
    config = LeRobotConfig(use_videos=False) if kind == 'lerobot' else None
    report, _, _ = there_and_back(store, tmp_path, kind, config)
    told = ' '.join(report.losses)
    for word in ('stamps', 'gaps: ', 'wheels', '3 rewards are unknown', '1 episodes of one step'):
        assert word in told, word
    beside = {'lerobot': 'out/export_report.json', 'robomimic': 'out.export_report.json'}[kind]
    assert json.loads((tmp_path / beside).read_text()) == report.to_dict()


def test_npz_holds_everything_without_pickles(store, tmp_path):
    report, _, _ = there_and_back(store, tmp_path, 'npz')
    assert report.losses == []
    with np.load(tmp_path / 'out' / 'episode_000001.npz', allow_pickle=False) as archive:
        expected = list(store.episodes())[1]
        np.testing.assert_array_equal(archive['reward'], expected.reward)
        np.testing.assert_array_equal(archive['present/wheels'], expected.present['wheels'])


def test_chosen_episodes_are_exported(store, tmp_path):
    report, _, back = there_and_back(store, tmp_path, 'npz', chosen='1,3-')
    assert report.num_episodes == 2
    expected = list(store.episodes())
    for found, place in zip(back, (1, 3), strict=True):
        assert_equal(found, expected[place])


def test_a_session_and_a_segment_are_exported_alone(store, tmp_path):
    for place, path in enumerate((store.root / 'tuesday', store.segments('tuesday')[0])):
        out = tmp_path / str(place)
        assert export(EpisodeSource(path), 'npz', out).num_steps == 7
        (found,) = read_episodes(out, camera_robot())
        assert_equal(found, next(iter(store.episodes(session='tuesday'))))


def test_pieces_without_their_start_or_end_keep_their_place(tmp_path):
    episode = make_episode(4, 12, 10**9, True)
    for name, piece in (('start', episode.slice(0, 5)), ('end', episode.slice(5, 12))):
        store = TrajectoryStore(tmp_path / name)
        store.write_segment([piece], 'cut', camera_robot())
        for kind in ('robomimic', 'lerobot', 'npz'):
            folder = tmp_path / f'{name}_{kind}'
            config = LeRobotConfig(use_videos=False) if kind == 'lerobot' else None
            report, _, (found,) = there_and_back(store, folder, kind, config)
            assert_equal(found, piece)
            assert kind == 'npz' or '1 episodes lack their start or end' in ' '.join(report.losses)


def test_large_episodes_are_read_in_blocks(store, tmp_path, monkeypatch):
    out = tmp_path / 'out.hdf5'
    export(EpisodeSource(store.root), 'robomimic', out)
    monkeypatch.setattr(robomimic_reader, '_BLOCK_BYTES', 40_000)
    pieces = list(robomimic_reader.read_robomimic(out))
    assert len(pieces) > 8
    for found, expected in zip(read_episodes(out), store.episodes(), strict=True):
        assert_equal(found, expected)


def test_data_sets_are_read_for_training_without_an_import(store, tmp_path):
    for kind in ('lerobot', 'npz'):
        config = LeRobotConfig(use_videos=False) if kind == 'lerobot' else None
        export(EpisodeSource(store.root), kind, tmp_path / kind, config)
        episodes = list(read_episodes(tmp_path / kind, camera_robot(), ['pose', 'scan']))
        for found, expected in zip(episodes, store.episodes(['pose', 'scan']), strict=True):
            assert_equal(found, expected)


def test_nothing_is_left_behind_when_an_export_fails(store, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, 'No space left on device')

    for kind in ('robomimic', 'lerobot', 'npz', 'mcap'):
        out = tmp_path / kind / ('out.hdf5' if kind == 'robomimic' else 'out')
        with monkeypatch.context() as patched, pytest.raises(StoreError, match='No space left'):
            patched.setattr('robot_learning.durable_files.sync_folder', fail)
            patched.setattr('os.fsync', fail)
            export(EpisodeSource(store.root), kind, out)
        assert list(out.parent.iterdir()) == []
        out.mkdir()
        with pytest.raises(StoreError, match=f'{out}: exists already'):
            export(EpisodeSource(store.root), kind, out)


@pytest.mark.parametrize('kind', ['robomimic', 'lerobot', 'npz', 'mcap'])
def test_data_that_vanish_in_the_middle_leave_nothing_half_written(tmp_path, kind):
    store = fill(tmp_path / 'store')
    source = EpisodeSource(store.root)
    store.segments('tuesday')[0].unlink()
    out = tmp_path / 'exported' / ('out.hdf5' if kind == 'robomimic' else 'out')
    with pytest.raises(DataError, match='there is no such file'):
        export(source, kind, out)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize('kind', ['robomimic', 'npz'])
def test_what_a_killed_export_left_is_replaced(store, tmp_path, kind):
    out = tmp_path / ('out.hdf5' if kind == 'robomimic' else 'out')
    hidden = out.with_name(f'.exporting_{out.name}')
    hidden.mkdir()
    (hidden / 'half').write_bytes(b'')
    export(EpisodeSource(store.root), kind, out)
    assert not hidden.exists() and not (out / 'half').exists()


def test_an_import_that_fails_leaves_the_store_as_it_was(store, tmp_path):
    export(EpisodeSource(store.root), 'npz', tmp_path / 'out')
    back = TrajectoryStore(tmp_path / 'back')
    import_dataset(tmp_path / 'out', 'npz', camera_robot(), back)
    before = sorted(back.root.rglob('*'))
    with pytest.raises(StoreError, match='monday: the session exists already'):
        import_dataset(tmp_path / 'out', 'npz', camera_robot(), back)
    (tmp_path / 'out' / 'episode_000003.npz').write_bytes(b'cut')
    with pytest.raises(DataError, match=r'episode_000003\.npz: is no zip archive'):
        import_dataset(tmp_path / 'out', 'npz', camera_robot(), back, 'again')
    assert sorted(back.root.rglob('*')) == before


def test_a_session_name_can_be_chosen(store, tmp_path):
    export(EpisodeSource(store.root), 'npz', tmp_path / 'out')
    back = TrajectoryStore(tmp_path / 'back')
    report = import_dataset(tmp_path / 'out', 'npz', camera_robot(), back, 'copy')
    assert report.sessions == back.sessions() == ['copy', 'copy.tuesday']
    assert {e.attributes['session'] for e in back.episodes()} == {'copy', 'copy.tuesday'}


def test_stores_that_cannot_be_exported_are_named(store, tmp_path):
    with pytest.raises(DataError, match='nowhere: holds nothing, expected a trajectory store'):
        EpisodeSource(tmp_path / 'nowhere')
    with pytest.raises(ConfigError, match="episodes: found 'x', expected numbers and ranges"):
        EpisodeSource(store.root, chosen='1,x')
    with pytest.raises(NotEnoughDataError, match='holds 4 episodes, none of which is chosen'):
        export(EpisodeSource(store.root, chosen='9'), 'npz', tmp_path / 'out')
    mixed = fill(tmp_path / 'mixed')
    other = camera_robot().to_dict() | {'robot': 'other', 'control_rate_hz': 5}
    mixed.write_segment([make_episode(0, 3, 10**9, True)], 'zoo', contracts.from_dict(other))
    with pytest.raises(ContractError, match='holds episodes of 2 contracts: tuesday'):
        EpisodeSource(mixed.root)
    assert EpisodeSource(mixed.root, camera_robot()).num_steps == 33


def test_a_damaged_segment_is_passed_over_and_named(tmp_path):
    store = fill(tmp_path / 'store')
    damaged = store.segments('tuesday')[0]
    damaged.write_bytes(damaged.read_bytes()[:1000])
    report = export(EpisodeSource(store.root), 'npz', tmp_path / 'out')
    assert report.num_steps == 23
    (text,) = report.skipped
    assert str(damaged) in text
