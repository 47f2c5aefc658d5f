"""Import of real bags into episodes, against only reading and deserialising the same messages.

The plain loop is what every tool on top of rosbags pays: read, deserialise, forget. The import
also converts, assembles control steps by their stamps, accounts for every message and writes a
store. Each number is the best of several runs in one process.

    python benchmarks/bag_import.py [--quick] [--data DIR]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))
os.environ.setdefault('OMP_NUM_THREADS', '1')

from reporting import table, write  # noqa: E402
from robot_learning import contract as contracts  # noqa: E402
from robot_learning.contract import RobotContract  # noqa: E402
from robot_learning.trajectory.bags.bag import import_bag  # noqa: E402
from robot_learning.trajectory.bags.bag_reader import open_bag  # noqa: E402
from robot_learning.trajectory.store import TrajectoryStore  # noqa: E402

BAGS = {
    'intel_lab_pioneer': 'pioneer',
    'freiburg079_pioneer': 'pioneer',
    'husky_outdoor_gps_imu': 'husky',
    'crazyflie_vicon/pitch-45bag': 'crazyflie',
}


def main() -> int:
    """Measure every bag, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get('ROBOT_LEARNING_DATA', ROOT.parent / 'shared' / 'data')
    parser.add_argument('--data', type=Path, default=Path(default), help='holds rosbags/')
    parser.add_argument('--quick', action='store_true', help='one run of the smallest bags')
    options = parser.parse_args()
    names = list(BAGS)[2:] if options.quick else list(BAGS)
    absent = [name for name in names if not (options.data / 'rosbags' / name).is_dir()]
    if absent:
        print(f'{options.data}/rosbags: holds no {", ".join(absent)}. Give --data.')
        return 2
    rows = [
        measure(options.data / 'rosbags' / name, BAGS[name], repeats=1 if options.quick else 5)
        for name in names
    ]
    table(rows)
    print(write('bag_import', rows, options.quick))
    return 0


def measure(bag: Path, robot: str, repeats: int) -> dict[str, Any]:
    contract = contracts.load(robot)
    topics = wanted_topics(contract)
    messages, num_bytes = size_of(bag, topics)
    plain_s = best(lambda: read_and_deserialise(bag, topics), repeats)
    steps: list[int] = []
    import_s = best(lambda: steps.append(import_into_fresh_store(bag, contract)), repeats)
    megabytes = num_bytes / 1e6
    return {
        'bag': bag.name,
        'messages': messages,
        'megabytes': round(megabytes, 2),
        'steps': steps[0],
        'plain messages/s': round(messages / plain_s),
        'import messages/s': round(messages / import_s),
        'plain MB/s': round(megabytes / plain_s, 2),
        'import MB/s': round(megabytes / import_s, 2),
        'import / plain time': round(import_s / plain_s, 2),
        'us/message added': round((import_s - plain_s) / messages * 1e6, 1),
    }


def wanted_topics(contract: RobotContract) -> set[str]:
    return {f'/{spec.topic.lstrip("/")}' for spec in contract.observation.values()}


def size_of(bag: Path, topics: set[str]) -> tuple[int, int]:
    with open_bag(bag) as reader:
        connections = [c for c in reader.connections if c.topic in topics]
        sizes = [len(data) for _, _, data in reader.messages(connections)]
    return len(sizes), sum(sizes)


def read_and_deserialise(bag: Path, topics: set[str]) -> None:
    with open_bag(bag) as reader:
        connections = [c for c in reader.connections if c.topic in topics]
        for connection, _, data in reader.messages(connections):
            reader.deserialize(data, connection.msgtype)


def import_into_fresh_store(bag: Path, contract: RobotContract) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return import_bag(bag, contract, TrajectoryStore(folder)).num_steps


def best(work: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == '__main__':
    sys.exit(main())
