import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from robot_learning.commands import train
from robot_learning.commands.train_pairs import load_settings, train_pairs
from robot_learning.errors import ConfigError, DataError
from robot_learning.model_store import ModelStore
from robot_learning.serving.choice_policy import build_choice_policy

FAST = (
    'phase: neural_policy\n'
    'config: {hidden: [32], epochs: 10, batch_size: 32, num_synthetic: 800}\n'
)


@pytest.fixture
def run(tmp_path):
    (tmp_path / 'fast.yaml').write_text(FAST)

    def run(*data, **changes):
        options = {
            'data': [Path(path) for path in data or ('synthetic',)],
            'name': None,
            'config': tmp_path / 'fast.yaml',
            'seed': 0,
            'held_out': 0.2,
            'models': tmp_path / 'models',
            'output': None,
            'sign_with': None,
            'env': None,
            'track': 'tensorboard',
            'arguments': ['--phase', 'neural_policy', '--data', 'synthetic'],
        }
        return train_pairs(argparse.Namespace(**(options | changes)))

    run.folder = tmp_path
    return run


def test_synthetic_pairs_give_a_version_that_answers_with_its_labels(run, capsys):
    result = run()
    assert (result['model'], result['version'], result['epoch']) == ('neural_policy', 1, 10)
    assert result['training']['rows'] + result['held_out']['rows'] == 800
    assert sum(map(sum, result['confusion'])) == result['held_out']['rows']
    assert 'of held-out rows right' in capsys.readouterr().out
    page = (run.folder / 'reports' / 'neural_policy-neural_policy.html').read_text()
    assert 'of held-out rows right' in page and './run train --phase neural_policy' in page
    json.dumps(result)
    tensors, manifest = ModelStore(run.folder / 'models').load('neural_policy', 1)
    assert manifest['score'] == result['metrics']['held_out/accuracy']
    assert manifest['state_names'][0] == 'clearance_front'
    policy = build_choice_policy(tensors, manifest, 'neural_policy@1')
    assert policy.labels == ('forward', 'reverse', 'stop', 'turn_left', 'turn_right')
    # Right before the goal, and far from it with nothing in between.
    assert policy.choose(np.array([3, 3, 3, 0.05, 1, 0, 0, 0])).label == 'stop'


def test_the_same_command_again_finds_the_work_done(run):
    first = run()
    assert run() == first


def test_files_of_pairs_and_names_of_models(run):
    rng = np.random.default_rng(0)
    states = rng.normal(size=(300, 3))
    np.savez(run.folder / 'data.npz', states=states, actions=(states[:, 0] > 0).astype(int))
    result = run(run.folder / 'data.npz', name='turner')
    assert result['labels'] == [0, 1]
    assert result['metrics']['held_out/accuracy'] > 0.8
    assert ModelStore(run.folder / 'models').versions('turner') == [1]


def test_missing_data_and_two_sets_are_one_clear_error(run):
    with pytest.raises(DataError, match='nowhere: is not there'):
        run(run.folder / 'nowhere')
    with pytest.raises(ConfigError, match='--data: found 2 of them, expected one'):
        run('a', 'b')


def test_settings_ship_with_the_guides_values_and_name_mistakes(tmp_path):
    settings = load_settings()
    assert (settings.hidden, settings.epochs, settings.num_synthetic) == ((256,), 20, 10_000)
    file = tmp_path / 'mine.yaml'
    file.write_text('phase: neural_policy\nconfig:\n  epoch: 3\n')
    with pytest.raises(ConfigError, match=r'mine.yaml:3: epoch: unknown key'):
        load_settings(file)
    file.write_text('phase: sac\n')
    with pytest.raises(ConfigError, match="is for phase 'sac', expected 'neural_policy'"):
        load_settings(file)


def test_the_guides_command_trains_it(run, capsys):
    models = run.folder / 'models'
    command = ['--mode', 'supervised', '--phase', 'neural_policy', '--data', 'synthetic']
    more = ['--config', str(run.folder / 'fast.yaml'), '--models', str(models)]
    file = run.folder / 'result.json'
    assert train.main([*command, *more, '--json', str(file)]) == 0
    assert json.loads(file.read_text())['model'] == 'neural_policy'
    assert ModelStore(models).versions('neural_policy') == [1]
    assert train.main([*command[:4], *more]) == 2
    assert '--data: found 0 of them, expected one' in capsys.readouterr().err
