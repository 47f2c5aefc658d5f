"""Where commands write their reports: tables on the terminal, JSON in files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from robot_learning.errors import StoreError


def console() -> Console:
    """Return a console that does not squeeze tables into 80 columns when nobody looks."""
    return Console(width=None if sys.stdout.isatty() else 140)


def print_line(text: str) -> None:
    """Print one line as it is, without markup or colours."""
    console().print(text, markup=False, highlight=False, soft_wrap=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` for programs to read; folders are made.

    Raises:
        StoreError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    except OSError as error:
        raise StoreError(
            f'{path}: cannot be written ({error.strerror}). Choose another file for --json.'
        ) from error
