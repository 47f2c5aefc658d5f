import math

import numpy as np
import pytest
import torch
import yaml
from robot_learning import contract as contracts
from robot_learning.commands import collect
from robot_learning.features import FeatureBuilder
from robot_learning.model_store import ModelStore
from robot_learning.models.sequence_policy import SequencePolicy
from robot_learning.simulation import GRAPHICS_BACKEND
from robot_learning.trajectory.datasets import read_episodes
from robot_learning.trajectory.segment import open_hdf5
from robot_learning.trajectory.store import TrajectoryStore

pytest.importorskip('dm_control')
from robot_learning.commands.collect_dmc import as_episode
from robot_learning.simulation.dmc_trajectories import DmcTask

TASK = 'cartpole_swingup'


def run(out, *more, steps=15):
    arguments = ['--dmc', TASK, '--action-repeat', '100', '--steps', str(steps), '--out', str(out)]
    return collect.main([*arguments, '--image-size', '0', *more])


def publish(models, contract, **changes):
    """Publish a policy with memory for the task."""
    torch.manual_seed(0)
    network = SequencePolicy(FeatureBuilder(contract).size, 1, (8,), 'gru', 8)
    tensors, spec = network.published(contract.action_low, contract.action_high)
    manifest = {'policy': spec, 'contract': contract.to_dict(), 'contract_hash': contract.hash}
    arrays = {name: value.numpy() for name, value in tensors.items()}
    ModelStore(models).publish('swinger', arrays, manifest | changes)
    return network


def test_what_is_stored_is_what_was_driven(tmp_path, capsys):
    assert run(tmp_path / 's', '--seed', '2') == 0
    assert '20 steps of random actions' in capsys.readouterr().out  # Whole episodes of ten.
    episodes = list(TrajectoryStore(tmp_path / 's').episodes())
    task = DmcTask(TASK, image_size=0, action_repeat=100)
    for number, episode in enumerate(episodes):
        actions = iter(episode.action)
        again = task.trajectory(lambda o, actions=actions: next(actions), 2000 + number)
        for name, values in again.observations.items():
            np.testing.assert_array_equal(episode.observations[name], values)
        np.testing.assert_array_equal(episode.reward, again.reward)
        np.testing.assert_array_equal(episode.truncated, again.truncated)
        assert episode.is_complete
        assert not episode.terminated.any()
        assert episode.is_first.tolist() == [True] + [False] * 10
    assert len(episodes) == 2


def test_the_contract_beside_it_reads_it(tmp_path):
    run(tmp_path / 's')
    contract = contracts.load(tmp_path / 's' / f'dmc_{TASK}.yaml')
    assert contract.hash == DmcTask(TASK, 0, action_repeat=100).contract.hash
    fields = FeatureBuilder(contract).fields
    episodes = list(read_episodes(tmp_path / 's', contract, fields))
    assert [len(episode) for episode in episodes] == [11, 11]


@pytest.mark.skipif(GRAPHICS_BACKEND == 'disable', reason='this machine cannot draw')
def test_pictures_lie_in_robomimics_layout(tmp_path):
    assert run(tmp_path / 's', '--image-size', '32', steps=1) == 0
    (path,) = TrajectoryStore(tmp_path / 's').segments()
    with open_hdf5(path) as file:
        demo = file['data/demo_0']
        assert demo['obs/camera'].shape[1:] == (32, 32, 3)
        assert demo['obs/camera'].dtype == np.uint8
        assert len(demo['actions']) == len(demo['rewards'])
    (episode,) = TrajectoryStore(tmp_path / 's').episodes()
    task = DmcTask(TASK, 32, action_repeat=100)
    actions = iter(episode.action)
    again = task.trajectory(lambda o: next(actions), 0)
    difference = again.observations['camera'].astype(int) - episode.observations['camera']
    assert np.abs(difference).mean() < 0.5


def test_a_model_with_memory_drives_from_the_store(tmp_path):
    task = DmcTask(TASK, 0, action_repeat=100)
    network = publish(tmp_path / 'models', task.contract)
    models = ['--model', 'swinger@1', '--models', str(tmp_path / 'models')]
    assert run(tmp_path / 's', *models) == 0
    episodes = list(TrajectoryStore(tmp_path / 's').episodes())
    builder = FeatureBuilder(task.contract)
    for episode in episodes:
        features = torch.from_numpy(builder.build_batch(episode.observations))[None]
        with torch.no_grad():
            mean, _, _ = network(features, torch.from_numpy(episode.is_first)[None])
        np.testing.assert_allclose(
            episode.action[:-1], torch.tanh(mean[0, :-1]).numpy(), atol=1e-5
        )
        assert (episode.model_version[:-1] == 1).all()
        assert not episode.exploring.any()


def test_a_model_that_explores_says_how_likely_its_actions_were(tmp_path):
    publish(tmp_path / 'models', DmcTask(TASK, 0, action_repeat=100).contract)
    models = ['--model', 'swinger', '--models', str(tmp_path / 'models'), '--explore']
    assert run(tmp_path / 's', *models) == 0
    episode = next(TrajectoryStore(tmp_path / 's').episodes())
    assert np.isfinite(episode.log_prob[:-1]).all()
    assert episode.exploring[:-1].all()
    assert math.isnan(episode.log_prob[-1])


def test_errors_are_named(tmp_path, capsys):
    assert run(tmp_path / 's', '--dmc', 'cartpole_fly') == 2
    assert 'cartpole_fly: no such task' in capsys.readouterr().err
    assert run(tmp_path / 's') == 0
    before = [path.read_bytes() for path in TrajectoryStore(tmp_path / 's').segments()]
    capsys.readouterr()
    assert run(tmp_path / 's') == 2
    assert 'cartpole_swingup_random_0000 already' in capsys.readouterr().err
    assert [p.read_bytes() for p in TrajectoryStore(tmp_path / 's').segments()] == before
    assert run(tmp_path / 't', '--model', 'nobody', '--models', str(tmp_path)) == 2
    assert 'nobody' in capsys.readouterr().err
    publish(tmp_path / 'models', contracts.load('arena'))
    assert run(tmp_path / 't', '--model', 'swinger', '--models', str(tmp_path / 'models')) == 2
    assert 'swinger@1' in capsys.readouterr().err
    assert not (tmp_path / 't').exists()


@pytest.mark.parametrize('more', [['--driver', 'geodesic'], ['--explore']])
def test_options_that_do_not_go_together_are_refused(tmp_path, capsys, more):
    with pytest.raises(SystemExit):
        run(tmp_path / 's', *more)
    assert more[0] in capsys.readouterr().err


def test_stamps_of_episodes_do_not_touch(tmp_path):
    run(tmp_path / 's')
    first, second = TrajectoryStore(tmp_path / 's').episodes()
    contract = yaml.safe_load((tmp_path / 's' / f'dmc_{TASK}.yaml').read_text())
    period_ns = round(1e9 / contract['control_rate_hz'])
    assert (np.diff(first.stamp_ns) == period_ns).all()
    assert second.stamp_ns[0] - first.stamp_ns[-1] > 2 * period_ns


def test_an_episode_holds_every_field_at_every_step():
    task = DmcTask(TASK, 0, action_repeat=100)
    found = task.trajectory(lambda o: np.zeros(1), 0)
    episode = as_episode(found, task.contract, 7, 5)
    assert (episode.episode, int(episode.stamp_ns[0])) == (7, 5)
    assert all(values.all() for values in episode.present.values())
