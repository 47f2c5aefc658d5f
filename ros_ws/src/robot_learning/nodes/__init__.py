"""Thin ROS 2 shells over the other rooms; the only room that imports rclpy."""
