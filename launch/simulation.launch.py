"""Starts the embedded world alone, as a stand-in for a robot."""

from launch import LaunchDescription
from robot_learning.nodes import launch_files


def generate_launch_description() -> LaunchDescription:
    return launch_files.describe('simulation')
