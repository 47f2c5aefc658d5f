"""Learns from the trajectory store and publishes model versions."""

from launch import LaunchDescription
from robot_learning.nodes import launch_files


def generate_launch_description() -> LaunchDescription:
    return launch_files.describe('training')
