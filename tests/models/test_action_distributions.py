import math

import pytest
import torch
from robot_learning.models.action_distributions import (
    BoundedNormal,
    TanhNormal,
    UnimixCategorical,
)
from robot_learning.models.distributions import squashed_log_prob


def test_the_bounded_normal_is_a_normal_between_its_bounds():
    distribution = BoundedNormal(torch.tensor([[0.0, 100.0, -100.0, 100.0]]))
    torch.testing.assert_close(distribution.mean, torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(distribution.std, torch.tensor([[0.1, 1.0]]))
    drawn = torch.tensor([[0.1, 1.5]])
    expected = torch.distributions.Normal(distribution.mean, distribution.std)
    torch.testing.assert_close(distribution.log_prob(drawn), expected.log_prob(drawn).sum(-1))
    torch.testing.assert_close(distribution.entropy(drawn), expected.entropy().sum(-1))
    torch.testing.assert_close(distribution.executed(drawn), torch.tensor([[0.1, 1.0]]))


def test_the_tanh_normal_knows_the_density_of_squashed_actions():
    generator = torch.Generator().manual_seed(0)
    parameters = 0.5 * torch.randn(50, 4, generator=generator)  # Within the bounds.
    distribution = TanhNormal(parameters)
    drawn = distribution.draw(generator)
    mean, log_std = parameters.chunk(2, -1)
    exact = squashed_log_prob(mean.double(), log_std.double(), torch.tanh(drawn.double()))
    torch.testing.assert_close(distribution.log_prob(drawn).double(), exact, atol=1e-4, rtol=1e-4)
    assert torch.equal(distribution.executed(drawn), torch.tanh(drawn))


def test_the_tanh_normals_entropy_estimate_and_its_gradient_are_unbiased():
    parameters = torch.tensor([0.7, -0.3], requires_grad=True)
    rows = parameters.expand(400_000, 2)
    distribution = TanhNormal(rows)
    with torch.no_grad():
        drawn = distribution.draw(torch.Generator().manual_seed(0))
    entropy = distribution.entropy(drawn).mean()
    gradient = torch.autograd.grad(entropy, parameters)[0]

    def exact(mean, log_std):
        u = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
        normal = torch.distributions.Normal(mean, log_std.exp())
        density = normal.log_prob(u).exp()
        slope = torch.log(1 - torch.tanh(u) ** 2 + 1e-300)
        return torch.trapezoid(density * (slope - normal.log_prob(u)), u)

    point = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.7, -0.3)]
    value = exact(*point)
    torch.testing.assert_close(entropy.double(), value, atol=0.01, rtol=0)
    expected = torch.stack(torch.autograd.grad(value, point))
    torch.testing.assert_close(gradient.double(), expected, atol=0.01, rtol=0)


def test_every_choice_keeps_its_share_and_is_drawn_as_often_as_it_is_likely():
    logits = torch.tensor([0.0, 20.0, 0.0, 0.0]).expand(20_000, 4)
    distribution = UnimixCategorical(logits, unimix=0.4)
    drawn = distribution.draw(torch.Generator().manual_seed(0))
    expected = torch.tensor([0.1, 0.7, 0.1, 0.1])
    torch.testing.assert_close(drawn.mean(0), expected, atol=0.01, rtol=0)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    each = distribution.log_prob(torch.eye(4).repeat(5000, 1))[:4]
    torch.testing.assert_close(each.exp(), expected)
    entropy = -(0.7 * math.log(0.7) + 3 * 0.1 * math.log(0.1))
    assert distribution.entropy(drawn)[0].item() == pytest.approx(entropy, abs=1e-5)
    assert torch.equal(distribution.mode()[0], torch.tensor([0.0, 1.0, 0.0, 0.0]))


@pytest.mark.parametrize('kind', [BoundedNormal, TanhNormal, UnimixCategorical])
def test_what_follows_from_a_draw_can_be_differentiated(kind):
    parameters = torch.randn(5, 4, requires_grad=True)
    distribution = kind(parameters)
    action = distribution.executed(distribution.draw())
    weight = torch.arange(action.shape[-1]) + 1.0
    gradient = torch.autograd.grad((action * weight).sum(), parameters)[0]
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
