import h5py
import numpy as np
import pytest
from bag_files import drive, write_bag
from recordings import assert_equal, lock_step, record, robot
from robot_learning.errors import ContractError, DataError
from robot_learning.trajectory.bags.bag import import_bag
from robot_learning.trajectory.datasets import read_episodes
from robot_learning.trajectory.store import TrajectoryStore


@pytest.fixture
def store(tmp_path):
    store = TrajectoryStore(tmp_path / 'store')
    episodes = record(lock_step([6, 4]))[0]
    store.write_segment([episodes[0].slice(0, 3)], 'monday', robot())
    store.write_segment([episodes[0].slice(3, 6), episodes[1]], 'monday', robot())
    store.write_segment([episodes[0]], 'tuesday', robot())
    return store, episodes


def write_robomimic(path, lengths=(5, 3), with_next=True):
    """Write a file in the layout of robomimic's published data sets."""
    rng = np.random.default_rng(0)
    with h5py.File(path, 'w') as file:
        data = file.create_group('data')
        data.attrs['total'] = sum(lengths)
        data.attrs['env_args'] = '{"env_name": "Lift", "type": 1, "env_kwargs": {}}'
        for number, length in reversed(list(enumerate(lengths))):
            demo = data.create_group(f'demo_{number}')
            demo.attrs['num_samples'] = length
            demo['actions'] = rng.uniform(-1, 1, (length, 2))
            demo['rewards'] = np.arange(length, dtype=np.float64)
            demo['dones'] = (np.arange(length) == length - 1).astype(np.int64)
            poses = number * 100 + np.arange(length + 1, dtype=np.float64)
            demo['obs/pose'] = np.stack([poses[:-1]] * 3, axis=1)
            demo['obs/image'] = np.zeros((length, 8, 8, 3), np.uint8)
            if with_next:
                demo['next_obs/pose'] = np.stack([poses[1:]] * 3, axis=1)
                demo['next_obs/image'] = np.zeros((length, 8, 8, 3), np.uint8)
    return path


def test_a_store_a_session_and_a_segment_are_read_alike(store):
    store, (first, second) = store
    everything = list(read_episodes(store.root, robot()))
    assert [e.attributes['session'] for e in everything] == ['monday', 'monday', 'tuesday']
    for found, expected in zip(everything, [first, second, first], strict=True):
        assert_equal(found, expected)
    monday = list(read_episodes(store.root / 'monday'))
    assert [len(e) for e in monday] == [6, 4]
    segment = list(read_episodes(store.segments()[1], fields=['goal']))
    assert [(e.offset, len(e)) for e in segment] == [(3, 3), (0, 4)]
    assert set(segment[0].observations) == {'goal'}


def test_a_bag_gives_what_its_import_gives(tmp_path):
    bag = write_bag(tmp_path / 'bag', drive())
    import_bag(bag, robot(), TrajectoryStore(tmp_path / 'store'))
    (imported,) = read_episodes(tmp_path / 'store')
    (direct,) = read_episodes(bag, robot())
    assert_equal(direct, imported)
    (direct,) = read_episodes(bag / 'bag.mcap', robot(), ['pose'])
    assert set(direct.observations) == set(direct.present) == {'pose'}
    with pytest.raises(ContractError, match='needs a robot contract'):
        list(read_episodes(bag))


def test_robomimic_rewards_arrive_one_step_later(tmp_path):
    path = write_robomimic(tmp_path / 'lift.hdf5')
    first, second = read_episodes(path)
    assert (first.episode, second.episode) == (0, 1)
    assert len(first) == 6 and len(second) == 4
    np.testing.assert_array_equal(first.observations['pose'][:, 0], range(6))
    np.testing.assert_array_equal(second.observations['pose'][:, 0], range(100, 104))
    np.testing.assert_array_equal(first.reward, [0, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(first.truncated, [False] * 5 + [True])
    assert not first.terminated.any() and first.is_complete and first.is_first[0]
    np.testing.assert_array_equal(first.action[-1], [0, 0])
    with h5py.File(path) as file:
        np.testing.assert_allclose(first.action[:-1], file['data/demo_0/actions'], rtol=1e-6)
    assert first.observations['image'].dtype == np.uint8


def test_robomimic_without_next_observations_loses_only_its_last_action(tmp_path):
    path = write_robomimic(tmp_path / 'lift.hdf5', with_next=False)
    first, _ = read_episodes(path, fields=['pose'])
    assert len(first) == 5 and set(first.observations) == {'pose'}
    np.testing.assert_array_equal(first.reward, [0, 0, 1, 2, 3])


def test_data_of_another_robot_are_refused(store, tmp_path):
    store, _ = store
    data = robot().to_dict()
    data['observation']['wheels']['unit'] = 'm'
    data['observation']['wheels']['shape'] = [4]
    other = robot(observation=data['observation'], robot='other')
    with pytest.raises(
        ContractError, match=r"contract \('tiny'\) than 'other'.*observation.wheels"
    ):
        list(read_episodes(store.root, other))
    path = write_robomimic(tmp_path / 'lift.hdf5')
    data['actions']['base'] |= {'components': ['linear.x'], 'unit': ['m/s']}
    data['actions']['base'] |= {'low': [-1.0], 'high': [1.0], 'stop': [0.0]}
    data['actions']['base']['derive_from'] = None
    with pytest.raises(ContractError, match="actions have 2 components, contract 'tiny' has 1"):
        list(read_episodes(path, robot(actions=data['actions'])))


def test_what_holds_no_episodes_is_named(tmp_path):
    with pytest.raises(DataError, match='holds nothing, expected a store'):
        list(read_episodes(tmp_path / 'nowhere'))
    with pytest.raises(DataError, match='holds no episodes, expected a store'):
        list(read_episodes(tmp_path))
    path = write_robomimic(tmp_path / 'lift.hdf5')
    with pytest.raises(DataError, match='holds no sonar, only image, pose'):
        list(read_episodes(path, fields=['sonar']))
    (tmp_path / 'other.hdf5').write_bytes(b'no HDF5 at all')
    with pytest.raises(DataError, match='is truncated, damaged or of another layout'):
        list(read_episodes(tmp_path / 'other.hdf5'))


def test_a_damaged_segment_is_left_out_by_name_and_the_rest_is_read(store, caplog):
    store, (first, _) = store
    store.segments('monday')[0].write_bytes(b'no HDF5 at all')
    found = list(read_episodes(store.root, robot()))
    assert [(e.attributes['session'], e.episode, e.offset) for e in found] == [
        ('monday', 0, 3),
        ('monday', 1, 0),
        ('tuesday', 0, 0),
    ]
    assert found[0].attributes['missing_before'] == 3
    assert_equal(found[2], first)
    assert 'monday/segment_000000.hdf5' in caplog.text
    assert '1 damaged segments were left out' in caplog.text and 'store repair' in caplog.text
    for path in store.segments():
        path.write_bytes(b'no HDF5 at all')
    with pytest.raises(DataError, match=r'none of its segments can be read. The first: .*000000'):
        list(read_episodes(store.root, robot()))
