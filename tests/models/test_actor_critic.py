import math

import numpy as np
import pytest
import torch
from robot_learning.models.actor_critic import Critics, GaussianTanhPolicy
from robot_learning.models.networks import initialise


def policy(**settings):
    network = GaussianTanhPolicy(3, 2, (8, 6), **settings)
    initialise(network, torch.Generator().manual_seed(0))
    return network


def test_published_tensors_have_the_agreed_names_and_shapes():
    tensors, description = policy(layer_norm=True).published(np.array([-1, 0]), np.array([1, 2]))
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        'trunk.0.weight': (8, 3),
        'trunk.0.bias': (8,),
        'trunk.0.norm.weight': (8,),
        'trunk.0.norm.bias': (8,),
        'trunk.1.weight': (6, 8),
        'trunk.1.bias': (6,),
        'trunk.1.norm.weight': (6,),
        'trunk.1.norm.bias': (6,),
        'mean.weight': (2, 6),
        'mean.bias': (2,),
        'log_std.weight': (2, 6),
        'log_std.bias': (2,),
        'input_mean': (3,),
        'input_std': (3,),
    }
    assert description == {
        'kind': 'gaussian_tanh_mlp',
        'hidden': [8, 6],
        'activation': 'relu',
        'layer_norm': True,
        'input_size': 3,
        'action_size': 2,
        'action_low': [-1.0, 0.0],
        'action_high': [1.0, 2.0],
        'log_std_bounds': [-5.0, 2.0],
    }


def test_published_tensors_do_not_change_with_further_learning():
    network = policy()
    tensors, _ = network.published(np.zeros(2), np.ones(2))
    before = tensors['mean.weight'].clone()
    with torch.no_grad():
        network.mean.weight.add_(1)
    assert torch.equal(tensors['mean.weight'], before)


def test_features_are_normalised_before_the_first_layer():
    network, plain = policy(), policy()
    network.input_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    network.input_std.copy_(torch.tensor([2.0, 4.0, 0.5]))
    x = torch.randn(5, 3)
    shifted = x * network.input_std + network.input_mean
    torch.testing.assert_close(network(shifted)[0], plain(x)[0])


def test_log_std_keeps_its_bounds():
    network = policy(log_std_bounds=(-1.0, 0.5))
    with torch.no_grad():
        network.log_std.bias.copy_(torch.tensor([-50.0, 50.0]))
    log_std = network(torch.randn(4, 3))[1]
    assert torch.equal(log_std, torch.tensor([[-1.0, 0.5]] * 4))


@pytest.mark.parametrize('activation', ['relu', 'silu'])
def test_forward_equals_a_hand_written_numpy_pass(activation):
    network = policy(activation=activation, layer_norm=True)
    tensors = {key: value.numpy() for key, value in network.state_dict().items()}
    x = np.array([0.3, -1.2, 2.0], np.float32)
    hidden = x
    for index in range(2):
        z = tensors[f'trunk.{index}.weight'] @ hidden + tensors[f'trunk.{index}.bias']
        z = (z - z.mean()) / math.sqrt(z.var() + 1e-5)
        hidden = np.maximum(z, 0) if activation == 'relu' else z / (1 + np.exp(-z))
    expected = tensors['mean.weight'] @ hidden + tensors['mean.bias']
    np.testing.assert_allclose(
        network(torch.from_numpy(x)[None])[0][0].detach(), expected, atol=1e-5
    )


def test_critics_read_features_and_action():
    critics = Critics(3, 2, (8,), num_critics=4)
    initialise(critics, torch.Generator().manual_seed(0))
    features, action = torch.randn(5, 3), torch.randn(5, 2).requires_grad_()
    values = critics(features, action)
    assert values.shape == (4, 5)
    gradient = torch.autograd.grad(values.sum(), action)[0]
    assert (gradient.abs().sum(0) > 0).all()
