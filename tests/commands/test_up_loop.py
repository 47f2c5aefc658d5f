"""`up` with the real nodes over real DDS: it records, ends cleanly, and a rerun continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from robot_learning.trajectory.store import TrajectoryStore

DEADLINE_S = 60.0


@pytest.fixture
def start(tmp_path):
    processes: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        arguments = ['--only', 'simulator,policy,recorder', '--session', 'today', '--seed', '3']
        places = ['--store', str(tmp_path / 'store'), '--models', str(tmp_path / 'models')]
        quick = ['--set', 'recorder.flush_s=0.3', '--set', 'simulator.world.camera=off']
        command = [sys.executable, '-m', 'robot_learning.commands.up']
        with (tmp_path / 'output').open('w') as output:
            process = subprocess.Popen(
                [*command, *arguments, *places, *quick], stdout=output, stderr=subprocess.STDOUT
            )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def until_segments(folder: Path, count: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while len(list(folder.glob('store/today/segment_*.hdf5'))) < count:
        assert time.monotonic() < deadline, (folder / 'output').read_text()
        time.sleep(0.1)


def children_of(text: str) -> list[int]:
    return [int(line.split()[-1]) for line in text.splitlines() if 'started, process' in line]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_loop_records_and_a_rerun_continues_after_ctrl_c(start, tmp_path):
    process = start()
    until_segments(tmp_path, 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=DEADLINE_S) == 0
    output = (tmp_path / 'output').read_text()
    assert 'up: all processes have ended' in output
    assert 'Traceback' not in output
    assert not any(is_running(pid) for pid in children_of(output))

    store = TrajectoryStore(tmp_path / 'store')
    next_episode = store.next_episode('today')
    assert next_episode >= 1
    num_segments = len(list(tmp_path.glob('store/today/segment_*.hdf5')))

    again = start()
    until_segments(tmp_path, num_segments + 1)
    again.send_signal(signal.SIGTERM)
    assert again.wait(timeout=DEADLINE_S) == 0
    assert store.next_episode('today') > next_episode


def test_killing_up_leaves_no_node_behind(start, tmp_path):
    process = start()
    until_segments(tmp_path, 1)
    pids = children_of((tmp_path / 'output').read_text())
    assert len(pids) == 3
    process.kill()
    process.wait()
    deadline = time.monotonic() + DEADLINE_S
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
