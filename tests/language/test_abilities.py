from robot_learning import contract as contracts
from robot_learning.language.abilities import abilities, drive_field, field_of, pose_field


def test_what_the_shipped_robots_can_do():
    assert abilities(contracts.load('errands')) == {
        'drive',
        'localisation',
        'camera',
        'lidar',
        'gripper',
    }
    assert abilities(contracts.load('turtlebot3')) == {'drive', 'localisation', 'camera', 'lidar'}
    assert 'gripper' not in abilities(contracts.load('pioneer'))


def test_fields_are_found_by_what_they_hold():
    errands = contracts.load('errands')
    assert drive_field(errands).topic == 'cmd_vel'
    assert field_of(errands, 'nav_msgs/msg/Odometry', 'pose2d') == 'odometry'
    assert field_of(errands, 'sensor_msgs/msg/Imu') == 'imu'
    assert field_of(errands, 'sensor_msgs/msg/BatteryState') == ''
    assert pose_field(errands) == 'pose'  # Not the goal, which is a pose too.


def test_a_robot_that_turns_otherwise_does_not_drive():
    assert drive_field(contracts.load('crazyflie')) is None
    assert 'drive' not in abilities(contracts.load('crazyflie'))
