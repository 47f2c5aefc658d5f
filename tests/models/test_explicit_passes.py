import pytest
import torch
from robot_learning.models.actor_critic import Critics, GaussianTanhPolicy
from robot_learning.models.explicit_passes import ActorPasses, CriticPasses
from robot_learning.models.networks import initialise

ROWS, FEATURES, ACTIONS = 12, 5, 3


def prepared(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    initialise(network, generator)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)  # Written over, not added to.
        if parameter.dim() == 3 and parameter.shape[1] == 1:  # Gain and offset of LayerNorm too.
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('hidden', [(8,), (8, 6), (8, 8, 4)])
@pytest.mark.parametrize('activation', ['relu', 'silu'])
def test_the_policys_gradients_are_autograds(activation, hidden):
    actor = prepared(GaussianTanhPolicy(FEATURES, ACTIONS, hidden, activation))
    actor.log_std_bounds = (-0.3, 0.2)  # Some rows are beyond.
    actor.input_mean += 0.5
    actor.input_std *= 2
    features = draw(ROWS, FEATURES)
    of_mean, of_log_std = draw(ROWS, ACTIONS, seed=2), draw(ROWS, ACTIONS, seed=3)
    mean, log_std = actor(features)
    is_beyond = (log_std == -0.3) | (log_std == 0.2)
    assert is_beyond.any() and not is_beyond.all()
    outputs = (mean * of_mean).sum() + (log_std * of_log_std).sum()
    expected = torch.autograd.grad(outputs, list(actor.parameters()))
    passes = ActorPasses(actor, activation)
    with torch.no_grad():
        found = passes.forward(features)
        passes.backward(of_mean, of_log_std)
    torch.testing.assert_close(found, (mean, log_std))
    for parameter, gradient in zip(actor.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize('hidden', [(8,), (8, 6), (8, 8, 4)])
@pytest.mark.parametrize('layer_norm', [False, True])
@pytest.mark.parametrize('activation', ['relu', 'silu'])
@pytest.mark.parametrize('num_critics', [1, 3])
def test_the_critics_gradients_are_autograds(num_critics, activation, layer_norm, hidden):
    sizes = (FEATURES, ACTIONS, hidden, activation, layer_norm, num_critics)
    critics = prepared(Critics(*sizes))
    features, of_values = draw(ROWS, FEATURES), draw(num_critics, ROWS, seed=2)
    action = draw(ROWS, ACTIONS, seed=3).requires_grad_()
    values = critics(features, action)
    *expected, expected_action = torch.autograd.grad(
        (values * of_values).sum(), [*critics.parameters(), action]
    )
    passes = CriticPasses(critics, activation)
    with torch.no_grad():
        found = passes.forward(features, action)
        of_action = passes.action_gradient(of_values, ACTIONS)
        passes.forward(features, action)
        passes.backward(of_values)
    torch.testing.assert_close(found, values)
    torch.testing.assert_close(of_action, expected_action)
    for parameter, gradient in zip(critics.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5)


def test_a_backward_pass_of_the_last_rows_takes_the_others_gradient_for_0():
    actor = prepared(GaussianTanhPolicy(FEATURES, ACTIONS, (8, 6), 'silu'))
    passes = ActorPasses(actor, 'silu')
    features = draw(ROWS, FEATURES)
    parts = draw(4, ACTIONS, seed=2), draw(4, ACTIONS, seed=3)
    padded = [torch.cat([torch.zeros(ROWS - 4, ACTIONS), part]) for part in parts]
    found = []
    with torch.no_grad():
        for gradients in (parts, padded):
            passes.forward(features)
            passes.backward(*gradients)
            found.append([parameter.grad.clone() for parameter in actor.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
