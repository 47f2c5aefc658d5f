"""Records the topics of a robot or simulator as episodes and, on request, as a raw bag."""

from launch import LaunchDescription
from robot_learning.nodes import launch_files


def generate_launch_description() -> LaunchDescription:
    return launch_files.describe('recording')
