"""A short demo with all its processes, stopped by Ctrl-C and continued, and what it leaves."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from robot_learning.commands.run_directory import RunDirectory
from robot_learning.model_store import ModelStore
from robot_learning.trajectory.bags.bag_reader import open_bag
from robot_learning.trajectory.store import TrajectoryStore

COMMAND = [sys.executable, '-m', 'robot_learning.commands.demo', '--quick']
DEMONSTRATIONS = '600'
PATIENCE_S = 180.0
NODES = ('simulator_node', 'policy_node', 'recorder_node', 'trainer_node', 'bag_recorder_node')


def start(out, *options):
    log = out.with_suffix('.txt').open('a')
    arguments = [*COMMAND, '--out', str(out), '--demonstrations', DEMONSTRATIONS, *options]
    return subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT)


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f'waited {PATIENCE_S:g} s for {what}'
        time.sleep(0.1)


def processes_of(run):
    """List what still runs on behalf of the run, by its folder on the command line."""
    found = []
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            command = (folder / 'cmdline').read_bytes().decode(errors='replace')
        except OSError:
            continue
        if str(run) in command and any(node in command for node in NODES):
            found.append(command.replace('\0', ' '))
    return found


@pytest.fixture(scope='module')
def interrupted(tmp_path_factory):
    """A run stopped by Ctrl-C after its first steps were recorded."""
    out = tmp_path_factory.mktemp('demo') / 'run'
    demo = start(out, '--seed', '3')
    try:
        wait_until(lambda: len(list(out.glob('episodes/*/segment_*.hdf5'))) >= 3, 'segments')
        demo.send_signal(signal.SIGINT)
        code = demo.wait(PATIENCE_S)
    finally:
        demo.kill()
    return out, code, out.with_suffix('.txt').read_text()


@pytest.fixture(scope='module')
def finished(interrupted):
    """The same run, continued to the end of a small budget."""
    out, _, _ = interrupted
    before = json.loads((out / 'metrics.json').read_text())
    minutes = (before['loop_seconds'] + 15) / 60
    demo = start(out, '--minutes', f'{minutes:.3f}')
    try:
        code = demo.wait(2 * PATIENCE_S)
    finally:
        demo.kill()
    text = out.with_suffix('.txt').read_text()
    assert code == 0, text
    return out, before, json.loads((out / 'metrics.json').read_text())


def test_ctrl_c_ends_everything_and_still_reports(interrupted):
    out, code, text = interrupted
    assert code == 130, text
    assert processes_of(out) == []
    metrics = json.loads((out / 'metrics.json').read_text())
    assert metrics['success_rate_before'] is not None
    assert metrics['success_rate_after'] is None
    assert 'It was interrupted' in (out / 'report.html').read_text()


def test_ctrl_c_loses_no_recorded_step(interrupted):
    out, _, _ = interrupted
    store = TrajectoryStore(out / 'episodes')
    assert store.verify() == []
    (session,) = RunDirectory(out).read_state().sessions
    episodes = list(store.episodes(fields=()))
    assert all(episode.is_complete for episode in episodes)
    recorded = sum(len(episode) for episode in episodes)
    commands = session.gate['commands']
    # The status with the last commands may be half a second older than the end.
    assert recorded >= 0.9 * commands


def test_a_rerun_continues_where_it_stopped(finished):
    _, before, after = finished
    assert after['seed'] == 3
    assert after['num_sessions'] == 2
    assert after['environment_steps'] > before['environment_steps']
    assert after['loop_seconds'] == pytest.approx(before['loop_seconds'] + 15, abs=2)
    steps = [version['environment_step'] for version in after['model_versions']]
    assert steps == sorted(steps)
    assert steps[-1] > before['environment_steps']


def test_the_run_folder_holds_all_that_was_promised(finished):
    out, _, _ = finished
    for name in ('bag', 'episodes', 'models', 'tensorboard', 'logs', 'metrics.json'):
        assert (out / name).exists(), name
    assert list((out / 'tensorboard').rglob('events.out.tfevents.*'))
    assert (out.parent / 'latest').resolve() == out
    store = ModelStore(out / 'models')
    for version in store.versions('navigator'):
        store.verify('navigator', version)
    for session in ('session_01', 'session_02'):
        with open_bag(out / 'bag' / session) as bag:
            counts = {c.topic.rsplit('/', 1)[-1]: c.msgcount for c in bag.connections}
        assert counts['policy_action'] > 100
        assert counts['scan'] > 100
    assert (out / 'report.html').stat().st_size > 50_000


def test_the_numbers_are_complete_and_consistent(finished):
    _, _, metrics = finished
    assert 0 <= metrics['success_rate_before'] <= 0.2
    assert metrics['success_rate_after'] is not None
    curve = metrics['success_curve']
    assert [point['environment_step'] for point in curve] == sorted(
        point['environment_step'] for point in curve
    )
    assert curve[-1]['rate'] == metrics['success_rate_after']
    assert 0 < curve[-1]['wall_s'] <= metrics['loop_seconds'] + 0.1
    assert metrics['steps_per_second'] > 5
    assert 0 < metrics['latency_ms']['p50'] <= metrics['latency_ms']['p99']
    assert metrics['latency_ms']['count'] > 200
    assert metrics['train_ratio'] > 0
    wanted = {'scan', 'odom', 'amcl_pose', 'goal_pose', 'policy_action', 'outcome'}
    assert set(metrics['dropped_messages']) >= wanted
    assert all(count == 0 for count in metrics['unaccounted_messages'].values())
    assert metrics['gate']['not_finite'] == 0


def test_no_process_is_left_behind(finished):
    out, _, _ = finished
    assert processes_of(out) == []


def test_a_process_that_cannot_run_is_named_with_its_last_words(tmp_path):
    # A phase that the trainer would refuse is found before anything is started, so break the
    # contract's file between the check and the nodes: they get a path that is gone.
    contract = tmp_path / 'vanishing.yaml'
    contract.write_text('extends: arena\nrobot: vanishing\n')
    source = Path(__file__).resolve().parents[2] / 'config' / 'robots'
    for name in ('arena', 'turtlebot3'):
        (tmp_path / f'{name}.yaml').write_text((source / f'{name}.yaml').read_text())
    out = tmp_path / 'run'
    demo = start(out, '--robot', str(contract))
    try:
        wait_until(lambda: (out / 'demonstrations').is_dir(), 'demonstrations')
        contract.unlink()
        assert demo.wait(PATIENCE_S) == 2
    finally:
        demo.kill()
    text = out.with_suffix('.txt').read_text()
    assert 'simulator ended' in text or 'policy ended' in text or 'recorder ended' in text
    assert 'vanishing.yaml' in text
    assert f'--out {out}' in text
    assert processes_of(out) == []
