"""From a cancel, or from the word stop, to zero velocity on the command topic.

Simulator, policy node and commander in processes of their own, over DDS, in real time. The robot
turns; then its command is canceled, or somebody says stop. Times are wall clock in this process,
which sends the request and hears `cmd_vel` as the robot does.

    python benchmarks/cancel_latency.py [--quick] [--rounds 50]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
for folder in ('ros_ws/src', 'tests/closed_loop'):
    sys.path.insert(0, str(ROOT / folder))
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('FASTRTPS_DEFAULT_PROFILES_FILE', str(ROOT / 'config' / 'fastdds.xml'))
os.environ.setdefault('ROS_DOMAIN_ID', '96')
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ['PYTHONPATH'] = os.pathsep.join(
    [str(ROOT / 'ros_ws' / 'src'), os.environ.get('PYTHONPATH', '')]
)

import numpy as np  # noqa: E402
from reporting import table, write  # noqa: E402
from test_spoken_commands import Person, wait_until  # noqa: E402

NAME = 'cancel_latency'
COMMAND = 'turn left 360 degrees'
GOAL_MS = 100.0


def measure(person: Person, request: Callable[[object], None], rounds: int) -> list[float]:
    """Return the times of all rounds in ms."""
    times = []
    for _ in range(rounds):
        handle = person.send(COMMAND)
        wait_until(person.is_driving, 'the robot turns')
        person.commands.clear()
        begun_s = time.monotonic()
        request(handle)
        wait_until(
            lambda: any(not any(command[1:]) for command in person.commands), 'zero velocity'
        )
        first_s = next(command[0] for command in person.commands if not any(command[1:]))
        times.append(1e3 * (first_s - begun_s))
        person.result_of(handle)
        wait_until(lambda: not person.is_driving(), 'the robot stands')
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='five rounds of each')
    parser.add_argument('--rounds', type=int, default=50, help='of each way to stop')
    options = parser.parse_args()
    rounds = 5 if options.quick else options.rounds
    with tempfile.TemporaryDirectory() as models:
        command = [sys.executable, '-m', 'robot_learning.commands.up', '--launch-file', 'commands']
        system = subprocess.Popen(
            [*command, '--models', models], stdout=subprocess.DEVNULL, start_new_session=True
        )
        person = Person()
        try:
            person.say('wait 1 second')  # All are there.
            rows = []
            for name, request in (
                ('cancel', lambda handle: handle.cancel_goal_async()),
                ('"stop"', lambda handle: person.say('stop')),
            ):
                times = measure(person, request, rounds)
                p50, p99 = np.percentile(times, [50, 99])
                rows.append(
                    {
                        'request': name,
                        'rounds': rounds,
                        'p50 ms': p50,
                        'p99 ms': p99,
                        'max ms': max(times),
                        'goal': f'p99 < {GOAL_MS:g} ms',
                    }
                )
        finally:
            person.close()
            system.send_signal(signal.SIGINT)
            system.wait(30)
    table(rows)
    print(f'written to {write(NAME, rows, options.quick)}')


if __name__ == '__main__':
    main()
