"""What serving nodes say about model versions, and hear about them."""

from __future__ import annotations

from typing import Protocol

from rclpy.node import Node
from robot_learning_interfaces.msg import ModelVersion

from robot_learning.nodes.diagnostics import OK, WARN, Health
from robot_learning.nodes.qos import NOTICE_QOS
from robot_learning.serving.policy_server import PolicyServer
from robot_learning.serving.succession import Change

_STATES = {
    'canary': ModelVersion.CANARY,
    'serving': ModelVersion.SERVING,
    'refused': ModelVersion.REFUSED,
    'rolled_back': ModelVersion.ROLLED_BACK,
}


class Follower(Protocol):
    """Who follows a store."""

    def notice(self, model: str) -> None:
        """Look at the store at once."""


class VersionNotices:
    """Publishes and receives `model_version`."""

    def __init__(self, node: Node):
        self._node = node
        self._publisher = node.create_publisher(ModelVersion, 'model_version', NOTICE_QOS)

    def listen(self, follower: Follower) -> None:
        """Tell `follower` when somebody published a version or refused one."""

        def on_notice(notice: ModelVersion) -> None:
            if notice.state in (ModelVersion.PUBLISHED, ModelVersion.REFUSED):
                follower.notice(notice.model)

        self._node.create_subscription(ModelVersion, 'model_version', on_notice, NOTICE_QOS)

    def announce(self, change: Change) -> None:
        """Publish and log a change; called on the server's loading thread."""
        state = _STATES[change.state]
        notice = ModelVersion(
            model=change.model,
            version=change.version,
            state=state,
            update=change.update,
            environment_step=change.environment_step,
            sha256=change.sha256,
            # That a version passed its canary is for the history; the message has no place for it.
            reason='' if state == ModelVersion.SERVING else _sendable(change.reason),
        )
        notice.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(notice)
        text = f'{change.model}@{change.version}: {change.state.replace("_", " ")}'
        reason = notice.reason
        logger = self._node.get_logger()
        if change.state == 'refused':
            logger.error(f'{text}: {reason}')
        elif change.state == 'rolled_back':
            logger.warning(f'{text}: {reason}')
        else:
            logger.info(text)


def _sendable(text: str) -> str:
    return text.encode(errors='replace').decode()  # Half characters, of paths, cannot be sent.


def model_health(server: PolicyServer) -> Health:
    """Return what serves, what is tried and what was rolled back, for `/diagnostics`."""
    served, warning = server.served, server.warning
    if served is None:
        return Health(WARN, warning or 'no model version serves yet', {'version': -1})
    name = f'{served.model}@{served.version}'
    return Health(
        WARN if warning else OK,
        f'{name} serves; {warning}' if warning else f'{name} serves',
        {
            'model': served.model,
            'version': served.version,
            'update': served.update,
            'environment_step': served.environment_step,
            'canary': server.candidate or 'none',
        },
    )
