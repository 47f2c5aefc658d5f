import pytest
import torch
from robot_learning.phases.gradient_clipping import GradientClipping
from robot_learning.phases.laprop import LaProp
from torch import nn


def test_two_steps_by_hand():
    parameter = nn.Parameter(torch.tensor([1.0]))
    optimizer = LaProp([parameter], lr=0.1, betas=(0.5, 0.75), eps=0.0)
    parameter.grad = torch.tensor([3.0])
    optimizer.step()
    # Normalised 3 / sqrt(9) = 1; momentum 0.5 over its correction 0.5 is 1.
    torch.testing.assert_close(parameter.data, torch.tensor([0.9]))
    parameter.grad = torch.tensor([-1.0])
    optimizer.step()
    # Squares 0.75 * 2.25 + 0.25 = 1.9375 over 1 - 0.75^2 = 0.4375.
    normalised = -1 / (1.9375 / 0.4375) ** 0.5
    momentum = (0.5 * 0.5 + 0.5 * normalised) / 0.75
    torch.testing.assert_close(parameter.data, torch.tensor([0.9 - 0.1 * momentum]))


def test_the_size_of_the_loss_does_not_matter():
    ends = []
    for factor in (1e-8, 1.0, 1e8):
        parameter = nn.Parameter(torch.tensor([2.0, -1.0]))
        optimizer = LaProp([parameter], lr=0.01)
        for _ in range(20):
            (gradient,) = torch.autograd.grad(factor * parameter.square().sum(), parameter)
            parameter.grad = gradient
            optimizer.step()
        ends.append(parameter.detach())
    torch.testing.assert_close(ends[0], ends[1])
    torch.testing.assert_close(ends[2], ends[1])


def test_what_has_no_gradient_stays_and_zeros_do_no_harm():
    idle, still = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = LaProp([idle, still])
    still.grad = torch.zeros(2)
    optimizer.step()
    assert torch.equal(idle.data, torch.ones(2))
    assert torch.equal(still.data, torch.ones(2))


def test_each_gradient_is_limited_by_its_tensor():
    large, small, empty = (nn.Parameter(torch.tensor(v)) for v in ([3.0, 4.0], [0.1], [0.0]))
    optimizer = torch.optim.SGD([large, small, empty], lr=1.0)
    clipping = GradientClipping(optimizer, ratio=0.5)
    large.grad, small.grad = torch.tensor([1.0, 0.0]), torch.tensor([2.0])
    empty.grad = torch.tensor([1.0])
    optimizer.step()
    torch.testing.assert_close(large.grad, torch.tensor([1.0, 0.0]))  # 1 is below 0.5 * 5.
    torch.testing.assert_close(small.grad, torch.tensor([0.05]))
    torch.testing.assert_close(empty.grad, torch.tensor([0.0005]))  # Of the smallest norm, 1e-3.
    assert clipping.norms[0].item() == pytest.approx(6**0.5)


def test_the_norm_of_each_group_is_limited_for_itself():
    first, second = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{'params': [first]}, {'params': [second]}], lr=1.0)
    GradientClipping(optimizer, norm=1.0)
    first.grad, second.grad = torch.tensor([3.0, 4.0]), torch.tensor([0.5])
    optimizer.step()
    torch.testing.assert_close(first.grad, torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(second.grad, torch.tensor([0.5]))
