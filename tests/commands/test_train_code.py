import json

import pytest
import yaml
from robot_learning.commands import evaluate, train
from robot_learning.commands.train_code import load_settings
from robot_learning.errors import ConfigError
from robot_learning.language import code_corpus, code_records
from robot_learning.model_store import ModelStore
from robot_learning.serving.code import CodeGenerator

pytest.importorskip('tokenizers')
pytest.importorskip('llguidance')
TINY = {
    'phase': 'code',
    'config': {
        'num_examples': 150,
        'num_validation': 60,
        'epochs': 1,
        'num_tokens': 500,
        'model': {'layers': 1, 'heads': 2, 'width': 32, 'feedforward': 48, 'max_tokens': 256},
    },
}


@pytest.fixture
def run(tmp_path, capsys):
    config = tmp_path / 'tiny.yaml'
    config.write_text(yaml.safe_dump(TINY))

    def main(*arguments):
        options = ('--config', str(config), '--models', str(tmp_path / 'models'), *arguments)
        code = train.main(['--mode', 'code', *options])
        return code, capsys.readouterr()

    return main


def test_commands_are_made_where_no_data_is_named_and_the_version_serves(run, tmp_path):
    code, said = run('--json', str(tmp_path / 'fit.json'), '--seed', '3')
    assert code == 0 and 'Version 1 of code' in said.out
    result = json.loads((tmp_path / 'fit.json').read_text())
    assert result['training'] == {'records': 150} and 20 < result['held_out']['records'] <= 60
    assert set(result['metrics']) == {
        'held_out/exact_match', 'held_out/program_match', 'held_out/executable',
    }  # fmt: skip
    store = ModelStore(tmp_path / 'models')
    manifest = store.manifest('code', 1)
    assert manifest['provenance']['seed'] == 3 and manifest['provenance']['sources'] == ['grammar']
    assert '--seed 3' in manifest['provenance']['command']
    assert len(manifest['code']['calibration']) == 2
    assert CodeGenerator.load(store).generate('stop').confidence <= 1


def test_a_version_is_scored_on_records(run, tmp_path, capsys):
    run('--seed', '3')
    made = list(code_corpus.examples(40, seed=9))
    code_records.write(tmp_path / 'new.json', made)
    options = ['--model', 'code', '--models', str(tmp_path / 'models'), '--mode', 'code']
    assert evaluate.main(options) == 2
    assert 'a code model is measured on recordings' in capsys.readouterr().err
    data = ['--data', str(tmp_path / 'new.json'), '--json', str(tmp_path / 'score.json')]
    assert evaluate.main([*options, *data]) == 0
    scores = json.loads((tmp_path / 'score.json').read_text())['code']
    assert scores['categories']['all']['commands'] == 40
    assert 0 <= scores['calibration_error'] <= 1 and scores['latency_ms']['p50'] > 0


def test_records_of_a_file_teach_too(run, tmp_path):
    made = [e for e in code_corpus.examples(250, 0) if e.category != 'out_of_scope']
    code_records.write(tmp_path / 'data.json', made)
    code, _ = run('--data', str(tmp_path / 'data.json'), '--name', 'mine')
    manifest = ModelStore(tmp_path / 'models').manifest('mine', 1)
    assert code == 0 and manifest['provenance']['sources'] == [str(tmp_path / 'data.json')]


def test_records_that_must_not_teach_are_refused(run, tmp_path):
    record = {'input': 'fly', 'output': 'robot.fly()'}
    (tmp_path / 'data.json').write_text(json.dumps([record]))
    code, said = run('--data', str(tmp_path / 'data.json'))
    assert code == 2 and 'record 0' in said.err and 'robot.fly' in said.err
    assert not (tmp_path / 'models').exists()


def test_settings_are_those_of_the_file_and_mistakes_are_named(tmp_path):
    settings = load_settings()
    assert settings.model.width % settings.model.heads == 0
    path = tmp_path / 'other.yaml'
    path.write_text('phase: sac\n')
    with pytest.raises(ConfigError, match="is for phase 'sac', expected 'code'"):
        load_settings(path)
    path.write_text('phase: code\nconfig: {epochz: 3, batch_size: 0}\n')
    with pytest.raises(ConfigError, match=r'batch_size: found 0(.|\n)*epochz: unknown key'):
        load_settings(path)
