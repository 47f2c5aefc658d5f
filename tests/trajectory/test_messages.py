import math

import numpy as np
import pytest
from geometry_msgs.msg import Quaternion
from robot_learning.contract import ObservationField
from robot_learning.errors import ConfigError, MessageError
from robot_learning.message_types import PARTS
from robot_learning.trajectory.messages import CONVERTERS, convert, make_converter, stamp_ns
from ros_messages import ORIGINS, blank, field, from_origin
from std_msgs.msg import MultiArrayDimension

HALF = math.sqrt(0.5)
POSES = [
    ('geometry_msgs/msg/Pose', lambda m: m),
    ('geometry_msgs/msg/PoseStamped', lambda m: m.pose),
    ('geometry_msgs/msg/PoseWithCovarianceStamped', lambda m: m.pose.pose),
    ('nav_msgs/msg/Odometry', lambda m: m.pose.pose),
]
TWISTS = [
    ('geometry_msgs/msg/Twist', lambda m: m),
    ('geometry_msgs/msg/TwistStamped', lambda m: m.twist),
    ('nav_msgs/msg/Odometry', lambda m: m.twist.twist),
]


def pose_of(x, y, z, qx, qy, qz, qw):
    message = blank('geometry_msgs/msg/Pose')
    message.position.x, message.position.y, message.position.z = x, y, z
    message.orientation = Quaternion(x=qx, y=qy, z=qz, w=qw)
    return message


def test_every_known_type_has_a_converter():
    assert set(CONVERTERS) == set(PARTS)


@pytest.mark.parametrize('origin', ORIGINS)
@pytest.mark.parametrize(('ros_type', 'find'), POSES)
def test_poses_give_position_and_heading(ros_type, find, origin):
    message = blank(ros_type)
    pose = find(message)
    pose.position.x, pose.position.y, pose.position.z = 1.5, -2.0, 0.25
    pose.orientation.z = pose.orientation.w = HALF  # A quarter turn to the left.
    message = from_origin(message, origin)
    planar = convert(message, field(ros_type, [3], part='pose2d'))
    np.testing.assert_allclose(planar, [1.5, -2.0, math.pi / 2], rtol=1e-6)
    assert planar.dtype == np.float32
    full = convert(message, field(ros_type, [7], part='pose', dtype='float64'))
    np.testing.assert_array_equal(full, [1.5, -2.0, 0.25, 0, 0, HALF, HALF])
    assert full.dtype == np.float64


@pytest.mark.parametrize('origin', ORIGINS)
@pytest.mark.parametrize(('ros_type', 'find'), TWISTS)
def test_twists_give_planar_and_full_velocity(ros_type, find, origin):
    message = blank(ros_type)
    twist = find(message)
    twist.linear.x, twist.linear.y, twist.linear.z = 0.5, 0.25, -0.125
    twist.angular.x, twist.angular.y, twist.angular.z = 1.0, 2.0, -1.5
    message = from_origin(message, origin)
    np.testing.assert_array_equal(
        convert(message, field(ros_type, [2], part='twist2d')), [0.5, -1.5]
    )
    np.testing.assert_array_equal(
        convert(message, field(ros_type, [6], part='twist')), [0.5, 0.25, -0.125, 1, 2, -1.5]
    )


@pytest.mark.parametrize(
    ('quaternion', 'yaw'),
    [
        ((0, 0, 0, 1), 0.0),
        ((0, 0, 1, 0), math.pi),
        ((0, 0, -HALF, HALF), -math.pi / 2),
        ((0, 0, math.sin(math.pi / 12), math.cos(math.pi / 12)), math.pi / 6),
        ((HALF, 0, 0, HALF), 0.0),  # Rolled on its side, facing ahead.
        ((0, 0, 2, 2), math.pi / 2),  # Not normalised.
        ((-0.0, 0, -HALF, -HALF), math.pi / 2),  # q and -q are one rotation.
    ],
)
def test_yaw_of_known_quaternions(quaternion, yaw):
    message = pose_of(0.0, 0.0, 0.0, *map(float, quaternion))
    assert convert(message, field('geometry_msgs/msg/Pose', [3]))[2] == pytest.approx(yaw)


def test_yaw_is_where_the_rotated_forward_axis_points():
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y, z, w = rng.normal(size=4)
        # Rotate the x axis by hand: v + 2 u x (u x v + w v) for a unit quaternion.
        u, v = np.array([x, y, z]), np.array([1.0, 0, 0])
        norm = math.sqrt(x * x + y * y + z * z + w * w)
        u, w_unit = u / norm, w / norm
        forward = v + 2 * np.cross(u, np.cross(u, v) + w_unit * v)
        message = pose_of(0.0, 0.0, 0.0, x, y, z, w)
        yaw = convert(message, field('geometry_msgs/msg/Pose', [3], dtype='float64'))[2]
        assert yaw == pytest.approx(math.atan2(forward[1], forward[0]), abs=1e-9)


def test_an_unset_quaternion_and_a_nan_position_stay_nan():
    unset = convert(
        pose_of(1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0), field('geometry_msgs/msg/Pose', [3])
    )
    assert np.isnan(unset[2]) and unset[0] == 1
    lost = convert(
        pose_of(math.nan, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0), field('geometry_msgs/msg/Pose', [3])
    )
    assert np.isnan(lost[0]) and lost[2] == 0


@pytest.mark.parametrize('origin', ORIGINS)
def test_imu_parts_and_what_was_not_measured(origin):
    message = blank('sensor_msgs/msg/Imu')
    message.orientation = Quaternion(x=0.1, y=0.2, z=0.3, w=0.4)
    message.angular_velocity.z = 5.0
    message.linear_acceleration.y = 9.81
    spec = field('sensor_msgs/msg/Imu', [10])
    np.testing.assert_allclose(
        convert(from_origin(message, origin), spec), [0.1, 0.2, 0.3, 0.4, 0, 0, 5, 0, 9.81, 0]
    )
    rate = field('sensor_msgs/msg/Imu', [3], part='angular_velocity')
    np.testing.assert_array_equal(convert(from_origin(message, origin), rate), [0, 0, 5])
    message.orientation_covariance[0] = -1.0
    unknown = convert(from_origin(message, origin), spec)
    assert np.isnan(unknown[:4]).all() and unknown[6] == 5


@pytest.mark.parametrize('origin', ORIGINS)
def test_joints_are_found_by_name_in_any_order(origin):
    spec = field('sensor_msgs/msg/JointState', [2], part='velocity', names=('left', 'right'))
    converter = make_converter(spec, 'wheels')
    for names, values in ((['right', 'arm', 'left'], [1.0, 2, 3]), (['left', 'right'], [3.0, 1])):
        message = blank('sensor_msgs/msg/JointState')
        message.name, message.velocity = names, [float(value) for value in values]
        np.testing.assert_array_equal(converter(from_origin(message, origin)), [3, 1])


def test_missing_joints_and_unfilled_parts_are_named():
    message = blank('sensor_msgs/msg/JointState')
    message.name, message.position = ['left', 'arm'], [1.0, 2.0]
    spec = field('sensor_msgs/msg/JointState', [2], names=('left', 'right'))
    converter = make_converter(spec, 'wheels')
    for _ in range(2):  # The second message must not be taken with a half-made order.
        with pytest.raises(MessageError, match=r"'wheels'.*left, arm, expected also right"):
            converter(message)
    message.name, message.position = ['left', 'right'], []
    with pytest.raises(MessageError, match='0 values of position for 2 joints'):
        converter(message)


@pytest.mark.parametrize('origin', ORIGINS)
def test_small_sensors(origin):
    fix = blank('sensor_msgs/msg/NavSatFix')
    fix.latitude, fix.longitude, fix.altitude = 42.375812, -71.147394666, 7.3
    spec = field('sensor_msgs/msg/NavSatFix', [3], dtype='float64')
    np.testing.assert_array_equal(
        convert(from_origin(fix, origin), spec), [42.375812, -71.147394666, 7.3]
    )
    fix.status.status = -1
    assert np.isnan(convert(from_origin(fix, origin), spec)).all()
    sonar = blank('sensor_msgs/msg/Range')
    sonar.range = 0.5
    assert convert(from_origin(sonar, origin), field('sensor_msgs/msg/Range', [1])) == [0.5]
    battery = blank('sensor_msgs/msg/BatteryState')
    battery.voltage, battery.percentage = 12.5, 0.75
    spec = field('sensor_msgs/msg/BatteryState', [2])
    np.testing.assert_array_equal(convert(from_origin(battery, origin), spec), [12.5, 0.75])
    vector = blank('geometry_msgs/msg/Vector3Stamped')
    vector.vector.x, vector.vector.z = 1.0, 3.0
    spec = field('geometry_msgs/msg/Vector3Stamped', [3])
    np.testing.assert_array_equal(convert(from_origin(vector, origin), spec), [1, 0, 3])


@pytest.mark.parametrize('origin', ORIGINS)
@pytest.mark.parametrize('kind', ['Float32', 'Float64', 'Int32', 'UInt8'])
def test_multi_arrays_follow_their_layout(kind, origin):
    ros_type = f'std_msgs/msg/{kind}MultiArray'
    message = blank(ros_type)
    number = float if kind.startswith('F') else int
    message.data = [number(value) for value in range(8)]
    np.testing.assert_array_equal(
        convert(from_origin(message, origin), field(ros_type, [2, 4])), [range(4), range(4, 8)]
    )
    # Rows of three, of which two values count, after one value of preamble.
    message.layout.data_offset = 1
    message.layout.dim = [
        MultiArrayDimension(label='row', size=2, stride=6),
        MultiArrayDimension(label='column', size=2, stride=3),
    ]
    message.layout.dim[1].stride = 3
    np.testing.assert_array_equal(
        convert(from_origin(message, origin), field(ros_type, [2, 2])), [[1, 2], [4, 5]]
    )
    for dimension in message.layout.dim:
        dimension.stride = 0  # As many publishers leave it.
    np.testing.assert_array_equal(
        convert(from_origin(message, origin), field(ros_type, [2, 2])), [[1, 2], [3, 4]]
    )
    message.layout.dim[0].size = 5
    with pytest.raises(MessageError, match='found 7 values, expected 10'):
        convert(from_origin(message, origin), field(ros_type, [5, 2]))


def test_integers_that_do_not_fit_the_dtype_are_refused():
    message = blank('std_msgs/msg/Int32MultiArray')
    message.data = [300]
    spec = field('std_msgs/msg/Int32MultiArray', [1], dtype='uint8')
    with pytest.raises(MessageError, match='found int32 values, expected uint8'):
        convert(message, spec)


def test_errors_name_field_topic_found_and_expected():
    message = blank('std_msgs/msg/Float64MultiArray')
    message.data = [1.0, 2.0]
    spec = field('std_msgs/msg/Float64MultiArray', [3])
    with pytest.raises(MessageError, match=r"'lift' \(topic, .*\): found shape \[2\], .* \[3\]"):
        convert(message, spec, 'lift')


def test_the_wrong_message_type_is_named():
    spec = field('geometry_msgs/msg/TwistStamped', [2])
    with pytest.raises(MessageError, match=r'found a Twist .*expected geometry_msgs/msg/TwistSta'):
        convert(blank('geometry_msgs/msg/Twist'), spec)


def test_a_wrong_frame_is_named_and_a_leading_slash_is_not_one():
    spec = field('geometry_msgs/msg/PoseStamped', [3], frame='map')
    message = blank('geometry_msgs/msg/PoseStamped')
    message.header.frame_id = 'odom'
    with pytest.raises(MessageError, match="found frame 'odom', expected 'map'"):
        convert(message, spec)
    message.header.frame_id = '/map'
    assert convert(message, spec).shape == (3,)


@pytest.mark.parametrize('origin', ORIGINS)
def test_stamps_are_nanoseconds_and_headerless_types_have_none(origin):
    message = blank('sensor_msgs/msg/Imu')
    message.header.stamp.sec, message.header.stamp.nanosec = 1_700_000_000, 123_456_789
    assert stamp_ns(from_origin(message, origin)) == 1_700_000_000_123_456_789
    assert stamp_ns(from_origin(blank('geometry_msgs/msg/Twist'), origin)) is None


def test_the_array_does_not_share_memory_with_the_message():
    message = blank('std_msgs/msg/Float32MultiArray')
    message.data = [1.0]
    value = convert(message, field('std_msgs/msg/Float32MultiArray', [1]))
    message.data[0] = 7.0
    assert value == [1.0]


def test_an_unknown_type_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r'sensor_msgs/msg/Joy.*nav_msgs/msg/Odometry'):
        make_converter(field('sensor_msgs/msg/Joy', [3]))


def test_one_registered_function_and_its_part_add_a_type(monkeypatch):
    from robot_learning.message_types import Part

    monkeypatch.setitem(PARTS, 'sensor_msgs/msg/Temperature', {'temperature': Part((1,), 'degC')})
    monkeypatch.setattr(CONVERTERS, '_entries', dict(CONVERTERS._entries))

    @CONVERTERS.register('sensor_msgs/msg/Temperature')
    def temperature(spec: ObservationField):
        return lambda message: np.array((message.temperature,), spec.dtype)

    message = blank('sensor_msgs/msg/Temperature')
    message.temperature = 21.5
    assert convert(message, field('sensor_msgs/msg/Temperature', [1])) == [21.5]
