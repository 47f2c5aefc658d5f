"""How a learning process uses the CPU it shares with a control loop."""

from __future__ import annotations

import ctypes
import sys

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # Parameters of glibc's mallopt.
_KEEP_BYTES = 1 << 30


def settle(num_threads: int = 1) -> None:
    """Limit torch's threads and let freed memory stay with the process.

    Two threads beside other processes are several times slower than one. And glibc returns
    every freed buffer of a layer to the kernel, which then clears it anew page by page: in a
    chain of 256x256 products that took a third of the time.
    """
    torch.set_num_threads(num_threads)
    if sys.platform == 'linux':
        mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _KEEP_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
