import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from robot_learning.commands import evaluate_meta as evaluate_module
from robot_learning.commands.evaluate_meta import evaluate_meta
from robot_learning.commands.meta_data import Robots, kind_of
from robot_learning.commands.train_meta import load_settings, train_meta
from robot_learning.errors import ConfigError, DataError, ModelRefusedError, NotEnoughDataError
from robot_learning.model_store import ModelStore

PICTURES = (
    'phase: meta\nconfig:\n  passes: {epochs: 1, batch_size: 5, learning_rate: 1.0e-3}\n'
    '  learner: {channels: 4, blocks: 2, adapts: head}\n  picture_size: 8\n'
    '  ways: 3\n  shots: 1\n  queries: 2\n  num_tasks: 20\n  num_held_out_tasks: 10\n'
)
ROBOTS = (
    'phase: meta\nnum_robots: 6\nseconds: 4.0\nconfig:\n'
    '  passes: {epochs: 2, batch_size: 5, learning_rate: 1.0e-2}\n'
    '  learner: {hidden: [8]}\n  shots: 6\n  queries: 6\n  num_tasks: 10\n'
    '  num_held_out_tasks: 4\n'
)
CURVES = (
    'phase: meta\nconfig:\n  passes: {epochs: 1, batch_size: 5}\n  learner: {hidden: [8]}\n'
    '  shots: 5\n  queries: 5\n  num_tasks: 20\n  num_held_out_tasks: 10\n'
)


@pytest.fixture
def run(tmp_path):
    def run(text, *data, **changes):
        (tmp_path / 'fast.yaml').write_text(text)
        options = {
            'mode': 'meta',
            'data': [Path(path) for path in data] or None,
            'name': None,
            'config': tmp_path / 'fast.yaml',
            'robot': 'arena',
            'seed': 0,
            'held_out': 0.4,
            'models': tmp_path / 'models',
            'output': None,
            'sign_with': None,
            'env': None,
            'device': 'cpu',
            'processes': 1,
            'track': 'tensorboard',
            'arguments': ['--mode', 'meta'],
        }
        return train_meta(argparse.Namespace(**(options | changes)))

    run.folder = tmp_path
    return run


def characters(folder, classes=10):
    """Write pictures whose classes are easy to tell: one bright row or column each."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 40, (classes * 20, 8, 8)).astype(np.uint8)
    char = np.repeat(np.arange(classes), 20)
    for index, name in enumerate(char):
        images[index, name % 8, :] += np.uint8(200 if name < 8 else 0)
        images[index, :, name % 8] += np.uint8(0 if name < 8 else 200)
    path = folder / 'characters.npz'
    names = np.array([f'made/{name}' for name in range(classes)])
    np.savez(path, images=images, char=char, chars=names)
    return path


def evaluated(result, folder, data):
    tensors, manifest = ModelStore(folder / 'models').load(result['model'], result['version'])
    return evaluate_meta(tensors, manifest, 'it@1', [Path(data)], num_tasks=20)


def test_pictures_are_learned_and_measured_on_classes_never_seen(run, capsys):
    path = characters(run.folder)
    result = run(PICTURES, path)
    assert result['phase'] == 'meta' and result['version'] == 1
    assert result['training']['classes'] == 6 and result['held_out']['classes'] == 4
    assert 0.3 < result['metrics']['held_out/accuracy'] <= 1
    assert Path(result['report']).is_file()
    tensors, manifest = ModelStore(run.folder / 'models').load('meta', 1)
    assert len(manifest['policy']['learned_classes']) == 6
    small = characters(run.folder, 30)  # The same ten, and twenty more.
    found = evaluate_meta(tensors, manifest, 'meta@1', [small], num_tasks=20)
    assert found['classes'] == 24 and found['classes_learned_from_left_out'] == 6
    assert [row['task'] for row in found['rows']] == [
        '5-way 1-shot',
        '5-way 5-shot',
        '20-way 1-shot',
    ]
    for row in found['rows']:
        low, high = row['accuracy']['interval_95']
        assert low <= row['accuracy']['value'] <= high and row['accuracy']['count'] == 20
    json.dumps(found)
    assert '5-way 1-shot' in capsys.readouterr().out


def test_where_too_few_classes_are_unseen_that_is_said(run):
    path = characters(run.folder)
    result = run(PICTURES, path)
    tensors, manifest = ModelStore(run.folder / 'models').load('meta', result['version'])
    few = characters(run.folder, 3)
    manifest['policy']['learned_classes'] = ['made/0', 'made/1']
    with pytest.raises(NotEnoughDataError, match='1 of 3 classes were not learned from'):
        evaluate_meta(tensors, manifest, 'meta@1', [few])


def test_robots_of_the_embedded_world_are_learned_and_others_measured(run, monkeypatch):
    result = run(ROBOTS, 'robots', name='dynamics')
    assert result['model'] == 'dynamics' and result['training']['robots'] == 4
    assert result['held_out']['robots'] == 2
    _, manifest = ModelStore(run.folder / 'models').load('dynamics', 1)
    assert manifest['policy']['inputs'] == [6] and manifest['policy']['num_targets'] == 5
    monkeypatch.setattr(evaluate_module, '_ROBOTS', Robots(2, 4.0))
    found = evaluated(result, run.folder, 'robots')
    assert found['robots'] == 2 and 0 <= found['better'] <= 2
    assert found['rows'][0]['ratio']['count'] == 2


def test_curves_need_no_data_and_training_goes_on_where_it_was(run):
    first = run(CURVES, epochs=1)
    again = run(CURVES, epochs=1)
    assert first['update'] == again['update'] == 4
    found = evaluated(first, run.folder, 'sinusoids')
    assert [row['task'] for row in found['rows']] == ['5 points', '10 points', '20 points']
    assert set(found['rows'][0]) == {'task', 'loss', 'loss before', 'squared error'}


def test_options_of_the_command_line_win_over_the_file(run):
    result = run(CURVES, epochs=2, batch_size=10, learning_rate=0.02)
    assert result['update'] == 4
    _, manifest = ModelStore(run.folder / 'models').load('meta', 1)
    assert manifest['config']['passes']['batch_size'] == 10
    assert manifest['config']['passes']['learning_rate'] == 0.02


def test_data_of_another_kind_are_refused(run):
    result = run(CURVES)
    with pytest.raises(ConfigError, match='learned from sinusoids, --data names robots'):
        evaluated(result, run.folder, 'robots')


def test_what_is_no_meta_learner_is_refused():
    with pytest.raises(ModelRefusedError, match="is a 'mlp', expected 'meta_learner'"):
        evaluate_meta({}, {'policy': {'kind': 'mlp'}}, 'it@1', [Path('sinusoids')])


def test_an_unknown_key_is_named_with_its_line(run):
    with pytest.raises(ConfigError, match=r'fast.yaml:4: shot: unknown key'):
        run('phase: meta\nconfig:\n  ways: 5\n  shot: 1\n')


def test_settings_of_another_phase_are_refused(run):
    with pytest.raises(ConfigError, match="is for phase 'sac', expected 'meta'"):
        run('phase: sac\n')


def test_a_missing_file_is_named(run):
    with pytest.raises(DataError, match=r'absent.npz: cannot be read'):
        run(PICTURES, run.folder / 'absent.npz')


def test_a_corrupt_picture_and_a_single_class_are_named(run):
    for name in ('a', 'b', 'c', 'd'):
        (run.folder / 'set' / name).mkdir(parents=True)
        for index in range(3):
            Image.new('L', (9, 9), 50).save(run.folder / 'set' / name / f'{index}.png')
    (run.folder / 'set' / 'c' / '1.png').write_bytes(b'no picture')
    with pytest.raises(DataError, match=r'c/1.png: is no whole picture'):
        run(PICTURES, run.folder / 'set')
    (run.folder / 'one' / 'a').mkdir(parents=True)
    Image.new('L', (9, 9), 50).save(run.folder / 'one' / 'a' / '0.png')
    with pytest.raises(NotEnoughDataError, match="1 pictures are of class 'a'"):
        run(PICTURES, run.folder / 'one')


def test_kinds_of_data_are_told_apart_and_not_mixed(tmp_path):
    assert kind_of(None) == 'sinusoids'
    (tmp_path / 'store' / 'session').mkdir(parents=True)
    (tmp_path / 'store' / 'session' / 'segment_000001.hdf5').touch()
    assert kind_of([tmp_path / 'store']) == 'robots'
    (tmp_path / 'set' / 'cup').mkdir(parents=True)
    (tmp_path / 'set' / 'cup' / '1.PNG').touch()
    assert kind_of([tmp_path / 'set']) == kind_of([Path('absent')]) == 'pictures'
    assert kind_of([Path('robots'), Path('drives.hdf5')]) == 'robots'
    with pytest.raises(ConfigError, match=r'found robots, a.npz, expected one set'):
        kind_of([Path('robots'), Path('a.npz')])


@pytest.mark.parametrize('kind', ['pictures', 'sinusoids', 'robots'])
def test_the_settings_that_ship_are_sound(kind):
    settings = load_settings(None, kind)
    assert settings.phase.order == 'second'
