"""How episodes ended, told to the policy server for its judgement of the serving version."""

from __future__ import annotations

from rclpy.node import Node
from robot_learning_interfaces.msg import EpisodeEvent, StepOutcome

from robot_learning.nodes.qos import EPISODE_EVENT_QOS
from robot_learning.serving.policy_server import PolicyServer

# Whether a run of `run_policy` that ended so speaks for its version; others say nothing about it.
_SUCCESS = {'goal': True, 'collision': False, 'time_limit': False}


class EpisodeResults:
    """Hears of the end of episodes wherever it is said first."""

    def __init__(self, node: Node, server: PolicyServer, is_lock_step: bool):
        self._server = server
        if not is_lock_step:  # There the outcome says it, in order with the steps.
            node.create_subscription(
                EpisodeEvent, 'episode_event', self._on_event, EPISODE_EVENT_QOS
            )

    def on_outcome(self, outcome: StepOutcome) -> None:
        """Take the last step of an episode in lock-step."""
        self._server.end_episode(outcome.success)

    def on_run_end(self, reason: str) -> None:
        """Take the end of a run; one that the world has ended as well counts once."""
        self._server.end_episode(_SUCCESS.get(reason))

    def _on_event(self, event: EpisodeEvent) -> None:
        if event.event == EpisodeEvent.END:
            is_told = event.terminated or event.reason == 'time_limit'
            self._server.end_episode(event.success if is_told else None)
