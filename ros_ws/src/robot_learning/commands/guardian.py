"""Ends the process groups of a supervisor that was killed. Run as a script by the supervisor.

Reads `watch GROUP` and `forget GROUP` lines from standard input. The end of input means that the
supervisor is gone: every watched group gets SIGTERM and, when it is still there after the seconds
named on the command line, SIGKILL. Standard library only, so that it starts in milliseconds and
outlives a broken environment.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable


def guard(lines: Iterable[str], patience_s: float) -> None:
    """Follow `lines` to their end, then end every group still watched."""
    groups: set[int] = set()
    for line in lines:
        verb, group = line.split()
        if verb == 'watch':
            groups.add(int(group))
        else:
            groups.discard(int(group))
    _signal(groups, signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while groups and time.monotonic() < deadline:
        groups = _signal(groups, 0)
        time.sleep(0.05)
    _signal(groups, signal.SIGKILL)


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
    guard(sys.stdin, float(sys.argv[1]))
