import dreamer_toys
import pytest
import torch
from robot_learning.errors import ConfigError
from robot_learning.models import products
from robot_learning.phases import devices
from robot_learning.phases.phase import PHASES
from robot_learning.phases.state import collect, restore


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda index: f'card {index}')


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)


def test_names_mean_devices(two_gpus):
    assert devices.device_named('cpu') == torch.device('cpu')
    assert devices.device_named('cuda') == torch.device('cuda', 0)
    assert devices.device_named('cuda:1') == torch.device('cuda', 1)
    assert devices.device_named('auto') == torch.device('cuda', 0)


def test_each_process_has_a_gpu_of_its_own(two_gpus):
    found = [devices.device_named('cuda', index, 2) for index in range(2)]
    assert found == [torch.device('cuda', 0), torch.device('cuda', 1)]
    assert devices.device_named('auto', 1, 3) == torch.device('cpu')
    with pytest.raises(ConfigError, match=r'3 processes need one GPU each.*cuda:1 .card 1'):
        devices.device_named('cuda', 2, 3)
    with pytest.raises(ConfigError, match='cuda:1 is one GPU, and 2 processes'):
        devices.device_named('cuda:1', 0, 2)


def test_a_device_that_is_missing_is_refused_with_what_is_there(two_gpus):
    with pytest.raises(ConfigError, match=r'cuda:7 is not there. Here are cpu and cuda:0 .card 0'):
        devices.device_named('cuda:7')
    with pytest.raises(ConfigError, match="found 'gpu', expected cpu, cuda, cuda:1 or auto"):
        devices.device_named('gpu')


def test_without_a_gpu_auto_is_the_processor(no_gpu):
    assert devices.device_named('auto') == torch.device('cpu')
    with pytest.raises(ConfigError, match=r'cuda is not there. Here is cpu only'):
        devices.device_named('cuda')


def test_on_the_processor_batches_stay_where_they_are():
    batch = {'action': torch.ones(2)}
    assert devices.placed(batch, devices.CPU) is batch
    assert devices.placed(batch, torch.device('meta'))['action'].device.type == 'meta'


def test_ppo_says_that_it_needs_the_processor():
    phase_class = PHASES.get('ppo')
    with pytest.raises(ConfigError, match='ppo: device is cuda:0, expected cpu'):
        phase_class(phase_class.Config(), None, 0, device=torch.device('cuda', 0))


def test_a_generator_of_another_kind_of_device_goes_on_from_a_seed_that_follows():
    state = {'generator': torch.arange(16, dtype=torch.uint8)}  # As long as a GPU's.
    draws = []
    for _ in range(2):
        generator = torch.Generator()
        restore({'generator': generator}, state)
        draws.append(torch.rand(3, generator=generator))
    assert torch.equal(*draws)
    restore({'generator': generator}, {'generator': torch.ones(16, dtype=torch.uint8)})
    assert not torch.equal(torch.rand(3, generator=generator), draws[0])


def test_what_is_saved_is_on_the_processor_and_a_copy():
    tensor = torch.ones(2)
    state = collect({'tensor': tensor})
    tensor.zero_()
    assert state['tensor'].tolist() == [1, 1]
    assert state['tensor'].device == devices.CPU


def test_gpus_round_factors_too_where_processors_do():
    setting = torch.backends.cuda.matmul
    before = setting.fp32_precision
    with products.rounded_factors():
        assert setting.fp32_precision == 'tf32'
    assert setting.fp32_precision == before


def small_phase(name, device):
    hidden = {'sac': {'hidden': (16,)}, 'behavior_cloning': {'hidden': (16,)}}
    settings = {
        'world_model': {'model': dreamer_toys.MODEL},
        'dreamer': {'model': dreamer_toys.MODEL, 'horizon': 3},
        **hidden,
    }
    phase_class = PHASES.get(name)
    config = phase_class.Config(**settings.get(name, {}))
    return phase_class(config, dreamer_toys.SPACE, 0, device=device)


def small_batch(name):
    if name not in ('sac', 'behavior_cloning'):
        return dreamer_toys.batch()
    generator = torch.Generator().manual_seed(0)
    return {
        'observation': torch.randn(8, 3, generator=generator),
        'next_observation': torch.randn(8, 3, generator=generator),
        'action': torch.rand(8, 2, generator=generator) * 2 - 1,
        'reward': torch.randn(8, generator=generator),
        'discount': torch.full((8,), 0.99),
        'is_offline': torch.zeros(8, dtype=torch.bool),
        'intervention': torch.zeros(8, dtype=torch.bool),
    }


@pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no GPU')
@pytest.mark.parametrize('name', [name for name in PHASES if name != 'ppo'])
def test_what_a_gpu_learned_goes_on_on_the_processor_and_back(name):
    on_gpu = small_phase(name, torch.device('cuda', 0))
    on_cpu = small_phase(name, devices.CPU)
    batch = small_batch(name)
    measured = on_cpu.evaluate(batch), on_gpu.evaluate(batch)
    if name in ('behavior_cloning', 'sequence_cloning'):  # The others' noise differs.
        for key, value in measured[0].items():
            assert float(measured[1][key]) == pytest.approx(float(value), rel=1e-3, abs=1e-4)
    assert all(value.isfinite() for value in on_gpu.update(batch).values())
    state = on_gpu.state_dict()
    assert {tensor.device for tensor in state.values()} == {devices.CPU}
    on_cpu.load_state_dict(state)
    assert all(value.isfinite() for value in on_cpu.update(batch).values())
    on_gpu.load_state_dict(on_cpu.state_dict())
    assert all(value.isfinite() for value in on_gpu.update(batch).values())
