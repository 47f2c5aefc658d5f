import math

import pytest
import torch
from robot_learning.models.aime.slot_attention import (
    AttentionPrior,
    SlotAttention,
    attention_kl,
    centres,
    overlap,
)


def test_slots_share_every_place_out():
    torch.manual_seed(0)
    network = SlotAttention(channels=6, places=16, slots=4, size=8, iterations=2)
    values, attention = network(torch.randn(3, 6, 4, 4))
    assert values.shape == (3, 4, 8) and attention.shape == (3, 4, 16)
    torch.testing.assert_close(attention.sum(1), torch.ones(3, 16))


def test_the_same_frame_gives_the_same_slots_in_the_same_order():
    torch.manual_seed(0)
    network = SlotAttention(6, 16, 4, 8, 3).eval()
    frame = torch.randn(1, 6, 4, 4)
    alone = network(frame).values
    beside = network(torch.cat((torch.randn(2, 6, 4, 4), frame))).values[2:]
    torch.testing.assert_close(alone, beside)


def test_a_predicted_attention_is_shared_out_too():
    predicted = AttentionPrior(5, slots=4, places=9)(torch.randn(2, 3, 5))
    assert predicted.shape == (2, 3, 4, 9)
    torch.testing.assert_close(predicted.sum(-2), torch.ones(2, 3, 9))


def test_the_divergence_of_attention_by_hand():
    # Two places: at one both say half and half, at the other (1, 0) and (1/2, 1/2): log 2.
    posterior = torch.tensor([[0.5, 1.0], [0.5, 0.0]])
    prior = torch.full((2, 2), 0.5)
    assert attention_kl(posterior, prior).item() == pytest.approx(math.log(2) / 2, abs=1e-5)
    assert attention_kl(prior, prior).item() == 0


def test_centres_by_hand():
    # Places of a 2 x 2 map: (-1, -1), (-1, 1), (1, -1), (1, 1).
    attention = torch.tensor([[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
    expected = torch.tensor([[-1.0, 1.0], [0.0, -1.0]])
    torch.testing.assert_close(centres(attention), expected)


def test_overlap_by_hand():
    apart = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 1.0]])
    assert overlap(apart).item() == pytest.approx(0)
    assert overlap(torch.full((3, 3), 1 / 3)).item() == pytest.approx(1)
    # One pair alike of three pairs.
    pair = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert overlap(pair).item() == pytest.approx(1 / 3)
