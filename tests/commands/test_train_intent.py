import argparse
import json
import sys
import types
from pathlib import Path

import pytest
from robot_learning.commands import intent_data, train
from robot_learning.commands.train_intent import load_settings, train_intent
from robot_learning.contract import robots_directory
from robot_learning.errors import ConfigError, DataError, EnvironmentSetupError
from robot_learning.language import frame_corpus
from robot_learning.language.command_files import Labelled
from robot_learning.language.intents import INTENTS
from robot_learning.model_store import ModelStore
from robot_learning.serving.intent import load

FAST = (
    'phase: intent\nnum_generated: 300\nnum_frames: 40\n'
    'config: {model: {width: 32, feedforward: 32}, epochs: 2, min_updates: 0, variants: 0}\n'
)


@pytest.fixture
def run(tmp_path):
    (tmp_path / 'fast.yaml').write_text(FAST)

    def run(*data, **changes):
        options = {
            'data': [Path(path) for path in data] or None,
            'beside': [],
            'robot_intents': False,
            'name': None,
            'config': tmp_path / 'fast.yaml',
            'seed': 0,
            'held_out': 0.2,
            'models': tmp_path / 'models',
            'output': None,
            'sign_with': None,
            'env': None,
            'track': 'tensorboard',
            'arguments': ['--mode', 'intent'],
        }
        return train_intent(argparse.Namespace(**(options | changes)))

    run.folder = tmp_path
    return run


def write(path, rows):
    path.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    return path


def commands(source=''):
    for number in range(60):
        yield {'text': f'take the thing {number}', 'intent': 'Taking', 'source': source}
        yield {'text': f'go near the wall {number}', 'intent': 'Motion', 'source': source}


def test_the_grammar_gives_a_version_that_says_where_it_comes_from(run, capsys):
    result = run()
    assert (result['model'], result['version'], result['epoch']) == ('intent', 1, 2)
    assert result['training']['rows'] == 300 and result['held_out']['rows'] == 30
    assert 0 <= result['metrics']['held_out/accuracy'] <= 1
    json.dumps(result)
    manifest = ModelStore(run.folder / 'models').manifest('intent', 1)
    assert manifest['score'] == result['metrics']['held_out/accuracy']
    assert manifest['provenance']['seed'] == 0
    assert manifest['provenance']['command'] == './run train --mode intent'
    assert manifest['provenance']['data'] == [
        {
            'name': 'grammar, seed 0',
            'sha256': None,
            'commands': 360,
            'licence': 'Apache-2.0 (this project)',
        }
    ]
    assert load(run.folder / 'models').spec.intents == tuple(result['labels'])
    assert 'Version 1 of intent' in capsys.readouterr().out
    page = (run.folder / 'reports' / 'intent-intent.html').read_text()
    assert './run train --mode intent' in page


def test_the_same_seed_trains_the_same_weights(run):
    run()
    run()
    store = ModelStore(run.folder / 'models')
    first, second = (store.manifest('intent', version) for version in (1, 2))
    assert first['sha256'] == second['sha256']


def test_files_keep_their_labels_and_name_their_digest(run):
    rows = [{'text': f'{n} {n % 7}', 'intent': ('color', 'number')[n % 2]} for n in range(40)]
    path = write(run.folder / 'a.jsonl', rows)
    result = run(path, name='frames')
    assert result['labels'] == ['color', 'number']
    data = ModelStore(run.folder / 'models').manifest('frames', 1)['provenance']['data']
    assert data[0]['name'] == 'a.jsonl' and len(data[0]['sha256']) == 64


def test_frames_of_huric_get_commands_of_the_frame_grammar(run):
    path = write(run.folder / 'a.jsonl', commands())
    result = run(path)
    assert {'Motion', 'Taking', 'Bringing', 'Closure'} <= set(result['labels'])
    assert result['training']['rows'] == 96 * 3 + 40  # The same texts are held out as ever.
    alone = intent_data.with_frames([Labelled('add it', 'sum')], 10, 0)
    assert alone is None


def test_the_frame_grammar_alone_teaches_frames_or_intents_of_the_robot(run):
    assert set(run('frames')['labels']) <= set(frame_corpus.FRAMES)
    assert set(run('frames', robot_intents=True)['labels']) <= set(INTENTS)


def test_labels_of_public_corpora_become_those_of_the_robot(run):
    path = write(run.folder / 'a.jsonl', commands('HuRIC2.1/en/x'))
    assert run(path, robot_intents=True)['labels'] == ['go_to_place', 'pick_up']


def test_commands_of_others_are_named_and_not_among_the_labels(run):
    path = write(run.folder / 'a.jsonl', commands())
    others = write(run.folder / 'b.jsonl', [{'text': 'sing', 'intent': 'music'}] * 5)
    result = run(path, beside=[others])
    assert 'music' not in result['labels']
    assert result['data'] == ['a.jsonl', 'frames, seed 0', 'b.jsonl']


def test_held_out_is_what_the_data_marks_or_other_texts():
    marked = [Labelled(f'go {n}', 'a', split='train' if n % 3 else 'val') for n in range(30)]
    found = intent_data.split(marked, 0.1, 0)
    held = (*found.calibration, *found.held_out)
    assert {command.split for command in held} == {'val'} and len(held) == 10
    twice = [Labelled(f'go {n % 20}', 'a') for n in range(40)]
    found = intent_data.split(twice, 0.2, 0)
    texts = [{command.text for command in part} for part in found]
    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]
    assert [len(part) for part in found] == [32, 4, 4]


def test_of_large_files_some_commands_are_taken(run):
    path = write(run.folder / 'a.jsonl', commands())
    found, source = intent_data.read(path, most=30, seed=1)
    assert len(found) == source.commands == 30
    assert found == intent_data.read(path, most=30, seed=1)[0]
    assert found != intent_data.read(path, most=30, seed=2)[0]
    assert len(intent_data.read(path, most=1000)[0]) == 120


def test_public_corpora_have_their_licence(run):
    path = write(run.folder / 'a.jsonl', commands('HuRIC2.1/en/x'))
    assert intent_data.read(path)[1].licence == 'Apache-2.0 (crux82/huric)'


def test_a_set_of_hugging_face_is_read_by_name(monkeypatch):
    rows = [{'dialog': ['Hello there', 'Go away'], 'act': [1, 3]}]
    fake = types.ModuleType('datasets')
    fake.load_dataset = lambda name, split: rows if name == 'daily_dialog' else 1 / 0
    monkeypatch.setitem(sys.modules, 'datasets', fake)
    found, source = intent_data.read(Path('daily_dialog'))
    assert [(c.text, c.intent) for c in found] == [('hello there', '1'), ('go away', '3')]
    assert source == ('daily_dialog', None, 2, None)
    with pytest.raises(DataError, match='commonsense_qa: cannot be loaded'):
        intent_data.read(Path('commonsense_qa'))


@pytest.mark.parametrize(
    ('name', 'row', 'expected'),
    [
        (
            'multi_woz_v22',
            {
                'turns': {
                    'utterance': ['A table please', 'Fine'],
                    'dialogue_acts': [
                        {'dialog_act': {'act_type': ['Restaurant-Inform']}},
                        {'dialog_act': {'act_type': []}},
                    ],
                }
            },
            [('a table please', 'Restaurant-Inform')],
        ),
        ('empathetic_dialogues', {'utterance': 'Hi', 'context': 'sad'}, [('hi', 'sad')]),
        ('commonsense_qa', {'question': 'Why', 'question_concept': 'x'}, [('why', 'x')]),
    ],
)
def test_every_known_set_has_its_fields(monkeypatch, name, row, expected):
    fake = types.ModuleType('datasets')
    fake.load_dataset = lambda name, split: [row]
    monkeypatch.setitem(sys.modules, 'datasets', fake)
    found, _ = intent_data.read(Path(name))
    assert [(c.text, c.intent) for c in found] == expected


def test_data_that_is_not_there_is_one_clear_error(run, monkeypatch):
    monkeypatch.setitem(sys.modules, 'datasets', None)
    with pytest.raises(EnvironmentSetupError, match='package datasets is not installed'):
        run('daily_dialog')
    with pytest.raises(ConfigError, match='nowhere: is no file, expected commands as JSON lines'):
        run('nowhere')
    with pytest.raises(ConfigError, match='--mode intent: found --env'):
        run(env='arena')
    few = write(run.folder / 'few.jsonl', [{'text': 'go', 'intent': 'a'}])
    with pytest.raises(DataError, match='1 are too few'):
        run(few)
    statements = [{'text': 'hm', 'intent': 'Being_located', 'source': 'HuRIC'}]
    path = write(run.folder / 'none.jsonl', statements)
    with pytest.raises(DataError, match='holds no command that can be used'):
        run(path, robot_intents=True)


def test_settings_ship_with_the_guides_sizes_and_name_mistakes(tmp_path):
    model = load_settings().phase.model
    assert (model.layers, model.heads, model.width) == (2, 4, 128)
    file = tmp_path / 'mine.yaml'
    file.write_text('phase: intent\nconfig:\n  epoch: 3\n')
    with pytest.raises(ConfigError, match=r'mine.yaml:3: epoch: unknown key'):
        load_settings(file)
    file.write_text('phase: sac\n')
    with pytest.raises(ConfigError, match="is for phase 'sac', expected 'intent'"):
        load_settings(file)


def test_the_guides_command_trains_it(run, capsys):
    models = run.folder / 'models'
    command = ['--mode', 'intent', '--config', str(run.folder / 'fast.yaml')]
    file = run.folder / 'result.json'
    assert train.main([*command, '--models', str(models), '--json', str(file)]) == 0
    assert json.loads(file.read_text())['model'] == 'intent'
    assert ModelStore(models).versions('intent') == [1]
    assert train.main([*command, '--models', str(models), '--data', 'nowhere']) == 2
    assert 'nowhere: is no file' in capsys.readouterr().err


def test_settings_for_very_many_intents_come_with_the_project():
    many = load_settings(robots_directory().parent / 'phases' / 'intent_many.yaml').phase
    assert many.model.piece_votes and not load_settings().phase.model.piece_votes
    assert (many.model.layers, many.model.heads, many.model.width) == (2, 4, 256)
