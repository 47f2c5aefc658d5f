import json
import os
import threading

import pytest
from policies import CONTRACT
from robot_learning import durable_files
from robot_learning.serving.action_gate import ActionGate
from robot_learning.serving.emergency_stop import EmergencyStop, state_path


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'not_there_yet' / 'rover.json'


def restart(path):
    stop = EmergencyStop(path)
    return stop, ActionGate(CONTRACT, is_pressed=stop.is_pressed)


def test_a_press_is_on_the_disk_when_it_returns_and_stays_until_the_release(path):
    stop, gate = restart(path)
    assert not stop.is_pressed
    assert stop.press(gate, 'Ada') == ''
    assert gate.is_pressed
    assert json.loads(path.read_bytes())['pressed_by'] == 'Ada'
    for _ in range(2):
        stop, gate = restart(path)
        assert gate.is_pressed
        assert 'pressed by Ada at 2' in stop.text and 'release_emergency_stop' in stop.text
    assert stop.release(gate) == ''
    assert not gate.is_pressed
    stop, gate = restart(path)
    assert not stop.is_pressed and not gate.is_pressed


@pytest.mark.parametrize('content', [b'', b'{"pres', b'[]', b'{}', b'\xff\x00', b'null'])
def test_a_file_that_cannot_be_understood_stops_the_robot_and_says_so(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    stop, gate = restart(path)
    assert stop.is_pressed
    assert str(path) in stop.text and 'expected pressed_by' in stop.text
    assert stop.release(gate) == ''
    assert not restart(path)[0].is_pressed


def test_a_file_that_cannot_be_read_stops_the_robot_and_says_so(path):
    path.mkdir(parents=True)
    stop, gate = restart(path)
    assert stop.is_pressed and 'cannot be read' in stop.text
    assert 'a restart will be stopped again' in stop.release(gate)
    assert not gate.is_pressed


def test_a_press_that_cannot_be_kept_still_holds_and_says_so(path, monkeypatch):
    def full_disk(*_, **__):
        raise OSError(28, 'No space left on device')

    stop, gate = restart(path)
    monkeypatch.setattr(durable_files, 'replace', full_disk)
    problem = stop.press(gate, 'Ada')
    assert gate.is_pressed and stop.is_pressed
    assert 'No space left' in problem and 'not over a restart' in problem
    monkeypatch.undo()
    assert stop.press(gate, 'Ada') == ''  # Tried again with the next press.
    assert path.is_file()


def test_pressed_many_times_it_is_written_once(path):
    stop, gate = restart(path)
    stop.press(gate, 'Ada')
    before = path.stat().st_ino
    stop.press(gate, 'Grace')
    assert path.stat().st_ino == before
    assert gate.counts.emergency_stops == 1


def test_presses_and_releases_at_once_leave_gate_and_file_in_agreement(path):
    stop, gate = restart(path)
    for _ in range(20):
        threads = [
            threading.Thread(target=stop.press, args=(gate, 'Ada')),
            threading.Thread(target=stop.release, args=(gate,)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert gate.is_pressed == stop.is_pressed == path.exists()


def test_a_folder_that_cannot_be_written_is_told_beforehand(tmp_path):
    if os.geteuid() == 0:
        blocked = tmp_path / 'file'
        blocked.write_text('')  # Root may write anywhere but into a file.
    else:
        blocked = tmp_path / 'locked'
        blocked.mkdir(mode=0o500)
    problem = EmergencyStop(blocked / 'rover.json').writing_problem()
    assert str(blocked) in problem and 'will not survive a restart' in problem
    assert EmergencyStop(tmp_path / 'new' / 'rover.json').writing_problem() == ''


def test_every_robot_has_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv('ROS_HOME', str(tmp_path))
    monkeypatch.setenv('ROS_DOMAIN_ID', '7')
    paths = {
        state_path(None, '/policy', 'arena'),
        state_path(None, '/robot1/policy', 'arena'),
        state_path(None, '/policy', 'rover'),
        state_path(None, '/policy', '../../etc/rover'),
    }
    monkeypatch.setenv('ROS_DOMAIN_ID', '8')
    paths.add(state_path(None, '/policy', 'arena'))
    assert len(paths) == 5
    assert {path.parent for path in paths} == {tmp_path / 'robot_learning' / 'emergency_stop'}
    assert state_path(tmp_path / 'x', '/policy', 'arena').is_relative_to(tmp_path / 'x')
