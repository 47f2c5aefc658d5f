"""A robot that does what people say: simulator, policy behind the action gate, commander."""

from launch import LaunchDescription
from robot_learning.nodes import launch_files


def generate_launch_description() -> LaunchDescription:
    return launch_files.describe('commands')
