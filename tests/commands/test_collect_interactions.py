import numpy as np
import pytest
from robot_learning.commands import collect
from robot_learning.commands.collect_interactions import (
    EPISODES,
    SetOptions,
    bench_contract,
    collect_interactions,
)
from robot_learning.errors import StoreError
from robot_learning.simulation.interaction_plans import plan_set
from robot_learning.simulation.interactions import Bench, Recording, planned
from robot_learning.trajectory.paired_sources import open_paired

NUM = 8


def short_recording(bench, item, kind, seed, noise_seed=0, num_steps=32):
    """Return arrays of the right shapes that follow from the arguments, without physics."""
    rng = np.random.default_rng([seed, noise_seed, len(kind)])
    frames = np.tile(rng.integers(0, 256, (num_steps + 1, 1, 1, 3), np.uint8), (1, 64, 64, 1))
    action = np.zeros((num_steps + 1, 16), np.float32)
    action[:, :4] = rng.uniform(0, 0.1, (num_steps + 1, 4))
    return Recording(
        frames if bench._has_camera else None,
        rng.uniform(-1, 1, num_steps * 800).astype(np.float32),
        rng.normal(size=(num_steps + 1, 19)).astype(np.float32),
        action,
    )


@pytest.fixture
def quick(monkeypatch):
    """Let recordings cost nothing; what records them is tested in tests/simulation."""
    monkeypatch.setattr(
        Bench, '__init__', lambda bench, has_camera=True: _quick(bench, has_camera)
    )
    monkeypatch.setattr(Bench, 'record', short_recording)


def _quick(bench, has_camera):
    bench._has_camera = has_camera
    bench._worlds = {}


def test_folder_and_episodes_hold_the_same(quick, tmp_path):
    done = []
    options = SetOptions(NUM, 1, has_episodes=True)
    assert collect_interactions(options, tmp_path / 'set', done.append) == NUM + 4
    assert done == list(range(1, NUM + 5))
    folder = open_paired(tmp_path / 'set', min_class_samples=1)
    store = open_paired(tmp_path / 'set' / EPISODES, min_class_samples=1)
    assert folder.report.skipped == store.report.skipped == []
    assert folder.report.synthetic
    assert store.report.synthetic
    assert folder.report.num_samples == store.report.num_samples
    assert len(folder.interventions) == len(store.interventions) == 1
    same = {_key(got): got for got in store}
    for got in folder:
        other = same[_key(got)]
        np.testing.assert_array_equal(got.frames, other.frames)
        np.testing.assert_array_equal(got.image, got.frames[0])
        np.testing.assert_array_equal(got.action, other.action)
        np.testing.assert_allclose(got.sound, other.sound, atol=3.1e-5)
        np.testing.assert_allclose(got.properties, other.properties, atol=1e-5)
        assert folder.classes[got.label] == store.classes[other.label]
    plans = plan_set(NUM, 1, 0)
    assert set(folder.groups) == {plan.item.name for plan in plans}


def _key(sample):
    """Tell recordings apart; those before and after a change share everything but a property."""
    return sample.proprioception.tobytes(), tuple(sample.properties.round(3).tolist())


def test_without_a_camera_there_are_no_pictures(quick, tmp_path):
    collect_interactions(SetOptions(NUM, 0, has_camera=False), tmp_path / 'set')
    found = open_paired(tmp_path / 'set', min_class_samples=1)
    assert found.modalities == ('sound', 'proprioception', 'action', 'properties')
    assert 'camera' not in bench_contract(has_camera=False).observation


def test_a_set_that_is_there_stays_as_it_is(quick, tmp_path):
    collect_interactions(SetOptions(NUM, 0), tmp_path / 'set')
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(StoreError, match='is there already, expected nothing'):
        collect_interactions(SetOptions(NUM, 0), tmp_path / 'set')
    assert sorted(tmp_path.rglob('*')) == before


def test_what_is_interrupted_leaves_nothing(quick, tmp_path):
    def stop(done):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_interactions(SetOptions(NUM, 0, has_episodes=True), tmp_path / 'set', stop)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_named(quick, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(StoreError, match=r'file/set: cannot be written \(Not a directory\)'):
        collect_interactions(SetOptions(NUM, 0), tmp_path / 'file' / 'set')


def test_processes_record_what_one_records(tmp_path):
    for count in (1, 2):
        options = SetOptions(2, 0, has_camera=False, num_processes=count)
        collect_interactions(options, tmp_path / str(count))
    one, two = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob('*') if path.is_file()}
        for root in (tmp_path / '1', tmp_path / '2')
    )
    assert one == two
    assert len(one) == 2 * 3 + 2


def test_the_command_says_what_it_made(quick, tmp_path, capsys):
    arguments = ['--interactions', '40', '--out', str(tmp_path / 'set'), '--no-camera']
    assert collect.main(arguments) == 0
    assert '48 recordings of the simulated bench, synthetic' in capsys.readouterr().out
    assert collect.main(arguments) == 2
    assert 'is there already' in capsys.readouterr().err


def test_a_number_that_is_none_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        collect.main(['--interactions', '0', '--out', str(tmp_path / 'set')])
    assert 'expected a whole number from 1 up' in capsys.readouterr().err


def test_commands_lie_within_the_limits_of_the_contract():
    contract = bench_contract()
    for plan in plan_set(126, 0, 3):
        commands = planned(plan.item, plan.kind)
        assert (commands >= contract.action_low - 1e-6).all()
        assert (commands <= contract.action_high + 1e-6).all()
