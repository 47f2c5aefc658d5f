"""A progress bar for work of known length; silent where nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def steps_progress(total: int | None, text: str) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr; give what moves it on by a number of steps.

    Args:
        total: steps in all; None: unknown.
        text: what is counted.
    """
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as progress:
        task = progress.add_task(text, total=total)
        yield lambda steps: progress.advance(task, steps)
