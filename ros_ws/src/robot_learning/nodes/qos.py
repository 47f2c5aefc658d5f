"""Quality-of-service profiles by the names that contracts use."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from robot_learning.errors import ConfigError

_DEPTH = {'sensor': 10, 'reliable': 100, 'latched': 1}


def qos_profile(name: str, depth: int | None = None) -> QoSProfile:
    """Return the profile called `name`, for publishers and subscriptions alike.

    - 'sensor': best effort; receives from any publisher, delivers to best-effort readers only.
    - 'reliable': every message arrives while the queue holds it.
    - 'latched': reliable, and late subscribers get the last `depth` messages.

    Args:
        name: one of the above.
        depth: messages the queue holds; None: 10, 100 or 1 in the order above.
    """
    if name not in _DEPTH:
        raise ConfigError(f'qos {name!r}: unknown. Choose one of: {", ".join(_DEPTH)}.')
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth or _DEPTH[name],
        reliability=(
            ReliabilityPolicy.BEST_EFFORT if name == 'sensor' else ReliabilityPolicy.RELIABLE
        ),
        durability=(
            DurabilityPolicy.TRANSIENT_LOCAL if name == 'latched' else DurabilityPolicy.VOLATILE
        ),
    )


EPISODE_EVENT_QOS = qos_profile('latched', depth=10)
EMERGENCY_STOP_QOS = qos_profile('latched')
OUTCOME_QOS = qos_profile('reliable')
POLICY_ACTION_QOS = qos_profile('reliable')
NOTICE_QOS = qos_profile('reliable')  # segment_written, model_version, training_metrics.
COMMAND_QOS = qos_profile('reliable', depth=10)
STATUS_QOS = qos_profile('reliable', depth=10)
