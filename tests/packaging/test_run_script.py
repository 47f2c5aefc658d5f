"""The front door: what `./run` says, how fast it starts, what it does on a bare machine."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / 'run'
PREPARE = ROOT / 'requirements' / 'prepare.sh'
COMMANDS = (
    'demo',
    'up',
    'train',
    'collect',
    'evaluate',
    'bags',
    'teleop',
    'models',
    'store',
    'doctor',
    'benchmark',
    'test',
    'prepare',
)


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(RUN), *arguments], capture_output=True, text=True, **options)


def in_shell(tmp_path: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `script` after loading prepare.sh, for an environment that does not exist yet."""
    settings = f'set -eu; root="{ROOT}"; environment="{tmp_path}/env"; log="{tmp_path}/log"'
    return subprocess.run(
        ['/bin/sh', '-c', f'{settings}; source_of_ros=wheels; . "{PREPARE}"; {script}'],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def make_program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)


@pytest.mark.parametrize('arguments', [(), ('help',), ('--help',)])
def test_help_names_every_command_without_preparing(arguments):
    result = run(*arguments)
    assert result.returncode == 0
    for command in COMMANDS:
        assert f'\n  {command} ' in result.stdout


def test_an_unknown_command_is_named(tmp_path):
    result = run('fly', cwd=tmp_path)
    assert result.returncode == 2
    assert 'fly: no such command' in result.stderr


@pytest.mark.parametrize('arguments', [(), ('--help',)])
def test_benchmarks_are_listed_with_what_they_measure_and_helpers_are_not(arguments):
    result = run('benchmark', *arguments)
    assert (result.returncode, result.stderr) == (0, '')
    listed = dict(re.findall(r'^  (\w+) +(.+)$', result.stdout, re.MULTILINE))
    measuring = {
        path.stem: path.read_text().splitlines()[0].strip('"')
        for path in (ROOT / 'benchmarks').glob('*.py')
        if 'def main(' in path.read_text()
    }
    assert listed == measuring
    assert 'closed_loop' in listed and 'reporting' not in listed


@pytest.mark.parametrize(
    'name', ['reporting', 'nonsense', 'closed_loo', '../tests/conftest', 'l.*']
)
def test_what_is_no_benchmark_is_refused_with_the_list(name):
    result = run('benchmark', name)
    assert result.returncode == 2
    assert f"benchmark '{name}': there is none" in result.stderr and '  latency ' in result.stderr


def test_a_start_with_nothing_to_prepare_takes_less_than_a_second():
    times_s = []
    for _ in range(3):
        start = time.perf_counter()
        result = run('prepare')
        times_s.append(time.perf_counter() - start)
        assert (result.returncode, result.stderr) == (0, '')
    assert min(times_s) < 1.0


def test_it_works_from_any_folder_and_through_a_link(tmp_path):
    link = tmp_path / 'robot'
    link.symlink_to(RUN)
    result = subprocess.run(
        [str(link), 'up', '--list'], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert 'simulator_node' in result.stdout


def test_continuous_integration_runs_exactly_the_tests():
    lines = (ROOT / '.ci' / 'run').read_text().splitlines()
    assert [line for line in lines if not line.startswith('#')] == [
        'exec "$(dirname -- "$0")/../run" test'
    ]
    assert os.access(ROOT / '.ci' / 'run', os.X_OK)


def test_an_old_python_is_refused_with_what_to_install(tmp_path):
    for name in ('python3', 'python3.10', 'python3.11', 'python3.12'):
        make_program(tmp_path / 'bin', name, '[ "$1" = --version ] && echo Python 3.8.2; exit 1')
    result = in_shell(tmp_path, 'choose_python', PATH=f'{tmp_path}/bin:{os.environ["PATH"]}')
    assert result.returncode == 2
    assert 'found Python 3.8.2, expected 3.10, 3.11 or 3.12' in result.stderr


def test_a_newer_python_beside_an_unfit_one_is_found(tmp_path):
    make_program(tmp_path / 'bin', 'python3', 'exit 1')
    make_program(tmp_path / 'bin', 'python3.12', 'exit 0')
    result = in_shell(
        tmp_path, 'choose_python; echo "$python"', PATH=f'{tmp_path}/bin:{os.environ["PATH"]}'
    )
    assert result.stdout == 'python3.12\n'


def test_what_a_user_must_install_is_named_as_one_command(tmp_path):
    """No rights to install: it says the command and stops."""
    make_program(tmp_path / 'bin', 'python3', 'exit 1')  # Has neither venv nor headers.
    script = 'python=python3; id() { echo 1000; }; cc() { :; }; install_system_packages'
    result = in_shell(tmp_path, script, PATH=f'{tmp_path}/bin:{os.environ["PATH"]}')
    assert result.returncode == 2
    assert 'sudo apt-get install -y --no-install-recommends' in result.stderr
    assert 'python3-venv' in result.stderr
    assert 'python3-dev' in result.stderr


def test_as_root_it_installs_what_is_absent(tmp_path):
    """A stand-in for apt-get creates what was missing."""
    fit = f'[ -f {tmp_path}/installed ]'
    make_program(tmp_path / 'bin', 'python3', fit)
    make_program(
        tmp_path / 'bin', 'apt-get', f'echo "$@" >>{tmp_path}/asked; touch {tmp_path}/installed'
    )
    script = 'python=python3; id() { echo 0; }; install_system_packages; echo ready'
    result = in_shell(tmp_path, script, PATH=f'{tmp_path}/bin:{os.environ["PATH"]}')
    assert result.stdout == 'ready\n', result.stderr
    asked = (tmp_path / 'asked').read_text()
    assert 'install -y --no-install-recommends' in asked
    assert 'python3-venv' in asked


def test_a_machine_without_any_python_gets_one_when_we_may_install(tmp_path):
    for name in ('id', 'dirname', 'sh', 'touch', 'chmod', 'cat', 'tail'):
        make_program(tmp_path / 'bin', name, f'exec /usr/bin/{name} "$@"')
    make_program(
        tmp_path / 'bin',
        'apt-get',
        f'[ "$1" = update ] || printf "#!/bin/sh\\nexit 0\\n" >{tmp_path}/bin/python3; '
        f'/bin/chmod +x {tmp_path}/bin/*; echo "$@" >>{tmp_path}/asked',
    )
    result = in_shell(
        tmp_path, 'id() { echo 0; }; choose_python; echo "$python"', PATH=f'{tmp_path}/bin'
    )
    assert result.stdout == 'python3\n', result.stderr
    assert 'python3 python3-venv python3-dev' in (tmp_path / 'asked').read_text()


def test_graphics_libraries_are_wanted_but_not_needed(tmp_path):
    script = (
        'python=python3; id() { echo 1000; }; package_prefix=python3; '
        'absent_packages() { [ "$1" = needed ] || printf "libegl1 "; }; '
        'install_system_packages; echo goes on'
    )
    result = in_shell(tmp_path, script)
    assert result.stdout == 'goes on\n'
    assert 'no camera pictures without: libegl1' in result.stderr


@pytest.mark.parametrize(
    ('distribution', 'answers', 'uses_it'),
    [('jazzy', 'exit 0', True), ('jazzy', 'exit 1', False), ('humble', 'exit 0', False)],
)
def test_a_sourced_ros_is_used_when_it_is_jazzy_and_answers(
    tmp_path, distribution, answers, uses_it
):
    make_program(tmp_path / 'bin', 'python3', answers)
    result = in_shell(
        tmp_path,
        'if has_ros; then echo used; fi',
        PATH=f'{tmp_path}/bin:{os.environ["PATH"]}',
        ROS_DISTRO=distribution,
    )
    assert (result.stdout == 'used\n') == uses_it


def test_a_failed_installation_says_where_the_details_are_and_leaves_no_stamp(tmp_path):
    make_program(tmp_path / 'env' / 'bin', 'python', 'echo "ERROR: no network"; exit 1')
    result = in_shell(tmp_path, 'pip_install torch; echo not reached')
    assert result.returncode == 2
    assert 'no network' in result.stderr
    assert f'Details: {tmp_path}/log' in result.stderr
    assert 'not reached' not in result.stdout
    assert not (tmp_path / 'env' / 'packages.stamp').exists()


def test_two_preparations_at_once_wait_for_each_other(tmp_path):
    script = (
        'has_ros() { false; }; has_packages() { false; }; install_python_packages() { '
        f'echo begin >>"{tmp_path}/order"; sleep 0.3; echo end >>"{tmp_path}/order"; }}; '
        'build_packages() { :; }; prepare'
    )
    settings = f'set -eu; root="{ROOT}"; environment="{tmp_path}/env"; . "{PREPARE}"; {script}'
    both = [subprocess.Popen(['sh', '-c', settings]) for _ in range(2)]
    assert [process.wait(timeout=20) for process in both] == [0, 0]
    assert (tmp_path / 'order').read_text().split() == ['begin', 'end', 'begin', 'end']


def test_no_shell_construct_beyond_posix_is_used():
    for path in (RUN, PREPARE, ROOT / '.ci' / 'run'):
        result = subprocess.run(['dash', '-n', str(path)], capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, '')
        assert '[[' not in path.read_text()
