import math

import pytest
import torch
from robot_learning.models.intent import (
    IntentModel,
    IntentModelConfig,
    expected_calibration_error,
    sinusoids,
)


def make(seed=0, **changes):
    torch.manual_seed(seed)
    config = IntentModelConfig(**{'width': 16, 'heads': 2, 'feedforward': 32, **changes})
    return IntentModel(
        config, num_words=20, num_buckets=50, num_intents=4, num_tags=5, max_tokens=8
    )


def batch(seed=0, size=3, length=6):
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(1, 20, (size, length), generator=generator)
    grams = torch.randint(0, 51, (size, length, 4), generator=generator)
    return words, grams, torch.ones(size, length, dtype=torch.bool)


def test_shapes_and_the_guides_sizes():
    logits = make().eval()(*batch())
    assert logits.intent.shape == (3, 4) and logits.tags.shape == (3, 6, 5)
    config = IntentModelConfig()
    assert (config.layers, config.heads, config.width) == (2, 4, 128)


def test_what_stands_in_the_padding_changes_nothing():
    model = make().eval()
    words, grams, mask = batch()
    mask[:, 4:] = False
    before = model(words, grams, mask)
    words[:, 4:], grams[:, 4:] = 7, 9
    after = model(words, grams, mask)
    torch.testing.assert_close(after.intent, before.intent)
    torch.testing.assert_close(after.tags[:, :4], before.tags[:, :4])
    short = model(words[:, :4], grams[:, :4], mask[:, :4])
    torch.testing.assert_close(short.intent, before.intent)


def test_the_order_of_words_counts():
    model = make().eval()
    words, grams, mask = batch()
    turned = model(words.flip(1), grams.flip(1), mask)
    assert not torch.allclose(turned.intent, model(words, grams, mask).intent)


def test_a_token_is_its_word_and_the_mean_of_its_pieces():
    model = make().eval()
    words, grams, mask = batch()
    twice = torch.cat([grams, grams], dim=2)  # Each piece twice has the same mean.
    torch.testing.assert_close(model(words, twice, mask).intent, model(words, grams, mask).intent)


def test_words_are_hidden_only_while_learning():
    model = make(word_dropout=0.9, dropout=0.0)
    rows = batch()
    torch.manual_seed(0)
    first, second = model(*rows).intent, model(*rows).intent
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model(*rows).intent, model(*rows).intent)


def test_positions_by_hand():
    table = sinusoids(3, 4)
    expected = [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)]
    torch.testing.assert_close(table[2], torch.tensor(expected))


def test_calibration_error_by_hand():
    confidence = torch.tensor([0.95, 0.95, 0.55, 0.55])
    is_right = torch.tensor([True, True, True, False])
    # Bins of width 0.1: 0.05 too little twice, and 0.55 beside 0.5 right.
    error = expected_calibration_error(confidence, is_right, num_bins=10)
    assert error == pytest.approx((2 * 0.05 + 2 * 0.05) / 4)
    assert expected_calibration_error([1.0, 1.0], [True, True]) == 0.0
