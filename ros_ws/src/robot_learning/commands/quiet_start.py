"""Runs a program that SIGINT ends at once and without a word, until it listens by itself.

Python answers a Ctrl-C during the imports, which take seconds, with a traceback. Run as a script
by the supervisor, with the program and its arguments; standard library only.
"""

from __future__ import annotations

import runpy
import signal
import sys
from pathlib import Path

if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)  # As if Python had been given the program.
    runpy.run_path(sys.argv[0], run_name='__main__')
