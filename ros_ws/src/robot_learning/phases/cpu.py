"""How a learning process uses the CPU it shares with a control loop."""

from __future__ import annotations

import ctypes
import sys

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # Parameters of glibc's mallopt.
_KEEP_BYTES = 1 << 30


def settle(num_threads: int = 1) -> None:
    """Limit torch's threads, take the tiniest numbers for 0, let freed memory stay.

    Two threads beside other processes are several times slower than one. And glibc returns
    every freed buffer of a layer to the kernel, which then clears it anew page by page: in a
    chain of 256x256 products that took a third of the time. Numbers below 1e-38, to which
    momenta without a gradient shrink, are slow: 157 000 such momenta made a step of Adam take
    3.0 ms instead of 0.2. Threads that start later inherit this.
    """
    torch.set_num_threads(num_threads)
    torch.set_flush_denormal(True)
    if sys.platform == 'linux':
        mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
