"""Starts Gazebo with our world, a robot and the bridge, and the whole loop round them."""

from launch import LaunchDescription
from robot_learning.nodes import gazebo_launch


def generate_launch_description() -> LaunchDescription:
    return gazebo_launch.describe()
