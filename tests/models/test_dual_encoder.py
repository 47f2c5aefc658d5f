import math

import pytest
import torch
from robot_learning.models.dual_encoder import MAX_SCALE, DualEncoder, DualEncoderConfig
from robot_learning.models.grounding_head import GroundingHead, relation_features
from robot_learning.models.image_encoder import ConvEncoder, ImageEncoderConfig, coordinates
from robot_learning.models.text_encoder import TextEncoder, TextEncoderConfig

IMAGE = ImageEncoderConfig(channels=(8, 12), blocks=1, features=10, pool=(2, 3))
TEXT = TextEncoderConfig(layers=1, heads=2, width=8, feedforward=16)
CONFIG = DualEncoderConfig(height=32, image=IMAGE, text=TEXT, embedding=6)


def make(seed=0):
    torch.manual_seed(seed)
    return DualEncoder(CONFIG, num_words=20, num_buckets=30, max_tokens=12).eval()


def texts(*rows):
    """Tokens and tables of texts given as lists of numbers from 1 on."""
    length = max(map(len, rows))
    tokens = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows])
    generator = torch.Generator().manual_seed(1)
    words = torch.tensor([0, 2, 3, 4, 5, 6])
    grams = torch.randint(0, 31, (6, 4), generator=generator)
    grams[0] = 0
    return tokens, words, grams


def test_shapes_for_pictures_of_any_size():
    model = make()
    for height, width in ((32, 32), (32, 48), (40, 64)):
        features = model.see(torch.rand(2, 3, height, width))
        assert features.cells.shape == (2, 10, height // 4, width // 4)
        assert model.image_embedding(features).shape == (2, 6)


def test_both_sides_give_unit_vectors():
    model = make()
    image = model.image_embedding(model.see(torch.rand(3, 3, 32, 32)))
    text = model.text_embedding(model.text(*texts([1, 2], [3])))
    torch.testing.assert_close(image.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(text.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize(('log_scale', 'scale'), [(0.0, 1.0), (-9.0, 1.0), (99.0, MAX_SCALE)])
def test_the_temperature_stays_within_bounds(log_scale, scale):
    model = make()
    model.log_scale.data.fill_(log_scale)
    assert model.scale.item() == pytest.approx(scale, rel=1e-4)


def test_it_begins_with_the_temperature_of_clip():
    assert make().scale.item() == pytest.approx(1 / 0.07, rel=1e-5)


def test_what_is_padding_changes_nothing():
    encoder = make().text
    alone = encoder(*texts([1, 2, 3]))
    beside = encoder(*texts([1, 2, 3], [1, 2, 3, 4, 5]))
    torch.testing.assert_close(beside[:1], alone)


def test_the_order_of_words_matters():
    encoder = make().text
    one, other = encoder(*texts([1, 2, 3], [3, 2, 1]))
    assert (one - other).abs().max() > 1e-3


def test_words_are_hidden_only_while_learning():
    torch.manual_seed(0)
    encoder = TextEncoder(TextEncoderConfig(1, 2, 8, 16, word_dropout=0.9), 20, 30, 12)
    some = texts([1, 2, 3, 4])
    encoder.eval()
    torch.testing.assert_close(encoder(*some), encoder(*some))
    encoder.train()
    assert (encoder(*some) - encoder(*some)).abs().max() > 1e-4


def test_coordinates_are_of_the_height_from_the_centre():
    place = coordinates(2, 4)
    assert place[0, 0].tolist() == [-0.75, -0.25]
    assert place[1, 3].tolist() == [0.75, 0.25]


def test_relations_say_left_and_above_and_how_far():
    place = torch.tensor([[-0.5, 0.0], [0.5, 0.0], [0.0, -0.5]])
    found = relation_features(place, torch.zeros(1, 2))[0]
    assert found[0, 0] < -0.99 and found[1, 0] > 0.99 and found[2, 1] < -0.99
    torch.testing.assert_close(found[:, 4:], place.abs())


def test_shares_of_cells_and_nowhere_add_up_to_one():
    head = GroundingHead(10, 16)
    found = head(torch.rand(2, 10, 3, 4), torch.randn(2, 5, 16))
    assert found.log_share.shape == (2, 5, 13)
    torch.testing.assert_close(found.log_share.exp().sum(-1), torch.ones(2, 5))
    torch.testing.assert_close(found.landmark.sum(-1), torch.ones(2, 5))


def test_the_left_of_two_alike_can_be_told_by_its_landmark():
    """Weights by hand: feature 0 is "cube", 1 "can"; the phrase "cube left of the can"."""
    head = GroundingHead(2, 1)
    for part in (head.target, head.landmark, head.preference, head.relation, head.nowhere):
        torch.nn.init.zeros_(part.weight)
        torch.nn.init.zeros_(part.bias)
    strong = 30 * math.sqrt(2)
    head.target.bias.data[0] = strong
    head.landmark.bias.data[1] = strong
    head.relation.bias.data[0] = -10.0  # Right of it: less.
    cells = torch.zeros(1, 2, 1, 5)
    cells[0, 0, 0, [0, 4]] = 1.0
    cells[0, 1, 0, 2] = 1.0
    found = head(cells, torch.zeros(1, 1, 1))
    assert found.landmark[0, 0].argmax() == 2
    assert found.log_share[0, 0].argmax() == 0
    assert found.log_share[0, 0].exp()[4] < 0.01


def test_boxes_hold_their_cells():
    head = GroundingHead(10, 16)
    boxes = head.boxes(torch.rand(2, 10, 3, 4))
    place = coordinates(3, 4).flatten(0, 1)
    assert (boxes[:, :2] < place.T).all() and (boxes[:, 2:] > place.T).all()


def test_batch_normalisation_is_folded_without_a_difference():
    torch.manual_seed(0)
    encoder = ConvEncoder(IMAGE)
    for _ in range(3):
        encoder(torch.rand(4, 3, 32, 32))
    encoder.eval()
    weight, bias = encoder.stem.folded()
    x = torch.rand(1, 3, 32, 32)
    folded = torch.nn.functional.conv2d(x, weight, bias, stride=4, padding=3).relu()
    torch.testing.assert_close(folded, encoder.stem(x), atol=1e-5, rtol=1e-4)
