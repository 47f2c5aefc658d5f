import pytest
import torch
from robot_learning.models.networks import (
    Dense,
    EnsembleMLP,
    initialise,
    set_product_dtype,
)
from torch import nn


def member_as_sequential(ensemble, index, activation, layer_norm):
    """The same numbers in torch's own layers."""
    layers = []
    for linear, norm in zip(ensemble.layers, ensemble.norms, strict=True):
        weight = linear.weight[index]  # [in, out]
        copy = nn.Linear(*weight.shape)
        copy.weight.data, copy.bias.data = weight.t().clone(), linear.bias[index, 0].clone()
        layers.append(copy)
        if layer_norm:
            own = nn.LayerNorm(weight.shape[1])
            own.weight.data, own.bias.data = norm.weight[index, 0], norm.bias[index, 0]
            layers.append(own)
        layers.append(activation())
    output = nn.Linear(ensemble.output.weight.shape[2], 1)
    output.weight.data = ensemble.output.weight[index].clone()
    output.bias.data = ensemble.output.bias[index].clone()
    return nn.Sequential(*layers, output)


@pytest.mark.parametrize('layer_norm', [False, True])
@pytest.mark.parametrize(('name', 'activation'), [('relu', nn.ReLU), ('silu', nn.SiLU)])
def test_each_member_equals_a_network_of_its_own(name, activation, layer_norm):
    generator = torch.Generator().manual_seed(0)
    ensemble = EnsembleMLP(3, 5, (16, 8), name, layer_norm)
    initialise(ensemble, generator)
    for norm in ensemble.norms:
        for parameter in norm.parameters():
            nn.init.uniform_(parameter, 0.5, 1.5, generator=generator)
    x = torch.randn(7, 5, generator=generator)
    values = ensemble(x)
    assert values.shape == (3, 7)
    for index in range(3):
        alone = member_as_sequential(ensemble, index, activation, layer_norm)
        torch.testing.assert_close(values[index], alone(x).squeeze(-1))


def test_gradients_of_one_member_leave_the_others_untouched():
    ensemble = EnsembleMLP(2, 4, (8,), 'relu', True)
    initialise(ensemble, torch.Generator().manual_seed(0))
    ensemble(torch.randn(6, 4))[0].sum().backward()
    for parameter in ensemble.parameters():
        assert parameter.grad[0].abs().sum() > 0
        assert parameter.grad[1].abs().sum() == 0


def test_members_start_different_and_repeat_from_a_seed():
    first, second = EnsembleMLP(2, 4, (8,), 'relu', False), EnsembleMLP(2, 4, (8,), 'relu', False)
    initialise(first, torch.Generator().manual_seed(3))
    initialise(second, torch.Generator().manual_seed(3))
    assert not torch.equal(first.layers[0].weight[0], first.layers[0].weight[1])
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_initial_weights_have_the_spread_of_torchs_linear():
    ensemble = EnsembleMLP(2, 100, (400,), 'relu', False)
    initialise(ensemble, torch.Generator().manual_seed(0))
    weight = ensemble.layers[0].weight
    assert weight.abs().max().item() == pytest.approx(0.1, rel=0.01)  # 1 / sqrt(100)
    assert weight.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.01)


def test_dense_normalises_before_the_activation():
    layer = Dense(3, 4, 'relu', layer_norm=True)
    expected = torch.relu(
        layer.norm(nn.functional.linear(x := torch.randn(5, 3), layer.weight, layer.bias))
    )
    torch.testing.assert_close(layer(x), expected)
    assert set(dict(layer.named_parameters())) == {'weight', 'bias', 'norm.weight', 'norm.bias'}


def test_bfloat16_products_stay_close_and_leave_the_first_layer_exact():
    ensemble = EnsembleMLP(2, 6, (64, 64), 'relu', False)
    initialise(ensemble, torch.Generator().manual_seed(0))
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
    exact = ensemble(x)
    first = ensemble.layers[0](x.expand(2, 32, 6))
    set_product_dtype(ensemble, torch.bfloat16)
    assert torch.equal(ensemble.layers[0](x.expand(2, 32, 6)), first)
    rounded = ensemble(x)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).abs().max() < 0.02 * exact.abs().max() + 0.01


@pytest.mark.parametrize('shape', [(24, 5), (3, 8, 5)])
def test_a_rounded_dense_layer_has_nearly_the_exact_gradients(shape):
    layer = Dense(5, 7, 'relu', layer_norm=False)
    initialise(layer, torch.Generator().manual_seed(0))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
    wanted = [x, layer.weight, layer.bias]
    exact = torch.autograd.grad(layer(x).square().sum(), wanted)
    layer.product_dtype = torch.bfloat16
    rounded = torch.autograd.grad(layer(x).square().sum(), wanted)
    for found, expected in zip(rounded, exact, strict=True):
        assert (found - expected).norm() < 0.02 * expected.norm()
