import numpy as np
import pytest
import torch
from robot_learning.phases.returns import gae, lambda_return


def case(seed=0, rows=3, steps=9):
    rng = np.random.default_rng(seed)
    reward, value, next_value = rng.normal(size=(3, rows, steps))
    terminated = rng.random((rows, steps)) < 0.2
    is_last = terminated | (rng.random((rows, steps)) < 0.2)
    return reward, 0.9 * (1 - terminated), value, next_value, is_last


def as_tensors(arrays):
    return [torch.from_numpy(np.asarray(array)) for array in arrays]


def sum_of_errors(reward, discount, value, next_value, is_last, lambda_):
    """Equation 16 as it stands: the discounted sum of errors up to the end of the run."""
    advantage = np.zeros_like(reward)
    for row in range(reward.shape[0]):
        for start in range(reward.shape[1]):
            weight = 1.0
            for t in range(start, reward.shape[1]):
                error = reward[row, t] + discount[row, t] * next_value[row, t] - value[row, t]
                advantage[row, start] += weight * error
                if is_last[row, t]:
                    break
                weight *= lambda_ * discount[row, t]
    return advantage


@pytest.mark.parametrize('lambda_', [0.0, 0.5, 0.95, 1.0])
def test_advantage_is_the_discounted_sum_of_errors(lambda_):
    arrays = case()
    found = gae(*as_tensors(arrays), lambda_)
    np.testing.assert_allclose(found, sum_of_errors(*arrays, lambda_), atol=1e-12)


def test_truncation_bootstraps_and_termination_does_not():
    reward = torch.tensor([[1.0, 2.0]])
    next_value = torch.tensor([[10.0, 20.0]])
    zero, is_last = torch.zeros(1, 2), torch.tensor([[False, True]])
    truncated = gae(reward, torch.tensor([[0.5, 0.5]]), zero, next_value, is_last, 1.0)
    terminated = gae(reward, torch.tensor([[0.5, 0.0]]), zero, next_value, is_last, 1.0)
    # 2 + 0.5 * 20 = 12; the step before: 1 + 0.5 * 10 + 0.5 * 12.
    torch.testing.assert_close(truncated, torch.tensor([[12.0, 12.0]]))
    torch.testing.assert_close(terminated, torch.tensor([[7.0, 2.0]]))


def test_nothing_flows_over_the_end_of_a_run():
    arrays = list(case(1))
    before = gae(*as_tensors(arrays), 0.95)
    row, t = np.argwhere(arrays[4][:, :-1])[0]
    arrays[0][row, t + 1 :] += 100.0
    after = gae(*as_tensors(arrays), 0.95)
    torch.testing.assert_close(after[row, : t + 1], before[row, : t + 1])
    assert (after[row, t + 1] - before[row, t + 1]) > 50


def test_advantage_equals_the_rollout_buffer_of_stable_baselines3():
    buffers = pytest.importorskip('stable_baselines3.common.buffers')
    from gymnasium import spaces

    rng = np.random.default_rng(3)
    steps, envs = 16, 3
    space = spaces.Box(-1, 1, (2,))
    buffer = buffers.RolloutBuffer(steps, space, space, 'cpu', 0.95, 0.9, envs)
    reward, value = rng.normal(size=(2, steps, envs)).astype(np.float32)
    starts = rng.random((steps + 1, envs)) < 0.2  # An episode ended before these steps.
    for t in range(steps):
        seen = np.zeros((envs, 2))
        tensors = torch.from_numpy(value[t]), torch.zeros(envs)
        buffer.add(seen, seen, reward[t], starts[t], *tensors)
    last = rng.normal(size=envs).astype(np.float32)
    buffer.compute_returns_and_advantage(torch.from_numpy(last), starts[-1])
    ended = starts[1:].T
    next_value = np.concatenate([value[1:], last[None]]).T
    found = gae(
        *as_tensors([reward.T, (0.9 * (1 - ended)).astype(np.float32), value.T, next_value]),
        torch.from_numpy(ended.copy()),
        0.95,
    )
    np.testing.assert_allclose(found, buffer.advantages.T, atol=1e-5)


def test_lambda_return_of_a_case_done_by_hand():
    reward = torch.tensor([[9.0, 1.0, 2.0]])  # Nothing is received at a start.
    discount = torch.tensor([[9.0, 0.5, 0.5]])
    value = torch.tensor([[7.0, 4.0, 8.0]])
    # Last: 2 + 0.5 * 8 = 6. Before: 1 + 0.5 * (0.75 * 4 + 0.25 * 6) = 3.25.
    found = lambda_return(reward, discount, value, 0.25)
    torch.testing.assert_close(found, torch.tensor([[3.25, 6.0]]))


def mixture_of_n_steps(reward, discount, value, lambda_):
    """Equation 12.2 and 12.3 of Sutton & Barto: n-step returns, mixed by (1 - lambda) lambda^n."""
    last = len(reward) - 1

    def n_step(t, n):
        total, factor = 0.0, 1.0
        for k in range(t + 1, t + n + 1):
            total += factor * reward[k]
            factor *= discount[k]
        return total + factor * value[t + n]

    found = []
    for t in range(last):
        longest = last - t
        mixed = sum((1 - lambda_) * lambda_ ** (n - 1) * n_step(t, n) for n in range(1, longest))
        found.append(mixed + lambda_ ** (longest - 1) * n_step(t, longest))
    return found


@pytest.mark.parametrize('lambda_', [0.0, 0.3, 0.95, 1.0])
def test_lambda_return_is_the_mixture_of_n_step_returns(lambda_):
    rng = np.random.default_rng(4)
    reward, value = rng.normal(size=(2, 2, 8))
    discount = 0.9 * (rng.random((2, 8)) > 0.2)
    found = lambda_return(*as_tensors([reward, discount, value]), lambda_)
    for row in range(2):
        expected = mixture_of_n_steps(reward[row], discount[row], value[row], lambda_)
        np.testing.assert_allclose(found[row], expected, atol=1e-12)


def test_lambda_return_is_differentiable_in_rewards_and_values():
    reward, value = (torch.randn(2, 5, requires_grad=True) for _ in range(2))
    lambda_return(reward, torch.full((2, 5), 0.9), value, 0.95).sum().backward()
    assert (reward.grad[:, 1:] > 0).all() and (reward.grad[:, 0] == 0).all()
    assert (value.grad[:, 1:] > 0).all() and (value.grad[:, 0] == 0).all()
