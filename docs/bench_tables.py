"""Tables of what was measured about the bench; `result_tables.py` writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Table = Callable[[Sequence[object], Sequence[Sequence[object]]], str]


def interactions(results: Any, table: Table) -> str:
    """How fast it records, what materials sound like, what a simple reader gets out of it."""
    speed = [
        [row['camera'], f'{row["CPU s each"]:.3f}', f'{row["times real time"]:.0f}']
        for row in results['throughput']
    ]
    sounds = [
        [
            row['can of'],
            *(f'{row[key]:.0f}' for key in ('centroid Hz', 'strongest Hz')),
            '–' if row['60 dB s'] is None else f'{row["60 dB s"]:.2f}',
        ]
        for row in results['materials']
    ]
    read = [[row['property'], f'{row["Spearman"]:.2f}'] for row in results['properties']]
    return (
        f'Recordings of 1.6 s, one process:\n\n'
        f'{table(["camera", "CPU s each", "times real time"], speed)}\n'
        f'The same can of four materials, struck once:\n\n'
        f'{table(["material", "centroid Hz", "strongest Hz", "60 dB in s"], sounds)}\n'
        f'Spearman correlation of properties with what kernel ridge regression reads from plain '
        f'statistics of six interactions, {results["num_objects"]} objects, five folds; a floor '
        f'for learners:\n\n{table(["property", "Spearman"], read)}'
    )
