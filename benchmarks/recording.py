"""The raw recorder under the load of a robot: every message accounted for, CPU and memory.

Processes of their own publish joint states at 2000 Hz, two 640x480 cameras at 30 Hz, a lidar at
10 Hz and odometry at 30 Hz through real DDS; each message carries its number. The recorder runs
as on a robot. Afterwards the numbers in the bag are compared with those sent: what is missing
must be what the recorder says it dropped or lost. Then the rates of everything rise until
something is missing. Last, what a control step costs the trajectory recorder and the buffer.

Needs 60 MB of disk per second of the stream. A quiet machine, or the load shows in the figures.

    python benchmarks/recording.py [--quick] [--seconds N] [--zstd] [--folder PATH]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('FASTRTPS_DEFAULT_PROFILES_FILE', str(ROOT / 'config' / 'fastdds.xml'))
os.environ.setdefault('ROS_DOMAIN_ID', '96')
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ['PYTHONPATH'] = os.pathsep.join(
    [str(ROOT / 'ros_ws' / 'src'), os.environ.get('PYTHONPATH', '')]
)

import rclpy  # noqa: E402
import step_cost  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from reporting import table, write  # noqa: E402
from robot_learning.nodes.run import make_executor  # noqa: E402
from robot_learning.trajectory import bag_metadata  # noqa: E402
from robot_learning.trajectory.bags.bag_metadata import BagNotes  # noqa: E402
from robot_learning.trajectory.bags.mcap_stream import McapStream  # noqa: E402
from sensor_msgs.msg import Image, JointState, LaserScan  # noqa: E402

DEADLINE_S = 60.0
NAMESPACE = os.environ.setdefault('RECORDING_NAMESPACE', f'/recording_{os.getpid()}')
AFTER = 2**32 - 1  # Number of messages behind the counted ones; before them it is 0.
FACTORS = (2, 4, 8, 16)
GOAL_MS = 2.0  # 99 of 100 control steps must be below.


class Stream(NamedTuple):
    """One topic: the process that publishes it, its rate and whether it is reliable."""

    topic: str
    process: str
    rate_hz: float
    is_reliable: bool

    def message(self) -> Any:
        """Return a message of the size that a robot sends."""
        if self.process.startswith('camera'):
            data = os.urandom(640 * 480 * 3)
            return Image(height=480, width=640, encoding='rgb8', step=1920, data=data)
        if self.topic == 'scan':
            return LaserScan(ranges=[1.5] * 360, intensities=[0.5] * 360)
        if self.topic == 'odom':
            return Odometry()
        names = [f'joint_{i}' for i in range(12)]
        return JointState(name=names, position=[0.1] * 12, velocity=[0.2] * 12, effort=[0.3] * 12)


STREAMS = (
    Stream('joint_states', 'joints', 2000.0, True),
    Stream('camera_left', 'camera_left', 30.0, False),
    Stream('camera_right', 'camera_right', 30.0, False),
    Stream('scan', 'base', 10.0, False),
    Stream('odom', 'base', 30.0, True),
)


def publish(process: str, seconds: float, factor: float) -> int:
    """Be one publishing process: wait for 'go', publish, report, wait for 'end'."""
    rclpy.init()
    node = Node(process, namespace=NAMESPACE)
    streams = [s for s in STREAMS if s.process == process]
    outlets = []
    for stream in streams:
        reliability = (
            ReliabilityPolicy.RELIABLE if stream.is_reliable else ReliabilityPolicy.BEST_EFFORT
        )
        profile = QoSProfile(depth=200 if stream.is_reliable else 10, reliability=reliability)
        message = stream.message()
        publisher = node.create_publisher(type(message), stream.topic, profile)
        data = bytes(serialize_message(message))
        outlets.append((publisher, data[:8], data[12:], stream.rate_hz * factor))
    _keep_sending(outlets, 0)
    sent = _send_on_time(outlets, seconds)
    print(json.dumps({s.topic: n for s, n in zip(streams, sent, strict=True)}), flush=True)
    _keep_sending(outlets, AFTER)
    node.destroy_node()
    rclpy.shutdown()
    return 0


def _keep_sending(outlets: list[Any], number: int) -> None:
    """Send messages that do not count until the next line on stdin."""
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        for outlet in outlets:
            _send(outlet, number)
    sys.stdin.readline()


def _send(outlet: Any, number: int) -> None:
    publisher, head, tail, _ = outlet
    publisher.publish(head + struct.pack('<I', number) + tail)  # As header.stamp.nanosec.


def _send_on_time(outlets: list[Any], seconds: float) -> list[int]:
    """Send at the given rates; return the last number of each."""
    sent = [0] * len(outlets)
    begin = time.perf_counter()
    while (now := time.perf_counter()) < begin + seconds:
        due = begin + seconds
        for index, outlet in enumerate(outlets):
            next_s = begin + (sent[index] + 1) / outlet[3]
            if next_s <= now:
                sent[index] += 1
                _send(outlet, sent[index])
                next_s = begin + (sent[index] + 1) / outlet[3]
            due = min(due, next_s)
        time.sleep(max(0.0, due - time.perf_counter()))
    return sent


class Listener:
    """Hears what the recorder says it received."""

    def __init__(self) -> None:
        self.received: dict[str, int] = {}
        self._node = Node('listener')
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._on_health, 10)
        self._executor = make_executor()
        self._executor.add_node(self._node)

    def wait_until(self, condition: Any, what: str) -> None:
        """Spin until `condition` holds."""
        end = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f'{what}: not within {DEADLINE_S:.0f} s')
            self._executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.remove_node(self._node)
        self._executor.shutdown()
        self._node.destroy_node()

    def _on_health(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f'{NAMESPACE[1:]}/bag_recorder: bag':
                for value in status.values:
                    if value.value.startswith('received '):
                        count = int(value.value.split(',')[0].split()[1])
                        self.received[value.key.removeprefix(f'{NAMESPACE}/')] = count


@contextlib.contextmanager
def running(commands: list[list[str]]) -> Iterator[list[subprocess.Popen[str]]]:
    """Run processes and end what is left of them."""
    processes = [
        subprocess.Popen(c, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for c in commands
    ]
    try:
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


class Usage:
    """CPU time and memory of a process, from /proc."""

    def __init__(self, pid: int):
        self._proc = Path(f'/proc/{pid}')
        self._begin = (time.perf_counter(), self._cpu_s())

    def percent_of_a_core(self) -> float:
        """Return the CPU time since the beginning, per time."""
        began_s, cpu_s = self._begin
        return 100 * (self._cpu_s() - cpu_s) / (time.perf_counter() - began_s)

    def peak_mb(self) -> float:
        """Return the most memory that it ever had."""
        text = (self._proc / 'status').read_text()
        line = next(line for line in text.splitlines() if line.startswith('VmHWM'))
        return int(line.split()[1]) / 1024

    def _cpu_s(self) -> float:
        fields = (self._proc / 'stat').read_text().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def measure(
    folder: Path, seconds: float, factor: float, zstd: bool
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Record one run; return a row per topic and one of the whole."""
    bag = folder / f'bag_{factor:g}'
    names = '[' + ', '.join(stream.topic for stream in STREAMS) + ']'
    parameters = {'robot': "''", 'bag': bag, 'topics.names': names}
    parameters['writer.compression'] = 'zstd' if zstd else "''"
    arguments = ['-r', f'__ns:={NAMESPACE}']
    arguments += [a for k, v in parameters.items() for a in ('-p', f'{k}:={v}')]
    module = 'robot_learning.nodes.bag_recorder_node'
    recorder = [sys.executable, '-m', module, '--ros-args', *arguments]
    names_of_processes = list(dict.fromkeys(stream.process for stream in STREAMS))
    options = ['--seconds', str(seconds), '--factor', str(factor)]
    publishers = [
        [sys.executable, __file__, '--publish', name, *options] for name in names_of_processes
    ]
    listener = Listener()
    try:
        with running([recorder, *publishers]) as (node, *sources):
            topics = [stream.topic for stream in STREAMS]
            listener.wait_until(
                lambda: all(listener.received.get(t, 0) > 5 for t in topics), 'all topics recorded'
            )
            time.sleep(1.0)  # Until publishers and recorder have matched for good.
            usage = Usage(node.pid)
            _tell(sources, 'go')
            sent: dict[str, int] = {}
            for source in sources:
                assert source.stdout is not None
                sent |= json.loads(source.stdout.readline())
            cpu, memory = usage.percent_of_a_core(), usage.peak_mb()
            time.sleep(2.0)  # Messages behind the last show what is missing before them.
            node.send_signal(signal.SIGINT)
            node.wait(DEADLINE_S)
            _tell(sources, 'end')
            for source in sources:
                source.wait(DEADLINE_S)
    finally:
        listener.close()
    rows = [account(bag, stream.topic, sent[stream.topic]) for stream in STREAMS]
    size = sum(file.stat().st_size for file in bag.glob('*.mcap'))
    shutil.rmtree(bag)
    rate_hz = sum(sent.values()) / seconds
    total = {
        'load': factor,
        'messages/s': rate_hz,
        'of wanted %': 100 * rate_hz / factor / sum(s.rate_hz for s in STREAMS),
        'MB/s': size / seconds / 1e6,
        'CPU % of a core': cpu,
        'peak memory MB': memory,
        **{k: sum(row[k] for row in rows) for k in ('sent', 'written', 'dropped', 'lost')},
        'unaccounted': sum(abs(row['unaccounted']) for row in rows),
    }
    return rows, total


def _tell(processes: list[subprocess.Popen[str]], word: str) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(word + '\n')
        process.stdin.flush()


def account(bag: Path, topic: str, sent: int) -> dict[str, Any]:
    """Compare the numbers in the bag with those that were sent."""
    found: set[int] = set()
    twice = 0
    name_of_topic = f'{NAMESPACE}/{topic}'
    description = bag_metadata.read(bag)
    for name in description['relative_file_paths']:
        with McapStream(bag / name) as stream:
            for chunk in stream.chunks():
                if name_of_topic not in (chunk.counts or {}):
                    continue
                for message in stream.messages(chunk):
                    if message.channel.topic == name_of_topic:
                        (number,) = struct.unpack_from('<I', message.data, 8)
                        twice += number in found and 0 < number < AFTER
                        found.add(number)
    counts = BagNotes.from_custom_data(description['custom_data']).counts[name_of_topic]
    written = len(found - {0, AFTER})
    return {
        'topic': topic,
        'sent': sent,
        'written': written,
        'dropped': counts.dropped,
        'lost': counts.lost,
        'twice': twice,
        'unaccounted': sent - written - counts.dropped - (counts.lost or 0),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='5 s, two rates')
    parser.add_argument('--seconds', type=float, default=60.0, help='of the first stream')
    parser.add_argument('--zstd', action='store_true', help='compress')
    parser.add_argument('--folder', type=Path, help='for the bags, which are removed')
    parser.add_argument('--publish', help=argparse.SUPPRESS)
    parser.add_argument('--factor', type=float, default=1.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        return publish(options.publish, options.seconds, options.factor)
    seconds = 5.0 if options.quick else options.seconds
    rclpy.init()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows, total = measure(Path(folder), seconds, 1.0, options.zstd)
        totals = [total]
        table(rows)
        for factor in FACTORS[:1] if options.quick else FACTORS:
            totals.append(measure(Path(folder), min(seconds, 10.0), factor, options.zstd)[1])
            if totals[-1]['dropped'] or totals[-1]['lost']:
                break
    rclpy.shutdown()
    table(totals)
    steps = step_cost.measure(200 if options.quick else 5000)
    table(steps)
    results = {'seconds': seconds, 'zstd': options.zstd, 'topics': rows, 'load': totals}
    write('recording', {**results, 'steps': steps}, options.quick)
    unaccounted = sum(row['unaccounted'] for row in totals)
    slow = [row['per control step'] for row in steps if row['p99 ms'] >= GOAL_MS]
    print(f'unaccounted messages: {unaccounted}')
    print(
        f'p99 below {GOAL_MS:g} ms per control step: {"not " + ", ".join(slow) if slow else "all"}'
    )
    return 1 if unaccounted else 0


if __name__ == '__main__':
    sys.exit(main())
