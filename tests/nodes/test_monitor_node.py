import time

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from robot_learning.evaluation.live_numbers import LiveNumbers
from robot_learning.nodes.monitor_node import Monitor
from robot_learning.nodes.qos import (
    EPISODE_EVENT_QOS,
    NOTICE_QOS,
    POLICY_ACTION_QOS,
    STATUS_QOS,
)
from robot_learning_interfaces.msg import (
    EpisodeEvent,
    GateStatus,
    ModelVersion,
    PolicyAction,
    SegmentWritten,
    TrainingMetrics,
)

PATIENCE_S = 10.0


@pytest.fixture(scope='module')
def loop(ros_domain):
    """A monitor, and a node that speaks for the whole loop."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node = rclpy.create_node('loop', context=context)
    with Monitor(LiveNumbers(), ros_domain) as monitor:
        yield node, monitor
    node.destroy_node()
    context.try_shutdown()


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def publish(node, topic, message, qos):
    """Publish once somebody listens."""
    publisher = node.create_publisher(type(message), topic, qos)
    wait_until(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(message)
    return publisher


def test_the_first_action_starts_the_clock_and_later_ones_are_not_listened_to(loop):
    node, monitor = loop
    assert monitor.numbers.started_s is None
    publisher = publish(node, 'policy_action', PolicyAction(), POLICY_ACTION_QOS)
    wait_until(lambda: monitor.numbers.started_s is not None)
    wait_until(lambda: publisher.get_subscription_count() == 0)


def test_episodes_versions_and_segments_are_counted(loop):
    node, monitor = loop
    numbers = monitor.numbers
    end = EpisodeEvent(event=EpisodeEvent.END, episode=4, success=True, reason='goal')
    publish(node, 'episode_event', end, EPISODE_EVENT_QOS)
    serving = ModelVersion(model='navigator', version=7, state=ModelVersion.SERVING)
    publish(node, 'model_version', serving, NOTICE_QOS)
    publish(node, 'segment_written', SegmentWritten(total_steps=50, dropped=3), NOTICE_QOS)
    wait_until(lambda: (numbers.num_episodes, numbers.version, numbers.dropped) == (1, 7, 3))
    assert numbers.recent_success_rate == 1


def test_the_gate_counts_steps_and_interventions(loop):
    node, monitor = loop
    publish(node, 'gate_status', GateStatus(commands=120, altered=9), STATUS_QOS)
    wait_until(lambda: monitor.numbers.environment_step == 120)
    assert monitor.numbers.gate['altered'] == 9


def test_training_is_kept_with_its_metrics(loop):
    node, monitor = loop
    message = TrainingMetrics(state='training', update=20, train_ratio=0.5, version=7)
    message.names, message.values = ['sac/loss'], [2.5]
    publish(node, 'training_metrics', message, NOTICE_QOS)
    wait_until(lambda: monitor.numbers.update == 20)
    with monitor.lock:
        events = monitor.numbers.take_events()
    assert next(e for e in events if e['kind'] == 'training')['metrics'] == {'sac/loss': 2.5}


def test_latency_and_message_counts_come_from_diagnostics(loop):
    node, monitor = loop

    def status(name, **values):
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        return DiagnosticStatus(level=DiagnosticStatus.OK, name=name, values=pairs)

    latency = status('policy: latency', decisions='8', p50_ms='0.5', p99_ms='2.5')
    scan = status('recorder: topic scan', received='100', dropped='2')
    publish(node, '/diagnostics', DiagnosticArray(status=[latency, scan]), 10)
    wait_until(lambda: monitor.numbers.latency_ms() == (0.5, 2.5))
    assert monitor.numbers.messages == {'scan': {'received': 100, 'dropped': 2}}
