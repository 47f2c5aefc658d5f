"""Scans and point clouds; the table of clouds also holds sensor_msgs_py to it where installed."""

import array
import math

import numpy as np
import pytest
from robot_learning.errors import MessageError
from robot_learning.nodes import messages as node_messages
from robot_learning.trajectory.messages import convert, make_converter
from ros_messages import ORIGINS, blank, field, from_origin, scan
from sensor_msgs.msg import PointField

SCAN, CLOUD = 'sensor_msgs/msg/LaserScan', 'sensor_msgs/msg/PointCloud2'
DEGREE = math.pi / 180


def scan_field(beams, first=None, last=None, **keys):
    angles = {} if first is None else {'angle_min': first, 'angle_max': last}
    return field(SCAN, [beams], **angles, **keys)


@pytest.mark.parametrize('origin', ORIGINS)
def test_a_scan_of_the_right_size_is_kept_as_it_is(origin):
    ranges = [1.0, math.inf, math.nan, 0.0, -math.inf]
    message = from_origin(scan(ranges, 0.0, 0.1, range_min=0.5), origin)
    for spec in (scan_field(5), scan_field(5, 0.0, 0.4)):
        np.testing.assert_array_equal(convert(message, spec), ranges)


def test_another_size_without_angles_is_an_error():
    with pytest.raises(MessageError, match=r"'front'.*found shape \[4\], expected \[5\]"):
        convert(scan([1.0] * 4, 0.0, 0.1), scan_field(5), 'front')


def test_twice_the_beams_give_the_nearer_of_each_sector():
    # Half a degree apart from -90 on, as in the Freiburg log; the contract has one degree.
    ranges = np.random.default_rng(0).uniform(1, 9, 360).astype(np.float32)
    message = scan(ranges.tolist(), -90 * DEGREE, 0.5 * DEGREE)
    pooled = convert(message, scan_field(180, -90 * DEGREE, 89 * DEGREE))
    assert pooled[0] == ranges[0]  # Nothing is measured half a sector before the first beam.
    for beam in range(1, 180):  # Its own reading and the one half a degree before it.
        assert pooled[beam] == min(ranges[2 * beam - 1], ranges[2 * beam]), beam


def test_no_obstacle_of_one_beam_is_lost_and_none_moves_far():
    rng = np.random.default_rng(1)
    spec = scan_field(36, 0.0, 350 * DEGREE)
    for _ in range(200):
        beams = int(rng.integers(40, 800))
        first = rng.uniform(-math.pi, math.pi)
        index = int(rng.integers(beams))
        ranges = np.full(beams, 5.0)
        ranges[index] = 1.0
        pooled = convert(scan(ranges.tolist(), first, 2 * math.pi / beams), spec)
        hits = np.flatnonzero(pooled == 1.0)
        assert len(hits) == 1
        angle = first + index * 2 * math.pi / beams
        away = math.remainder(angle - hits[0] * 10 * DEGREE, 2 * math.pi)
        assert abs(away) <= 5.02 * DEGREE


def test_a_shifted_full_circle_is_turned_to_the_contract():
    ranges = np.arange(1, 361, dtype=float)  # From -180 degrees on.
    turned = convert(scan(ranges.tolist(), -math.pi, DEGREE), scan_field(360, 0.0, 359 * DEGREE))
    np.testing.assert_array_equal(turned, np.roll(ranges, 180))


def test_a_scan_that_turns_the_other_way_is_reordered():
    message = scan([1.0, 2.0, 3.0], 0.2, -0.1)
    np.testing.assert_array_equal(convert(message, scan_field(3, 0.0, 0.2)), [3, 2, 1])


def test_a_coarser_scan_repeats_its_nearest_beam():
    message = scan([1.0, 2.0, 3.0], 0.0, 0.2)
    pooled = convert(message, scan_field(5, 0.0, 0.4))
    np.testing.assert_array_equal(pooled[[0, 2, 4]], [1, 2, 3])
    assert pooled[1] in (1, 2) and pooled[3] in (2, 3)


def test_pooling_passes_over_invalid_beams_and_keeps_infinity():
    ranges = [math.nan, 2.0, math.inf, math.inf, math.nan, math.nan, 0.05, 4.0]
    message = scan(ranges, 0.0, 0.1, range_min=0.1)
    # Sectors of two beams each, centred between them.
    pooled = convert(message, scan_field(4, 0.05, 0.65))
    np.testing.assert_array_equal(pooled, [2.0, math.inf, math.nan, 4.0])


def test_a_sensor_that_sees_less_than_promised_is_named():
    message = scan([1.0] * 90, 0.0, DEGREE)
    with pytest.raises(MessageError, match=r'from 0 to 1.553 rad, expected also 1.571'):
        convert(message, scan_field(180, 0.0, 179 * DEGREE))


def test_an_unusable_geometry_is_named():
    with pytest.raises(MessageError, match=r'0\.0 rad apart'):
        convert(scan([1.0, 2.0], 0.0, 0.0), scan_field(3, 0.0, 1.0))


def test_a_changed_geometry_is_planned_anew():
    converter = make_converter(scan_field(2, 0.0, 0.2))
    np.testing.assert_array_equal(converter(scan([1.0, 2.0, 3.0, 4.0], 0.0, 0.1)), [1.0, 2.0])
    np.testing.assert_array_equal(converter(scan([7.0, 8.0], 0.0, 0.2)), [7, 8])


# --- point clouds ------------------------------------------------------------------------

POINTS = np.array([[1, 2, 3], [-4, 5.5, np.nan], [7, -8, 9], [0, 0, 0.5]])


def cloud(points, offsets, point_step, form='f4', big=False, height=1, row_padding=0):
    """Return a cloud whose x, y and z lie at odd offsets among stray bytes."""
    number = {'f4': PointField.FLOAT32, 'f8': PointField.FLOAT64, 'i2': PointField.INT16}[form]
    message = blank(CLOUD)
    width = len(points) // height
    message.height, message.width, message.is_bigendian = height, width, big
    message.point_step, message.row_step = point_step, point_step * width + row_padding
    names = [*zip('xyz', offsets, strict=True)]
    message.fields = [
        PointField(name=name, offset=offset, datatype=number, count=1)
        for name, offset in reversed(names)
    ]
    data = bytearray(b'\x55' * (message.row_step * height))
    dtype = np.dtype(form).newbyteorder('>' if big else '<')
    for i, point in enumerate(points):
        start = (i // width) * message.row_step + (i % width) * point_step
        for offset, value in zip(offsets, point, strict=True):
            raw = np.array(value, dtype).tobytes()
            data[start + offset : start + offset + len(raw)] = raw
    message.data = array.array('B', bytes(data))
    return message


CLOUDS = [
    pytest.param(cloud(POINTS, (0, 4, 8), 12), POINTS, id='packed'),
    pytest.param(cloud(POINTS, (1, 7, 13), 19), POINTS, id='odd-offsets'),
    pytest.param(cloud(POINTS, (12, 0, 6), 17, big=True), POINTS, id='big-endian-out-of-order'),
    pytest.param(cloud(POINTS, (0, 8, 16), 24, form='f8'), POINTS, id='float64'),
    pytest.param(cloud(POINTS, (3, 7, 11), 16, height=2, row_padding=5), POINTS, id='padded-rows'),
]


@pytest.mark.parametrize(
    ('library', 'origin'), [('numpy', 'rclpy'), ('numpy', 'rosbags'), ('sensor_msgs_py', 'rclpy')]
)
@pytest.mark.parametrize(('message', 'expected'), CLOUDS)
def test_points_are_found_wherever_their_fields_lie(message, expected, origin, library):
    spec = field(CLOUD, [4, 3])
    reader = None
    if library == 'sensor_msgs_py':
        reader = node_messages.sensor_msgs_py_reader(spec)
        if reader is None:
            pytest.skip('sensor_msgs_py is not installed')
    points = make_converter(spec, 'cloud', reader)(from_origin(message, origin))
    np.testing.assert_array_equal(points, expected.astype(np.float32))


def test_integer_points_are_read_as_numbers():
    whole = np.array([[1, -2, 300]])
    points = convert(cloud(whole, (0, 2, 4), 6, form='i2'), field(CLOUD, [1, 3]))
    np.testing.assert_array_equal(points, whole)


def test_small_clouds_are_filled_with_nan_and_large_ones_thinned_evenly():
    message = cloud(POINTS, (0, 4, 8), 12)
    points = convert(message, field(CLOUD, [6, 3]))
    np.testing.assert_array_equal(points[:4], POINTS.astype(np.float32))
    assert np.isnan(points[4:]).all()
    points = convert(message, field(CLOUD, [2, 3]))
    np.testing.assert_array_equal(points, POINTS[[0, 2]].astype(np.float32))


def test_an_empty_cloud_is_all_nan():
    message = cloud(POINTS[:0], (0, 4, 8), 12)
    assert np.isnan(convert(message, field(CLOUD, [3, 3]))).all()


def test_clouds_that_break_the_promise_are_named():
    message = cloud(POINTS, (0, 4, 8), 12)
    message.fields = message.fields[:2]
    with pytest.raises(MessageError, match='found point fields z, y, expected also x'):
        convert(message, field(CLOUD, [4, 3]))
    message = cloud(POINTS, (0, 4, 8), 12)
    message.data = message.data[:-1]
    with pytest.raises(
        MessageError, match='found 47 bytes of points with step 12, expected 1 x 4'
    ):
        convert(message, field(CLOUD, [4, 3]))
    message = cloud(POINTS, (0, 4, 8), 12)
    message.point_step = 10
    with pytest.raises(MessageError, match='hold x, y and z'):
        convert(message, field(CLOUD, [4, 3]))
