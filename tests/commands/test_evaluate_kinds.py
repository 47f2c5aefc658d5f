"""`./run evaluate` for every kind of version."""

import json

import numpy as np
import pytest
from robot_learning.commands import evaluate
from robot_learning.features import FeatureBuilder
from robot_learning.model_store import ModelStore
from test_evaluate import CONTRACT, publish


@pytest.fixture
def models(tmp_path):
    store = ModelStore(tmp_path / 'models')
    publish(store, bias=(3.0, 0.0))  # Full speed ahead.
    return store


def test_with_a_mode_everything_that_applies_is_measured(models, tmp_path):
    from robot_learning.commands.collect import collect

    collect(CONTRACT, 'random', 100, tmp_path / 'episodes')
    path = tmp_path / 'score.json'
    arguments = ['--model', 'navigator@1', '--models', str(models.root), '--episodes', '2']
    data = ['--data', str(tmp_path / 'episodes'), '--workers', '1', '--mode', 'policy']
    assert evaluate.main([*arguments, *data, '--json', str(path)]) == 0
    score = json.loads(path.read_text())
    assert (score['kind'], score['robot']) == ('gaussian_tanh_mlp', 'arena')
    for figure in ('navigation', 'waypoint_course'):
        low, high = score[figure]['success_interval_95']
        assert low <= score[figure]['success_rate'] <= high
        assert score[figure]['num_layouts'] == 2
        low, high = score[figure]['collision_interval_95']
        assert low <= score[figure]['collision_rate'] <= high
    (low, high), _ = score['offline']['error_interval_95']
    assert low < score['offline']['mean_absolute_error'][0] < high
    assert score['offline']['num_episodes'] >= 1


def test_dreamers_answers_are_compared_offline_and_it_drives(tmp_path):
    torch = pytest.importorskip('torch')
    from robot_learning.commands.collect import main as collect
    from robot_learning.models.world_model import WorldModelConfig
    from robot_learning.phases.contract_fit import policy_space
    from robot_learning.phases.dreamer import Dreamer
    from robot_learning.phases.dreamer_config import DreamerConfig

    torch.manual_seed(0)
    sizes = WorldModelConfig(deter=16, hidden=8, groups=4, classes=4, blocks=1, num_bins=15)
    space = policy_space(CONTRACT, FeatureBuilder(CONTRACT))
    tensors, spec = Dreamer(DreamerConfig(model=sizes), space, 0).policy()
    manifest = {
        'policy': spec,
        'phase': 'dreamer',
        'contract': CONTRACT.to_dict(),
        'contract_hash': CONTRACT.hash,
    }
    arrays = {name: value.numpy() for name, value in tensors.items()}
    ModelStore(tmp_path / 'models').publish('dreamt', arrays, manifest)
    model = ['--model', 'dreamt@1', '--models', str(tmp_path / 'models')]
    data = tmp_path / 'driven'
    assert collect([*model, '--steps', '30', '--out', str(data)]) == 0
    path = tmp_path / 'score.json'
    more = ['--mode', 'dreamer', '--data', str(data), '--workers', '1', '--episodes', '1']
    assert evaluate.main([*model, *more, '--json', str(path)]) == 0
    score = json.loads(path.read_text())
    # Told what was carried out, it predicts what it drove itself.
    assert max(score['offline']['mean_absolute_error']) < 1e-4
    assert score['offline']['log_likelihood'] is None
    assert score['navigation']['num_layouts'] == score['waypoint_course']['num_layouts'] == 1


def test_a_world_model_imagines_as_far_as_short_recordings_allow(tmp_path):
    torch = pytest.importorskip('torch')
    from robot_learning.commands.collect import collect
    from robot_learning.models.world_model import WorldModelConfig
    from robot_learning.phases.contract_fit import policy_space
    from robot_learning.phases.world_model import WorldModelPhase, WorldModelPhaseConfig

    torch.manual_seed(0)
    sizes = WorldModelConfig(deter=16, hidden=8, groups=4, classes=4, blocks=1, num_bins=15)
    space = policy_space(CONTRACT, FeatureBuilder(CONTRACT))
    phase = WorldModelPhase(WorldModelPhaseConfig(model=sizes), space, 0)
    tensors, spec = phase.policy()
    manifest = {'policy': spec, 'phase': 'world_model', 'contract': CONTRACT.to_dict()}
    manifest['contract_hash'] = CONTRACT.hash
    arrays = {name: value.numpy() for name, value in tensors.items()}
    ModelStore(tmp_path / 'models').publish('dreamt', arrays, manifest)
    collect(CONTRACT, 'geodesic', 40, tmp_path / 'driven')
    arguments = ['--model', 'dreamt', '--models', str(tmp_path / 'models')]
    arguments += ['--data', str(tmp_path / 'driven'), '--json', str(tmp_path / 'score.json')]
    assert evaluate.main(arguments) == 0
    found = json.loads((tmp_path / 'score.json').read_text())
    assert '"horizon": 25' in json.dumps(found)
    assert evaluate.main([*arguments, '--horizon', '50']) != 0


def test_a_mode_that_the_version_is_not_of_is_named(models, tmp_path, capsys):
    tensors, manifest = models.load('navigator', 1)
    models.publish('cloned', tensors, manifest | {'phase': 'behavior_cloning'})
    arguments = ['--model', 'cloned@1', '--models', str(models.root), '--mode', 'dreamer']
    assert evaluate.main(arguments) == 2
    said = capsys.readouterr().err
    assert 'of phase behavior_cloning, expected one of --mode dreamer' in said
    assert '--mode supervised' in said


@pytest.mark.parametrize(
    ('algorithm', 'env', 'config'),
    [
        ('ppo', 'CartPole-v1', 'phase: ppo\nconfig: {hidden: [8], num_steps: 64}\n'),
        (
            'sac',
            'Pendulum-v1',
            'phase: sac\nconfig: {hidden: [8], batch_size: 8}\ntrainer: {warmup_steps: 40}\n',
        ),
    ],
)
def test_a_version_of_an_environment_acts_in_it(tmp_path, algorithm, env, config):
    from robot_learning.commands import train

    (tmp_path / 'small.yaml').write_text(config)
    models = f'--models={tmp_path / "models"}'
    options = ['--num-envs=4', '--num-steps=200', '--name=one', models, '--mode=policy']
    small = f'--config={tmp_path / "small.yaml"}'
    assert train.main([*options, small, f'--algorithm={algorithm}', f'--env={env}']) == 0
    path = tmp_path / 'score.json'
    options = ['--model=one', models, '--mode=policy', '--episodes=6', f'--json={path}']
    assert evaluate.main(options) == 0
    found = json.loads(path.read_text())['environment']
    assert (found['environment'], found['num_episodes']) == (env, 6)
    low, high = found['return_interval_95']
    assert low <= found['return'] <= high
    assert found['return'] == pytest.approx(np.mean(found['returns']))


def test_a_classifier_is_scored_on_pairs(tmp_path, capsys):
    from robot_learning.commands import train

    (tmp_path / 'small.yaml').write_text(
        'phase: neural_policy\nconfig: {hidden: [32], epochs: 3, num_synthetic: 2000}\n'
    )
    models = f'--models={tmp_path / "models"}'
    options = ['--phase=neural_policy', '--data=synthetic', models]
    assert train.main([*options, f'--config={tmp_path / "small.yaml"}']) == 0
    path = tmp_path / 'score.json'
    options = ['--model=neural_policy', models, '--mode=supervised']
    assert evaluate.main([*options, '--data=synthetic', f'--json={path}']) == 0
    found = json.loads(path.read_text())['labels']
    assert found['num_rows'] == np.sum(found['confusion']) == 2000
    assert found['num_right'] == np.trace(found['confusion'])
    assert found['accuracy'] > 0.55  # As on held-out rows while training.
    low, high = found['accuracy_interval_95']
    assert low < found['accuracy'] < high
    assert evaluate.main(options) == 2
    assert 'a classifier is measured on recordings' in capsys.readouterr().err
