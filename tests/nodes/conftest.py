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


@pytest.fixture
def peer():
    """What hears a trainer node, and speaks to it."""
    from trainer_peer import Peer

    rclpy.init()
    peer = Peer()
    yield peer
    peer.close()
    rclpy.shutdown()
