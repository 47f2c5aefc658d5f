import pytest
import torch
from robot_learning.models.latent import CategoricalLatent, GaussianLatent
from torch.distributions import Categorical, Normal, kl_divergence


def test_categorical_divergence_and_entropy_equal_torchs_own():
    latent = CategoricalLatent(3, 5)
    left, right = latent.parameters(torch.randn(2, 7, 15))
    p, q = Categorical(logits=left), Categorical(logits=right)
    torch.testing.assert_close(latent.kl(left, right), kl_divergence(p, q).sum(-1))
    torch.testing.assert_close(latent.entropy(left), p.entropy().sum(-1))


def test_gaussian_divergence_and_entropy_equal_torchs_own():
    latent = GaussianLatent(4)
    left, right = latent.parameters(torch.randn(2, 7, 8))
    p, q = Normal(left[..., 0], left[..., 1]), Normal(right[..., 0], right[..., 1])
    torch.testing.assert_close(latent.kl(left, right), kl_divergence(p, q).sum(-1))
    torch.testing.assert_close(latent.entropy(left), p.entropy().sum(-1))


def test_categorical_divergence_by_hand():
    latent = CategoricalLatent(1, 2, uniform_share=0.0)
    left = torch.tensor([[0.5, 0.5]]).log()
    right = torch.tensor([[0.25, 0.75]]).log()
    expected = 0.5 * torch.tensor(2.0).log() + 0.5 * torch.tensor(2 / 3).log()
    torch.testing.assert_close(latent.kl(left, right), expected)


def test_the_uniform_share_bounds_every_probability():
    latent = CategoricalLatent(1, 4, uniform_share=0.02)
    probability = latent.parameters(torch.tensor([[50.0, 0.0, 0.0, 0.0]])).exp()[0, 0]
    torch.testing.assert_close(probability, torch.tensor([0.985, 0.005, 0.005, 0.005]))


def test_samples_are_one_hot_and_as_frequent_as_they_are_likely():
    latent = CategoricalLatent(2, 3)
    raw = torch.tensor([1.0, 0.0, -1.0, 0.0, 3.0, 0.0])
    count = 40_000
    noise = latent.shaped_noise(
        torch.rand(count, 2, 3, generator=torch.Generator().manual_seed(0))
    )
    drawn = latent.sample(raw.expand(count, -1), noise).view(count, 2, 3)
    assert torch.equal(drawn.sum(-1), torch.ones(count, 2))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(
        drawn.mean(0), latent.parameters(raw).exp(), atol=4 * 0.5 / count**0.5, rtol=0
    )


def test_gradient_of_a_sample_is_that_of_its_probabilities():
    latent = CategoricalLatent(2, 3)
    raw = torch.randn(4, 6, requires_grad=True)
    weight = torch.randn(4, 6)
    sample = latent.sample(raw, latent.shaped_noise(torch.rand(4, 2, 3)))
    found = torch.autograd.grad((sample * weight).sum(), raw)[0]
    probability = latent.parameters(raw).exp().flatten(1)
    expected = torch.autograd.grad((probability * weight).sum(), raw)[0]
    torch.testing.assert_close(found, expected)


def test_gaussian_samples_have_mean_and_deviation():
    latent = GaussianLatent(1)
    raw = torch.tensor([0.7, -1.0])
    mean, std = latent.parameters(raw)[0]
    noise = latent.shaped_noise(torch.rand(40_000, 1, generator=torch.Generator().manual_seed(0)))
    drawn = latent.sample(raw.expand(40_000, 2), noise)
    assert drawn.mean().item() == pytest.approx(mean.item(), abs=0.02)
    assert drawn.std().item() == pytest.approx(std.item(), rel=0.02)
    assert torch.equal(latent.mode(raw), raw[:1])


def test_noise_at_the_ends_of_its_range_is_harmless():
    ends = torch.tensor([0.0, 1 - 2.0**-24])
    assert GaussianLatent(2).shaped_noise(ends).isfinite().all()
    categorical = CategoricalLatent(1, 2)
    for raw in ([0.0, 0.0], [-90.0, 90.0]):
        drawn = categorical.sample(torch.tensor(raw), categorical.shaped_noise(ends[None]))
        assert drawn.sum() == 1
