"""What every benchmark says about itself: the machine, a table, one JSON file."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / 'results'
_PACKAGES = ('numpy', 'torch', 'mujoco', 'ros-jazzy-rclpy', 'stable-baselines3', 'rosbags', 'h5py')


def machine() -> dict[str, Any]:
    """Describe what the numbers were measured on, without naming the machine."""
    return {
        'cpu': _cpu_model(),
        'usable_cores': len(os.sched_getaffinity(0)),
        'memory_gib': round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30, 1),
        'load_average_1min': round(os.getloadavg()[0], 2),
        'system': f'{platform.system()} {platform.machine()}',
        'python': platform.python_version(),
        'packages': {name: version for name in _PACKAGES if (version := _version(name))},
    }


def write(name: str, results: Any, quick: bool = False) -> Path:
    """Write `results` as JSON and return the file: results/<name>.json.

    A quick run goes to results/<name>.quick.json, so that it never replaces real numbers.
    """
    content = {
        'benchmark': name,
        'quick': quick,
        'created': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        'machine': machine(),
        'results': results,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f'{name}.quick.json' if quick else RESULTS / f'{name}.json'
    temporary = path.with_suffix('.tmp')
    temporary.write_text(json.dumps(content, indent=2, default=_plain) + '\n', encoding='utf-8')
    temporary.replace(path)
    return path


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Print rows as an aligned Markdown table, and return it; columns are those of all rows."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [columns, *[[_text(row.get(column, '')) for column in columns] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    numeric = [all(_is_number(row.get(column)) for row in rows) for column in columns]

    def line(values: Sequence[str]) -> str:
        padded = [
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(values, widths, numeric, strict=True)
        ]
        return f'| {" | ".join(padded)} |'

    rule = [
        '-' * (width - 1) + (':' if right else '-')
        for width, right in zip(widths, numeric, strict=True)
    ]
    text = '\n'.join([line(cells[0]), line(rule), *[line(row) for row in cells[1:]]])
    print(text)
    return text


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _text(value: Any) -> str:
    if value is None:
        return ''
    if isinstance(value, float):
        return f'{value:,.0f}' if 1e3 <= abs(value) < 1e12 else f'{value:.4g}'
    return str(value)


def _plain(value: Any) -> Any:
    """Turn numpy scalars, arrays and paths into what JSON knows."""
    if hasattr(value, 'tolist'):
        return value.tolist()
    return str(value)


def _cpu_model() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return platform.processor() or 'unknown'
    return next((line.split(':')[1].strip() for line in lines if 'model name' in line), 'unknown')


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
