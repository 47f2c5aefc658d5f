import json
import sys
from pathlib import Path

import pytest
import yaml
from robot_learning.commands import train
from robot_learning.model_files import ModelFileRules
from robot_learning.model_signatures import generate_key
from robot_learning.model_store import ModelStore
from robot_learning.phases.training_session import Destination
from robot_learning.trusted_keys import TrustedKeys

sys.path.insert(0, str(Path(__file__).parent.parent / 'phases'))
from point_mass import point_contract, write_store


def driver(place):
    return max(-2.0, min(2.0, -1.5 * place))


@pytest.fixture
def run(tmp_path, capsys):
    write_store(tmp_path / 'store', 30, seed=0, policy=driver)
    (tmp_path / 'point.yaml').write_text(yaml.safe_dump(point_contract().to_dict()))
    (tmp_path / 'small.yaml').write_text(
        'phase: behavior_cloning\n'
        'config: {hidden: [16], batch_size: 32, learning_rate: 0.003}\n'
        'trainer: {validate_every_updates: 50}\n'
    )
    places = {
        'data': tmp_path / 'store',
        'robot': tmp_path / 'point.yaml',
        'models': tmp_path / 'models',
        'json': tmp_path / 'result.json',
        'name': 'cloned',
    }

    def run(*arguments, **changes):
        values = places | changes
        options = [f'--{key}={value}' for key, value in values.items()]
        code = train.main([*arguments, *options])
        file = tmp_path / 'result.json'
        result = json.loads(file.read_text()) if code == 0 else None
        return code, result, capsys.readouterr()

    run.folder = tmp_path
    return run


def test_cloning_reports_what_it_measured_on_held_out_episodes(run):
    code, result, captured = run(
        '--mode=supervised',
        '--num-updates=300',
        f'--config={run.folder / "small.yaml"}',
        '--held-out=0.2',
    )
    assert code == 0
    assert (result['phase'], result['update']) == ('behavior_cloning', 300)
    assert result['metrics']['held_out/explained_variance'] > 0.9
    assert result['training']['episodes'] + result['held_out']['episodes'] == 30
    assert result['held_out']['episodes'] >= 4
    manifest = ModelStore(run.folder / 'models').manifest('cloned', result['version'])
    assert manifest['provenance']['sources'] == [str(run.folder / 'store')]
    assert 'speed error, root mean square (m/s)' in captured.out


def test_versions_are_signed_with_the_key_that_is_named(run):
    signer = generate_key(run.folder / 'maker.pem')
    keys = TrustedKeys(run.folder / 'trusted.json')
    keys.add(signer.public_key, 'maker')
    options = ('--num-updates=50', f'--config={run.folder / "small.yaml"}')
    code, result, _ = run(*options, f'--sign-with={run.folder / "maker.pem"}')
    assert code == 0
    store = ModelStore(run.folder / 'models', ModelFileRules(True, keys.path))
    assert store.signed_by('cloned', result['version']) == 'maker'
    store.verify('cloned', result['version'])
    code, _, captured = run(*options, f'--sign-with={run.folder / "absent.pem"}')
    assert (code, 'absent.pem: cannot be read' in captured.err) == (2, True)


def test_the_same_seed_gives_the_same_weights_and_the_same_command_goes_on(run):
    import numpy as np

    options = ('--mode=policy', '--algorithm=sac', '--num-updates=5')
    first = run(*options, models=run.folder / 'a' / 'models')[1]
    second = run(*options, models=run.folder / 'b' / 'models')[1]
    weights = [ModelStore(run.folder / place / 'models').load('cloned')[0] for place in ('a', 'b')]
    assert all(np.array_equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert first['metrics'] == second['metrics']
    again = run(*options, models=run.folder / 'a' / 'models')[1]
    assert again['update'] == 10


def test_phases_that_are_not_there_are_named(run):
    code, _, captured = run('--phase=dreaming')
    assert code == 2
    assert "phase 'dreaming': unknown. Choose one of: behavior_cloning" in captured.err


def test_all_trains_each_phase_in_order_under_a_name_of_its_own(run, monkeypatch):
    trained = []

    def note(options, plan, destination, team):
        trained.append((plan.phase_name, destination.model_name))
        return {'phase': plan.phase_name}

    monkeypatch.setattr(train, 'train_on_data', note)
    code, result, _ = run('--mode=all')
    assert code == 0
    phases = ['world_model', 'sac', 'dreamer', 'behavior_cloning']
    assert trained == [(phase, f'cloned-{phase}') for phase in phases]
    assert [each['phase'] for each in result['phases']] == phases


def test_data_that_is_not_there_is_named(run):
    code, _, captured = run(data=run.folder / 'absent')
    assert code == 2
    assert 'absent' in captured.err


def test_a_wrong_model_name_is_named_before_anything_is_read(run):
    code, _, captured = run(name='../evil')
    assert code == 2
    assert "'../evil'" in captured.err


def test_a_second_trainer_of_one_output_is_refused_before_data_is_read(run):
    to = Destination(run.folder / 'models', 'cloned', run.folder)
    with to.claimed('behavior_cloning'):
        code, _, captured = run(data=run.folder / 'absent')
    assert code == 2
    assert 'cloned-behavior_cloning: another trainer is at work here' in captured.err
