"""A bag with camera, lidar, IMU and odometry becomes episodes, and these every format and back.

The bag is made at run time: pictures of 640x480 at 30 Hz that look along a moving texture with
sensor noise, so that video neither gains nor loses by emptiness. Megabytes are those of the bag
for the import, and of observations and actions in memory for the formats.

    python benchmarks/export.py [--quick] [--megabytes 1000] [--formats lerobot,npz]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))
os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np  # noqa: E402
from reporting import table, write  # noqa: E402
from robot_learning import contract as contracts  # noqa: E402
from robot_learning.contract import RobotContract  # noqa: E402
from robot_learning.trajectory.bags.bag import import_bag  # noqa: E402
from robot_learning.trajectory.bags.bag_types import known_types  # noqa: E402
from robot_learning.trajectory.formats.exporting import FORMATS, export  # noqa: E402
from robot_learning.trajectory.formats.importing import import_dataset  # noqa: E402
from robot_learning.trajectory.formats.ros_messages import make_message_maker  # noqa: E402
from robot_learning.trajectory.formats.ros_values import header, message  # noqa: E402
from robot_learning.trajectory.formats.source import EpisodeSource  # noqa: E402
from robot_learning.trajectory.signals import MARKS, SIGNAL_TYPES  # noqa: E402
from robot_learning.trajectory.store import TrajectoryStore  # noqa: E402
from rosbags.rosbag2 import StoragePlugin, Writer  # noqa: E402

HEIGHT, WIDTH, RATE_HZ = 480, 640, 30
PERIOD_NS = 10**9 // RATE_HZ
START_NS = 10**18
EPISODE_TICKS = 12 * RATE_HZ
IMU_PER_TICK = 7  # 210 Hz.
GOAL_MINUTES = 5.0  # For one gigabyte of bag to a LeRobot data set.


def main() -> int:
    """Make the bag, measure every way, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--megabytes', type=float, default=1000.0, help='size of the bag')
    parser.add_argument('--quick', action='store_true', help='a bag of 40 MB')
    parser.add_argument('--formats', default=','.join(FORMATS), help='comma-separated')
    parser.add_argument('--folder', type=Path, help='for the files; three times the bag fits')
    options = parser.parse_args()
    megabytes = 40.0 if options.quick else options.megabytes
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        results = measure(Path(folder), megabytes, options.formats.split(','))
    table([results['bag']])
    table(results['formats'])
    if 'bag to lerobot' in results:
        table([results['bag to lerobot']])
    print(write('export', results, options.quick))
    return 0


def measure(folder: Path, megabytes: float, formats: list[str]) -> dict[str, Any]:
    contract = robot()
    bag = make_bag(folder / 'bag', contract, megabytes)
    size = size_mb(bag)
    store = TrajectoryStore(folder / 'store')
    report, import_s = timed(lambda: import_bag(bag, contract, store))
    results: dict[str, Any] = {
        'bag': {
            'bag MB': round(size, 1),
            'messages': report.num_messages,
            'steps': report.num_steps,
            'episodes': len(report.episodes),
            'import s': round(import_s, 2),
            'import MB/s': round(size / import_s, 1),
        },
        'formats': [],
    }
    for kind in formats:
        row = measure_format(folder, store, contract, kind)
        results['formats'].append(row)
        if kind == 'lerobot':
            minutes = (import_s + row['export s']) / 60
            results['bag to lerobot'] = {
                'bag MB': round(size, 1),
                'minutes': round(minutes, 2),
                'minutes per GB': round(minutes / size * 1000, 2),
                'goal': GOAL_MINUTES,
                'met': minutes / size * 1000 < GOAL_MINUTES,
            }
    return results


def measure_format(
    folder: Path, store: TrajectoryStore, contract: RobotContract, kind: str
) -> dict[str, Any]:
    out = folder / ('data.hdf5' if kind == 'robomimic' else f'data_{kind}')
    back = TrajectoryStore(folder / 'back')
    report, export_s = timed(lambda: export(EpisodeSource(store.root), kind, out))
    if kind == 'mcap':
        _, import_s = timed(lambda: import_bag(out, contract, back))
    else:
        _, import_s = timed(lambda: import_dataset(out, kind, contract, back))
    megabytes = report.num_bytes / 1e6
    row = {
        'format': kind,
        'MB in memory': round(megabytes, 1),
        'MB on disk': round(size_mb(out), 1),
        'export s': round(export_s, 2),
        'export MB/s': round(megabytes / export_s, 1),
        'import s': round(import_s, 2),
        'import MB/s': round(megabytes / import_s, 1),
    }
    for video in report.facts.get('videos', {}).values():
        row |= {'codec': video['codec'], 'PSNR dB': video['psnr_db']}
    for path in (out, back.root):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return row


def robot() -> RobotContract:
    """Return a TurtleBot3 with a large camera, controlled as often as that sees."""
    data = contracts.load('turtlebot3').to_dict()
    data['robot'] = 'large_camera'
    data['control_rate_hz'] = RATE_HZ
    data['observation']['camera']['shape'] = [HEIGHT, WIDTH, 3]
    return contracts.from_dict(data)


def make_bag(path: Path, contract: RobotContract, megabytes: float) -> Path:
    """Write about so many megabytes of what such a robot publishes."""
    ticks = max(4, round(megabytes * 1e6 / (HEIGHT * WIDTH * 3 + 4000)))
    topics: dict[str, dict[str, Any]] = {}
    for name, spec in contract.observation.items():
        topics.setdefault(spec.topic, {})[name] = spec
    makers = {topic: make_message_maker(fields).make for topic, fields in topics.items()}
    types = {topic: next(iter(fields.values())).type for topic, fields in topics.items()}
    command = next(iter(contract.learned_actions.values()))
    types |= {command.topic: command.type, MARKS: SIGNAL_TYPES[MARKS]}
    rng = np.random.default_rng(0)
    camera = pictures(rng)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            topic: writer.add_connection(f'/{topic}', kind, typestore=known_types())
            for topic, kind in types.items()
        }
        for tick in range(ticks):
            now_ns = START_NS + tick * PERIOD_NS
            for topic, stamp_ns, content in tick_messages(tick, now_ns, rng, camera):
                if topic in makers:
                    content = makers[topic](stamp_ns, content)
                data = known_types().serialize_cdr(content, types[topic])
                writer.write(connections[topic], stamp_ns, data)
    return path


def tick_messages(
    tick: int, now_ns: int, rng: np.random.Generator, camera: Iterator[Any]
) -> Iterator[tuple[str, int, Any]]:
    """Yield topic, stamp, and message or arrays by field, of one camera period."""
    if tick % EPISODE_TICKS == 0:
        yield MARKS, now_ns, mark(now_ns, tick // EPISODE_TICKS)
        yield 'goal_pose', now_ns, {'goal': rng.normal(size=3)}
    motion = rng.normal(size=5)
    yield 'odom', now_ns, {'velocity': motion[:2], 'odometry': motion[2:]}
    yield 'amcl_pose', now_ns, {'pose': rng.normal(size=3)}
    yield 'scan', now_ns, {'scan': rng.uniform(0.2, 3.5, 360)}
    yield 'joint_states', now_ns, {'joint_position': rng.normal(size=2)}
    for part in range(IMU_PER_TICK):
        yield 'imu', now_ns + part * PERIOD_NS // IMU_PER_TICK, {'imu': rng.normal(size=10)}
    yield 'camera/image_raw', now_ns, {'camera': next(camera)}
    stamped = message('geometry_msgs/msg/TwistStamped', header=header(now_ns, 'base_link'))
    stamped.twist.linear.x = float(rng.uniform(-0.2, 0.2))
    yield 'cmd_vel', now_ns, stamped


def mark(now_ns: int, episode: int) -> Any:
    kind = SIGNAL_TYPES[MARKS]
    return message(kind, header=header(now_ns), episode=episode, source='simulator', seed=episode)


def pictures(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield what a camera sees that moves over a texture."""
    coarse = rng.integers(40, 215, (40, 60, 3)).astype(np.float32)
    texture = np.kron(coarse, np.ones((32, 32, 1), np.float32))
    for axis in (0, 1):  # Soft edges, as lenses make them.
        texture = sum(np.roll(texture, shift, axis) for shift in range(-6, 7)) / 13
    noise = [rng.normal(0, 3, (HEIGHT, WIDTH, 3)).astype(np.float32) for _ in range(8)]
    tick = 0
    while True:
        y = int(200 + 190 * np.sin(tick / 50))
        x = int(500 + 490 * np.sin(tick / 80))
        frame = texture[y : y + HEIGHT, x : x + WIDTH] + noise[tick % 8]
        yield np.clip(frame, 0, 255).astype(np.uint8)
        tick += 1


def size_mb(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob('*') if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began_s = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began_s


if __name__ == '__main__':
    sys.exit(main())
