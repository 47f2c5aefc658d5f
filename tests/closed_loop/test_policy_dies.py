"""The policy process is killed while it drives: the robot stops, and drives on with the next."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from robot_learning import contract as contracts
from witness import Witness

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'serving'))
import policies

DEADLINE_S = 30.0
CIRCLE = (0.0, 0.805)  # tanh of these is 0.2 m/s and 1 rad/s: round and round in free space.
STOP_WITHIN_S = 0.2
WINDOW_S = 0.6  # After the kill, in which the robot comes to rest and stays so.
SAMPLE_S = 1 / 30  # The kill comes up to this long after the newest speed.


def wait_until(predicate, what):
    end = time.monotonic() + DEADLINE_S
    while not predicate():
        assert time.monotonic() < end, f'{what}: not within {DEADLINE_S} s'
        time.sleep(0.002)


class Processes:
    """Starts nodes and ends those that are left."""

    def __init__(self):
        self._running = []

    def start(self, module, **parameters):
        command = [sys.executable, '-m', f'robot_learning.nodes.{module}', '--ros-args']
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        process = subprocess.Popen(command)
        self._running.append(process)
        return process

    def close(self):
        for process in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._running:
            process.wait(15.0)


@pytest.fixture
def processes():
    started = Processes()
    yield started
    started.close()


@pytest.fixture
def witness():
    with Witness() as watching:
        yield watching


@pytest.fixture
def models(tmp_path):
    arena = contracts.load('arena')
    policies.publish(
        tmp_path,
        arena,
        policies.constant_tensors(policies.spec_for(arena), CIRCLE),
        policy=policies.spec_for(arena),
    )
    return tmp_path


def start_policy(processes, models, mode):
    return processes.start('policy_node', models=models, mode=mode, use_sim_time='true')


def num_decisions(witness):
    return sum(action.version >= 0 for action in witness.actions)


def test_in_real_time_the_robot_stops_within_200_ms_and_drives_on_with_the_next_policy(
    processes, witness, models
):
    settings = {'mode': 'real_time', 'world.camera': "'off'"}
    processes.start('simulator_node', **settings)
    policy = start_policy(processes, models, 'free_running')
    wait_until(lambda: witness.is_driving, 'driving')
    killed_s = witness.speeds[-1].stamp_s  # In simulated time, which does not wait for us.
    policy.kill()
    wait_until(lambda: witness.speeds[-1].stamp_s > killed_s + WINDOW_S, 'speeds after the kill')
    zero = witness.zero_command(killed_s, WINDOW_S)
    assert zero is not None
    assert zero.stamp_s - killed_s < STOP_WITHIN_S + SAMPLE_S
    assert witness.standstill_s(killed_s, WINDOW_S) < STOP_WITHIN_S + SAMPLE_S
    start_policy(processes, models, 'free_running')
    wait_until(lambda: witness.is_driving, 'driving again')


def test_in_lock_step_time_stands_still_until_the_next_policy_comes(processes, witness, models):
    processes.start('simulator_node', **{'world.camera': "'off'"})
    policy = start_policy(processes, models, 'lock_step')
    wait_until(lambda: num_decisions(witness) > 50, 'decisions')
    policy.kill()
    policy.wait()
    num_before = num_decisions(witness)
    start_policy(processes, models, 'lock_step')
    wait_until(lambda: num_decisions(witness) > num_before + 50, 'decisions again')
    steps_ns = np.diff([outcome.stamp_ns for outcome in witness.outcomes])
    assert set(steps_ns) == {contracts.load('arena').control_period_ns}
