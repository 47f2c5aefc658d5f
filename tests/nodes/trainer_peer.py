"""A node beside trainers, and trainers as real processes over one folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.action import ActionClient
from robot_learning.nodes import qos
from robot_learning_interfaces.action import TrainPhase
from robot_learning_interfaces.msg import ModelVersion, SegmentWritten, TrainingMetrics

sys.path.insert(0, str(Path(__file__).parent.parent / 'phases'))
from point_mass import point_contract

DEADLINE_S = 60.0


class Peer:
    """A node beside the trainer that remembers what it heard."""

    def __init__(self):
        self.node = rclpy.create_node('peer')
        self.metrics, self.versions = [], []
        self.node.create_subscription(
            TrainingMetrics, 'training_metrics', self.metrics.append, qos.NOTICE_QOS
        )
        self.node.create_subscription(
            ModelVersion, 'model_version', self.versions.append, qos.NOTICE_QOS
        )
        self.notices = self.node.create_publisher(
            SegmentWritten, 'segment_written', qos.NOTICE_QOS
        )
        self.train = ActionClient(self.node, TrainPhase, 'train_phase')

    def close(self):
        """End the node, whoever still holds this."""
        self.train.destroy()
        self.node.destroy_node()

    def wait_for(self, condition, what, process=None):
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            rclpy.spin_once(self.node, timeout_sec=0.1)
            if condition():
                return
            if process is not None and process.poll() is not None:
                pytest.fail(f'{what} did not come: {process.communicate()[1]}')
        last = self.metrics[-1] if self.metrics else None
        pytest.fail(f'{what} did not come within {DEADLINE_S} s; last heard: {last}')


class Trainers:
    """Starts trainers over one folder."""

    def __init__(self, folder, settings):
        self.folder = folder
        (folder / 'point.yaml').write_text(yaml.safe_dump(point_contract().to_dict()))
        (folder / 'settings.yaml').write_text(settings)
        self._processes = []

    def __call__(self, **parameters):
        values = {
            'robot': self.folder / 'point.yaml',
            'store': self.folder / 'store',
            'models': self.folder / 'models',
            'model_name': 'point',
            'config': self.folder / 'settings.yaml',
            **parameters,
        }
        arguments = [part for key, value in values.items() for part in ('-p', f'{key}:={value}')]
        process = subprocess.Popen(
            [sys.executable, '-m', 'robot_learning.nodes.trainer_node', '--ros-args', *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ.copy(),
        )
        self._processes.append(process)
        return process

    def end(self):
        """Kill whatever still runs."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


def latest(peer, state):
    return bool(peer.metrics) and peer.metrics[-1].state == state
