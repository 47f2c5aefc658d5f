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
    settled = [run('cpu.settle()') for _ in range(4)]
    assert {num_threads for num_threads, _ in settled} == {1}
    assert min(faults for _, faults in settled) < 0.01 * PAGES
    assert min(run('')[1] for _ in range(2)) > 0.5 * PAGES  # Else this would show nothing.


TINY = """
import threading, torch
from robot_learning.phases import cpu
{settle}
def decay():
    print((torch.full((64,), 1e-30) * 1e-10).max().item() > 0)
decay()
thread = threading.Thread(target=decay)
thread.start()
thread.join()
"""


@pytest.mark.parametrize(('settle', 'kept'), [('', 'True'), ('cpu.settle()', 'False')])
def test_a_settled_process_takes_the_tiniest_numbers_for_zero_in_later_threads_too(settle, kept):
    command = [sys.executable, '-c', TINY.format(settle=settle)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output.split() == [kept, kept]
