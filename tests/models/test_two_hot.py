import math

import pytest
import torch
from robot_learning.models.two_hot import TwoHot, TwoHotOutput, symexp, symlog

BINS = torch.tensor([-4.0, -1.0, 0.0, 1.0, 4.0])


def test_symlog_by_hand():
    found = symlog(torch.tensor([0.0, math.e - 1, -(math.e**2 - 1)]))
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0, -2.0]))


def test_symexp_undoes_symlog():
    x = torch.tensor([-3e4, -1.0, -1e-4, 0.0, 0.5, 7e5], dtype=torch.float64)
    torch.testing.assert_close(symexp(symlog(x)), x)


@pytest.mark.parametrize(
    ('target', 'shares'),
    [
        (2.5, {3: 0.5, 4: 0.5}),  # Halfway between 1 and 4.
        (-0.25, {1: 0.25, 2: 0.75}),
        (1.0, {3: 1.0}),
        (-4.0, {0: 1.0}),
        (9.0, {4: 1.0}),  # Beyond the bins.
        (-9.0, {0: 1.0}),
    ],
)
def test_loss_is_the_cross_entropy_against_the_two_bins_around(target, shares):
    logits = torch.tensor([0.1, -0.3, 0.7, 1.1, -2.0])
    log_probability = logits - logits.exp().sum().log()
    expected = sum(share * log_probability[index] for index, share in shares.items())
    found = TwoHot(logits, BINS).log_prob(torch.tensor(target))
    torch.testing.assert_close(found, expected)


def test_mean_by_hand():
    probability = torch.tensor([[0.1, 0.2, 0.3, 0.25, 0.15], [0.0, 0.0, 1.0, 0.0, 0.0]])
    found = TwoHot(probability.log(), BINS).mean()
    torch.testing.assert_close(found, torch.tensor([-0.4 - 0.2 + 0.25 + 0.6, 0.0]))


def test_a_new_head_answers_exactly_zero():
    """Its bins reach to 5e8, so that any asymmetry would be seen."""
    head = TwoHotOutput(8)
    assert head.bins.max() > 4e8
    assert torch.equal(head.distribution(torch.randn(5, 8)).mean(), torch.zeros(5))


def test_bins_are_symmetric_and_ascending():
    bins = TwoHotOutput(3, 255).bins
    assert torch.equal(bins, -bins.flip(0))
    assert (bins.diff() > 0).all()


def test_fitting_two_targets_answers_their_mean():
    """Of a raw number, not of its logarithm: 1 and 300 have the mean 150.5."""
    logits = torch.zeros(255, requires_grad=True)
    head = TwoHotOutput(1)
    targets = torch.tensor([1.0, 300.0])
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(300):
        loss = -TwoHot(logits.expand(2, -1), head.bins).log_prob(targets).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert TwoHot(logits, head.bins).mean().item() == pytest.approx(150.5, rel=0.01)
