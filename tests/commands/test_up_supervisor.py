"""The supervisor on real processes: small Python programs, no ROS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from robot_learning.commands.supervisor import DEAF_LINE, Command, Limits, Supervisor
from robot_learning.errors import EnvironmentSetupError

DEADLINE_S = 10.0
QUICK = Limits(
    max_restarts=2,
    first_delay_s=0.02,
    longest_delay_s=0.05,
    stagger_s=0.2,
    interrupt_s=0.3,
    terminate_s=0.3,
)
FEW_PATIENCE = {'stagger_s': 0.2, 'interrupt_s': 0.3, 'terminate_s': 0.3}
WAIT_FOREVER = 'import time; print("up", flush=True); time.sleep(1000)'
DEAF = (
    'import signal, time\n'
    'signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
    'print("up", flush=True); time.sleep(1000)'
)


def program(name: str, code: str, **options: object) -> Command:
    return Command(name, (sys.executable, '-S', '-c', textwrap.dedent(code)), **options)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, 'waited too long'
        time.sleep(0.01)


def poll_until_over(supervisor: Supervisor) -> list[str]:
    kinds = []

    def step() -> bool:
        kinds.extend(event.kind for event in supervisor.poll())
        return supervisor.is_over

    until(step)
    return kinds


def is_alive(pid: int) -> bool:
    try:
        with Path(f'/proc/{pid}/stat').open() as stat:
            return stat.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def guardians_of(parent: int) -> list[int]:
    """Return the living guardians that a process started."""
    children = Path(f'/proc/{parent}/task/{parent}/children').read_text().split()
    return [
        int(pid)
        for pid in children
        if is_alive(int(pid)) and b'guardian.py' in Path(f'/proc/{pid}/cmdline').read_bytes()
    ]


@pytest.fixture
def lines() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def collect(lines) -> Callable[[str, str], None]:
    return lambda name, text: lines.append((name, text))


def test_every_line_of_output_comes_with_its_process_name(lines, collect):
    commands = [
        program('one', 'print("a"); print("b")'),
        program('two', 'import sys; sys.stderr.write("c\\n")'),
    ]
    with Supervisor(commands, collect) as supervisor:
        poll_until_over(supervisor)
    assert sorted(lines) == [('one', 'a'), ('one', 'b'), ('two', 'c')]


def test_a_process_that_says_it_hears_nobody_is_started_again(tmp_path, lines, collect):
    code = f"""
    import pathlib, time
    first = not pathlib.Path({str(tmp_path / 'been')!r}).exists()
    pathlib.Path({str(tmp_path / 'been')!r}).touch()
    colour = chr(27) + '[37m'
    says = colour + 'Failed init_port fastrtps_port9165: open_and_lock_file failed'
    print('[RTPS_TRANSPORT_SHM Error] ' + says if first else 'hears', flush=True)
    time.sleep(1000)
    """
    deaf = program('recorder', code, restart='on_failure', deaf_by=DEAF_LINE)
    with Supervisor([deaf], collect, limits=QUICK) as supervisor:
        texts = []

        def hears():
            texts.extend(event.text for event in supervisor.poll())
            return ('recorder', 'hears') in lines

        until(hears)
        assert supervisor.num_restarts('recorder') == 1
    assert any('would hear nobody' in text for text in texts)


def test_stop_sends_sigint_so_that_a_process_can_end_in_order(lines, collect):
    code = """
    import time
    print('up', flush=True)
    try:
        time.sleep(1000)
    except KeyboardInterrupt:
        print('saved')
    """
    supervisor = Supervisor([program('recorder', code)], collect, limits=QUICK)
    supervisor.start()
    until(lambda: ('recorder', 'up') in lines)
    assert supervisor.stop() == {'recorder': 0}
    assert ('recorder', 'saved') in lines


def test_processes_are_asked_to_end_in_the_order_of_the_table(lines, collect):
    code = """
    import time
    print('up', flush=True)
    try:
        time.sleep(1000)
    except KeyboardInterrupt:
        print('ended')
    """
    names = ['simulator', 'policy', 'recorder']
    supervisor = Supervisor([program(name, code) for name in names], collect, limits=QUICK)
    supervisor.start()
    until(lambda: lines.count(('recorder', 'up')) + len(lines) >= 4)
    supervisor.stop()
    assert [name for name, text in lines if text == 'ended'] == names


def test_a_process_that_ignores_signals_is_killed(lines, collect):
    supervisor = Supervisor([program('deaf', DEAF)], collect, limits=QUICK)
    supervisor.start()
    until(lambda: ('deaf', 'up') in lines)
    start = time.monotonic()
    assert supervisor.stop() == {'deaf': -signal.SIGKILL}
    assert time.monotonic() - start < 3.0


def test_a_second_request_skips_the_patience(lines, collect):
    patient = Limits(stagger_s=100, interrupt_s=100, terminate_s=0.3)
    supervisor = Supervisor([program('deaf', DEAF)], collect, limits=patient)
    supervisor.start()
    until(lambda: ('deaf', 'up') in lines)
    start = time.monotonic()
    supervisor.stop(hurry=lambda: time.monotonic() - start > 0.1)
    assert time.monotonic() - start < 3.0


def test_what_a_process_leaves_in_its_group_ends_with_it(lines, collect):
    code = f"""
    import subprocess, sys
    child = subprocess.Popen([sys.executable, '-S', '-c', {WAIT_FOREVER!r}])
    print(child.pid, flush=True)
    """
    with Supervisor([program('parent', code)], collect) as supervisor:
        until(lambda: any(text.isdigit() for _, text in lines))
        poll_until_over(supervisor)
        grandchild = next(int(text) for _, text in lines if text.isdigit())
        until(lambda: not is_alive(grandchild))


def test_a_failing_process_starts_again_until_it_is_hopeless(tmp_path):
    marks = tmp_path / 'marks'
    code = f"""
    import sys
    open({str(marks)!r}, 'a').write('x')
    print('the disk is on fire')
    sys.exit(1)
    """
    commands = [program('recorder', code, restart='on_failure', essential=True)]
    events = []
    with Supervisor(commands, lambda *_: None, events.append, QUICK) as supervisor:
        poll_until_over(supervisor)
        assert supervisor.failure == 'recorder ended with exit code 1'
        assert supervisor.num_restarts('recorder') == 2
    assert marks.read_text() == 'xxx'
    gave_up = [event.text for event in events if event.kind == 'gave_up']
    assert len(gave_up) == 1
    assert 'recorder: ended 3 times within 60 s' in gave_up[0]
    assert 'the disk is on fire' in gave_up[0]


def test_a_process_that_fails_a_few_times_and_then_lives_is_kept(tmp_path, lines, collect):
    marks = tmp_path / 'marks'
    code = f"""
    import sys, time
    with open({str(marks)!r}, 'a+') as file:
        file.seek(0)
        lives = len(file.read())
        file.write('x')
    if lives < 3:
        sys.exit('the port is still taken')
    print('up', flush=True)
    time.sleep(1000)
    """
    limits = Limits(max_restarts=5, first_delay_s=0.02, longest_delay_s=0.05, interrupt_s=0.3)
    events = []
    commands = [program('policy', code, restart='on_failure', essential=True)]
    with Supervisor(commands, collect, events.append, limits) as supervisor:

        def is_up() -> bool:
            supervisor.poll()
            return ('policy', 'up') in lines

        until(is_up)
        assert not supervisor.is_over
        assert supervisor.num_restarts('policy') == 3
    assert [event.kind for event in events].count('restarting') == 3
    assert 'gave_up' not in [event.kind for event in events]


def test_a_guardian_that_was_killed_is_replaced(lines, collect):
    """Also where no process starts or ends, about which it would have been told."""
    limits = Limits(**FEW_PATIENCE)
    with Supervisor([program('deaf', DEAF)], collect, limits=limits) as supervisor:
        until(lambda: ('deaf', 'up') in lines)
        first = guardians_of(os.getpid())
        assert len(first) == 1
        os.kill(first[0], signal.SIGKILL)

        def is_replaced() -> bool:
            supervisor.poll()
            return bool(set(guardians_of(os.getpid())) - set(first))

        until(is_replaced)


def test_delays_between_restarts_double_up_to_a_limit():
    limits = Limits(max_restarts=4, first_delay_s=0.01, longest_delay_s=0.03)
    events = []
    commands = [program('p', 'raise SystemExit(3)', restart='on_failure')]
    with Supervisor(commands, lambda *_: None, events.append, limits) as supervisor:
        poll_until_over(supervisor)
    delays = [event.text.split()[-2] for event in events if event.kind == 'restarting']
    assert delays == ['0.01', '0.02', '0.03', '0.03']


@pytest.mark.parametrize('code', [0, 2])
def test_a_regular_end_and_a_users_mistake_are_not_restarted(code):
    commands = [program('p', f'raise SystemExit({code})', restart='on_failure')]
    with Supervisor(commands, limits=QUICK) as supervisor:
        assert poll_until_over(supervisor) == ['ended']
        assert supervisor.num_restarts('p') == 0


def test_a_killed_trainer_starts_again_and_the_others_go_on(lines, collect):
    commands = [
        program('simulator', WAIT_FOREVER, essential=True),
        program('trainer', WAIT_FOREVER, restart='on_failure'),
    ]
    with Supervisor(commands, collect, limits=QUICK) as supervisor:
        until(lambda: len(lines) == 2)
        simulator = supervisor.pid('simulator')
        first = supervisor.pid('trainer')
        os.kill(first, signal.SIGKILL)

        def is_back() -> bool:
            supervisor.poll()
            return supervisor.pid('trainer') not in (None, first)

        until(is_back)
        assert supervisor.pid('simulator') == simulator
        assert not supervisor.is_over


def test_the_regular_end_of_an_essential_process_ends_the_system():
    commands = [
        program('demo', 'pass', essential=True),
        program('other', WAIT_FOREVER),
    ]
    with Supervisor(commands, lambda *_: None, limits=QUICK) as supervisor:
        poll_until_over(supervisor)
        assert supervisor.finished
        assert supervisor.failure == ''
        other = supervisor.pid('other')
    assert not is_alive(other)


def test_one_process_can_be_ended_alone(lines, collect):
    commands = [program('a', WAIT_FOREVER), program('b', WAIT_FOREVER)]
    with Supervisor(commands, collect, limits=QUICK) as supervisor:
        until(lambda: len(lines) == 2)
        supervisor.end('a')
        assert supervisor.pid('a') is None
        assert is_alive(supervisor.pid('b'))


def test_a_program_that_is_not_there_is_named_and_nothing_stays_behind(lines, collect):
    commands = [program('a', WAIT_FOREVER), Command('b', ('/no/such/program',))]
    supervisor = Supervisor(commands, collect, limits=QUICK)
    with pytest.raises(EnvironmentSetupError, match=r'b: /no/such/program cannot be started'):
        supervisor.start()
    assert supervisor.pid('a') is None


def test_killing_the_supervisor_leaves_no_orphans(tmp_path):
    """Neither a process that listens to SIGTERM nor, after a while, one that does not."""
    code = f"""
    import sys
    import time
    from robot_learning.commands.supervisor import DEAF_LINE, Command, Limits, Supervisor
    commands = [
        Command('polite', (sys.executable, '-S', '-c', {WAIT_FOREVER!r})),
        Command('deaf', (sys.executable, '-S', '-c', {DEAF!r})),
    ]
    supervisor = Supervisor(commands, limits=Limits(interrupt_s=0.5))
    supervisor.start()
    print(supervisor.pid('polite'), supervisor.pid('deaf'), flush=True)
    time.sleep(1000)
    """
    process = subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    pids: list[int] = []
    num_up = 0
    while num_up < 2:
        line = process.stdout.readline()
        num_up += line.endswith('] up\n')
        if line[0].isdigit():
            pids = [int(word) for word in line.split()]
    process.kill()
    process.wait()
    process.stdout.close()
    until(lambda: not is_alive(pids[0]))
    until(lambda: not is_alive(pids[1]))


def test_a_child_yields_the_processor_as_its_command_says():
    lines: list[str] = []
    code = """
        import os, pathlib
        group = pathlib.Path('/proc/self/autogroup')
        print(os.nice(0), group.read_text().split()[-1] if group.exists() else 'none', flush=True)
    """
    own = os.nice(0)
    supervisor = Supervisor(
        [program('shy', code, nice=3, essential=True)], lambda name, line: lines.append(line)
    )
    with supervisor:
        poll_until_over(supervisor)
    priority, group = lines[0].split()
    assert int(priority) == min(own + 3, 19)
    assert group in ('3', 'none')
