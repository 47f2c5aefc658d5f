"""One table for both ways of reading images; that of cv_bridge needs a full ROS install."""

import io

import numpy as np
import pytest
from PIL import Image as Picture
from robot_learning.errors import MessageError
from robot_learning.nodes import messages as node_messages
from robot_learning.trajectory.messages import convert, make_converter
from ros_messages import ORIGINS, blank, field, from_origin, image

IMAGE = 'sensor_msgs/msg/Image'
COLOUR = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)  # RGBA, all values different.
GREY16 = np.array([[1, 256, 65535], [2, 3, 4]], np.uint16)
DEPTH = np.array([[0.5, np.inf, 2.0], [np.nan, 1.0, 3.25]], np.float32)


def padded(rows: np.ndarray, padding: int) -> tuple[int, bytes]:
    """Return step and bytes of rows with `padding` stray bytes behind each."""
    lines = [row.tobytes() + b'\xaa' * padding for row in rows]
    return len(lines[0]), b''.join(lines)


def case(encoding, stored, shape, dtype, expected, padding=0, big=False):
    stored = stored.astype(stored.dtype.newbyteorder('>' if big else '<'))
    step, data = padded(stored, padding)
    name = f'{encoding}{"-padded" if padding else ""}{"-big" if big else ""}-{shape[-1]}'
    return pytest.param(
        image(encoding, *stored.shape[:2], step, data, int(big)), shape, dtype, expected, id=name
    )


RGB = COLOUR[:, :, :3]
TABLE = [
    case('rgb8', RGB, [2, 3, 3], 'uint8', RGB),
    case('rgb8', RGB, [2, 3, 3], 'uint8', RGB, padding=5),
    case('bgr8', RGB[:, :, ::-1], [2, 3, 3], 'uint8', RGB),
    case('bgr8', RGB[:, :, ::-1], [2, 3, 3], 'uint8', RGB, padding=1),
    case('rgba8', COLOUR, [2, 3, 4], 'uint8', COLOUR),
    case('rgba8', COLOUR, [2, 3, 3], 'uint8', RGB),
    case('bgra8', COLOUR[:, :, [2, 1, 0, 3]], [2, 3, 4], 'uint8', COLOUR),
    case('bgra8', COLOUR[:, :, [2, 1, 0, 3]], [2, 3, 3], 'uint8', RGB, padding=3),
    case('mono8', COLOUR[:, :, 0], [2, 3, 1], 'uint8', COLOUR[:, :, :1], padding=2),
    case('16UC1', GREY16, [2, 3, 1], 'int32', GREY16[:, :, None]),
    case('16UC1', GREY16, [2, 3, 1], 'int32', GREY16[:, :, None], padding=4, big=True),
    case('mono16', GREY16, [2, 3, 1], 'float32', GREY16[:, :, None], big=True),
    case('32FC1', DEPTH, [2, 3, 1], 'float32', DEPTH[:, :, None], padding=8),
    case('32FC1', DEPTH, [2, 3, 1], 'float32', DEPTH[:, :, None], big=True),
]


def library_reader(library, maker, spec):
    if library == 'numpy':
        return None
    reader = maker(spec)
    if reader is None:
        pytest.skip(f'{library} is not installed')
    return reader


@pytest.mark.parametrize(
    ('library', 'origin'), [('numpy', 'rclpy'), ('numpy', 'rosbags'), ('cv_bridge', 'rclpy')]
)
@pytest.mark.parametrize(('message', 'shape', 'dtype', 'expected'), TABLE)
def test_images_arrive_as_rgb_in_native_byte_order(
    message, shape, dtype, expected, origin, library
):
    spec = field(IMAGE, shape, dtype=dtype)
    reader = library_reader(library, node_messages.cv_bridge_reader, spec)
    pixels = make_converter(spec, 'camera', reader)(from_origin(message, origin))
    assert pixels.dtype == dtype and pixels.dtype.isnative and pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, expected)


def test_the_last_row_needs_no_padding():
    step, data = padded(RGB, 4)
    message = image('rgb8', 2, 3, step, data[:-4])
    np.testing.assert_array_equal(convert(message, field(IMAGE, [2, 3, 3], dtype='uint8')), RGB)


@pytest.mark.parametrize(
    ('message', 'shape', 'named'),
    [
        (
            image('yuv422', 2, 3, 6, bytes(12)),
            [2, 3, 3],
            "encoding 'yuv422', expected one of rgb8",
        ),
        (image('rgb8', 2, 3, 9, bytes(17)), [2, 3, 3], 'found 17 bytes with step 9, expected 2'),
        (image('rgb8', 2, 3, 8, bytes(18)), [2, 3, 3], 'at least 9 bytes for 3x2'),
        (image('rgb8', 0, 0, 0, b''), [2, 3, 3], 'found 0 bytes'),
        (image('mono8', 2, 3, 3, bytes(6)), [2, 3, 3], "channels 'y', expected 'rgb'"),
        (image('rgb8', 2, 3, 9, bytes(18)), [4, 3, 3], r'found shape \[2, 3, 3\], .* \[4, 3, 3\]'),
        (image('16UC1', 2, 3, 6, bytes(12)), [2, 3, 1], 'found uint16 values, expected uint8'),
    ],
)
def test_images_that_break_the_promise_are_named(message, shape, named):
    with pytest.raises(MessageError, match=named):
        convert(message, field(IMAGE, shape, dtype='uint8'))


@pytest.mark.parametrize('origin', ORIGINS)
def test_compressed_images_decode_to_the_contract_channels(origin):
    spec_type = 'sensor_msgs/msg/CompressedImage'
    message = blank(spec_type)
    buffer = io.BytesIO()
    Picture.fromarray(RGB).save(buffer, 'png')
    message.format, message.data = 'rgb8; png compressed', buffer.getvalue()
    spec = field(spec_type, [2, 3, 3], dtype='uint8')
    np.testing.assert_array_equal(convert(from_origin(message, origin), spec), RGB)
    grey = convert(from_origin(message, origin), field(spec_type, [2, 3, 1], dtype='uint8'))
    luma = RGB.astype(float) @ [0.299, 0.587, 0.114]  # ITU-R BT.601.
    np.testing.assert_allclose(grey[:, :, 0], luma, atol=1)


def test_compressed_16_bit_depth_keeps_its_values():
    buffer = io.BytesIO()
    Picture.fromarray(GREY16).save(buffer, 'png')
    message = blank('sensor_msgs/msg/CompressedImage')
    message.format, message.data = '16UC1; png compressed', buffer.getvalue()
    spec = field('sensor_msgs/msg/CompressedImage', [2, 3, 1], dtype='int32')
    np.testing.assert_array_equal(convert(message, spec)[:, :, 0], GREY16)


def test_broken_and_unknown_compressed_images_are_named():
    spec = field('sensor_msgs/msg/CompressedImage', [2, 3, 3], dtype='uint8')
    message = blank('sensor_msgs/msg/CompressedImage')
    message.format, message.data = 'jpeg', b'\xff\xd8\xff\xe0 cut off'
    with pytest.raises(MessageError, match="found 12 bytes of 'jpeg' that do not decode"):
        convert(message, spec)
    message.format = '16UC1; compressedDepth'
    with pytest.raises(MessageError, match=r'compressedDepth.*expected JPEG or PNG'):
        convert(message, spec)


def test_nodes_read_images_with_or_without_cv_bridge():
    step, data = padded(RGB[:, :, ::-1], 2)
    spec = field(IMAGE, [2, 3, 3], dtype='uint8')
    convert_in_node = node_messages.make_converter(spec, 'camera')
    np.testing.assert_array_equal(convert_in_node(image('bgr8', 2, 3, step, data)), RGB)


def test_nanoseconds_become_a_stamp():
    stamp = node_messages.time_message(1_500_000_007)
    assert (stamp.sec, stamp.nanosec) == (1, 500_000_007)
