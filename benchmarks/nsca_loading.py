"""Whether learning waits for its data: the phases of NSCA that read files, small settings.

The bench's interactions are collected as the guide's folder; each phase learns from it as
`train --mode nsca` does, from the first reading of a file on, for the fifteen passes of the small
settings. `waited` is the share of the time that updates wait for their batches.

    python benchmarks/nsca_loading.py [--quick] [--data DIR] [--seed N]
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nsca_runs import ROOT
from reporting import table, write
from robot_learning.model_store import ModelStore
from robot_learning.phases import cpu, nsca_config
from robot_learning.phases.devices import CPU
from robot_learning.phases.nsca_preparation import Data, prepare
from robot_learning.phases.passes import Origin, Passes
from robot_learning.phases.publishing import Publisher
from robot_learning.trajectory.paired_sources import open_paired

PHASES = ('vision', 'audio', 'fusion')
_EPOCHS, _BATCH = 15, 16
_UNWATCHED = """
config:
  vision: {contrast: {smallest_rank: 1.0, smallest_std: 0.0}}
  audio: {contrast: {smallest_rank: 1.0, smallest_std: 0.0}}
  fusion: {loss: {smallest_rank: 1.0, smallest_std: 0.0}}
"""  # So few samples spread little.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--data', type=Path, help='folder of the guide; else one is collected')
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    cpu.settle()
    with tempfile.TemporaryDirectory() as folder:
        path = options.data or _collected(Path(folder) / 'bench', options.seed)
        store = ModelStore(Path(folder) / 'models')
        rows = [_measured(name, path, store, options) for name in PHASES]
    table(rows)
    write('nsca_loading', {'phases': rows, 'seed': options.seed}, options.quick)


def _collected(path: Path, seed: int) -> Path:
    command = [sys.executable, '-m', 'robot_learning.commands.collect', '--interactions', '60']
    command += ['--interventions', '0', '--seed', str(seed), '--out', str(path)]
    subprocess.run(command, cwd=ROOT, check=True)
    return path


def _measured(
    name: str, path: Path, store: ModelStore, options: argparse.Namespace
) -> dict[str, Any]:
    settings = nsca_config.load(nsca_config.shipped('nsca_small.yaml'), _UNWATCHED)
    paired = open_paired(path, settings.model.image_size, check_files=False)
    data = Data(paired.split('train'), paired.split('val'))
    ready = prepare(name, data, settings, store, 'senses', options.seed, CPU)
    epochs = 1 if options.quick else _EPOCHS
    config = dataclasses.replace(
        ready.passes, epochs=epochs, batch_size=_BATCH, measure_epochs=epochs
    )
    publisher = Publisher(store, f'senses-{name}', f'nsca_{name}', options.seed)
    origin = Origin([str(path)])
    begun_s = time.process_time()
    progress = Passes(
        ready.objective, ready.training, ready.held_out, config, publisher, None, origin
    ).run()
    cpu_s = time.process_time() - begun_s
    return {
        'phase': name,
        'rows': len(data.training),
        'updates': progress.update,
        'ms per update': round(1e3 / progress.updates_per_second, 1),
        'CPU ms per update': round(1e3 * cpu_s / progress.update, 1),
        'waited': round(progress.metrics['trainer/waited_share'], 4),
    }


if __name__ == '__main__':
    main()
