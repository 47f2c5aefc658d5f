"""The whole loop over DDS: what the raw bag gives offline is what was recorded live, exactly."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from robot_learning import contract as contracts
from robot_learning.trajectory.bags.bag import import_bag
from robot_learning.trajectory.episode import FLAT, PER_FIELD
from robot_learning.trajectory.store import TrajectoryStore

DEADLINE_S = 60.0
SESSION = 'today'


@pytest.fixture(scope='module', params=['lock_step', 'real_time'])
def recorded(request, tmp_path_factory):
    """Folder of a run without a trainer that ended with Ctrl-C: store and bag."""
    folder = tmp_path_factory.mktemp('run')
    is_lock_step = request.param == 'lock_step'
    command = [sys.executable, '-m', 'robot_learning.commands.up', '--seed', '5']
    command += ['--only', 'simulator,policy,recorder,bag_recorder', '--mode', request.param]
    command += ['--store', str(folder / 'store'), '--session', SESSION, '--speed', '2']
    command += ['--models', str(folder / 'models'), '--bag', str(folder / 'bag')]
    command += ['--set', 'recorder.flush_s=0.5']
    with (folder / 'output').open('w') as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + DEADLINE_S
        num_segments = 4 if is_lock_step else 10
        while len(TrajectoryStore(folder / 'store').segments()) < num_segments:
            assert time.monotonic() < deadline, (folder / 'output').read_text()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=DEADLINE_S) == 0, (folder / 'output').read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return folder, is_lock_step


def test_the_bag_of_a_run_gives_the_episodes_that_were_recorded(recorded, tmp_path):
    folder, is_lock_step = recorded
    live = list(TrajectoryStore(folder / 'store').episodes())
    report = import_bag(folder / 'bag', contracts.load('arena'), TrajectoryStore(tmp_path))
    replayed = list(TrajectoryStore(tmp_path).episodes())
    assert not report.warnings
    assert sum(topic.counts.get('unaccounted', 0) for topic in report.topics) == 0
    assert sum(map(len, live)) > 30
    if not is_lock_step:  # In real time the two recorders start to listen at different moments.
        begun_ns = max(live[0].stamp_ns[0], replayed[0].stamp_ns[0])
        live = [episode for episode in live if episode.stamp_ns[0] > begun_ns]
        replayed = [episode for episode in replayed if episode.stamp_ns[0] > begun_ns]
    else:
        assert live[0].stamp_ns[0] == replayed[0].stamp_ns[0]
    assert [len(episode) for episode in replayed] == [len(episode) for episode in live]
    for ours, theirs in zip(live, replayed, strict=True):
        for name in FLAT:
            np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name), name)
        for group in PER_FIELD:
            for field, values in getattr(ours, group).items():
                theirs_of = getattr(theirs, group)[field]
                np.testing.assert_array_equal(theirs_of, values, f'{group}.{field}')
        assert theirs.attributes['reason'] == ours.attributes['reason']
        assert theirs.attributes['seed'] == ours.attributes['seed']
