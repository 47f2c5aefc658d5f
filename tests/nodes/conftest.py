"""What tests with nodes in this process need."""

import pytest
import rclpy
from rclpy.context import Context


@pytest.fixture
def context(ros_domain):
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain)
    yield context
    rclpy.try_shutdown(context=context)
