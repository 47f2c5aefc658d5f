"""The doctor on this very machine, and on simulated illnesses."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple

import pytest
from robot_learning.commands import dds_round_trip, doctor, machine_checks, shared_memory
from robot_learning.commands.machine_checks import Finding

Usage = namedtuple('Usage', 'total used free')


@pytest.fixture
def one_bad_check(monkeypatch):
    checks = (
        lambda: Finding('python', 'ok', '3.11'),
        lambda: Finding('disk', 'failed', 'full', 'Free some.'),
    )
    monkeypatch.setattr(machine_checks, 'ALL', checks)


def test_this_machine_passes_every_essential_check(tmp_path, capsys):
    path = tmp_path / 'findings.json'
    assert doctor.main(['--json', str(path)]) == 0
    report = json.loads(path.read_text())
    assert report['ok'] is True
    names = {finding['name'] for finding in report['findings']}
    assert {'rclpy', 'torch', 'mujoco', 'compiler', 'rendering', 'dds discovery'} <= names
    assert 'ready' in capsys.readouterr().out


def test_an_essential_failure_gives_exit_code_1_and_says_what_to_do(one_bad_check, capsys):
    assert doctor.main([]) == 1
    output = capsys.readouterr().out
    assert 'FAILED disk: full\n       -> Free some.' in output
    assert 'failed: disk' in output


def test_the_report_names_the_failure(one_bad_check, tmp_path):
    path = tmp_path / 'findings.json'
    doctor.main(['--json', str(path)])
    report = json.loads(path.read_text())
    assert report['ok'] is False
    assert report['findings'][1]['to_do'] == 'Free some.'


def test_a_report_that_cannot_be_written_is_named(one_bad_check, tmp_path, capsys):
    assert doctor.main(['--json', str(tmp_path / 'no' / 'file.json')]) == 2
    assert 'cannot be written' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('version', 'status'),
    [('7.1.6', 'ok'), ('7.1.8', 'failed'), ('7.1.9', 'failed'), (None, 'ok')],
)
def test_known_bad_rclpy_versions_fail(version, status):
    assert machine_checks.judge_rclpy(version).status == status


def test_a_full_disk_fails(monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: Usage(10**12, 10**12 - 10**6, 10**6))
    assert machine_checks.check_disk().status == 'failed'


def test_little_shared_memory_fails_and_files_of_dead_processes_are_noted(monkeypatch, tmp_path):
    monkeypatch.setattr(shared_memory, 'DIRECTORY', tmp_path)
    monkeypatch.setattr(shared_memory, 'stale_files', lambda _: [tmp_path / 'fastrtps_x'])
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: Usage(2**34, 0, 2**34))
    assert machine_checks.check_shared_memory().status == 'note'
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: Usage(2**26, 0, 2**26))
    assert machine_checks.check_shared_memory().status == 'failed'


def test_without_a_compiler_the_package_to_install_is_named(monkeypatch):
    monkeypatch.setattr(shutil, 'which', lambda _: None)
    finding = machine_checks.check_compiler()
    assert finding.status == 'note'
    assert 'build-essential' in finding.to_do


def test_without_any_graphics_the_rest_still_counts_as_working(monkeypatch):
    monkeypatch.setattr(machine_checks, '_RENDER', 'raise ImportError("no libEGL")')
    finding = machine_checks.check_rendering()
    assert finding.status == 'note'
    assert 'no libEGL' in finding.found
    assert 'libegl1' in finding.to_do


def test_two_processes_that_do_not_share_a_domain_do_not_meet(monkeypatch, ros_domain):
    """The round trip is real: with the other side elsewhere there is none."""
    code = dds_round_trip.subprocess.Popen

    def elsewhere(command, **options):
        environment = {**dds_round_trip.os.environ, 'ROS_DOMAIN_ID': str(ros_domain % 101 + 1)}
        return code(command, env=environment, **options)

    monkeypatch.setattr(dds_round_trip.subprocess, 'Popen', elsewhere)
    assert dds_round_trip.measure(timeout_s=1.5) is None
