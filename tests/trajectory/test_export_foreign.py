"""Data sets of others are imported with stated assumptions, or refused in one clear error."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from camera_robot import camera_robot, fill
from foreign_sets import write_lerobot, write_robomimic
from recordings import robot
from robot_learning.errors import ConfigError, ContractError, DataError
from robot_learning.trajectory.formats.exporting import export
from robot_learning.trajectory.formats.importing import detect, import_dataset
from robot_learning.trajectory.formats.lerobot import LeRobotConfig
from robot_learning.trajectory.formats.source import EpisodeSource
from robot_learning.trajectory.store import TrajectoryStore


def arm(**more):
    """Return a contract for the foreign sets: a state in two parts, perhaps a camera."""
    odom = {'topic': 'odom', 'type': 'nav_msgs/msg/Odometry'}
    fields = {
        'tip': odom | {'part': 'pose2d', 'shape': [3], 'unit': ['m', 'm', 'rad']},
        'speed': odom | {'part': 'twist2d', 'shape': [2], 'unit': ['m/s', 'rad/s']},
    }
    actions = robot().to_dict()['actions']
    actions['base']['derive_from'] = 'speed'
    return robot(observation={**fields, **more}, actions=actions, robot='arm')


CAMERA = {
    'topic': 'top',
    'type': 'sensor_msgs/msg/Image',
    'shape': [64, 96, 3],
    'dtype': 'uint8',
    'required': False,
}
SPARE = {'topic': 'spare', 'type': 'sensor_msgs/msg/Range', 'shape': [1], 'unit': 'm'}
STATE_MAP = ['observation.state[0:3]=tip', 'observation.state[3:5]=speed']


def imported(path, tmp_path, contract, entries=()):
    store = TrajectoryStore(tmp_path / 'store')
    kind = detect(path)
    report = import_dataset(path, kind, contract, store, entries=entries)
    assert store.verify() == []
    return report, list(store.episodes())


def test_a_robomimic_file_without_our_group(tmp_path):
    path = write_robomimic(tmp_path / 'lift.hdf5')
    entries = ['eef_pos=tip', 'joints[0:2]=speed']
    report, (first, second) = imported(path, tmp_path, arm(), entries)
    assert report.sessions == ['lift'] and (report.num_episodes, report.num_steps) == (2, 10)
    np.testing.assert_array_equal(first.observations['tip'][:, 0], range(6))
    np.testing.assert_array_equal(second.observations['speed'], [[100 + i] * 2 for i in range(4)])
    np.testing.assert_array_equal(first.reward, [0, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(np.diff(first.stamp_ns), 10**8)
    assert first.truncated[-1] and not first.terminated.any()
    told = ' '.join(report.assumptions)
    for text in ('stamps: the file has none', 'dones do not say why', 'float64 became float32'):
        assert text in told, text


def test_a_lerobot_set_without_our_files(tmp_path):
    path = write_lerobot(tmp_path / 'lift')
    optional = {**SPARE, 'required': False}
    contract = arm(camera=CAMERA, spare=optional)
    entries = [*STATE_MAP, 'observation.images.top=camera']
    report, (first, second) = imported(path, tmp_path, contract, entries)
    assert len(first) == 7 and len(second) == 4
    np.testing.assert_array_equal(first.observations['tip'][1], [5, 6, 7])
    np.testing.assert_array_equal(first.observations['speed'][1], [8, 9])
    assert not first.present['spare'].any() and (first.field_stamp_ns['spare'] == -1).all()
    brightness = first.observations['camera'].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(brightness[:6], 20 + 5 * np.arange(6), atol=2)
    np.testing.assert_allclose(second.observations['camera'].mean((1, 2, 3))[0], 50, atol=2)
    told = ' '.join(report.assumptions)
    assert 'spare: is not in the data' in told and 'actions are in units' in told


def test_the_reward_of_a_success_is_kept_on_a_step_whose_observation_is_a_gap(tmp_path):
    path = write_lerobot(tmp_path / 'lift', pictures='image')
    contract = arm(camera=CAMERA)
    _, (first, second) = imported(
        path, tmp_path, contract, [*STATE_MAP, 'observation.images.top=camera']
    )
    np.testing.assert_array_equal(first.reward, [np.nan, 0, 1, 2, 3, 4, 5])
    assert first.terminated[-1] and not first.truncated.any()
    for field in first.present:
        np.testing.assert_array_equal(first.present[field], [True] * 6 + [False])
        assert first.field_stamp_ns[field][-1] == first.stamp_ns[-2]
    np.testing.assert_array_equal(first.action[-1], [0, 0])
    assert second.truncated[-1] and second.present['camera'].all()
    np.testing.assert_array_equal(second.reward, [np.nan, 0, 1, 2])
    np.testing.assert_array_equal(second.observations['camera'][:, 0, 0, 0], [50, 55, 60, 65])


def test_names_are_found_without_the_prefix_of_lerobot(tmp_path):
    path = write_lerobot(tmp_path / 'lift', pictures='image')
    report, (first, _) = imported(path, tmp_path, arm(top=CAMERA), STATE_MAP)
    assert first.observations['top'].shape == (7, 64, 96, 3)
    assert 'not used' not in ' '.join(report.assumptions)
    report, _ = imported(path, tmp_path / 'again', arm(), STATE_MAP)
    assert 'not used, as no field takes it: observation.images.top.' in report.assumptions


def test_fields_that_do_not_fit_are_one_error_with_the_way_out(tmp_path):
    path = write_lerobot(tmp_path / 'lift', pictures='image')
    wrong = {**CAMERA, 'shape': [32, 96, 3]}
    with pytest.raises(ContractError) as caught:
        imported(path, tmp_path, arm(top=wrong, spare=SPARE), STATE_MAP[:1])
    text = str(caught.value)
    for part in (
        f"{path}: does not fit contract 'arm'",
        'speed: expected [2], found nothing',
        'top: expected [32, 96, 3], found observation.images.top [64, 96, 3]',
        'spare: expected [1], found nothing',
        'Episode 0 holds observation.state [5], observation.images.top [64, 96, 3], action [2]',
        '--map theirs=ours',
    ):
        assert part in text, part
    assert not (tmp_path / 'store').exists() or list((tmp_path / 'store').iterdir()) == []


@pytest.mark.parametrize(
    ('entry', 'text'),
    [
        ('nonsense', "map 'nonsense': has another form, expected theirs=ours"),
        ('a=wings', "'wings' is no field, expected one of tip, speed, action"),
        ('a[3]=tip', 'has another form'),
    ],
)
def test_a_wrong_map_is_named(tmp_path, entry, text):
    path = write_robomimic(tmp_path / 'lift.hdf5')
    with pytest.raises(ConfigError) as caught:
        imported(path, tmp_path, arm(), [entry])
    assert text in str(caught.value)
    with pytest.raises(ConfigError, match="'tip' stands twice"):
        imported(path, tmp_path, arm(), ['a=tip', 'b=tip'])


def test_part_of_an_action_can_be_taken(tmp_path):
    path = write_robomimic(tmp_path / 'lift.hdf5')
    actions = arm().to_dict()['actions']
    actions['base'] |= {'components': ['linear.x'], 'unit': ['m/s'], 'low': [-1.0], 'high': [1.0]}
    actions['base'] |= {'stop': [0.0], 'derive_from': None}
    contract = robot(observation=arm().to_dict()['observation'], actions=actions)
    entries = ['eef_pos=tip', 'joints[0:2]=speed']
    with pytest.raises(ContractError, match='action: expected \\[1\\], found \\[2\\]'):
        imported(path, tmp_path, contract, entries)
    _, (first, _) = imported(path, tmp_path, contract, [*entries, 'action[1:2]=action'])
    assert first.action.shape == first.commanded.shape == (6, 1)


def test_our_exports_are_refused_by_another_robot(tmp_path):
    store = fill(tmp_path / 'recorded')
    for kind, name in (('robomimic', 'o.hdf5'), ('lerobot', 'o'), ('npz', 'n')):
        config = LeRobotConfig(use_videos=False) if kind == 'lerobot' else None
        export(EpisodeSource(store.root), kind, tmp_path / name, config)
        data = camera_robot().to_dict()['observation']
        data['level'] |= {'shape': [2], 'type': 'sensor_msgs/msg/BatteryState'}
        data['level'] |= {'unit': ['V', '']}
        with pytest.raises(ContractError, match=r"'cyclops'\) than 'tiny'.*observation.level"):
            imported(tmp_path / name, tmp_path, robot(observation=data))


def test_a_set_that_was_edited_since_its_export_counts_as_foreign(tmp_path):
    store = fill(tmp_path / 'recorded')
    out = tmp_path / 'out'
    export(EpisodeSource(store.root), 'lerobot', out, LeRobotConfig(use_videos=False))
    table = pq.read_table(out / 'meta/episodes/chunk-000/file-000.parquet')
    pq.write_table(table.slice(0, 2), out / 'meta/episodes/chunk-000/file-000.parquet')
    entries = ['observation.state[0:3]=pose', 'observation.state[3:5]=velocity']
    entries += ['observation.state[5:7]=wheels', 'observation.state[7:10]=goal']
    report, episodes = imported(
        out,
        tmp_path,
        camera_robot(),
        [*entries, 'observation.state[10:11]=level', 'observation.images.grey[0:1]=grey'],
    )
    assert [len(episode) for episode in episodes] == [13, 8]
    assert report.assumptions[0].startswith('stamps: timestamp')


def break_version(root):
    info = json.loads((root / 'meta/info.json').read_text()) | {'codebase_version': 'v2.1'}
    (root / 'meta/info.json').write_text(json.dumps(info))


def break_json(root):
    (root / 'meta/info.json').write_text('{"codebase_version": "v3.0", ')


def break_deep_json(root):
    (root / 'meta/info.json').write_text('[' * 200_000)


def break_features(root):
    info = json.loads((root / 'meta/info.json').read_text()) | {'features': [1, 2]}
    (root / 'meta/info.json').write_text(json.dumps(info))


def break_paths(root):
    info = json.loads((root / 'meta/info.json').read_text())
    info |= {'data_path': '../../secret-{chunk_index}-{file_index}.parquet'}
    (root / 'meta/info.json').write_text(json.dumps(info))


def break_pattern(root):
    info = json.loads((root / 'meta/info.json').read_text()) | {'data_path': '{nothing}'}
    (root / 'meta/info.json').write_text(json.dumps(info))


def break_table(root):
    file = root / 'data/chunk-000/file-000.parquet'
    file.write_bytes(file.read_bytes()[:-200])


def break_shape(root):
    file = root / 'data/chunk-000/file-000.parquet'
    table = pq.read_table(file)
    place = table.column_names.index('observation.state')
    values = pa.array([[0.0] * (i % 3) for i in range(len(table))])
    pq.write_table(table.set_column(place, 'observation.state', values), file)


def break_episodes(root):
    shutil.rmtree(root / 'meta/episodes')


def break_rows(root):
    file = root / 'data/chunk-000/file-000.parquet'
    pq.write_table(pq.read_table(file).slice(0, 7), file)


def break_video(root):
    file = next((root / 'videos').rglob('*.mp4'))
    file.write_bytes(b'no video')


def break_video_length(root):
    file = root / 'meta/episodes/chunk-000/file-000.parquet'
    rows = pq.read_table(file).to_pylist()
    for row in rows:
        row['videos/observation.images.top/from_timestamp'] += 30.0
    pq.write_table(pa.Table.from_pylist(rows), file)


def remove_video(root):
    shutil.rmtree(root / 'videos')


BROKEN = {
    break_version: 'version v2.1, expected v3. Convert it',
    break_json: 'is no description of a data set',
    break_deep_json: 'is no description of a data set',
    break_features: 'of another layout than lerobot',
    break_paths: 'which is outside of it',
    break_pattern: 'of another layout than lerobot',
    break_table: 'of another layout than lerobot',
    break_shape: 'column observation.state is not what',
    break_episodes: 'expected a table of episodes',
    break_rows: 'holds 1 rows of episode 1, expected 4',
    break_video: 'is no readable video',
    break_video_length: 'holds no frame at 30.0000 s',
    remove_video: 'is no readable video',
}


@pytest.mark.parametrize('damage', BROKEN, ids=lambda damage: damage.__name__)
def test_a_broken_lerobot_set_is_one_clear_error(tmp_path, damage):
    path = write_lerobot(tmp_path / 'lift')
    damage(path)
    with pytest.raises(DataError) as caught:
        imported(path, tmp_path, arm(top=CAMERA), STATE_MAP)
    assert BROKEN[damage] in str(caught.value) and str(tmp_path) in str(caught.value)
    assert list((tmp_path / 'store').glob('*')) == []


def test_a_picture_that_does_not_decode_is_one_clear_error(tmp_path):
    path = write_lerobot(tmp_path / 'lift', pictures='image')
    file = path / 'data/chunk-000/file-000.parquet'
    table = pq.read_table(file)
    pictures = [{'bytes': b'no picture', 'path': None}] * len(table)
    place = table.column_names.index('observation.images.top')
    table = table.set_column(place, 'observation.images.top', pa.array(pictures))
    pq.write_table(table, file)
    with pytest.raises(DataError, match='a picture does not decode'):
        imported(path, tmp_path, arm(top=CAMERA), STATE_MAP)


def test_a_broken_robomimic_file_is_one_clear_error(tmp_path):
    entries = ['eef_pos=tip', 'joints[0:2]=speed']
    cut = write_robomimic(tmp_path / 'cut.hdf5')
    cut.write_bytes(cut.read_bytes()[:2000])
    with pytest.raises(DataError, match='is truncated, damaged or of another layout'):
        imported(cut, tmp_path, arm(), entries)
    uneven = write_robomimic(tmp_path / 'uneven.hdf5')
    with h5py.File(uneven, 'a') as file:
        del file['data/demo_1/actions']
        file['data/demo_1/actions'] = np.zeros((2, 2))
    with pytest.raises(DataError, match='demo_1 has arrays of different or no length'):
        imported(uneven, tmp_path, arm(), entries)
    infinite = write_robomimic(tmp_path / 'infinite.hdf5')
    with h5py.File(infinite, 'a') as file:
        file['data/demo_0/actions'][2] = np.inf
    with pytest.raises(DataError, match='actions are not finite'):
        imported(infinite, tmp_path, arm(), entries)
    empty = tmp_path / 'empty.hdf5'
    with h5py.File(empty, 'w') as file:
        file.create_group('data')
    with pytest.raises(DataError, match='holds no episodes'):
        imported(empty, tmp_path, arm(), entries)
    assert list((tmp_path / 'store').glob('*')) == []


def test_every_demonstration_is_compared_with_the_contract(tmp_path):
    entries = ['eef_pos=tip', 'joints[0:2]=speed']
    lacking = write_robomimic(tmp_path / 'lacking.hdf5')
    with h5py.File(lacking, 'a') as file:
        del file['data/demo_1/obs/joints']
    with pytest.raises(ContractError, match=r'lacking.*speed: found no joints.*Episode 1 holds'):
        imported(lacking, tmp_path, arm(), entries)
    wider = write_robomimic(tmp_path / 'wider.hdf5', next_obs=False)
    with h5py.File(wider, 'a') as file:
        del file['data/demo_1/obs/eef_pos']
        file['data/demo_1/obs/eef_pos'] = np.zeros((3, 4))
    with pytest.raises(ContractError, match=r'tip: expected \[3\], found eef_pos \[4\]'):
        imported(wider, tmp_path, arm(), entries)
    assert list((tmp_path / 'store').glob('*')) == []


def test_an_archive_whose_field_has_no_gap_mask_is_one_clear_error(tmp_path):
    store = fill(tmp_path / 'recorded')
    export(EpisodeSource(store.root), 'npz', tmp_path / 'n')
    with np.load(tmp_path / 'n' / 'episode_000000.npz') as archive:
        arrays = {name: archive[name] for name in archive if name != 'present/pose'}
    np.savez(tmp_path / 'n' / 'episode_000000.npz', **arrays)
    with pytest.raises(ContractError, match='pose: found pose without its stamps or its gap mask'):
        imported(tmp_path / 'n', tmp_path, camera_robot())


@pytest.mark.parametrize('attribute', ['{}', '[]', '7', 'nonsense', '{"contract": 3}'])
def test_a_forged_group_of_ours_is_one_clear_error(tmp_path, attribute):
    store = fill(tmp_path / 'recorded')
    export(EpisodeSource(store.root), 'robomimic', tmp_path / 'o.hdf5')
    with h5py.File(tmp_path / 'o.hdf5', 'a') as file:
        file.attrs['robot_learning'] = attribute
    with pytest.raises(DataError, match='another layout'):
        imported(tmp_path / 'o.hdf5', tmp_path, camera_robot())


@pytest.mark.parametrize(
    'index', ['{"format": "robot_learning npz 9"}', '{"format": "robot_learning npz 1", ']
)
def test_a_forged_index_is_one_clear_error(tmp_path, index):
    (tmp_path / 'n').mkdir()
    (tmp_path / 'n' / 'index.json').write_text(index)
    with pytest.raises(DataError, match='is no index of episodes'):
        imported(tmp_path / 'n', tmp_path, camera_robot())


def test_an_archive_with_pickles_is_refused(tmp_path):
    store = fill(tmp_path / 'recorded')
    export(EpisodeSource(store.root), 'npz', tmp_path / 'n')
    with np.load(tmp_path / 'n' / 'episode_000000.npz') as archive:
        arrays = dict(archive)
    arrays['action'] = np.array([{'a': 1}] * len(arrays['action']), object)
    np.savez(tmp_path / 'n' / 'episode_000000.npz', **arrays)
    with pytest.raises(DataError, match=r'is no sound archive.*allow_pickle=False'):
        imported(tmp_path / 'n', tmp_path, camera_robot())


def test_formats_are_told_apart(tmp_path):
    assert detect(write_robomimic(tmp_path / 'a.hdf5')) == 'robomimic'
    assert detect(write_lerobot(tmp_path / 'l', pictures='none')) == 'lerobot'
    assert detect(tmp_path) is None and detect(tmp_path / 'bag.mcap') is None
