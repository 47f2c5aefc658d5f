import pytest
import torch
from robot_learning.models.two_hot import TwoHot
from robot_learning.phases.imagination import (
    discount_weight,
    frozen,
    is_last_of_run,
    replay_return,
)
from robot_learning.phases.imagination_losses import pathwise_loss, reinforce_loss, value_loss
from torch import nn


def test_states_count_as_likely_as_they_are_reached():
    discount = torch.tensor([[9.0, 9.0, 9.0], [0.9, 0.5, 0.9], [0.9, 0.0, 0.8]])  # [H+1, N]
    weight = discount_weight(torch.tensor([False, False, True]), discount)
    expected = torch.tensor([[1, 1, 0], [0.9, 0.5, 0], [0.81, 0, 0]])
    torch.testing.assert_close(weight, expected)


def flags(*where, size=6):
    return torch.isin(torch.arange(size), torch.tensor(where or (-1,)))[None]


def test_runs_end_where_tasks_and_watching_end_and_where_the_next_begins():
    batch = {
        'terminated': flags(1),
        'truncated': flags(3),
        'is_first': flags(0, 2, 4, 5),
    }
    assert is_last_of_run(batch)[0].tolist() == [False, True, False, True, True, False]


def test_recorded_returns_by_hand_with_two_runs_in_one_window():
    """Steps 0-2 end in termination, 3-4 are cut off, 5 begins a third run."""
    batch = {'terminated': flags(2), 'truncated': flags(4), 'is_first': flags(0, 3, 5)}
    reward = torch.tensor([[0.0, 1.0, 2.0, 0.0, 5.0, 0.0]])
    discount = 0.5 * (1 - batch['terminated'].float())
    bootstrap = torch.tensor([[10.0, 20.0, 30.0, 40.0, 50.0, 60.0]])
    is_last = is_last_of_run(batch)
    found = replay_return(reward, discount, bootstrap, is_last, 0.8)[0]
    # Into step 2 the task ended: its reward only. Into step 4 watching ended: bootstrap.
    assert found[1].item() == pytest.approx(2.0)
    assert found[3].item() == pytest.approx(5 + 0.5 * 50)
    assert found[0].item() == pytest.approx(1 + 0.5 * (0.2 * 20 + 0.8 * 2))


def test_the_end_of_a_window_bootstraps():
    reward, bootstrap = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[7.0, 8.0, 9.0]])
    discount, no = torch.full((1, 3), 0.9), torch.zeros(1, 3, dtype=torch.bool)
    found = replay_return(reward, discount, bootstrap, no, 1.0)[0]
    assert found.tolist() == pytest.approx([1 + 0.9 * (2 + 0.9 * 9), 2 + 0.9 * 9])


def test_reinforce_makes_better_actions_likelier_and_climbs_entropy():
    log_prob = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    entropy = torch.tensor([[0.5, 0.5]], requires_grad=True)
    weight, advantage = torch.tensor([[1.0, 0.5]]), torch.tensor([[3.0, -4.0]])
    loss = reinforce_loss(log_prob, advantage, entropy, weight, 0.1)
    assert loss.item() == pytest.approx(-((-3 + 0.05) + 0.5 * (8 + 0.05)) / 2)
    by_log_prob, by_entropy = torch.autograd.grad(loss, [log_prob, entropy])
    torch.testing.assert_close(by_log_prob, torch.tensor([[-1.5, 1.0]]))
    torch.testing.assert_close(by_entropy, torch.tensor([[-0.05, -0.025]]))


def test_the_pathwise_loss_climbs_returns():
    returns = torch.tensor([[2.0, 4.0]], requires_grad=True)
    loss = pathwise_loss(returns, torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]]), 0.5)
    assert loss.item() == pytest.approx(-1.25)
    torch.testing.assert_close(torch.autograd.grad(loss, returns)[0], torch.tensor([[-0.5, 0.0]]))


def test_the_critic_is_pulled_to_target_and_slow_copy_by_their_weights():
    bins = torch.tensor([-1.0, 0.0, 1.0])
    logits = torch.log(torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]))
    loss = value_loss(
        TwoHot(logits, bins),
        torch.tensor([0.25, 7.0]),
        torch.tensor([-1.0, 0.0]),
        torch.tensor([1.0, 0.0]),  # The second row does not count.
        0.5,
    )
    expected = -(0.75 * logits[0, 1] + 0.25 * logits[0, 2] + 0.5 * logits[0, 0]) / 2
    torch.testing.assert_close(loss, expected)


def test_gradients_pass_through_what_is_frozen_and_do_not_stay_there():
    network, x = nn.Linear(2, 1), torch.ones(1, 2, requires_grad=True)
    network.bias.requires_grad_(False)
    with frozen(network):
        y = network(x).sum()
    torch.testing.assert_close(torch.autograd.grad(y, x)[0], network.weight.detach())
    assert network.weight.requires_grad
    assert not network.bias.requires_grad  # As it was before.
    assert torch.autograd.grad(network(x).sum(), network.weight)[0].abs().sum() > 0
