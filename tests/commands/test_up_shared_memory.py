"""Which files of Fast DDS count as left behind."""

from __future__ import annotations

import fcntl
import os

import pytest
from robot_learning.commands import shared_memory

SEGMENT = 'fastrtps_0123456789abcdef'
OLD = 1_000_000_000


def make(directory, *names: str) -> None:
    for name in names:
        path = directory / name
        path.write_bytes(b'x' * 10)
        os.utime(path, (OLD, OLD))


def test_files_without_an_owner_are_removed_and_counted(tmp_path):
    make(tmp_path, SEGMENT, f'{SEGMENT}_el')
    make(tmp_path, 'fastrtps_port7411', 'fastrtps_port7411_el', 'sem.fastrtps_port7411_mutex')
    assert shared_memory.remove_stale_files(tmp_path) == 50
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('ending', ['_el', '_sl'])
def test_files_whose_lock_is_held_stay(tmp_path, ending):
    make(tmp_path, SEGMENT, f'{SEGMENT}{ending}')
    with (tmp_path / f'{SEGMENT}{ending}').open() as owner:
        fcntl.flock(owner, fcntl.LOCK_SH)
        assert shared_memory.remove_stale_files(tmp_path) == 0
    assert shared_memory.stale_files(tmp_path) != []


def test_files_of_others_and_files_being_made_stay(tmp_path):
    make(tmp_path, 'lttng-ust-wait-6', 'fastrtps_notes', SEGMENT)  # No lock file: unknown state.
    (tmp_path / 'fastrtps_port7400').write_bytes(b'x')
    (tmp_path / 'fastrtps_port7400_el').write_bytes(b'x')
    assert shared_memory.stale_files(tmp_path) == []


def test_a_machine_without_shared_memory_has_nothing_to_remove(tmp_path):
    assert shared_memory.remove_stale_files(tmp_path / 'absent') == 0
