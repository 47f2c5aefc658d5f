"""A picture of which labels were taken for which others."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from robot_learning import durable_files
from robot_learning.evaluation.figures import INK, MUTED, STYLE

Array = np.ndarray[Any, Any]
_MOST_NAMED = 40  # Labels whose names and counts can still be read.


def write_confusion(path: Path, labels: Sequence[str], counts: Array, title: str) -> None:
    """Draw a matrix of counts as PNG, each row by its share.

    Args:
        path: of the PNG.
        labels: L names, in the order of rows and columns.
        counts: [L, L], true label by answer.
        title: what is seen.
    """
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = float(np.clip(0.42 * len(labels) + 2.5, 5, 16))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(size, size), layout='constrained')
        axes = figure.subplots()
        axes.grid(visible=False)
        axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
        axes.set_title(title, loc='left', color=INK, fontsize=11)
        axes.set_xlabel('answered')
        axes.set_ylabel('meant')
        if len(labels) <= _MOST_NAMED:
            axes.set_xticks(range(len(labels)), labels, rotation=60, ha='right')
            axes.set_yticks(range(len(labels)), labels)
            for row, column in zip(*np.nonzero(counts), strict=True):
                color = 'white' if shares[row, column] > 0.6 else MUTED
                text = str(int(counts[row, column]))
                axes.text(column, row, text, ha='center', va='center', color=color, fontsize=8)
        canvas: Any = FigureCanvasAgg(figure)
        buffer = io.BytesIO()
        canvas.print_png(buffer)
    durable_files.replace(path, buffer.getvalue())
