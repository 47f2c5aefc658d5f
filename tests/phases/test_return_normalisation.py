import torch
from robot_learning.phases.return_normalisation import ReturnNormaliser


def test_the_range_follows_the_percentiles_slowly():
    normaliser = ReturnNormaliser(decay=0.9, limit=0.5)
    returns = torch.arange(101.0).reshape(101, 1)  # Percentiles are the numbers themselves.
    # From 0: 0.1 * (95 - 5) = 9, then 0.9 * 9 + 0.1 * 90 = 17.1.
    torch.testing.assert_close(normaliser.update(returns), torch.tensor(9.0))
    torch.testing.assert_close(normaliser.update(returns), torch.tensor(17.1))
    # Next returns of -95 to -5: low 0.9 * 0.95 - 9.5, high 0.9 * 18.05 - 0.5.
    scale = normaliser.update(-returns)
    torch.testing.assert_close(scale, torch.tensor((0.9 * 18.05 - 0.5) - (0.9 * 0.95 - 9.5)))


def test_small_returns_are_not_blown_up():
    normaliser = ReturnNormaliser(decay=0.0, limit=1.0)
    assert normaliser.update(torch.linspace(0, 0.1, 11)) == 1.0
    torch.testing.assert_close(normaliser.update(torch.linspace(0, 10, 11)), torch.tensor(9.0))


def test_one_outlier_in_a_hundred_does_not_count():
    normaliser = ReturnNormaliser(decay=0.0)
    returns = torch.linspace(0, 10, 100)
    calm = normaliser.update(returns).clone()
    returns[-1] = 1e6
    torch.testing.assert_close(normaliser.update(returns), calm)
