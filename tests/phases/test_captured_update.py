import dataclasses

import pytest
import torch
from dreamer_toys import MODEL, SPACE, TINY, batch, make
from robot_learning.phases.captured_update import CapturedUpdate
from robot_learning.phases.devices import CPU, placed
from robot_learning.phases.dreamer import Dreamer
from robot_learning.phases.laprop import LaProp
from robot_learning.phases.world_model import WorldModelPhase, WorldModelPhaseConfig
from torch import nn

NUM_UPDATES = 12
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')


def world_model(device):
    return WorldModelPhase(WorldModelPhaseConfig(model=MODEL), SPACE, 0, device=device)


def dreamer(device, **settings):
    settings = {'warmup_updates': 6, 'block_scale': 10.0, **settings}
    return Dreamer(dataclasses.replace(TINY, **settings), SPACE, 0, device=device)


def learned(phase, updates=range(NUM_UPDATES)):
    """Return the metrics of each update."""
    return [
        {name: float(value) for name, value in phase.update(batch(seed)).items()}
        for seed in updates
    ]


def plainly(phase):
    phase._learn = lambda data: phase._update(placed(data, phase.device))
    return phase


def assert_alike(left, right):
    left, right = left.state_dict(), right.state_dict()
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=2e-3, atol=2e-4, msg=name)


@needs_gpu
@pytest.mark.parametrize('make_phase', [dreamer, world_model])
def test_replayed_updates_do_what_plain_ones_do(make_phase):
    gpu = torch.device('cuda')
    captured, plain = make_phase(gpu), plainly(make_phase(gpu))
    found, expected = learned(captured), learned(plain)
    assert captured._learn._recording is not None
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=0.02, abs=2e-3)
    assert_alike(captured, plain)


@needs_gpu
def test_resuming_on_a_gpu_equals_going_on():
    gpu = torch.device('cuda')
    whole, first, second = dreamer(gpu), dreamer(gpu), dreamer(gpu)
    learned(whole)
    learned(first, range(6))
    second.load_state_dict(first.state_dict())
    learned(second, range(6, NUM_UPDATES))
    assert_alike(whole, second)


@needs_gpu
def test_batches_of_another_shape_are_learned_plainly():
    phase = dreamer(torch.device('cuda'))
    learned(phase)
    phase.update(batch(0, length=9))
    assert int(phase._num_updates) == NUM_UPDATES + 1


def test_on_the_processor_every_update_is_plain():
    calls = []
    update = CapturedUpdate(lambda data: calls.append(data) or {}, [], CPU)
    for _ in range(5):
        update(batch())
    assert len(calls) == 5
    update.forget()
    update(batch())
    assert len(calls) == 6


def test_steps_counted_on_the_device_make_the_same_moves():
    ends = []
    for capturable in (False, True):
        parameter = nn.Parameter(torch.tensor([2.0, -1.0]))
        rate = torch.tensor(0.01) if capturable else 0.01
        optimizer = LaProp([parameter], lr=rate, capturable=capturable)
        for _ in range(20):
            (parameter.grad,) = torch.autograd.grad(parameter.square().sum(), parameter)
            optimizer.step()
        ends.append(parameter.detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-5, atol=1e-6)


def test_a_rate_changed_in_place_is_read():
    parameter = nn.Parameter(torch.tensor([1.0]))
    rate = torch.tensor(0.0)
    optimizer = LaProp([parameter], lr=rate, capturable=True)
    parameter.grad = torch.tensor([1.0])
    optimizer.step()
    assert parameter.item() == 1.0
    rate.fill_(0.5)
    parameter.grad = torch.tensor([1.0])
    optimizer.step()
    assert parameter.item() == pytest.approx(0.5, abs=1e-4)


def test_an_update_reads_nothing_back():
    """What a recording cannot hold: numbers asked for, and constants brought along."""

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.add(str(function.overloadpacket))
            return function(*args, **(kwargs or {}))

    seen: set[str] = set()
    phase = make()
    for seed in range(2):
        phase.update(batch(seed))
    data = {**batch(2)}
    with Watch():
        phase._update(data)
    assert len(seen) > 50
    assert not seen & {'aten.nonzero', 'aten.is_nonzero', 'aten.masked_select', 'aten.lift_fresh'}
