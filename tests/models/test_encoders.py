import pytest
import torch
from robot_learning.errors import ConfigError
from robot_learning.models.encoders import (
    ImageDecoder,
    ImageEncoder,
    VectorEncoder,
    image_stages,
    scaled,
    stage_channels,
)
from robot_learning.models.initialisation import initialise_normal


def drawn(network, seed=0):
    initialise_normal(network, torch.Generator().manual_seed(seed))
    return network


def pictures(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_an_encoder_stage_by_hand():
    """Patches of 4 x 4 in steps of 2, then zero mean and unit deviation over the map, SiLU."""
    encoder = drawn(ImageEncoder('camera', (8, 8, 3), depth=2))
    images = pictures(2, 8, 8, 3)
    padded = torch.zeros(2, 10, 10, 3)
    padded[:, 1:9, 1:9] = images / 255
    weight, bias = encoder.convolutions[0].weight, encoder.convolutions[0].bias
    x = torch.empty(2, 4, 4, 4)  # [N, C, H, W]
    for row in range(4):
        for column in range(4):
            patch = padded[:, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4]
            x[:, :, row, column] = torch.einsum('nhwi,oihw->no', patch, weight) + bias
    x = (x - x.mean((1, 2, 3), keepdim=True)) / (
        x.var((1, 2, 3), keepdim=True, unbiased=False) + 1e-5
    ).sqrt()
    expected = (x * torch.sigmoid(x)).flatten(1)
    torch.testing.assert_close(encoder(images), expected, atol=1e-5, rtol=1e-5)


def test_leading_axes_are_kept():
    encoder = drawn(ImageEncoder('camera', (64, 64, 3), depth=2))
    images = pictures(2, 3, 64, 64, 3)
    found = encoder(images)
    assert found.shape == (2, 3, encoder.size) == (2, 3, 8 * 4 * 4)
    torch.testing.assert_close(found[1, 2], encoder(images[1, 2][None])[0])
    decoder = drawn(ImageDecoder('camera', (64, 64, 3), 7, depth=2))
    assert decoder(torch.randn(2, 3, 7)).shape == (2, 3, 64, 64, 3)


def test_other_sides_and_channels():
    shape = (24, 48, 1)
    assert image_stages('depth', (24, 48, 1)) == 2
    encoder = drawn(ImageEncoder('depth', shape, depth=2))
    assert encoder(pictures(5, *shape)).shape == (5, encoder.size) == (5, 6 * 6 * 12)
    assert drawn(ImageDecoder('depth', shape, 7, depth=2))(torch.randn(5, 7)).shape == (5, *shape)


@pytest.mark.parametrize('shape', [(5, 64, 3), (64, 7, 3), (100, 100, 3), (4, 4, 3), (8, 512, 3)])
def test_sides_that_cannot_be_halved_far_enough_are_refused(shape):
    with pytest.raises(ConfigError, match=f'camera is {shape[0]} x {shape[1]}, expected sides'):
        ImageEncoder('camera', shape, depth=2)


def test_widths_grow_as_in_dreamer():
    assert stage_channels(4, 4) == [8, 12, 16, 16]
    assert stage_channels(1, 6) == [2, 3, 4, 4, 4, 4]


def test_a_new_decoder_answers_grey():
    decoder = drawn(ImageDecoder('camera', (16, 16, 3), 7, depth=4))
    decoder.convolutions[-1].weight.data.zero_()
    assert torch.equal(decoder(torch.randn(2, 7)), torch.full((2, 16, 16, 3), 0.5))


def test_a_decoder_can_learn_a_picture_pixel_by_pixel():
    decoder = drawn(ImageDecoder('camera', (16, 16, 3), 4, depth=4))
    image = scaled(pictures(1, 16, 16, 3).repeat(2, 1, 1, 1))
    image[1] = 1 - image[1]
    features = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for _ in range(100):
        loss = (decoder(features) - image).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 * image.var().item()


def test_half_precision_is_close_and_answers_float32():
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 0.1)):
        encoder = drawn(ImageEncoder('camera', (32, 32, 3), 4, dtype))
        reference = drawn(ImageEncoder('camera', (32, 32, 3), 4))
        images = pictures(3, 32, 32, 3)
        assert encoder(images).dtype == torch.float32
        torch.testing.assert_close(encoder(images), reference(images), atol=tolerance, rtol=0)


def test_vectors_of_any_magnitude_are_encoded():
    encoder = drawn(VectorEncoder(3, 8))
    found = encoder(torch.tensor([[0.0, 1e6, -1e6], [1e-3, 0.0, 5.0]]))
    assert found.isfinite().all()
    assert found.abs().max() < 10
