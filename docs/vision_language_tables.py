"""The table of what was measured about pictures and words; `result_tables.py` writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Table = Callable[[Sequence[object], Sequence[Sequence[object]]], str]


def vision_language(results: Any, table: Table) -> str:
    """Retrieval, grounding, naming."""
    rows = [
        [
            row['figure'],
            f'{row["value"]:.3f} ({row["low"]:.3f} to {row["high"]:.3f})',
            row['count'],
            '' if row['chance'] is None else f'{row["chance"]:.3f}',
            row['goal'],
        ]
        for row in results['rows']
    ]
    trained = '; '.join(
        f'{name} {task["trained"]["update"]} updates in {task["trained"]["wall_s"] / 60:.0f} min'
        for name, task in results['tasks'].items()
    )
    said = ''
    if 'world' in results['tasks']:
        latency = results['tasks']['world']['measured']['latency_ms']
        said = (
            f'\nOne picture and one phrase take {latency["both_processor"]:.1f} ms of a processor '
            f'(goal: 15); by the clock, beside others, {latency["both_p50"]:.1f} ms, p99 '
            f'{latency["both_p99"]:.1f} ms, each further phrase {latency["phrase_p50"]:.2f} ms.\n'
        )
    head = ['figure', 'value, 95 %', 'count', 'chance', 'goal']
    return (
        f'Pictures that no update saw: rendered scenes of seeds of their own, with a caption '
        f'among 50; shop photographs marked `val`, 81 classes; photographs of COCO held out. '
        f'Accuracy of grounding: the centre that is answered lies on a visible pixel of the '
        f'thing. Trained on one loaded core: {trained}.\n\n{table(head, rows)}{said}'
    )
