import subprocess
import sys

import pytest

# glibc always returns blocks of this size to the kernel, unless told otherwise.
ROUNDS = """
import resource, torch
from robot_learning.phases import cpu
{settle}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(6):
    torch.ones(16 << 20)
before = faults()
for _ in range(5):
    torch.ones(16 << 20)
print(torch.get_num_threads(), faults() - before)
"""
PAGES = 5 * (64 << 20) // 4096


def run(settle):
    command = [sys.executable, '-c', ROUNDS.format(settle=settle)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return tuple(map(int, output.split()))


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc only')
def test_memory_of_a_settled_process_is_not_cleared_again_and_again():
    # Now and then the kernel puts the heap where it cannot grow that far: one of four is enough.
    settled = (run('cpu.settle()') for _ in range(4))
    assert any(threads == 1 and faults < 0.01 * PAGES for threads, faults in settled)
    assert run('')[1] > 0.5 * PAGES  # Else this would show nothing.


TINY = """
import threading, torch
from robot_learning.phases import cpu
def decay():
    print((torch.full((64,), 1e-30) * 1e-10).max().item() > 0)
decay()
cpu.settle()
decay()
thread = threading.Thread(target=decay)
thread.start()
thread.join()
"""


def test_a_settled_process_takes_the_tiniest_numbers_for_zero_in_later_threads_too():
    command = [sys.executable, '-c', TINY]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output.split() == ['True', 'False', 'False']
