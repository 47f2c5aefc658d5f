import math

import torch
from robot_learning.models.intent import IntentModel, IntentModelConfig, sinusoids


def make(seed=0, **changes):
    torch.manual_seed(seed)
    config = IntentModelConfig(**{'width': 16, 'heads': 2, 'feedforward': 32, **changes})
    return IntentModel(
        config,
        num_words=20,
        num_buckets=50,
        num_intents=4,
        num_tags=5,
        max_tokens=8,
        num_phrases=30,
    )


def batch(seed=0, size=3, length=6):
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(1, 20, (size, length), generator=generator)
    grams = torch.randint(0, 51, (size, length, 4), generator=generator)
    phrases = torch.randint(1, 31, (size, 2 * length), generator=generator)
    return words, grams, torch.ones(size, length, dtype=torch.bool), phrases


def test_shapes_and_the_guides_sizes():
    logits = make().eval()(*batch())
    assert logits.intent.shape == (3, 4) and logits.tags.shape == (3, 6, 5)
    config = IntentModelConfig()
    assert (config.layers, config.heads, config.width) == (2, 4, 128)


def test_what_stands_in_the_padding_changes_nothing():
    model = make().eval()
    words, grams, mask, phrases = batch()
    mask[:, 4:] = False
    before = model(words, grams, mask, phrases)
    words[:, 4:], grams[:, 4:] = 7, 9
    after = model(words, grams, mask, phrases)
    torch.testing.assert_close(after.intent, before.intent)
    torch.testing.assert_close(after.tags[:, :4], before.tags[:, :4])
    short = model(words[:, :4], grams[:, :4], mask[:, :4], phrases)
    torch.testing.assert_close(short.intent, before.intent)


def test_the_order_of_words_counts():
    model = make().eval()
    words, grams, mask, phrases = batch()
    turned = model(words.flip(1), grams.flip(1), mask, phrases)
    assert not torch.allclose(turned.intent, model(words, grams, mask, phrases).intent)


def test_a_token_is_its_word_and_the_mean_of_its_pieces():
    model = make().eval()
    words, grams, mask, phrases = batch()
    twice = torch.cat([grams, grams], dim=2)  # Each piece twice has the same mean.
    torch.testing.assert_close(
        model(words, twice, mask, phrases).intent, model(words, grams, mask, phrases).intent
    )


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


def test_phrases_vote_for_intents_whatever_their_order_and_padding():
    model = make().eval()
    torch.nn.init.normal_(model.votes.weight)
    words, grams, mask, phrases = batch()
    before = model(words, grams, mask, phrases)
    padded = torch.cat([phrases.flip(1), torch.zeros_like(phrases)], dim=1)
    torch.testing.assert_close(model(words, grams, mask, padded).intent, before.intent)
    none = model(words, grams, mask, torch.zeros_like(phrases)).intent
    votes = model.votes.weight[phrases].sum(1) / phrases.shape[1] ** 0.5
    torch.testing.assert_close(before.intent - none, votes)


def test_pieces_vote_by_hand_and_stay_unseen_at_times_while_learning():
    model = make(piece_votes=True, phrase_dropout=0.5, word_dropout=0.0, dropout=0.0)
    with torch.no_grad():
        model.piece_votes.weight[7] = torch.tensor([1.0, 0.0, 2.0, 0.0])
        model.piece_votes.weight[8] = torch.tensor([0.0, 3.0, 0.0, 0.0])
    words, mask = torch.tensor([[2, 3]]), torch.ones(1, 2, dtype=torch.bool)
    grams = torch.tensor([[[7, 7, 9, 0], [8, 0, 0, 0]]])  # Four pieces, so half of their sum.
    phrases = torch.zeros(1, 4, dtype=torch.int64)
    expected = torch.tensor([[1.0, 1.5, 2.0, 0.0]])
    torch.testing.assert_close(model.eval()(words, grams, mask, phrases).voted, expected)
    model.train()
    seen = {tuple(model(words, grams, mask, phrases).voted[0].tolist()) for _ in range(20)}
    assert len(seen) > 1
