"""From a sensor's stamp to the command that answers it, through real DDS, in real processes.

One process is the robot: it publishes scan, odometry and localisation with one stamp, and notes
when the command with that stamp arrives on cmd_vel. The other is the policy node. Beside them,
per row: nothing; new model versions that are swapped in; a trainer at full load (SAC on a store
recorded from the simulator) and swaps together. A tick is missed when its command has not come
within one control period.

    python benchmarks/latency.py [--quick] [--seconds N]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import rclpy
from policy_harness import Robot, node, publish, record, write_contract
from reporting import table, write
from robot_learning import contract as contracts

RATES_HZ = (20, 50)
CASES = ('alone', 'swaps', 'trainer and swaps')
SWAP_EVERY_S = 0.5
CANARY_TICKS = 5  # So few that each version serves before the next one comes.


@contextmanager
def swaps(models: Path, contract: contracts.RobotContract) -> Iterator[None]:
    """Publish a version every half second while the block lasts."""
    ending = threading.Event()

    def work() -> None:
        while not ending.wait(SWAP_EVERY_S):
            publish(models, contract)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def measure(folder: Path, rate_hz: int, case: str, seconds: float, store: Path) -> dict[str, Any]:
    """Measure one row."""
    models = folder / f'models_{rate_hz}_{case.replace(" ", "_")}'
    path = write_contract(folder, rate_hz)
    contract = contracts.load(path)
    publish(models, contract)
    with ExitStack() as stack:
        if 'trainer' in case:
            learning = folder / 'learning.yaml'
            learning.write_text('phase: sac\ntrainer: {train_ratio: 1000, warmup_steps: 500}\n')
            stack.enter_context(
                node(
                    'trainer_node',
                    store=store,
                    models=folder / f'learned_{rate_hz}',
                    config=learning,
                )
            )
        trial = {'canary.ticks': CANARY_TICKS}
        stack.enter_context(node('policy_node', robot=path, models=models, **trial))
        if 'swaps' in case:
            stack.enter_context(swaps(models, contract))
        command = [sys.executable, __file__, '--robot', str(rate_hz), '--seconds', str(seconds)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {'rate_hz': rate_hz, 'case': case, **json.loads(output.splitlines()[-1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='5 seconds a row')
    parser.add_argument('--seconds', type=float, default=30.0, help='a row')
    parser.add_argument('--robot', type=int, metavar='HZ', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    seconds = 5.0 if arguments.quick else arguments.seconds
    if arguments.robot:
        rclpy.init()
        print(json.dumps(Robot(arguments.robot, arguments.seconds).run()))
        rclpy.try_shutdown()
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = record(folder)
        rows = [
            measure(folder, rate_hz, case, seconds, store)
            for rate_hz in RATES_HZ
            for case in CASES
        ]
    table(rows)
    print(f'written to {write("latency", rows, quick=arguments.quick)}')


if __name__ == '__main__':
    main()
