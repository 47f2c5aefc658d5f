import pytest
import torch
from robot_learning.errors import TrainingError
from robot_learning.phases.state import collect, restore, step
from torch import nn


def test_gradients_lie_in_memory_as_their_parameters():
    """On a GPU those of convolutions over [N, H, W, C] do not, which fused Adam refuses."""
    parameter = nn.Parameter(torch.arange(6.0).view(2, 3))
    factor = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert torch.autograd.grad((parameter.t() * factor).sum(), parameter)[0].stride() == (1, 2)
    step(torch.optim.SGD([parameter], lr=1.0), [parameter], (parameter.t() * factor).sum())
    assert parameter.grad.stride() == parameter.stride()
    torch.testing.assert_close(parameter.data, torch.arange(6.0).view(2, 3) - factor.t())


def test_moments_of_other_parameters_are_refused():
    """As from before the parameters of an optimiser lay side by side in one vector."""

    def stepped(*shapes):
        parameters = [torch.ones(*shape) for shape in shapes]
        optimizer = torch.optim.Adam(parameters)
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        return {'optimizer': optimizer}

    for shapes in ([(5,), (3,)], [(3, 5)]):
        with pytest.raises(TrainingError, match=r'optimizer\.\d\.exp_avg has shape'):
            restore(stepped((8,)), collect(stepped(*shapes)))
