import json
import sys
from pathlib import Path

import pytest
import yaml
from robot_learning.commands import train
from robot_learning.evaluation.training_curves import read_curves
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

    run.folder, run.places = tmp_path, places
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


def test_a_report_says_what_was_learned_from_what(run):
    config = f'--config={run.folder / "small.yaml"}'
    run('--num-updates=60', config)
    _, result, captured = run('--num-updates=60', config)  # A second start, in the same curves.
    path = run.folder / 'reports' / 'cloned-behavior_cloning.html'
    assert f'report: {path}' in captured.out
    assert result['report'] == str(path)
    page = path.read_text()
    assert 'behavior_cloning learned from' in page
    assert f'cloned@{result["version"]}' in page
    assert 'held_out/loss over updates' in page
    assert 'explained variance' in page  # In the table of what was measured.
    assert './run train' in page and './run evaluate --model cloned' in page
    assert result['contract_hash'] in page
    assert 'href=' not in page and 'src="http' not in page
    updates = {
        curve.name: curve.update for curve in read_curves(run.folder / 'tensorboard' / path.stem)
    }
    assert max(updates['held_out/loss']) == 120


def test_a_world_model_shows_what_it_imagines_and_has_a_name_of_its_own(run):
    (run.folder / 'model.yaml').write_text(
        'phase: world_model\n'
        'config: {model: {deter: 16, hidden: 8, groups: 4, classes: 4, blocks: 1, num_bins: 15}, '
        'batch_size: 4, batch_length: 8}\n'
    )
    options = ['--mode=world_model', f'--config={run.folder / "model.yaml"}', '--num-updates=4']
    places = ('data', 'robot', 'models', 'json')
    code = train.main([*options, *(f'--{place}={run.places[place]}' for place in places)])
    assert code == 0
    result = json.loads((run.folder / 'result.json').read_text())
    assert result['model'] == 'navigator-world_model'
    page = Path(result['report']).read_text()
    assert 'Imagined futures' in page and 'persistence' in page
    assert 'the model sees 5 steps and imagines 5 more' in page  # Episodes have eleven steps.
    assert 'data:image/png;base64' in page and 'data:image/gif;base64' in page


def test_curves_go_to_wandb_where_it_is_asked_for(run, monkeypatch):
    begun = []

    class Spy:
        def __init__(self, folder, name, config):
            begun.append((folder, name, config))
            self.num_points = 0

        def write(self, progress):
            self.num_points += 1

        def close(self):
            begun.append(self.num_points)

    monkeypatch.setattr('robot_learning.phases.wandb_curves.WandbCurves', Spy)
    code, _, _ = run('--track=wandb', '--num-updates=20', f'--config={run.folder / "small.yaml"}')
    assert code == 0
    (folder, name, config), num_points = begun
    assert (folder, name) == (run.folder, 'cloned-behavior_cloning')
    assert config['batch_size'] == 32 and config['source'] == [str(run.folder / 'store')]
    assert num_points >= 1


def test_wandb_that_is_not_installed_is_one_clear_error_before_anything_is_learned(
    run, monkeypatch
):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    code, _, captured = run('--track=wandb')
    assert code == 2
    assert 'pip install wandb' in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert not (run.folder / 'models').exists()


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
