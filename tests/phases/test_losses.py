import pytest
import torch
from robot_learning.phases import losses


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_soft_target_by_hand():
    target = losses.soft_target(
        reward=tensor(1.0, 2.0),
        discount=tensor(0.9, 0.81),
        next_values=torch.tensor([[10.0, 4.0], [8.0, 5.0]], dtype=torch.float64),
        entropy_bonus=tensor(0.5, -1.0),
    )
    # 1 + 0.9 (8 + 0.5) and 2 + 0.81 (4 - 1).
    torch.testing.assert_close(target, tensor(8.65, 4.43))


def test_a_terminated_end_bootstraps_nothing_and_a_truncated_one_does():
    next_values = torch.full((2, 2), 100.0, dtype=torch.float64)
    terminated, truncated = losses.soft_target(
        tensor(1.0, 1.0), tensor(0.0, 0.99), next_values, tensor(7.0, 0.0)
    )
    assert terminated == 1.0
    assert truncated == pytest.approx(100.0)


def test_value_loss_by_hand():
    values = torch.tensor([[1.0, 2.0], [3.0, 0.0]], dtype=torch.float64)
    # Critic 1: errors 1, 0 -> 0.5 * 0.5; critic 2: errors 3, -2 -> 0.5 * 6.5.
    assert losses.value_loss(values, tensor(0.0, 2.0)).item() == pytest.approx(0.25 + 3.25)


def test_policy_loss_takes_the_lower_critic_of_each_row():
    values = torch.tensor([[1.0, 5.0], [2.0, 3.0]], dtype=torch.float64, requires_grad=True)
    log_prob = tensor(-1.0, 2.0)
    loss = losses.soft_policy_loss(values, log_prob, torch.tensor(0.1, dtype=torch.float64))
    assert loss.item() == pytest.approx(((-0.1 - 1.0) + (0.2 - 3.0)) / 2)
    gradient = torch.autograd.grad(loss, values)[0]
    expected = torch.tensor([[-0.5, 0.0], [0.0, -0.5]], dtype=torch.float64)
    assert torch.equal(gradient, expected)


@pytest.mark.parametrize(('entropy', 'direction'), [(0.5, 1), (-3.0, -1)])
def test_temperature_rises_below_the_target_entropy_and_falls_above(entropy, direction):
    log_temperature = torch.tensor(0.3, requires_grad=True)
    log_prob = torch.full((4,), -entropy)
    loss = losses.temperature_loss(log_temperature, log_prob, target_entropy=-1.0)
    gradient = torch.autograd.grad(loss, log_temperature)[0].item()
    assert gradient == pytest.approx(entropy - -1.0)  # Descent: up while entropy < target.
    assert (gradient > 0) == (direction > 0)


def test_temperature_loss_gives_the_policy_no_gradient():
    log_prob = torch.zeros(3, requires_grad=True)
    loss = losses.temperature_loss(torch.tensor(0.0, requires_grad=True), log_prob, -1.0)
    assert torch.autograd.grad(loss, log_prob, allow_unused=True)[0] is None


def test_squared_error_is_the_mean_over_components():
    error = losses.squared_error(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.zeros(2, 2))
    assert torch.equal(error, torch.tensor([5.0, 0.0]))


def test_imitation_counts_only_demonstrations():
    action = torch.tensor([[0.5, 0.0], [1.0, -1.0], [0.2, 0.2]], requires_grad=True)
    demonstrated = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.4]])
    chosen = torch.tensor([True, False, True])
    loss = losses.imitation_loss(action, demonstrated, chosen)
    # Rows 0 and 2: 0.25 and 0.04 + 0.04.
    assert loss.item() == pytest.approx((0.25 + 0.08) / 2)
    loss.backward()
    assert torch.equal(action.grad[1], torch.zeros(2))
    nothing = losses.imitation_loss(action, demonstrated, torch.zeros(3, dtype=torch.bool))
    assert nothing.item() == 0


def test_imitation_weighs_the_rows():
    action = torch.tensor([[0.5], [1.0], [0.0]])
    demonstrated = torch.zeros(3, 1)
    loss = losses.imitation_loss(action, demonstrated, torch.tensor([3.0, 1.0, 0.0]))
    assert loss.item() == pytest.approx((3 * 0.25 + 1 * 1.0) / 4)


def test_importance_weights_are_those_computed_by_hand():
    # Drawn 4 times, as often as, and a quarter as often as uniformly; with beta 0.5 that is
    # 1/2, 1 and 2, and the largest becomes 1.
    ratio = torch.tensor([4.0, 1.0, 0.25])
    assert torch.allclose(
        losses.importance_weight(ratio, 0.5), torch.tensor([0.25, 0.5, 1.0]), atol=1e-6
    )
    assert torch.equal(losses.importance_weight(ratio, 0.0), torch.ones(3))


def test_a_weighted_value_loss_counts_rows_by_their_weight():
    values, target = torch.tensor([[1.0, 2.0], [3.0, 2.0]]), torch.tensor([1.0, 0.0])
    # Squared errors of the rows: 0 + 4 and 4 + 4.
    assert losses.value_loss(values, target).item() == pytest.approx(0.5 * (4 + 8) / 2)
    weight = torch.tensor([1.0, 0.25])
    assert losses.value_loss(values, target, weight).item() == pytest.approx(0.5 * (4 + 2) / 2)
