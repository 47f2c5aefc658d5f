"""Hours of the whole loop: does memory, descriptors, threads, shared memory or latency grow?

The system runs as `./run up --record-bag` starts it, in accelerated lock-step: simulator, policy,
recorder, raw recorder and trainer, with a version published every five seconds. Every few seconds
each process is looked at from outside (/proc), while this process hears every decision. The first
part, until the replay buffer is full, is warm-up and not judged; the rest gives the numbers
before, in the middle and after (medians over an eighth of it) and the slope (Theil-Sen, 95 %).

`own_mib` is what a process has taken for itself (anonymous memory), which a leak would fill;
`rss_mib` also counts pages of libraries and of the 16 MiB rings of shared memory, which fill once;
`pss_mib` shares those out and so depends on what else runs on the machine; it is not judged.

    python benchmarks/soak.py [--simulated-hours 4] [--warm-up-hours 0.5] [--quick]
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
for folder in ('ros_ws/src', 'tests/closed_loop'):
    sys.path.insert(0, str(ROOT / folder))
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('FASTRTPS_DEFAULT_PROFILES_FILE', str(ROOT / 'config' / 'fastdds.xml'))
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ['PYTHONPATH'] = os.pathsep.join(
    [str(ROOT / 'ros_ws' / 'src'), os.environ.get('PYTHONPATH', '')]
)

import rclpy  # noqa: E402
from crash_system import System, wait_until  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.node import Node  # noqa: E402
from reporting import table, write  # noqa: E402
from robot_learning.commands import shared_memory  # noqa: E402
from robot_learning.commands.demo_loop import free_domain_id  # noqa: E402
from robot_learning.nodes import qos  # noqa: E402
from robot_learning.nodes.run import make_executor  # noqa: E402
from robot_learning_interfaces.msg import ModelVersion, PolicyAction  # noqa: E402
from scipy import stats  # noqa: E402

PROCESSES = ('simulator', 'policy', 'recorder', 'bag_recorder', 'trainer')
PATIENCE_S = 120.0
CAPACITY = 8000  # Steps in the replay buffer: 0.45 h at 5 Hz, so that it is full after warm-up.
PAGE = os.sysconf('SC_PAGE_SIZE')
# Quantity -> the growth that counts as one, in its unit: noise and rounding stay below.
TOLERANCE = {
    'own_mib': 3.0,
    'rss_mib': 4.0,
    'pss_mib': math.inf,
    'descriptors': 0.9,
    'threads': 0.9,
    'shared_files': 0.9,
    'shared_mib': 0.5,
}
LATENCIES = ('latency_p50_ms', 'latency_p99_ms', 'step_p50_ms', 'step_p99_ms')
LEARNING = f"""
phase: sac
config:
  {{hidden: [256, 256], layer_norm: true, batch_size: 256, discount: 0.98, n_step: 3,
   initial_temperature: 0.1, publish_rate: 0.002}}
trainer:
  {{capacity: {CAPACITY}, train_ratio: 1.0, warmup_steps: 1000, publish_every_s: 5.0,
   checkpoint_every_s: 30.0}}
"""


class Sample(NamedTuple):
    """What one process holds at one moment."""

    process: str
    simulated_h: float
    values: dict[str, float]


class Listener:
    """Hears every decision: how old it is, how far the world is, which version drives."""

    def __init__(self, domain_id: int):
        self.stamp_s = -math.inf
        self.num_actions = 0
        self.versions: set[int] = set()
        self.refused = 0
        self._latency_ms: list[float] = []
        self._step_ms: list[float] = []
        self._arrival_s: float | None = None
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self._node = Node('listener', context=self._context)
        deep = qos.qos_profile('reliable', depth=1000)
        self._node.create_subscription(PolicyAction, 'policy_action', self._on_action, deep)
        self._node.create_subscription(ModelVersion, 'model_version', self._on_version, deep)
        self._executor = make_executor(self._context)
        self._executor.add_node(self._node)

    def listen(self, seconds: float) -> dict[str, float]:
        """Listen for a while; return what was measured in it."""
        self._latency_ms.clear()
        self._step_ms.clear()
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left_s, 0.2))
        return {
            **quantiles('latency', self._latency_ms),
            **quantiles('step', self._step_ms),
            'steps_per_s': len(self._step_ms) / seconds,
        }

    def close(self) -> None:
        """Stop listening."""
        self._executor.remove_node(self._node)
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _on_action(self, message: PolicyAction) -> None:
        now_s = time.monotonic()
        if self._arrival_s is not None:
            self._step_ms.append((now_s - self._arrival_s) * 1e3)
        self._arrival_s = now_s
        self.stamp_s = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        self.num_actions += 1
        self.versions.add(message.version)
        if message.latency_ms >= 0:
            self._latency_ms.append(message.latency_ms)

    def _on_version(self, message: ModelVersion) -> None:
        self.refused += message.state == ModelVersion.REFUSED


def main() -> int:
    options = parse()
    warm_up_h, hours = (0.1, 0.25) if options.quick else (options.warm_up_hours, options.hours)
    before = shared_files()
    with tempfile.TemporaryDirectory(prefix='soak_') as name:
        run = soak(Path(name), warm_up_h, hours, 2.0 if options.quick else options.every_s)
    left = sorted(path.name for path in shared_memory.stale_files() if path.name not in before)
    rows = judge(run['samples'], run['loop'], warm_up_h)
    table(rows)
    growing = [f'{row["process"]} {row["quantity"]}' for row in rows if row['grows']]
    print(f'{run["steps"]} steps, {run["simulated_h"]:.2f} h simulated in {run["wall_s"]:.0f} s')
    print(f'{run["versions"]} versions drove, {run["refused"]} refused, exit {run["exit_code"]}')
    print(f'left in shared memory: {", ".join(left) or "nothing"}')
    print(f'grows: {", ".join(growing) or "nothing"}')
    results = {key: value for key, value in run.items() if key not in ('samples', 'loop')}
    results |= {
        'warm_up_hours': warm_up_h,
        'replay_capacity': CAPACITY,
        'left_in_shared_memory': left,
        'growing': growing,
        'rows': rows,
        'curves': curves(run['samples'], run['loop']),
    }
    print(f'written to {write("soak", results, options.quick)}')
    if options.quick:
        print('A quick run is too short to tell growth from buffers that still fill.')
        growing = []
    return 1 if growing or left or run['restarts'] or run['exit_code'] else 0


def soak(folder: Path, warm_up_h: float, hours: float, every_s: float) -> dict[str, Any]:
    """Run the loop for so many simulated hours; return samples and counts."""
    (folder / 'learning.yaml').write_text(LEARNING)
    domain_id = free_domain_id()
    system = System(folder, domain_id, arguments(folder))
    listener = Listener(domain_id)
    samples: list[Sample] = []
    loop: list[Sample] = []
    try:
        system.start()
        wait_until(lambda: all(map(system.pids, PROCESSES)), 'processes', PATIENCE_S, system)
        await_steps(listener, system)
        began_s, first_s, count = time.monotonic(), listener.stamp_s, listener.num_actions
        while (simulated_h := (listener.stamp_s - first_s) / 3600) < warm_up_h + hours:
            measured = listener.listen(every_s)
            if not measured['steps_per_s']:
                await_steps(listener, system)
            loop.append(Sample('loop', simulated_h, measured))
            for process in PROCESSES:
                if (values := look_at(system.pids(process)[-1])) is not None:
                    samples.append(Sample(process, simulated_h, values))
        wall_s = time.monotonic() - began_s
        restarts = {p: len(system.pids(p)) - 1 for p in PROCESSES if len(system.pids(p)) > 1}
        listener.close()  # What it has mapped would count as used.
        return {
            'samples': samples,
            'loop': loop,
            'simulated_h': simulated_h,
            'wall_s': wall_s,
            'steps': listener.num_actions - count,
            'versions': len(listener.versions),
            'refused': listener.refused,
            'restarts': restarts,
            'exit_code': system.stop(PATIENCE_S),
            'disk_mib': {name: disk_mib(folder / name) for name in ('store', 'models', 'bags')},
        }
    finally:
        system.close()


def arguments(folder: Path) -> list[str]:
    """Return the options of `up`."""
    return [
        *('--mode', 'lock_step', '--record-bag', '--session', 'soak', '--seed', '0'),
        *('--phase-config', str(folder / 'learning.yaml')),
    ]


def await_steps(listener: Listener, system: System) -> None:
    """Wait until the loop turns.

    Raises:
        AssertionError: it does not in time.
    """
    count = listener.num_actions

    def turns() -> bool:
        listener.listen(0.5)
        return listener.num_actions > count + 10

    wait_until(turns, 'steps', PATIENCE_S, system)


def look_at(pid: int) -> dict[str, float] | None:
    """Return what a process holds; None if it has just ended."""
    folder = Path('/proc') / str(pid)
    try:
        lines = (folder / 'smaps_rollup').read_text().splitlines()[1:]
        kib = {line.split(':')[0]: int(line.split()[1]) for line in lines}
        shared = {
            line.split(maxsplit=5)[5]: bounds(line.split()[0])
            for line in (folder / 'maps').read_text().splitlines()
            if '/dev/shm/' in line
        }
        return {
            'rss_mib': int((folder / 'statm').read_text().split()[1]) * PAGE / 2**20,
            'pss_mib': kib['Pss'] / 1024,
            'own_mib': kib['Anonymous'] / 1024,
            'descriptors': len(os.listdir(folder / 'fd')),  # noqa: PTH208 - only counted.
            'threads': len(os.listdir(folder / 'task')),  # noqa: PTH208
            'shared_files': len(shared),
            'shared_mib': sum(shared.values()) / 2**20,
        }
    except (OSError, KeyError):
        return None


def bounds(text: str) -> int:
    """Return the size of a range such as 7f00-7f10."""
    begin, end = (int(word, 16) for word in text.split('-'))
    return end - begin


def judge(samples: list[Sample], loop: list[Sample], warm_up_h: float) -> list[dict[str, Any]]:
    """Return a row for each quantity of each process: before, after, slope, whether it grows."""
    rows = []
    for process in PROCESSES:
        mine = [s for s in samples if s.process == process and s.simulated_h >= warm_up_h]
        rows += [row(process, mine, quantity, limit) for quantity, limit in TOLERANCE.items()]
    turns = [sample for sample in loop if sample.simulated_h >= warm_up_h]
    for quantity in LATENCIES:
        rows.append(row('loop', turns, quantity, None))
    return rows


def row(
    process: str, samples: Sequence[Sample], quantity: str, tolerance: float | None
) -> dict[str, Any]:
    """Compare the first eighth of samples with the middle and the last; fit a line through all.

    What grows is more at the end by more than the tolerance, still grows in the second half (a
    buffer that fills slows down and stops), and has a slope that noise does not explain.
    """
    known = [s for s in samples if math.isfinite(s.values[quantity])]
    hours = [sample.simulated_h for sample in known]
    values = [sample.values[quantity] for sample in known]
    part, half = max(len(values) // 8, 1), len(values) // 2
    before, after = statistics.median(values[:part]), statistics.median(values[-part:])
    middle = statistics.median(values[half - part // 2 : half + part // 2 + 1])
    slope = stats.theilslopes(values, hours, 0.95)
    if tolerance is None:  # Of a latency: a fifth more, and not less than half a millisecond.
        tolerance = max(0.2 * before, 0.5)
    grows = after - before > tolerance and after - middle > tolerance / 3 and slope.low_slope > 0
    return {
        'process': process,
        'quantity': quantity,
        'before': round(before, 2),
        'middle': round(middle, 2),
        'after': round(after, 2),
        'slope_per_h': round(slope.slope, 3),
        'slope_low': round(slope.low_slope, 3),
        'slope_high': round(slope.high_slope, 3),
        'grows': bool(grows),
    }


def curves(samples: list[Sample], loop: list[Sample], points: int = 60) -> dict[str, Any]:
    """Return at most `points` points of each curve, for pictures."""
    result: dict[str, Any] = {}
    for process in (*PROCESSES, 'loop'):
        mine = [s for s in [*samples, *loop] if s.process == process]
        thinned = mine[:: max(len(mine) // points, 1)]
        for quantity in thinned[0].values if thinned else ():
            result[f'{process}.{quantity}'] = [
                [round(s.simulated_h, 4), round(s.values[quantity], 3)] for s in thinned
            ]
    return result


def quantiles(name: str, values: list[float]) -> dict[str, float]:
    """Return median and 99th percentile; NaN where there was nothing."""
    if len(values) < 2:
        return {f'{name}_p50_ms': math.nan, f'{name}_p99_ms': math.nan}
    cuts = statistics.quantiles(values, n=100)
    return {f'{name}_p50_ms': cuts[49], f'{name}_p99_ms': cuts[98]}


def shared_files() -> set[str]:
    return {path.name for path in shared_memory.DIRECTORY.iterdir()}


def disk_mib(folder: Path) -> float:
    return round(sum(p.stat().st_size for p in folder.rglob('*') if p.is_file()) / 2**20, 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--simulated-hours', type=float, default=4.0, dest='hours')
    parser.add_argument('--warm-up-hours', type=float, default=0.5, help='before that, simulated')
    parser.add_argument('--every-s', type=float, default=3.0, help='wall time between samples')
    parser.add_argument('--quick', action='store_true', help='some two minutes, results apart')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
