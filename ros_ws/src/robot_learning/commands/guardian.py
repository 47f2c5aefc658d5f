"""Ends the process groups of a supervisor that was killed. Run as a script by the supervisor.

Reads `watch GROUP` and `forget GROUP` lines from standard input. The end of input means that the
supervisor is gone: every watched group gets SIGTERM and, when it is still there after the seconds
named on the command line, SIGKILL. On Linux the kernel has sent SIGTERM already, and a second one
would tell a node that is just writing its data to hurry; so there it comes only near the end.
Standard library only, so that it starts in milliseconds and outlives a broken environment.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable

_LAST_CALL_S = 1.0  # From the late SIGTERM to SIGKILL.


def guard(lines: Iterable[str], patience_s: float, is_linux: bool) -> None:
    """Follow `lines` to their end, then end every group still watched."""
    groups: set[int] = set()
    for line in lines:
        verb, group = line.split()
        if verb == 'watch':
            groups.add(int(group))
        else:
            groups.discard(int(group))
    if not is_linux:
        _signal(groups, signal.SIGTERM)
    groups = _await(groups, patience_s)
    _signal(groups, signal.SIGTERM)
    _signal(_await(groups, _LAST_CALL_S), signal.SIGKILL)


def _await(groups: set[int], timeout_s: float) -> set[int]:
    """Wait until no group exists; return those that still do."""
    deadline = time.monotonic() + timeout_s
    while (groups := _signal(groups, 0)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return groups


def _signal(groups: set[int], number: int) -> set[int]:
    """Send a signal to each group; return those that still exist."""
    alive = set()
    for group in groups:
        try:
            os.killpg(group, number)
            alive.add(group)
        except (ProcessLookupError, PermissionError):
            continue
    return alive


if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    guard(sys.stdin, float(sys.argv[1]), sys.platform == 'linux')
