"""How a training step grows with batch, length of windows and size of the model.

World model alone and whole Dreamer, seen as a vector of 24 numbers or as a 64 x 64 picture, on
the processor or a GPU. Beside each stands what drawing the batch from a filled replay buffer
takes, and its share of both together: data loading must not be what learning waits for. Times on
the processor are CPU time of one thread, so that other processes do not count; on a GPU they are
wall time until it has finished, the batch's way there included. Memory is the largest during the
steps, above what was there before the phase was made: on a GPU what torch held, on the processor
what the process, a fresh one for each row, had resident.

Needs torch, numpy and pydantic only.

    python benchmarks/scaling.py [--quick] [--device cpu|cuda|cuda:N|auto] [--numeric bfloat16]
                                 [--go-on]

Each row is written as soon as it is known; --go-on measures those that are still missing.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import MagicMock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

try:
    import yaml  # noqa: F401
except ImportError:  # Settings are not read from files here, so a GPU machine can be without.
    sys.modules['yaml'] = sys.modules['yaml.constructor'] = MagicMock()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from reporting import RESULTS, table, write  # noqa: E402
from robot_learning.errors import ConfigError  # noqa: E402
from robot_learning.models.world_model import WorldModelConfig  # noqa: E402
from robot_learning.phases import cpu  # noqa: E402
from robot_learning.phases.captured_update import NUM_PLAIN  # noqa: E402
from robot_learning.phases.devices import CPU, device_named  # noqa: E402
from robot_learning.phases.dreamer import Dreamer, DreamerConfig  # noqa: E402
from robot_learning.phases.phase import Batch, PolicySpace  # noqa: E402
from robot_learning.phases.world_model import (  # noqa: E402
    WorldModelPhase,
    WorldModelPhaseConfig,
)
from robot_learning.trajectory.buffer import ReplayBuffer  # noqa: E402
from robot_learning.trajectory.episode import Episode  # noqa: E402

NUM_ACTIONS, NUM_FEATURES, PICTURE = 6, 24, (64, 64, 3)
EPISODE_LENGTH = 500
CAPACITY = {'proprioception': 100_000, 'image': 10_000}  # Steps; both exceed what caches hold.
PHASES = ('world_model', 'dreamer')
POINTS = ((16, 64), (4, 64), (64, 64), (16, 16), (16, 128))  # Batch size, length.
FEW_POINTS = POINTS[:2]  # Of larger models on a processor, so that all takes minutes.
QUICK_POINTS = ((4, 8), (8, 8), (4, 16))
BUDGET_S, MIN_STEPS, MAX_STEPS = 4.0, 2, 10  # Of measured steps per row.
NUM_DRAWS = 10  # Of batches per row.
MIB = 2**20


class Case(NamedTuple):
    """One row."""

    size: str
    phase: str
    seen: str
    batch_size: int
    length: int


def cases(device: torch.device, quick: bool) -> Iterator[Case]:
    """Yield what is measured, the smallest model first."""
    sizes = ('size1m', 'size12m') if device == CPU else ('size1m', 'size12m', 'size25m')
    for size in sizes[:1] if quick else sizes:
        points = POINTS if device != CPU or size == 'size1m' else FEW_POINTS
        for phase in PHASES:
            for seen in CAPACITY:
                for batch_size, length in QUICK_POINTS if quick else points:
                    yield Case(size, phase, seen, batch_size, length)


def space_of(seen: str) -> PolicySpace:
    """Return the ends of a policy that sees so."""
    limits = -np.ones(NUM_ACTIONS, np.float32), np.ones(NUM_ACTIONS, np.float32)
    if seen == 'image':
        return PolicySpace(0, *limits, {}, {'camera': PICTURE})
    return PolicySpace(NUM_FEATURES, *limits, {'vector/joints': slice(0, NUM_FEATURES)})


def filled_buffer(seen: str, capacity: int) -> ReplayBuffer:
    """Return a full buffer of episodes; what is seen in them is random."""
    rng = np.random.default_rng(0)
    buffer = ReplayBuffer(capacity, rng)
    for number in range(capacity // EPISODE_LENGTH):
        shape = (EPISODE_LENGTH,)
        if seen == 'image':
            arrays = {'image/camera': rng.integers(0, 256, (*shape, *PICTURE), np.uint8)}
            arrays['observation'] = np.zeros((*shape, 0), np.float32)
        else:
            arrays = {'observation': rng.standard_normal((*shape, NUM_FEATURES), np.float32)}
        buffer.append(_episode(number, rng), arrays)
    return buffer


def _episode(number: int, rng: np.random.Generator) -> Episode:
    no = np.zeros(EPISODE_LENGTH, bool)
    action = rng.uniform(-1, 1, (EPISODE_LENGTH, NUM_ACTIONS)).astype(np.float32)
    steps = np.arange(EPISODE_LENGTH)
    return Episode(
        episode=number,
        offset=0,
        stamp_ns=steps * 10**8,
        observations={},
        field_stamp_ns={},
        present={},
        action=action,
        commanded=action,
        altered=no,
        log_prob=np.full(EPISODE_LENGTH, np.nan, np.float32),
        model_version=np.full(EPISODE_LENGTH, -1),
        reward=rng.standard_normal(EPISODE_LENGTH, np.float32),
        terminated=no,
        truncated=steps == EPISODE_LENGTH - 1,
        is_first=steps == 0,
        is_complete=True,
    )


def phase_of(case: Case, numeric: str, device: torch.device) -> Any:
    """Return what is trained; batches are as large as they are, whatever its settings say."""
    model: Any = WorldModelConfig(size=case.size, numeric=numeric)  # type: ignore[arg-type]
    space = space_of(case.seen)
    if case.phase == 'dreamer':
        return Dreamer(DreamerConfig(model=model), space, 0, device=device)
    return WorldModelPhase(WorldModelPhaseConfig(model=model), space, 0, device=device)


def drawn(buffer: ReplayBuffer, case: Case) -> Batch:
    """Draw a batch as `Experience.sample` does."""
    arrays = buffer.sample_windows(case.batch_size, case.length)
    if case.seen == 'image':
        del arrays['observation']
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def measure(
    case: Case, buffer: ReplayBuffer, numeric: str, device: torch.device
) -> dict[str, Any]:
    """Return the row of a case."""
    clock = time.process_time if device == CPU else time.perf_counter
    if device == CPU:  # Code and small buffers of torch that every phase needs come first.
        tiny = case._replace(size='size1m', batch_size=2, length=2)
        phase_of(tiny, numeric, device).update(drawn(buffer, tiny))
    before = _settled_memory(device)
    phase = phase_of(case, numeric, device)

    def update() -> None:
        phase.update(batch)
        if device != CPU:
            torch.cuda.synchronize(device)

    batch = drawn(buffer, case)
    # The first step allocates, and on a GPU chooses among algorithms; there a graph is recorded.
    for _ in range(1 if device == CPU else NUM_PLAIN + 1):
        update()
    first_s = _seconds(update, clock)
    count = min(max(MIN_STEPS, int(BUDGET_S / max(first_s, 1e-3)) - 1), MAX_STEPS)
    update_s = statistics.median([first_s, *(_seconds(update, clock) for _ in range(count - 1))])
    peak = _peak_memory(device) - before
    draw_s = statistics.median(
        _seconds(lambda: drawn(buffer, case), clock) for _ in range(NUM_DRAWS)
    )
    return _row(case, update_s, peak, draw_s)


def _row(case: Case, update_s: float, peak: int, draw_s: float) -> dict[str, Any]:
    return {
        **case._asdict(),
        'update, s': round(update_s, 4),
        'steps learned from per s': round(case.batch_size * case.length / update_s),
        'peak memory, MiB': round(peak / MIB),
        'drawing, ms': round(1e3 * draw_s, 3),
        'drawing, % of both': round(100 * draw_s / (draw_s + update_s), 2),
    }


def _seconds(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    began = clock()
    work()
    return clock() - began


def _settled_memory(device: torch.device) -> int:
    """Give back what is not needed and begin to count anew; return the bytes in use."""
    gc.collect()
    if device != CPU:
        torch.cuda.empty_cache()
        torch.cuda.init()  # Else there is nothing to reset.
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if sys.platform == 'linux':  # Else what the first small phase left would be used again.
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE')


def _peak_memory(device: torch.device) -> int:
    if device != CPU:
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measured_apart(case: Case, buffer: ReplayBuffer, numeric: str) -> dict[str, Any]:
    """Measure in a process of its own: how much memory one ever took is told per process."""
    context = multiprocessing.get_context('fork')  # Shares the buffer.
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        cpu.settle(torch.get_num_threads())
        sender.send(measure(case, buffer, numeric, CPU))

    child = context.Process(target=work)
    child.start()
    sender.close()
    try:
        row: dict[str, Any] = receiver.recv()
    except EOFError:
        row = {**case._asdict(), 'failed': 'out of memory, or see above'}
    child.join()
    return row


def measured_on_gpu(
    case: Case, buffer: ReplayBuffer, numeric: str, device: torch.device
) -> dict[str, Any]:
    """Measure here; a row that does not fit says so."""
    try:
        return measure(case, buffer, numeric, device)
    except torch.OutOfMemoryError:
        return {**case._asdict(), 'failed': 'out of memory'}


def earlier(name: str, quick: bool, conditions: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that were measured under the same conditions."""
    path = RESULTS / (f'{name}.quick.json' if quick else f'{name}.json')
    found = json.loads(path.read_text())['results'] if path.is_file() else {}
    is_same = all(found.get(key) == value for key, value in conditions.items())
    return list(found['rows']) if found and is_same else []


def main() -> int:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--quick', action='store_true', help='tiny batches of the smallest model')
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1 or auto')
    parser.add_argument('--numeric', choices=('float32', 'bfloat16'), default='float32')
    parser.add_argument('--threads', type=int, default=1, help='of torch on the processor')
    parser.add_argument('--go-on', action='store_true', help='keep the rows that are there')
    options = parser.parse_args()
    try:
        device = device_named(options.device)
    except ConfigError as error:
        parser.error(str(error))
    cpu.settle(options.threads)
    capacities = {
        seen: min(size, 4 * EPISODE_LENGTH) if options.quick else size
        for seen, size in CAPACITY.items()
    }
    buffers = {seen: filled_buffer(seen, size) for seen, size in capacities.items()}
    name = 'scaling' if device == CPU else 'scaling_gpu'
    results: dict[str, Any] = {
        'device': 'processor' if device == CPU else torch.cuda.get_device_name(device),
        'clock': 'CPU time' if device == CPU else 'wall time',
        'threads': options.threads,
        'numeric': options.numeric,
        'steps in the buffer': capacities,
    }
    rows = earlier(name, options.quick, results) if options.go_on else []
    wanted = list(cases(device, options.quick))
    known = {tuple(row[field] for field in Case._fields) for row in rows}
    for case in (case for case in wanted if case not in known):
        buffer = buffers[case.seen]
        if device == CPU:
            rows.append(measured_apart(case, buffer, options.numeric))
        else:
            rows.append(measured_on_gpu(case, buffer, options.numeric, device))
        print(', '.join(f'{key}: {value}' for key, value in rows[-1].items()), flush=True)
        left = len(wanted) - len(rows)
        write(name, results | {'rows still to measure': left, 'rows': rows}, options.quick)
    table(rows)
    return 1 if any('failed' in row and row['failed'] != 'out of memory' for row in rows) else 0


if __name__ == '__main__':
    sys.exit(main())
