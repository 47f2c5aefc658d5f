"""Starts the whole loop: simulator, policy, recorder, trainer and, on request, a raw bag."""

from launch import LaunchDescription
from robot_learning.nodes import launch_files


def generate_launch_description() -> LaunchDescription:
    return launch_files.describe('bringup')
