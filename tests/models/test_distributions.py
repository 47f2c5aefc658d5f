import math

import numpy as np
import pytest
import torch
from robot_learning.models.distributions import (
    clipped_log_prob,
    log_squash_slope,
    normal_entropy,
    sample_squashed,
    squashed_log_prob,
)
from torch.distributions import Normal, TanhTransform, TransformedDistribution


def reference(mean, log_std):
    return TransformedDistribution(Normal(mean, log_std.exp()), [TanhTransform()])


def test_log_prob_of_a_sample_equals_torchs_transformed_distribution():
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(64, 3, generator=generator, dtype=torch.float64)
    log_std = torch.randn(64, 3, generator=generator, dtype=torch.float64) * 0.5
    action, log_prob = sample_squashed(mean, log_std, generator)
    expected = reference(mean, log_std).log_prob(action).sum(-1)
    torch.testing.assert_close(log_prob, expected, rtol=1e-6, atol=1e-6)


def test_log_prob_of_given_actions_equals_torchs_transformed_distribution():
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(64, 2, generator=generator, dtype=torch.float64)
    log_std = torch.randn(64, 2, generator=generator, dtype=torch.float64) * 0.5
    action = torch.rand(64, 2, generator=generator, dtype=torch.float64) * 1.98 - 0.99
    expected = reference(mean, log_std).log_prob(action).sum(-1)
    torch.testing.assert_close(squashed_log_prob(mean, log_std, action), expected)


def test_density_integrates_to_one():
    action = torch.linspace(-1, 1, 200_001, dtype=torch.float64)[1:-1]
    for mean, log_std in [(0.0, 0.0), (1.2, -1.0), (-0.5, 0.3)]:
        parameters = torch.full((len(action), 1), mean, dtype=torch.float64)
        spread = torch.full((len(action), 1), log_std, dtype=torch.float64)
        density = squashed_log_prob(parameters, spread, action[:, None]).exp().numpy()
        assert np.trapezoid(density, action.numpy()) == pytest.approx(1, abs=2e-3)


def test_samples_follow_the_density():
    """The share of draws below a threshold equals the normal distribution's at its atanh."""
    mean, log_std = torch.full((200_000, 1), 0.4), torch.full((200_000, 1), -0.3)
    action, _ = sample_squashed(mean, log_std, torch.Generator().manual_seed(2))
    for threshold in (-0.5, 0.2, 0.8):
        z = (math.atanh(threshold) - 0.4) / math.exp(-0.3)
        expected = 0.5 * (1 + math.erf(z / math.sqrt(2)))
        assert (action < threshold).float().mean().item() == pytest.approx(expected, abs=0.005)


def test_log_slope_stays_exact_where_tanh_saturates():
    u = torch.tensor([-30.0, -12.0, 0.0, 12.0, 30.0])
    # For large |u|, 1 - tanh(u)^2 = 4 exp(-2|u|).
    expected = torch.tensor(
        [math.log(4) - 60, math.log(4) - 24, 0.0, math.log(4) - 24, math.log(4) - 60]
    )
    torch.testing.assert_close(log_squash_slope(u), expected)


def test_actions_at_the_limits_have_finite_log_prob():
    action = torch.tensor([[-1.0, 1.0]])
    assert torch.isfinite(squashed_log_prob(torch.zeros(1, 2), torch.zeros(1, 2), action)).all()


def test_gradient_reaches_mean_and_log_std_through_the_sample():
    """d action / d mean is 1 - tanh(u)^2 and d action / d log_std is that times std * noise."""
    mean = torch.tensor([[0.3]], dtype=torch.float64, requires_grad=True)
    log_std = torch.tensor([[-0.2]], dtype=torch.float64, requires_grad=True)
    action, _ = sample_squashed(mean, log_std, torch.Generator().manual_seed(3))
    by_mean, by_log_std = torch.autograd.grad(action.sum(), [mean, log_std])
    slope = 1 - action.item() ** 2
    assert by_mean.item() == pytest.approx(slope)
    assert by_log_std.item() == pytest.approx(slope * (math.atanh(action.item()) - 0.3))


def test_the_same_generator_state_draws_the_same_action():
    mean, log_std = torch.zeros(4, 2), torch.zeros(4, 2)
    draws = [sample_squashed(mean, log_std, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(draws[0].action, draws[1].action)


def test_gradients_of_a_draw_equal_those_of_torchs_distributions():
    generator = torch.Generator().manual_seed(0)
    mean, log_std = torch.randn(2, 40, 3, generator=generator, dtype=torch.float64)
    parameters = [mean.requires_grad_(), log_std.requires_grad_()]
    weight = torch.randn(40, 4, generator=generator, dtype=torch.float64)

    def gradients(action, log_prob):
        loss = (action * weight[:, :3]).sum() + (log_prob * weight[:, 3]).sum()
        return torch.autograd.grad(loss, parameters)

    noise = torch.randn(40, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    action = torch.tanh(mean + log_std.exp() * noise)
    log_prob = reference(mean, log_std).log_prob(action).sum(1)
    drawn = sample_squashed(mean, log_std, torch.Generator().manual_seed(7))
    for found, expected in zip(gradients(*drawn), gradients(action, log_prob), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_the_likelihood_of_a_clipped_action_by_hand():
    """N(0.5, 2): the density at 0 is exp(-1/32) / (2 sqrt(2 pi)); above 1 lies Phi(-0.25)."""
    mean, log_std = torch.full((3, 1), 0.5), torch.full((3, 1), math.log(2.0))
    found = clipped_log_prob(mean, log_std, torch.tensor([[0.0], [1.0], [-1.0]]))
    expected = [math.log(0.193334), math.log(0.401294), math.log(0.226627)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_clipped_actions_have_the_probability_one_together():
    for mean, std in ((0.0, 1.0), (1.7, 0.4), (-0.6, 0.05)):
        inner = torch.linspace(-1, 1, 100_001, dtype=torch.float64)[1:-1, None]
        action = torch.cat([inner, inner.new_tensor([[-1.0], [1.0]])])
        parameters = torch.full_like(action, mean), torch.full_like(action, math.log(std))
        likelihood = clipped_log_prob(*parameters, action).exp().numpy()
        total = np.trapezoid(likelihood[:-2], inner[:, 0].numpy()) + likelihood[-2:].sum()
        assert total == pytest.approx(1, abs=1e-3)


def test_components_of_a_clipped_action_count_together_and_far_tails_stay_finite():
    mean = torch.tensor([[30.0, 0.2]], requires_grad=True)
    log_std = torch.tensor([[-3.0, 0.0]], requires_grad=True)
    action = torch.tensor([[-1.0, 0.2]])
    found = clipped_log_prob(mean, log_std, action)
    alone = [
        clipped_log_prob(mean[:, i : i + 1], log_std[:, i : i + 1], action[:, i : i + 1])
        for i in range(2)
    ]
    torch.testing.assert_close(found, sum(alone))
    found.sum().backward()
    assert mean.grad.isfinite().all()
    assert mean.grad[0, 0] < 0  # Towards the limit where it was, however unlikely that is.
    assert log_std.grad.isfinite().all()


def test_the_entropy_of_normals_is_torchs():
    log_std = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    expected = Normal(torch.zeros(5, 3), log_std.exp()).entropy().sum(-1)
    torch.testing.assert_close(normal_entropy(log_std), expected)
