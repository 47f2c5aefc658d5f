"""One child process in a group of its own, that ends when its parent does."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import IO

OnOutput = Callable[[str, str], None]  # Process name, one line without its line end.

_NUM_LAST_LINES = 20
_READER_PATIENCE_S = 1.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == 'linux' else None


class ChildProcess:
    """A started process. Its output is read line by line in a thread of its own.

    Linux sends it SIGTERM when the *thread* that made it ends, so make it in a thread that
    lives as long as the child should.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        on_output: OnOutput,
        nice: int = 0,
    ):
        self.name = name
        self.last_lines: deque[str] = deque(maxlen=_NUM_LAST_LINES)
        self._on_output = on_output
        parent = os.getpid()
        self._process = subprocess.Popen(
            list(arguments),
            env={**os.environ, 'PYTHONUNBUFFERED': '1', **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            start_new_session=True,
            preexec_fn=lambda: _settle(parent, nice),
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), name=f'{name} output', daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id, which is its group's id too."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code once it has ended (-N: killed by signal N), else None.

        What it left behind in its group is killed first, while the group's id is still its own.
        """
        if self._process.returncode is None:
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            if os.waitid(os.P_PID, self.pid, options) is None:
                return None
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._reader.join(_READER_PATIENCE_S)
        return self._process.returncode

    def wait(self, timeout_s: float) -> int | None:
        """Wait up to `timeout_s` for its end; return what `poll` returns."""
        deadline = time.monotonic() + timeout_s
        while (code := self.poll()) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group, unless it has ended."""
        if self._process.returncode is None:
            try:
                os.killpg(self.pid, number)
            except (ProcessLookupError, PermissionError):  # macOS refuses on zombies.
                return

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                text = line.rstrip('\n')
                self.last_lines.append(text)
                self._on_output(self.name, text)


def _settle(parent: int, nice: int) -> None:
    """Set the priority and ask Linux for SIGTERM when the parent ends; runs in the child.

    Linux shares the processor between sessions first, so the session's own niceness, in
    /proc/self/autogroup, is what counts between children.
    """
    if nice:
        os.nice(nice)
        with contextlib.suppress(OSError), open('/proc/self/autogroup', 'w') as group:  # noqa: PTH123
            group.write(str(nice))
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # The parent ended before the request.
            os._exit(1)
