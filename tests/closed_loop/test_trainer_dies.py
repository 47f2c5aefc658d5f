"""The trainer is killed while it learns: the robot drives on, the next trainer resumes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from robot_learning.model_store import ModelStore
from witness import Witness

DEADLINE_S = 120.0
LEARNED = 40  # Updates before the kill.
MODEL = 'walker'
PHASE = """
phase: sac
config: {hidden: [16, 16], batch_size: 32}
trainer:
  warmup_steps: 60
  publish_every_s: 0.5
  checkpoint_every_s: 0.5
  report_every_updates: 5
  report_every_s: 0.2
"""


@pytest.fixture
def witness():
    with Witness() as watching:
        yield watching


@pytest.fixture
def system(tmp_path):
    """The whole system as `./run up` starts it; yields its output file."""
    (tmp_path / 'phase.yaml').write_text(PHASE)
    command = [sys.executable, '-m', 'robot_learning.commands.up', '--model-name', MODEL]
    command += ['--store', str(tmp_path / 'store'), '--models', str(tmp_path / 'models')]
    command += ['--phase-config', str(tmp_path / 'phase.yaml'), '--session', 'today']
    command += ['--set', 'simulator.world.camera=off', '--set', 'recorder.flush_s=0.3']
    command += ['--set', 'recorder.recorder.reorder_window_s=2.0']
    output = tmp_path / 'output'
    with output.open('w') as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    yield output
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30.0)
    finally:
        process.kill()


def wait_until(predicate, what, output):
    end = time.monotonic() + DEADLINE_S
    while not predicate():
        assert time.monotonic() < end, f'{what}: not within {DEADLINE_S} s\n{output.read_text()}'
        time.sleep(0.02)


def saved_updates(folder: Path) -> int:
    names = [path.name for path in folder.glob('checkpoints/*/*')]
    return max((int(name) for name in names if name.isdigit()), default=0)


def trainer_pids(output: Path) -> list[int]:
    lines = output.read_text().splitlines()
    return [int(line.split()[-1]) for line in lines if 'trainer: started, process' in line]


def test_the_robot_drives_on_and_the_next_trainer_resumes(system, witness, tmp_path):
    store = ModelStore(tmp_path / 'models')
    wait_until(lambda: max(witness.versions(), default=-1) >= 1, 'a version that drives', system)
    wait_until(lambda: saved_updates(tmp_path) >= LEARNED, 'a checkpoint', system)
    os.kill(trainer_pids(system)[0], signal.SIGKILL)
    before, learned = len(witness.actions), len(witness.training)
    newest = max(store.versions(MODEL))
    wait_until(lambda: len(witness.actions) > before + 20, 'decisions without trainer', system)
    wait_until(lambda: len(trainer_pids(system)) == 2, 'another trainer', system)

    def resumed():
        return [t.update for t in witness.training[learned:] if t.state == 'training']

    wait_until(resumed, 'learning again', system)
    assert min(resumed()) >= LEARNED  # One that began anew would report its first updates.
    wait_until(lambda: max(store.versions(MODEL)) > newest, 'a version of the next one', system)
