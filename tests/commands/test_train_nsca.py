import json

import pytest
import yaml
from nsca_samples import write_hdf5
from robot_learning.commands import evaluate, train
from robot_learning.commands.train_nsca import SHORT_NAMES, load_settings, phase_names
from robot_learning.contract import robots_directory
from robot_learning.errors import ConfigError
from robot_learning.model_store import ModelStore

PASSES = {'epochs': 1, 'batch_size': 4}
CONTRAST = {'smallest_rank': 1.0}
LOSS = {'smallest_rank': 1.0}
TINY = {
    'phase': 'nsca',
    'config': {
        'model': {
            'latent_size': 16, 'state_size': 16, 'image_size': 32, 'base_channels': 4,
            'blocks_per_stage': 0, 'audio_channels': 4, 'proprioception_size': 3,
            'fusion_heads': 2, 'fusion_layers': 1, 'temporal_heads': 2, 'temporal_layers': 1,
            'temporal_length': 8, 'dynamics_layers': 1,
        },
        'vision': {'passes': PASSES, 'contrast': CONTRAST},
        'audio': {'passes': PASSES, 'contrast': CONTRAST, 'augmentation': {'window_s': 0.3}},
        'fusion': {'passes': PASSES, 'loss': LOSS, 'window': {'heard_s': 0.1, 'felt_steps': 2}},
        'dynamics': {'passes': PASSES, 'loss': {'horizon': 3}},
        'full': {'passes': PASSES, 'fusion': LOSS, 'train_encoders': False},
    },
}  # fmt: skip


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('nsca')
    write_hdf5(folder / 'toy.hdf5', count=12)
    write_hdf5(folder / 'silent.hdf5', count=12, senses=('image', 'proprioception', 'action'))
    (folder / 'tiny.yaml').write_text(yaml.safe_dump(TINY))
    return folder


def run(folder, *options, data='toy.hdf5'):
    return train.main(
        ['--mode', 'nsca', '--models', str(folder / 'models'), '--name', 'toy',
         '--config', str(folder / 'tiny.yaml'), '--data', str(folder / data), *options]
    )  # fmt: skip


@pytest.fixture(scope='module')
def trained(folder):
    assert run(folder, '--phase', 'all', '--resume', '--json', str(folder / 'fit.json')) == 0
    return folder


def test_all_phases_are_published_and_say_what_they_stand_on(trained):
    found = json.loads((trained / 'fit.json').read_text())['phases']
    assert tuple(phase['phase'].removeprefix('nsca_') for phase in found) == SHORT_NAMES
    store = ModelStore(trained / 'models')
    for phase in found:
        manifest = store.load(phase['model'], phase['version'])[1]
        sources = manifest['provenance']['sources']
        assert 'synthetic' in sources[0]
        assert sources[1:] == phase['stands_on']
    assert [len(phase['stands_on']) for phase in found] == [0, 0, 2, 1, 2]


def test_reports_hold_pictures(trained):
    page = (trained / 'reports' / 'toy-full-nsca_full.html').read_text()
    assert 'Numbers of a held-out state' in page and page.count('data:image/png') >= 5


def test_what_is_finished_learns_nothing_more(trained, capsys):
    before = ModelStore(trained / 'models').versions('toy-vision')
    assert run(trained, '--phase', 'vision', '--resume') == 0
    assert ModelStore(trained / 'models').versions('toy-vision') == before


def test_every_suite_that_applies_is_measured_with_chance_and_a_cheap_baseline(trained):
    arguments = ['--mode', 'nsca', '--model', 'toy-full', '--models', str(trained / 'models')]
    arguments += ['--data', str(trained / 'toy.hdf5'), '--suite', 'all']
    arguments += ['--json', str(trained / 'seen' / 'score.json')]
    assert evaluate.main(arguments) == 0
    found = json.loads((trained / 'seen' / 'score.json').read_text())['nsca']
    suites = {figure['suite'] for figure in found['figures']}
    assert suites == {'probe', 'zero_shot', 'retrieval', 'dynamics', 'properties'}
    # Two classes, no interventions, no rewards.
    assert set(found['left_out']) == {'few_shot', 'causal', 'outcomes'}
    assert 'holds no interventions' in found['left_out']['causal']
    features = {figure['features'] for figure in found['figures']}
    assert {'learned', 'pixels', 'gradients', 'MFCC', 'correlational'} <= features
    probes = [figure for figure in found['figures'] if figure['suite'] == 'probe']
    assert all(figure['low'] <= figure['value'] <= figure['high'] for figure in probes)
    assert (trained / 'seen' / 'reliability.png').stat().st_size > 1000


def test_a_suite_that_does_not_apply_to_a_version_is_refused(trained, capsys):
    arguments = ['--mode', 'nsca', '--model', 'toy-vision', '--models', str(trained / 'models')]
    arguments += ['--data', str(trained / 'toy.hdf5'), '--suite', 'dynamics']
    assert evaluate.main(arguments) == 2
    assert 'is of nsca_vision, expected nsca_full' in capsys.readouterr().err


def test_a_sense_that_is_missing_is_named(folder, tmp_path, capsys):
    arguments = ('--output', str(tmp_path), '--models', str(tmp_path / 'models'))
    assert run(folder, '--phase', 'audio', *arguments, data='silent.hdf5') == 2
    assert 'has no sound, only image, proprioception, action' in capsys.readouterr().err


def test_a_phase_before_its_time_names_the_one_that_comes_first(folder, tmp_path, capsys):
    arguments = ('--output', str(tmp_path), '--models', str(tmp_path / 'models'))
    assert run(folder, '--phase', 'fusion', *arguments) == 2
    assert '--phase vision --name toy first' in capsys.readouterr().err


def test_another_body_is_refused_with_its_number(folder, tmp_path, capsys):
    other = json.loads(json.dumps(TINY))
    other['config']['model']['proprioception_size'] = 5
    (tmp_path / 'other.yaml').write_text(yaml.safe_dump(other))
    assert run(folder, '--phase', 'fusion', '--config', str(tmp_path / 'other.yaml')) == 2
    assert 'has 3 numbers per step. Write 3.' in capsys.readouterr().err


def test_mistakes_of_the_command_are_named(folder, capsys):
    assert train.main(['--mode', 'nsca']) == 2
    assert 'found no --data' in capsys.readouterr().err
    assert run(folder, '--phase', 'smell') == 2
    assert "found 'smell', expected all or one of vision, audio" in capsys.readouterr().err


def test_the_settings_that_ship_are_sound_and_unknown_keys_are_named(tmp_path):
    phases = robots_directory().parent / 'phases'
    assert load_settings().vision.passes.epochs == 50
    assert load_settings(phases / 'nsca_small.yaml').full.train_encoders is False
    path = tmp_path / 'wrong.yaml'
    path.write_text('phase: nsca\nconfig:\n  vision:\n    contrats: {}\n  model: {size: 3}\n')
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert 'contrats' in str(caught.value) and 'size' in str(caught.value)


def test_two_processes_take_every_update_together(folder, tmp_path):
    arguments = ('--output', str(tmp_path), '--models', str(tmp_path / 'models'))
    result = tmp_path / 'fit.json'
    team = ('--processes', '2', '--max-updates', '1', '--batch-size', '4')
    assert run(folder, '--phase', 'vision', *arguments, *team, '--json', str(result)) == 0
    assert json.loads(result.read_text())['update'] == 1
    assert ModelStore(tmp_path / 'models').versions('toy-vision') == [1]


def test_a_sense_that_is_not_chosen_has_no_phase_among_all(tmp_path):
    file = tmp_path / 'blind.yaml'
    chosen = {'fusion': {'senses': ['audio', 'proprioception']}}
    file.write_text(yaml.safe_dump({'phase': 'nsca', 'config': chosen}))
    assert phase_names('all', load_settings(file)) == ('audio', 'fusion', 'dynamics', 'full')
