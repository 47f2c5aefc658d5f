import json
import sys
from dataclasses import replace

import pytest
import torch
from robot_learning.errors import ConfigError, DataError, EnvironmentSetupError, TrainingError
from robot_learning.language.code_corpus import Example
from robot_learning.models.code_model import CodeModel, CodeModelConfig
from robot_learning.models.code_tokens import CodeTokens
from robot_learning.models.hub_model import HubModel, write_hugging_face
from robot_learning.phases.code_adapter import AdapterConfig, AdapterTraining

pytest.importorskip('transformers')
pytest.importorskip('peft')
SIZES = CodeModelConfig(layers=2, heads=2, width=32, feedforward=48, max_tokens=128)
CONFIG = AdapterConfig(
    lora_r=4, lora_alpha=8, num_epochs=2, batch_size=4, learning_rate=1e-2, eval_steps=4,
    save_steps=3, logging_steps=2, group_by_length=True,
)  # fmt: skip
RECORDS = [
    Example(f'{way} {n} m', f'robot.move_{way}(distance={n}.0)', 'movement')
    for n in range(1, 9)
    for way in ('forward', 'backward')
]
RECORDS += [
    Example(f'stop {n} times', 'robot.stop()\n' * n + 'robot.stop()', '') for n in (2, 3, 4, 5)
]
HELD_OUT = [Example('forward 9 m', 'robot.move_forward(distance=9.0)', 'movement')]


@pytest.fixture(scope='module')
def base_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('base')
    tokens = CodeTokens.learned([f'# {r.input}\n{r.output}' for r in RECORDS], 400)
    torch.manual_seed(0)
    tensors = {k: v.numpy() for k, v in CodeModel(SIZES, len(tokens)).state_dict().items()}
    write_hugging_face(folder, tensors, SIZES, tokens)
    return folder


@pytest.fixture
def train(base_folder, tmp_path):
    def made(config=CONFIG, records=RECORDS, seed=0):
        base = HubModel(str(base_folder))
        return AdapterTraining(base, records, HELD_OUT, config, seed, tmp_path)

    return made


def weights(training):
    return {n: p.detach().clone() for n, p in training.model.named_parameters() if p.requires_grad}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_only_the_adapter_learns_and_the_loss_falls(train):
    training, reports = train(), []
    frozen = {n: p.clone() for n, p in training.model.named_parameters() if not p.requires_grad}
    before, first = weights(training), training.held_out_loss()
    training.run(reports.append)
    assert training.step == training.num_steps == 10
    assert training.losses[-1][1] < first and not same(before, weights(training))
    after = dict(training.model.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in frozen.items())
    assert [r.step for r in reports] == [2, 4, 6, 8, 10]
    assert [r.held_out_loss is not None for r in reports] == [False, True, False, True, True]


def test_a_run_that_goes_on_is_the_same_bit_by_bit(train, tmp_path):
    config = replace(CONFIG, lora_dropout=0.3)
    whole = train(config)
    whole.run(lambda report: None)
    again = train(config)
    assert again.resume(tmp_path / 'checkpoint-3') is True and again.step == 3
    again.run(lambda report: None)
    assert same(weights(whole), weights(again)) and whole.losses == again.losses


def test_a_next_stage_begins_anew_from_the_adapter_of_the_last(train, tmp_path):
    first = train()
    first.run(lambda report: None)
    second = train(records=RECORDS[:8])
    assert second.resume(tmp_path / 'checkpoint-10') is False
    assert second.step == 0 and same(weights(first), weights(second))


def test_a_stopped_run_leaves_a_checkpoint_to_go_on_from(train, tmp_path):
    training = train()
    training.run(lambda report: None, should_stop=lambda: training.step >= 2)
    assert training.step == 2 and train().resume(tmp_path / 'checkpoint-2') is True


def test_it_stops_early_when_the_held_out_loss_rises(train):
    training = train(replace(CONFIG, early_stopping_patience=1, eval_steps=1, num_epochs=9))
    losses = iter([1.0, 0.9, 0.95, 0.1, 0.1, 0.1])
    training.held_out_loss = lambda: next(losses)
    training.run(lambda report: None)
    assert training.step == 3


def test_gradient_checkpoints_change_nothing(train):
    plain, sparing = train(), train(replace(CONFIG, gradient_checkpointing=True))
    batch = next(plain._batches())
    assert plain._update(batch) == pytest.approx(sparing._update(batch), rel=1e-5)
    assert all(
        torch.allclose(value, weights(sparing)[name], atol=1e-5)
        for name, value in weights(plain).items()
    )


def test_bfloat16_computes_about_the_same(train):
    batch = next(train()._batches())
    rough = train(replace(CONFIG, bf16=True))._update(batch)
    assert rough == pytest.approx(train()._update(batch), rel=0.02)


def test_rows_end_with_the_end_token_and_batches_hold_like_lengths(train):
    training = train()
    end = training.base.end
    assert all(tokens[-1] == end and end not in tokens[:-1] for tokens, _ in training._rows)
    lengths = [[len(training._rows[i][0]) for i in batch] for batch in training._order(0)]
    plain = train(replace(CONFIG, group_by_length=False))
    mixed = [[len(plain._rows[i][0]) for i in batch] for batch in plain._order(0)]
    assert sum(max(row) - min(row) for row in lengths) < sum(max(r) - min(r) for r in mixed)
    assert training._order(0) != training._order(1) and training._order(0) == train()._order(0)


@pytest.mark.parametrize(
    ('changed', 'named'),
    [
        ({'optim': 'adamw_8bit'}, '--optim adamw_8bit: unknown, expected one of'),
        ({'lr_scheduler_type': 'zigzag'}, '--lr-scheduler-type zigzag'),
        ({'lora_target_modules': ('query',)}, r'--lora-target-modules query.* q_proj'),
    ],
)
def test_settings_that_mean_nothing_are_named(train, changed, named):
    with pytest.raises(ConfigError, match=named):
        train(replace(CONFIG, **changed))


def test_records_that_are_too_long_are_named(train):
    with pytest.raises(DataError, match=r'training data: record 0 has .* expected at most 12'):
        train(replace(CONFIG, max_length=12))


def test_a_loss_that_is_not_finite_ends_training(train):
    training = train()
    with torch.no_grad():
        for parameter in training._trained:
            parameter.fill_(float('nan'))
    with pytest.raises(TrainingError, match='step 1 is not finite'):
        training.run(lambda report: None)


def test_folders_without_or_with_another_adapter_are_refused(train, tmp_path):
    training = train()
    with pytest.raises(DataError, match='holds no adapter_model'):
        training.resume(tmp_path)
    training.run(lambda report: None)
    with pytest.raises(DataError, match='fits another adapter'):
        train(replace(CONFIG, lora_r=2)).resume(tmp_path / 'checkpoint-10')


def test_models_that_cannot_be_had_are_named(tmp_path, monkeypatch):
    (tmp_path / 'config.json').write_text('{}')
    with pytest.raises(EnvironmentSetupError, match='cannot be loaded'):
        HubModel(str(tmp_path))
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(EnvironmentSetupError, match='pip install transformers'):
        HubModel(str(tmp_path))


def test_a_tokenizer_without_an_end_is_refused(base_folder, tmp_path):
    for file in base_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / 'tokenizer_config.json'
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, 'eos_token': None}))
    with pytest.raises(ConfigError, match='no token that ends a text'):
        HubModel(str(tmp_path))
