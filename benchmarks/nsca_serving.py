"""Perception and imagination on one core: how often a world state can be told.

Weights are drawn at random, which changes no time. A picture of 64 x 64, half a second of sound
and the body go in; the state with confidences, novelty and properties comes out. Processor time
is that of the thread; on a machine that does nothing else it is the wall time too.

    python benchmarks/nsca_serving.py [--quick]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

from reporting import table, write  # noqa: E402
from robot_learning.commands.train_nsca import load_settings  # noqa: E402
from robot_learning.models.nsca.config import MODALITIES  # noqa: E402
from robot_learning.models.nsca.published import Published  # noqa: E402
from robot_learning.models.nsca.whole import NscaModel  # noqa: E402
from robot_learning.serving.imagination import imagine  # noqa: E402
from robot_learning.serving.perception import Senses, WorldPerception  # noqa: E402

GOAL_HZ = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true')
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    phases = ROOT / 'config' / 'phases'
    rows = []
    for name in ('nsca', 'nsca_small'):
        settings = load_settings(phases / f'{name}.yaml')
        model = NscaModel(settings.model).eval().requires_grad_(False)
        window = settings.fusion.window
        published = Published('nsca_full', settings.model, model, MODALITIES, window, False, name)
        world = WorldPerception(published)
        rng = np.random.default_rng(0)
        senses = Senses(
            rng.integers(0, 255, (64, 64, 3), dtype=np.uint8),
            rng.standard_normal(world.num_sound_samples).astype(np.float32),
            rng.standard_normal(settings.model.proprioception_size).astype(np.float32),
        )
        actions = np.zeros((10, settings.model.action_size), np.float32)
        count = 5 if options.quick else 100
        for what, call in (
            ('world state', lambda w=world, s=senses: w.observe(s)),
            ('10 imagined steps', lambda w=world, a=actions: imagine(w, a)),
        ):
            rows.append({'settings': name, 'what': what, **_timed(call, count)})
    table(rows)
    write('nsca_serving', {'goal_hz': GOAL_HZ, 'rows': rows}, options.quick)


def _timed(call: Callable[[], Any], count: int) -> dict[str, float]:
    for _ in range(3):
        call()
    spent, passed = [], []
    for _ in range(count):
        thread_ns, wall_ns = time.thread_time_ns(), time.perf_counter_ns()
        call()
        spent.append((time.thread_time_ns() - thread_ns) * 1e-6)
        passed.append((time.perf_counter_ns() - wall_ns) * 1e-6)
    return {
        'CPU ms, p50': float(np.percentile(spent, 50)),
        'CPU ms, p99': float(np.percentile(spent, 99)),
        'wall ms, p50': float(np.percentile(passed, 50)),
        'wall ms, p99': float(np.percentile(passed, 99)),
        'per CPU second': 1e3 / float(np.mean(spent)),
    }


if __name__ == '__main__':
    main()
