"""What a number was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Describe this machine without naming it."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        names = [line.split(':')[1].strip() for line in lines if line.startswith('model name')]
    except OSError:
        names = []
    return {
        'cpu': names[0] if names else platform.processor() or 'unknown processor',
        'usable_cores': len(os.sched_getaffinity(0)),
        'memory_gib': round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30, 1),
        'system': f'{platform.system()} {platform.machine()}',
        'python': platform.python_version(),
    }
