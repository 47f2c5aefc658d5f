import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from robot_learning.errors import CommandError, ModelRefusedError
from robot_learning.language.code_corpus import Example
from robot_learning.language.code_grammar import CodeGrammar
from robot_learning.models.code_model import CodeModel, CodeModelConfig
from robot_learning.models.code_tokens import CodeTokens
from robot_learning.models.hub_model import HubModel, write_hugging_face
from robot_learning.phases.code_adapter import AdapterConfig, AdapterTraining
from robot_learning.serving.code import CodeGenerator
from robot_learning.serving.code_adapters import Adapter, merged
from robot_learning.serving.hub_code import HubCodeGenerator

pytest.importorskip('transformers')
pytest.importorskip('peft')
pytest.importorskip('llguidance')
SIZES = CodeModelConfig(layers=2, heads=2, width=32, feedforward=48, max_tokens=512)
LORA = AdapterConfig(
    lora_r=8, lora_alpha=16, num_epochs=60, batch_size=2, learning_rate=1e-2, lora_dropout=0.0
)
TAUGHT = [Example('halt', 'robot.stop()', ''), Example('come', 'navigation.return_home()', '')]
TEXTS = ('halt', 'come', 'turn left 90 degrees', 'find the red ball')


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    base, adapter = tmp_path_factory.mktemp('base'), tmp_path_factory.mktemp('adapter')
    tokens = CodeTokens.learned([f'# {r.input}\n{r.output}' for r in TAUGHT] * 9, 400)
    torch.manual_seed(1)
    model = CodeModel(SIZES, len(tokens))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    tensors = {key: value.numpy() for key, value in model.state_dict().items()}
    write_hugging_face(base, tensors, SIZES, tokens)
    training = AdapterTraining(HubModel(str(base)), TAUGHT, [], LORA, 0, adapter)
    training.run(lambda report: None)
    manifest = {'code': {'tokenizer': tokens.text, 'model': asdict(SIZES)}}
    return (
        base,
        adapter / f'checkpoint-{training.num_steps}',
        CodeGenerator(tensors, manifest, copies_numbers=False),
    )


def test_a_merged_adapter_writes_what_peft_writes(folders):
    base, adapter, generator = folders
    ours = generator.with_adapter(Adapter.of_folder(adapter))
    theirs = HubCodeGenerator(HubModel(str(base)), adapter)
    for text in TEXTS:
        (code, probability), expected = ours.decode(text), theirs.decode(text)
        assert code == expected[0] and probability == pytest.approx(expected[1], rel=1e-3)
    assert [ours.generate(r.input).code for r in TAUGHT] == [r.output for r in TAUGHT]


def test_adapters_are_switched_and_taken_off_again(folders):
    _, adapter, generator = folders
    other = generator.with_adapter(Adapter.of_folder(adapter))
    assert other.decode('halt') != generator.decode('halt')
    for text in TEXTS:
        assert other.with_adapter(None).decode(text) == generator.decode(text)
        assert other.with_adapter(Adapter.of_folder(adapter)).decode(text) == other.decode(text)


def test_a_model_without_an_adapter_stays_in_the_grammar(folders):
    base, _, generator = folders
    plain = HubCodeGenerator(HubModel(str(base)))
    for text in TEXTS:
        code, _ = plain.decode(text)
        assert code == generator.decode(text)[0]
        assert CodeGrammar().accepts(code) or len(code) > 250
    with pytest.raises(CommandError):
        plain.generate('')
    with pytest.raises(CommandError, match='tokens, too many for'):
        plain.generate('zq ' * 160)


def test_the_change_is_scaled_product_of_its_factors():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5)), rng.normal(size=(3, 2))
    tensors = {
        'base_model.model.a.b.lora_A.weight': first,
        'base_model.model.a.b.lora_B.weight': second,
    }
    base = {'a.b.weight': np.ones((3, 5), np.float16), 'c.weight': np.ones(2, np.float16)}
    adapter = Adapter.of_version(tensors, {'adapter': {'r': 2, 'lora_alpha': 6}})
    found = merged(base, adapter)
    np.testing.assert_allclose(found['a.b.weight'], 1 + 3.0 * second @ first, rtol=1e-5)
    np.testing.assert_array_equal(found['c.weight'], 1)
    with pytest.raises(ModelRefusedError, match=r'changes a\.b, which does not fit'):
        merged({'a.b.weight': np.ones((4, 5))}, adapter)


def test_folders_and_versions_of_something_else_are_refused(folders, tmp_path):
    with pytest.raises(ModelRefusedError, match=r'adapter_config\.json: cannot be read'):
        Adapter.of_folder(tmp_path)
    (tmp_path / 'adapter_config.json').write_text(json.dumps({'r': 8, 'lora_alpha': 16}))
    with pytest.raises(ModelRefusedError, match=r'adapter_model\.safetensors: cannot be read'):
        Adapter.of_folder(tmp_path)
    (tmp_path / 'adapter_model.safetensors').write_bytes(b'noise')
    with pytest.raises(ModelRefusedError, match=r'adapter_model\.safetensors: cannot be read'):
        Adapter.of_folder(tmp_path)
    with pytest.raises(ModelRefusedError, match='model@3: describes no LoRA adapter'):
        Adapter.of_version({}, {'model': 'model', 'version': 3})


def test_an_adapter_of_another_model_is_refused(folders, tmp_path):
    base, adapter, _ = folders
    for name in ('adapter_config.json', 'adapter_model.safetensors'):
        (tmp_path / name).write_bytes((adapter / name).read_bytes())
    path = tmp_path / 'adapter_config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'target_modules': ['query']}))
    with pytest.raises(ModelRefusedError, match='is no adapter of'):
        HubCodeGenerator(HubModel(str(base)), tmp_path)
