import io

import numpy as np
import pytest
from PIL import Image
from robot_learning.errors import DataError
from robot_learning.trajectory.image_files import decode_image, encode_jpeg, encode_png, read_image

PICTURE = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)


def encoded(image, kind='PNG', **more):
    content = io.BytesIO()
    image.save(content, kind, **more)
    return content.getvalue()


def test_a_png_keeps_every_pixel(tmp_path):
    (tmp_path / 'a.png').write_bytes(encode_png(PICTURE))
    found = read_image(tmp_path / 'a.png')
    np.testing.assert_array_equal(found.array, PICTURE)
    assert found.converted == ''


def test_a_jpeg_is_near():
    smooth = np.tile(np.arange(0, 160, 10, dtype=np.uint8)[:, None, None], (1, 16, 3))
    found = decode_image(encode_jpeg(smooth), 'a.jpg').array
    assert np.abs(found.astype(int) - smooth).max() < 8


def test_a_grey_picture_becomes_rgb_and_that_is_said():
    found = decode_image(encoded(Image.fromarray(PICTURE[..., 0])), 'a.png')
    np.testing.assert_array_equal(found.array, np.repeat(PICTURE[..., :1], 3, axis=2))
    assert found.converted == 'image L -> RGB'


def test_a_size_takes_the_centred_square():
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 2:6] = 200
    np.testing.assert_array_equal(decode_image(encode_png(wide), 'a', 4).array, wide[:, 2:6])
    assert decode_image(encode_png(wide), 'a', 2).array.shape == (2, 2, 3)


def test_a_picture_stands_as_its_camera_was_held():
    exif = Image.Exif()
    exif[0x0112] = 6  # Turn by 90 degrees clockwise to show.
    content = encoded(Image.fromarray(PICTURE), 'PNG', exif=exif)
    np.testing.assert_array_equal(decode_image(content, 'a').array, np.rot90(PICTURE, -1))


@pytest.mark.parametrize('content', [b'', b'no picture', encode_png(PICTURE)[:80]])
def test_what_is_no_whole_picture_is_named(content):
    with pytest.raises(DataError, match=r'cups/a\.png: is no whole picture'):
        decode_image(content, 'cups/a.png')


def test_a_picture_of_too_many_pixels_is_refused():
    bomb = encoded(Image.new('1', (60_000, 1000)))
    assert len(bomb) < 100_000
    with pytest.raises(DataError, match='pixels'):
        decode_image(bomb, 'bomb.png')
