"""Which files of Fast DDS count as left behind."""

from __future__ import annotations

import fcntl
import mmap
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from robot_learning.commands import shared_memory

SEGMENT = 'fastrtps_0123456789abcdef'
OLD = 1_000_000_000
NODE = """
import rclpy, sys, time
rclpy.init()
node = rclpy.create_node('somebody')
print('up', flush=True)
time.sleep(1000)
"""


@pytest.fixture
def folder():
    """A folder where Fast DDS has its files: only there do names of /proc fit for sure."""
    with tempfile.TemporaryDirectory(dir=shared_memory.DIRECTORY) as name:
        yield Path(name)


def make(directory, *names: str) -> None:
    for name in names:
        path = directory / name
        path.write_bytes(b'x' * 10)
        os.utime(path, (OLD, OLD))


def names(paths) -> set[str]:
    return {path.name for path in paths}


def test_files_without_an_owner_are_removed_and_counted(folder):
    make(folder, SEGMENT, f'{SEGMENT}_el')
    make(folder, 'fastrtps_port7411', 'fastrtps_port7411_el', 'sem.fastrtps_port7411_mutex')
    assert shared_memory.remove_stale_files(folder) == 50
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize('ending', ['_el', '_sl'])
@pytest.mark.parametrize('kind', [fcntl.LOCK_SH, fcntl.LOCK_EX])
def test_files_whose_lock_is_held_stay(folder, ending, kind):
    make(folder, SEGMENT, f'{SEGMENT}{ending}')
    with (folder / f'{SEGMENT}{ending}').open() as owner:
        fcntl.flock(owner, kind)
        assert shared_memory.remove_stale_files(folder) == 0
    assert names(shared_memory.stale_files(folder)) == {SEGMENT, f'{SEGMENT}{ending}'}


def test_memory_that_a_process_has_mapped_stays(folder):
    make(folder, SEGMENT, f'{SEGMENT}_el')
    with (folder / SEGMENT).open('r+b') as file, mmap.mmap(file.fileno(), 0):
        assert shared_memory.stale_files(folder) == []
    assert names(shared_memory.stale_files(folder)) == {SEGMENT, f'{SEGMENT}_el'}


def test_ports_stay_while_a_participant_of_their_domain_lives(folder):
    for port in (7411, 7413, 7661):  # Domains 0, 0 and 1.
        make(folder, f'fastrtps_port{port}', f'fastrtps_port{port}_el')
    make(folder, SEGMENT, f'{SEGMENT}_el')
    with (folder / 'fastrtps_port7413_el').open() as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        stale = names(shared_memory.stale_files(folder))
    other_domain = {'fastrtps_port7661', 'fastrtps_port7661_el'}
    assert stale == {SEGMENT, f'{SEGMENT}_el'} | other_domain


def test_what_an_orderly_end_leaves_without_a_lock_file_is_stale_too(folder):
    make(folder, 'fastrtps_port7411')
    assert shared_memory.remove_stale_files(folder) == 10


def test_files_of_others_and_files_being_made_stay(folder):
    make(folder, 'lttng-ust-wait-6', 'fastrtps_notes')
    (folder / 'fastrtps_port7400').write_bytes(b'x')
    (folder / 'fastrtps_port7400_el').write_bytes(b'x')
    assert shared_memory.stale_files(folder) == []


def test_nothing_is_stale_where_the_system_does_not_tell_who_holds_what(folder, monkeypatch):
    make(folder, SEGMENT, f'{SEGMENT}_el')
    monkeypatch.setattr(shared_memory, 'PROCESSES', folder / 'absent')
    assert shared_memory.stale_files(folder) == []


def test_a_participant_that_starts_beside_another_always_gets_its_lock(folder):
    ports = [f'fastrtps_port{port}' for port in range(7410, 7510)]
    make(folder, *(f'{port}{ending}' for port in ports for ending in ('', '_el')))
    ending = threading.Event()
    looks = []

    def look() -> None:
        while not ending.is_set():
            looks.append(shared_memory.remove_stale_files(folder))

    thread = threading.Thread(target=look)
    with (folder / f'{ports[0]}_el').open() as neighbour:
        fcntl.flock(neighbour, fcntl.LOCK_EX)
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while len(looks) < 20:
                assert time.monotonic() < deadline
                for port in ports[1:]:
                    with (folder / f'{port}_el').open() as file:  # BlockingIOError if it is held.
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            ending.set()
            thread.join()
    assert set(looks) == {0}


def test_a_lock_that_only_another_container_sees_is_respected(folder, monkeypatch):
    make(folder, SEGMENT, f'{SEGMENT}_el')
    (folder / 'proc').mkdir()
    (folder / 'proc' / 'locks').touch()  # As it looks from a process space of its own.
    monkeypatch.setattr(shared_memory, 'PROCESSES', folder / 'proc')
    with (folder / f'{SEGMENT}_el').open() as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        assert shared_memory.remove_stale_files(folder) == 0
    assert shared_memory.remove_stale_files(folder) == 20


def test_a_machine_without_shared_memory_has_nothing_to_remove(tmp_path):
    assert shared_memory.remove_stale_files(tmp_path / 'absent') == 0


def test_what_a_killed_node_leaves_is_stale_and_what_a_living_one_has_is_not():
    before = names(shared_memory.DIRECTORY.iterdir())
    command = [sys.executable, '-c', NODE]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == 'up\n'
        mapped = {name for name in mapped_by(process.pid) if name not in before}
        mine = {name for name in mapped if 'port' not in name}  # Others may be in its domain.
        assert mine
        for name in mine:
            for path in shared_memory.DIRECTORY.glob(f'{name}*'):
                os.utime(path, (OLD, OLD))
        assert not mine & names(shared_memory.stale_files())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert mine <= names(shared_memory.stale_files())
    shared_memory.remove_stale_files()
    assert not mine & names(shared_memory.DIRECTORY.iterdir())


def mapped_by(pid: int) -> set[str]:
    lines = Path(f'/proc/{pid}/maps').read_text().splitlines()
    paths = {Path(line.split()[-1]) for line in lines if '/dev/shm/fastrtps' in line}
    return names(paths)
