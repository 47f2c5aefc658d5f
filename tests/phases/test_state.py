import torch
from robot_learning.phases.state import step
from torch import nn


def test_gradients_lie_in_memory_as_their_parameters():
    """On a GPU those of convolutions over [N, H, W, C] do not, which fused Adam refuses."""
    parameter = nn.Parameter(torch.arange(6.0).view(2, 3))
    factor = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert torch.autograd.grad((parameter.t() * factor).sum(), parameter)[0].stride() == (1, 2)
    step(torch.optim.SGD([parameter], lr=1.0), [parameter], (parameter.t() * factor).sum())
    assert parameter.grad.stride() == parameter.stride()
    torch.testing.assert_close(parameter.data, torch.arange(6.0).view(2, 3) - factor.t())
