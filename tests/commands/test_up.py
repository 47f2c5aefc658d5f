"""`up` as a user starts it: a real process that runs small stand-ins for the nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from robot_learning.commands import up
from robot_learning.commands.process_table import load

PATIENCE_S = 20.0
NODE = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
print('arguments', *sys.argv[1:], flush=True)
try:
    time.sleep(1000)
except KeyboardInterrupt:
    print('ended in order', flush=True)
"""


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    """Make an install prefix whose nodes are stand-ins; AMENT_PREFIX_PATH leads there."""
    folder = tmp_path / 'a prefix' / 'lib' / 'robot_learning'
    folder.mkdir(parents=True)
    for entry in load().processes.values():
        (folder / entry.executable).write_text(NODE)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path / 'a prefix'))
    return folder


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-m', 'robot_learning.commands.up', *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: subprocess.Popen[str], *marks: str) -> list[str]:
    """Read lines until each of `marks` has occurred in one."""
    lines, missing = [], set(marks)
    for line in process.stdout:
        lines.append(line.rstrip('\n'))
        missing -= {mark for mark in missing if mark in line}
        if not missing:
            return lines
    raise AssertionError(f'{missing} did not come; got {lines}')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_it_starts_the_table_and_a_signal_ends_everything_in_order(workspace, number):
    process = start('--only', 'simulator,recorder', '--store', '/tmp/a store', '--seed', '7')
    lines = read_until(process, '[simulator] arguments', '[recorder]  arguments')
    assert 'This is not ROS launch' in lines[0]
    recorder = next(line for line in lines if line.startswith('[recorder]  arguments'))
    assert '--ros-args' in recorder
    assert 'store:="/tmp/a store"' in recorder
    assert any('seed:=7' in line for line in lines if line.startswith('[simulator]'))
    process.send_signal(number)
    rest, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert '[simulator] ended in order' in rest
    assert '[recorder]  ended in order' in rest
    assert rest.rstrip().endswith('up: all processes have ended')


def test_an_essential_process_that_always_dies_is_given_up_and_ends_the_rest(workspace):
    (workspace / 'simulator_node').write_text('raise SystemExit("no world")')
    quick = 'Limits(max_restarts=3, first_delay_s=0.05)'
    code = f"""
import sys
from robot_learning.commands import up
from robot_learning.commands.supervisor import Limits
run = up.run
up.run = lambda commands, stop: run(commands, stop, {quick})
sys.exit(up.main(['--only', 'simulator,trainer']))
"""
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 1
    assert 'simulator: ended 4 times within 60 s and is not started again' in done.stdout
    assert '    no world' in done.stdout  # Its last words, once more.
    assert 'simulator ended with exit code 1; it is essential, so all' in done.stdout
    assert 'trainer: ended' in done.stdout


def test_ctrl_c_while_settings_are_read_starts_nothing_and_leaves_no_traceback(workspace):
    code = """
import os, signal, sys
from robot_learning.commands import process_table, up
process_table.check = lambda processes: os.kill(os.getpid(), signal.SIGINT)
sys.exit(up.main(['--only', 'policy']))
"""
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stderr) == (0, '')
    assert 'started, process' not in done.stdout
    assert 'up: all processes have ended' in done.stdout


def test_ctrl_c_while_a_node_imports_leaves_no_traceback(workspace):
    (workspace / 'policy_node').write_text(
        'import time\nprint("importing", flush=True)\ntime.sleep(1000)\n'
    )
    process = start('--only', 'policy')
    read_until(process, '[policy] importing')
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert 'policy: ended by SIGINT' in output
    assert 'Traceback' not in output


def test_a_mistake_that_only_a_node_finds_is_exit_code_2(workspace):
    (workspace / 'simulator_node').write_text('print("speed: found -1"); raise SystemExit(2)')
    process = start('--only', 'simulator,trainer')
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert '[simulator] speed: found -1' in output


def test_a_killed_node_that_may_restart_comes_back(workspace):
    process = start('--only', 'policy')
    lines = read_until(process, '[policy] arguments', 'started, process')
    pid = int(next(line for line in lines if 'started, process' in line).split()[-1])
    os.kill(pid, signal.SIGKILL)
    read_until(process, 'policy: ended by SIGKILL', 'policy: starts again', '[policy] arguments')
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def test_its_end_does_not_depend_on_somebody_reading_its_output(workspace):
    process = start('--only', 'policy')
    lines = read_until(process, '[policy] arguments', 'started, process')
    pid = int(next(line for line in lines if 'started, process' in line).split()[-1])
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=PATIENCE_S)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_list_shows_command_lines_and_starts_nothing(workspace, capsys):
    assert up.main(['--list', '--set', 'simulator.seed=3', '--namespace', 'robot1']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(':')[0] for line in lines] == ['simulator', 'policy', 'recorder', 'trainer']
    assert 'seed:=3' in lines[0]
    assert all('__ns:=/robot1' in line for line in lines)


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (['--only', 'nobody'], "process 'nobody'"),
        (['--set', 'seed=3'], 'PROCESS.PARAMETER=VALUE'),
        (['--seed', 'three'], "argument seed: found 'three'"),
        (['--robot', 'nobody'], "robot 'nobody': no contract"),
        (['--phase', 'nothing'], "phase 'nothing': unknown"),
        (['--phase-config', '/no/such.yaml'], '/no/such.yaml: cannot be read'),
        (['--set', 'trainer.phase=nothing'], "phase 'nothing': unknown"),
        (['--phases', 'nsca', '--set', 'more_trainers.config=/no/such.yaml'], '/no/such.yaml'),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(workspace, capsys, arguments, text):
    assert up.main(arguments) == 2
    captured = capsys.readouterr()
    assert text in captured.err
    assert captured.out == ''


def test_phases_of_nsca_have_settings_of_their_own(workspace, capsys):
    assert up.main(['--list', '--phases', 'nsca,nsca_fusion']) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if 'more_trainers' in line]
    assert [line.partition(':')[0] for line in lines] == [
        'more_trainers_nsca',
        'more_trainers_nsca_fusion',
    ]
    assert all('model_name:=nsca ' in line for line in lines), 'they stand on each other'


def test_without_a_built_workspace_it_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    assert up.main(['--only', 'simulator']) == 2
    assert 'build with colcon' in capsys.readouterr().err


def test_help_describes_every_argument_of_the_table(capsys):
    with pytest.raises(SystemExit):
        up.main(['--help'])
    text = ' '.join(capsys.readouterr().out.split())
    for name, spec in load().arguments.items():
        assert f'--{name.replace("_", "-")}' in text
        assert textwrap.shorten(spec.description, 40, placeholder='') in text


def test_a_second_ctrl_c_hurries(workspace):
    (workspace / 'policy_node').write_text(
        'import signal, time\n'
        'signal.signal(signal.SIGINT, signal.SIG_IGN)\n'
        'print("deaf", flush=True)\n'
        'time.sleep(1000)\n'
    )
    process = start('--only', 'policy')
    read_until(process, '[policy] deaf')
    process.send_signal(signal.SIGINT)
    read_until(process, 'once more to hurry')
    start_time = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - start_time < 9.0  # Patience alone would be 11 s.
