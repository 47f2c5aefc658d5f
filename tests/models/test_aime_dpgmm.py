import math

import numpy as np
import pytest
import torch
from robot_learning.models.aime.dpgmm import (
    Gaussian,
    Mixture,
    MixturePrior,
    components_in_use,
    expected_log_weights,
    gaussian_kl,
    kl_by_sampling,
    stick_kl,
    stick_weights,
)
from scipy import stats


def mixture(means, a, b, std=1.0):
    mean = torch.tensor(means, dtype=torch.float64)[:, None]  # [K, 1]
    sticks = (torch.tensor(part, dtype=torch.float64) for part in (a, b))
    return Mixture(Gaussian(mean, torch.full_like(mean, std)), *sticks)


def gaussian(mean, std):
    return Gaussian(torch.tensor([mean]).double(), torch.tensor([std]).double())


def test_a_stick_broken_by_hand():
    # Half of all, then 2/3 of the half that is left, then the rest.
    weights = stick_weights(torch.tensor([0.5, 2 / 3]))
    assert weights.tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 6])


def test_one_component_takes_the_whole_stick():
    assert stick_weights(torch.zeros(4, 0)).tolist() == [[1.0]] * 4
    assert expected_log_weights(torch.zeros(4, 0), torch.zeros(4, 0)).tolist() == [[0.0]] * 4
    assert stick_kl(torch.zeros(4, 0), torch.zeros(4, 0), 2.0).tolist() == [0.0] * 4


def test_expected_log_weights_agree_with_draws():
    a, b = np.array([2.0, 5.0]), np.array([3.0, 1.5])
    shares = np.random.default_rng(0).beta(a, b, (200_000, 2))
    drawn = np.log(stick_weights(torch.from_numpy(shares)).numpy()).mean(0)
    found = expected_log_weights(torch.from_numpy(a), torch.from_numpy(b))
    assert found.tolist() == pytest.approx(drawn.tolist(), abs=0.01)


def test_the_divergence_of_sticks_agrees_with_an_integral():
    grid = np.linspace(1e-6, 1 - 1e-6, 200_001)
    p, q = stats.beta(2.5, 1.5).pdf(grid), stats.beta(1.0, 4.0).pdf(grid)
    integral = np.trapezoid(p * np.log(p / q), grid)
    found = stick_kl(torch.tensor([2.5]).double(), torch.tensor([1.5]).double(), 4.0)
    assert found.item() == pytest.approx(integral, abs=1e-4)


def test_sticks_as_a_priori_cost_nothing():
    assert stick_kl(torch.ones(3), torch.full((3,), 2.0), 2.0).item() == pytest.approx(0, abs=1e-6)


def test_the_divergence_of_gaussians_by_hand():
    # log(2/1) + (1 + 1) / (2 * 4) - 1/2 for N(1, 1) to N(0, 2).
    expected = math.log(2) + 2 / 8 - 0.5
    assert gaussian_kl(gaussian(1.0, 1.0), gaussian(0.0, 2.0)).item() == pytest.approx(expected)


def test_with_one_component_the_bound_is_exact():
    one = mixture([0.0], [], [], std=2.0)
    assert one.kl_bound(gaussian(1.0, 1.0)).item() == pytest.approx(math.log(2) + 2 / 8 - 0.5)


def test_the_bound_lies_above_the_divergence():
    prior = mixture([-3.0, 0.0, 3.0], [40.0, 60.0], [80.0, 60.0])
    for mean in (-3.0, -1.5, 0.4):
        posterior = gaussian(mean, 0.7)
        grid = torch.linspace(-12, 12, 20_001).double()[:, None]
        p = posterior.log_prob(grid).exp()
        integral = torch.trapezoid(p * (p.log() - prior.log_prob(grid)), grid[:, 0]).item()
        bound = prior.kl_bound(posterior).item()
        assert bound >= integral >= 0
        assert bound == pytest.approx(integral, abs=0.5)


def test_draws_estimate_the_divergence():
    torch.manual_seed(0)
    prior = mixture([-2.0, 2.0], [30.0], [30.0])
    posterior = gaussian(1.0, 0.5)
    grid = torch.linspace(-8, 8, 20_001).double()[:, None]
    p = posterior.log_prob(grid).exp()
    integral = torch.trapezoid(p * (p.log() - prior.log_prob(grid)), grid[:, 0]).item()
    found = kl_by_sampling(posterior, prior, 4000).item()
    assert found == pytest.approx(integral, abs=0.05)


def test_who_answers_for_what_is_near():
    prior = mixture([-3.0, 3.0], [30.0], [30.0])
    share = prior.assignments(gaussian(2.9, 1.0))
    assert share.sum().item() == pytest.approx(1)
    assert share[1].item() > 0.99


def test_draws_follow_the_weights():
    torch.manual_seed(1)
    prior = mixture([-5.0, 5.0], [75.0], [25.0], std=0.1)
    many = Mixture(
        Gaussian(*(part.expand(4000, -1, -1) for part in prior.components)),
        prior.a.expand(4000, -1),
        prior.b.expand(4000, -1),
    )
    drawn = many.sample()
    assert drawn.shape == (4000, 1)
    assert (drawn < 0).double().mean().item() == pytest.approx(0.75, abs=0.03)
    assert prior.mode().item() == pytest.approx(-5.0)


def test_a_prior_of_every_condition():
    torch.manual_seed(0)
    network = MixturePrior(8, latent=3, components=5, min_std=0.05)
    found = network(torch.randn(2, 4, 8))
    assert found.components.mean.shape == (2, 4, 5, 3)
    assert found.a.shape == found.b.shape == (2, 4, 4)
    assert bool((found.components.std > 0.05).all() and (found.a > 0).all())
    spread = found.components.mean.std(-2)  # Components do not begin alike.
    assert spread.min().item() > 0.05


def test_components_in_use_are_counted():
    share = torch.tensor([[0.9, 0.095, 0.005], [0.9, 0.095, 0.005]])
    assert components_in_use(share).item() == 2
