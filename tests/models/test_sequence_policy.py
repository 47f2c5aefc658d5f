import pytest
import torch
from robot_learning.models.sequence_policy import SequencePolicy, initialise_sequence_policy
from torch import nn

MEMORIES = pytest.mark.parametrize('memory', ['gru', 'lstm'])


def make(memory='gru', seed=0, **settings):
    policy = SequencePolicy(3, 2, (8,), memory, 6, **settings)
    initialise_sequence_policy(policy, torch.Generator().manual_seed(seed))
    return policy


def features(batch_size=4, length=7, seed=0):
    return torch.randn(batch_size, length, 3, generator=torch.Generator().manual_seed(seed))


def starts(batch_size=4, length=7, *places):
    """First steps at 0 everywhere and at the given (row, step)."""
    is_first = torch.zeros(batch_size, length, dtype=torch.bool)
    is_first[:, 0] = True
    for row, step in places:
        is_first[row, step] = True
    return is_first


@MEMORIES
def test_shapes(memory):
    mean, log_std, carry = make(memory)(features(), starts())
    assert mean.shape == log_std.shape == (4, 7, 2)
    assert [part.shape for part in carry] == [(1, 4, 6)] * (2 if memory == 'lstm' else 1)


@MEMORIES
def test_equals_torchs_cell_step_by_step(memory):
    policy, x = make(memory), features(length=5)
    kind = nn.LSTMCell if memory == 'lstm' else nn.GRUCell
    cell = kind(8, 6)
    cell.load_state_dict(
        {key.removesuffix('_l0'): value for key, value in policy.memory.state_dict().items()}
    )
    state = (torch.zeros(4, 6), torch.zeros(4, 6)) if memory == 'lstm' else torch.zeros(4, 6)
    mean, _, _ = policy(x, starts(4, 5))
    for t in range(5):
        state = cell(torch.relu(policy.trunk[0](x[:, t])), state)
        output = state[0] if memory == 'lstm' else state
        torch.testing.assert_close(mean[:, t], policy.mean(output), atol=1e-6, rtol=1e-5)


@MEMORIES
def test_a_start_inside_a_window_equals_two_windows(memory):
    policy, x = make(memory), features()
    whole = policy(x, starts(4, 7, (1, 3), (2, 5), (2, 6)))[0]
    torch.testing.assert_close(whole[1, :3], policy(x[1:2, :3], starts(1, 3))[0][0])
    torch.testing.assert_close(whole[1, 3:], policy(x[1:2, 3:], starts(1, 4))[0][0])
    torch.testing.assert_close(whole[2, 5:6], policy(x[2:3, 5:6], starts(1, 1))[0][0])
    torch.testing.assert_close(whole[2, 6:], policy(x[2:3, 6:], starts(1, 1))[0][0])
    # Rows without a start inside remember on.
    torch.testing.assert_close(whole[0], policy(x[:1], starts(1, 7))[0][0])
    assert not torch.allclose(whole[1, 3:], policy(x, starts())[0][1, 3:])


@MEMORIES
def test_a_carry_joins_two_windows(memory):
    policy, x = make(memory), features()
    none = torch.zeros(4, 4, dtype=torch.bool)
    _, _, carry = policy(x[:, :3], starts(4, 3))
    joined = policy(x[:, 3:], none, carry)[0]
    torch.testing.assert_close(joined, policy(x, starts())[0][:, 3:])


@MEMORIES
def test_no_gradient_crosses_the_start_of_an_episode(memory):
    policy, x = make(memory), features(1).requires_grad_()
    mean, _, _ = policy(x, starts(1, 7, (0, 4)))
    mean[:, 4:].sum().backward()
    assert torch.equal(x.grad[:, :4], torch.zeros(1, 4, 3))
    assert x.grad[:, 4:].abs().sum(-1).min() > 0


def test_weights_repeat_from_the_seed_and_forget_gates_begin_open():
    first, second, other = make('lstm', 1), make('lstm', 1), make('lstm', 2)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
    assert not torch.equal(first.memory.weight_hh_l0, other.memory.weight_hh_l0)
    forget = (first.memory.bias_ih_l0 + first.memory.bias_hh_l0)[6:12]
    assert torch.equal(forget, torch.ones(6))


@MEMORIES
def test_a_published_policy_loads_into_an_equal_one(memory):
    policy = make(memory, layer_norm=True, activation='silu')
    tensors, description = policy.published([-1.0, -2.0], [1.0, 2.0])
    limits = ('kind', 'action_low', 'action_high')
    again = SequencePolicy(**{k: v for k, v in description.items() if k not in limits})
    again.load_state_dict(tensors)
    assert torch.equal(again(features(), starts())[0], policy(features(), starts())[0])
    assert description['kind'] == 'gaussian_tanh_sequence'
