"""Drives a robot or simulator with the newest good model version, behind the action gate."""

from launch import LaunchDescription
from robot_learning.nodes import launch_files


def generate_launch_description() -> LaunchDescription:
    return launch_files.describe('inference')
