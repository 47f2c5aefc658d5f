"""A ROS 2 package suite with which a robot learns while it works."""

__version__ = '0.1.0'
