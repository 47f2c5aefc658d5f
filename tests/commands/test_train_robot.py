import json

import numpy as np
import pytest
import torch
from robot_learning.commands import robot_demo, train_robot
from robot_learning.language import code_corpus, code_records
from robot_learning.language.code_corpus import Example
from robot_learning.language.program import parse
from robot_learning.model_store import ModelStore
from robot_learning.models.code_model import CodeModel, CodeModelConfig
from robot_learning.models.code_tokens import CodeTokens
from robot_learning.models.hub_model import write_hugging_face
from robot_learning.serving.code_adapters import Adapter

pytest.importorskip('transformers')
pytest.importorskip('peft')
pytest.importorskip('llguidance')
SIZES = CodeModelConfig(layers=1, heads=2, width=32, feedforward=48, max_tokens=512)
RECORDS = list(code_corpus.examples(80, seed=0))
GUIDE = {  # What the guide's script does where nothing is said.
    'max_length': 256, 'lora_r': 32, 'lora_alpha': 64, 'num_epochs': 3, 'batch_size': 4,
    'learning_rate': 1e-4, 'warmup_ratio': 0.1, 'eval_steps': 100, 'save_steps': 500,
    'logging_steps': 50, 'model_name': 'codellama/CodeLlama-7b-Python-hf',
    'gradient_checkpointing': False, 'group_by_length': False, 'bf16': False,
}  # fmt: skip


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / 'model'
    tokens = CodeTokens.learned([f'# {r.input}\n{r.output}' for r in RECORDS], 500)
    torch.manual_seed(0)
    tensors = {k: v.numpy() for k, v in CodeModel(SIZES, len(tokens)).state_dict().items()}
    write_hugging_face(folder, tensors, SIZES, tokens)
    return folder


@pytest.fixture
def run(tmp_path, base, capsys):
    code_records.write(tmp_path / 'data.json', RECORDS)

    def main(*arguments, data=('--data-json', str(tmp_path / 'data.json'))):
        fixed = ('--model-name', str(base), '--output-dir', str(tmp_path / 'out'))
        code = train_robot.main([*data, *fixed, '--num-epochs', '1', '--lora-r', '4', *arguments])
        return code, capsys.readouterr()

    return main


def test_options_and_defaults_are_the_guides():
    options = vars(train_robot._parser().parse_args(['--data-json', 'x']))
    assert {key: options[key] for key in GUIDE} == GUIDE
    for more in (
        *('train_json', 'val_json', 'output_dir', 'lora_target_modules', 'lr_scheduler_type'),
        *('dataloader_num_workers', 'dataloader_pin_memory', 'optim', 'resume_from'),
    ):
        assert more in options


def test_an_adapter_is_trained_published_and_asked(run, tmp_path, capsys):
    models = tmp_path / 'models'
    code, said = run('--name', 'mine', '--models', str(models), '--group-by-length')
    assert code == 0 and 'Version 1 of mine' in said.out, said.err
    result = json.loads((tmp_path / 'out' / 'robot_learning.json').read_text())
    assert result['steps'] == result['of_steps'] > 0 and result['held_out_loss']
    tensors, manifest = ModelStore(models).load('mine')
    published = Adapter.of_version(tensors, manifest)
    written = Adapter.of_folder(tmp_path / 'out')
    assert published.scale == written.scale == 16.0
    assert all(np.array_equal(v, written.tensors[k]) for k, v in published.tensors.items())
    path = str(tmp_path / 'out')
    assert robot_demo.main(['--lora-path', path, '--lora-path', path, '--text', 'stop']) == 0
    assert 'confidence' in capsys.readouterr().out


def test_a_next_stage_and_a_checkpoint_are_told_apart(run, tmp_path):
    run('--save-steps', '5')
    checkpoint = str(tmp_path / 'out' / 'checkpoint-5')
    assert 'goes on at step 5' in run('--save-steps', '5', '--resume-from', checkpoint)[1].out
    said = run('--resume-from', str(tmp_path / 'out'), '--learning-rate', '1e-3')[1]
    assert 'begins a stage' in said.out


def test_of_an_early_stop_the_best_adapter_is_kept(run, tmp_path):
    run('--early-stopping-patience', '1', '--eval-steps', '3')
    best = Adapter.of_folder(tmp_path / 'out' / 'best').tensors
    kept = Adapter.of_folder(tmp_path / 'out').tensors
    assert all(np.array_equal(value, kept[key]) for key, value in best.items())


@pytest.mark.parametrize('which', [(), ('data', 'train', 'val'), ('train',), ('data', 'val')])
def test_data_is_named_in_one_way(run, tmp_path, which):
    names = {'data': '--data-json', 'train': '--train-json', 'val': '--val-json'}
    data = [part for name in which for part in (names[name], str(tmp_path / 'data.json'))]
    code, said = run(data=data)
    assert code == 2 and 'expected either --data-json FILE' in said.err


def test_validation_commands_that_are_learned_from_are_named(run, tmp_path):
    code_records.write(tmp_path / 'val.json', [RECORDS[7]])
    pair = ('--train-json', str(tmp_path / 'data.json'), '--val-json', str(tmp_path / 'val.json'))
    code, said = run(data=pair)
    assert code == 2 and 'record 0' in said.err and 'is record 7 of the training data' in said.err


def test_wrong_outputs_are_named_before_a_model_is_loaded(run, tmp_path):
    bad = [*RECORDS, Example('x', 'import os', '')]
    code_records.write(tmp_path / 'data.json', bad)
    code, said = run('--model-name', 'nobody/has-this')
    assert code == 2 and 'record 80' in said.err


def test_a_walk_names_the_calls_and_takes_what_the_sensors_say(capsys):
    program = parse(
        'if sensors.detect(object_type="can"):\n    robot.stop()\nelse:\n    robot.turn(angle=90)'
    )
    done = robot_demo.walk(program, lambda step: False if step.verb.result == 'truth' else None)
    assert done == ["sensors.detect(object_type='can')", 'robot.turn(angle=90.0, speed=45.0)']
    assert '2. robot.turn' in capsys.readouterr().out


def test_the_demo_asks_for_results_until_they_make_sense(monkeypatch, capsys):
    answers = iter(['perhaps', 'yes', 'x', '1.5'])
    monkeypatch.setattr('builtins.input', lambda words: next(answers))
    text = 'if sensors.detect(object_type="can") and sensors.scan() > 1:\n    robot.stop()'
    assert robot_demo.walk(parse(text), robot_demo.ask)[-1] == 'robot.stop()'
    said = capsys.readouterr().out
    assert 'expected yes or no' in said and 'a number' in said


def test_the_demo_refuses_folders_without_an_adapter(tmp_path, capsys):
    assert robot_demo.main(['--lora-path', str(tmp_path), '--text', 'stop']) == 2
    assert 'adapter_config.json: cannot be read' in capsys.readouterr().err
