"""What a person sees in the terminal while the robot drives and learns."""

from __future__ import annotations

import math
import sys
from types import TracebackType

from rich import box
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from robot_learning.evaluation.live_numbers import LiveNumbers

_LINE_EVERY_S = 10.0


class LiveDisplay:
    """A panel that is redrawn in place on a terminal, a line now and then elsewhere."""

    def __init__(self, budget_s: float, console: Console | None = None):
        self._budget_s = budget_s
        self._console = console or Console(file=sys.stdout)
        self._live: Live | None = None
        self._next_line_s = 0.0

    def show(self, numbers: LiveNumbers, now_s: float) -> None:
        """Show the newest numbers; call it about once a second while nobody changes them."""
        if self._live is not None:
            self._live.update(panel(numbers, now_s, self._budget_s), refresh=True)
        elif now_s >= self._next_line_s:
            self._next_line_s = now_s + _LINE_EVERY_S
            self._console.print(line(numbers, now_s, self._budget_s), soft_wrap=True)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)

    def __enter__(self) -> LiveDisplay:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def line(numbers: LiveNumbers, now_s: float, budget_s: float) -> str:
    """Return the numbers as one line of plain text."""
    parts = [f'{name} {value}' for name, value in _rows(numbers, now_s)]
    left = max(0.0, budget_s - numbers.loop_seconds(now_s))
    return ', '.join([*parts, f'left {clock(left)}'])


def panel(numbers: LiveNumbers, now_s: float, budget_s: float) -> Panel:
    """Return the numbers as a panel for a terminal."""
    grid = Table(box=box.SIMPLE, show_header=False, padding=(0, 1), expand=True)
    for _ in range(2):
        grid.add_column(style='dim', no_wrap=True)
        grid.add_column(no_wrap=True)
    rows = _rows(numbers, now_s)
    half = (len(rows) + 1) // 2
    for index in range(half):
        right = rows[index + half] if index + half < len(rows) else ('', '')
        grid.add_row(*rows[index], *right)
    done = min(numbers.loop_seconds(now_s), budget_s)
    grid.add_row('time', clock(done), 'left', clock(budget_s - done))
    content = Table.grid(expand=True)
    content.add_row(grid)
    content.add_row(ProgressBar(total=budget_s, completed=done))
    for text in _warnings(numbers):
        content.add_row(f'[yellow]{text}[/yellow]')
    return Panel(content, title='learning while driving', border_style='blue')


def clock(seconds: float) -> str:
    """Write seconds as m:ss."""
    whole = round(seconds)
    return f'{whole // 60}:{whole % 60:02d}'


def _rows(numbers: LiveNumbers, now_s: float) -> list[tuple[str, str]]:
    version = f'{numbers.version}' if numbers.version >= 0 else 'none (random)'
    latency = numbers.latency_ms()
    return [
        ('steps', f'{numbers.environment_step}'),
        ('steps/s', f'{numbers.steps_per_second(now_s):.0f}'),
        (
            'success',
            'no episode yet'
            if not numbers.num_recent
            else f'{100 * numbers.recent_success_rate:.0f} % of last {numbers.num_recent}',
        ),
        ('model', version),
        ('updates/s', f'{numbers.updates_per_second:.0f}'),
        (
            'train ratio',
            f'{_number(numbers.train_ratio)} of {_number(numbers.target_train_ratio)}',
        ),
        ('drops', f'{numbers.dropped}'),
        ('gate', f'{numbers.gate.get("altered", 0)} of {numbers.gate.get("commands", 0)}'),
        (
            'latency p50/p99',
            '–' if latency is None else f'{latency[0]:.2f} / {latency[1]:.2f} ms',
        ),
    ]


def _warnings(numbers: LiveNumbers) -> list[str]:
    texts = [f'model {text}' for text in numbers.refused[-2:]]
    if numbers.train_state in ('waiting', 'failed', 'paused') and numbers.train_detail:
        texts.append(f'trainer {numbers.train_state}: {numbers.train_detail}')
    if numbers.emergency_stopped:
        texts.append('emergency stop is latched')
    if numbers.intervention:
        texts.append('a person drives')
    if numbers.other_publishers:
        texts.append(f'past the action gate publish: {", ".join(numbers.other_publishers)}')
    return texts


def _number(value: float) -> str:
    return '–' if math.isnan(value) else f'{value:.2f}'
