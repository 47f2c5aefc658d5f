"""Makes docs/run.png, the README's picture of a real run, from a folder that `./run demo` left.

. ros_ws/install/setup.sh
.venv/bin/python docs/run_picture.py runs/latest
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image
from robot_learning import contract as contracts
from robot_learning.commands.demo_evaluation import ScoreBook
from robot_learning.commands.demo_report import build_record
from robot_learning.commands.recorded_run import recorded_episodes
from robot_learning.commands.run_directory import RunDirectory
from robot_learning.evaluation import figures, map_pictures
from robot_learning.evaluation.figures import BLUE, GREEN, MUTED, ORANGE, RED
from robot_learning.evaluation.run_record import RunRecord, SensorFrame

_NUM_MAPS = 4
_COLORS = 128  # Of the PNG's palette: a quarter of the size, and nobody sees it.


def main(argv: list[str] | None = None) -> int:
    """Draw the picture of one run; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('run', type=Path, help='folder of a finished demo run')
    parser.add_argument('--out', type=Path, default=Path(__file__).with_name('run.png'))
    options = parser.parse_args(argv)
    path = options.out
    Image.open(io.BytesIO(draw(read(options.run)))).quantize(_COLORS).save(path, optimize=True)
    print(f'{path}: {path.stat().st_size / 1000:.0f} kB')
    return 0


def read(root: Path) -> RunRecord:
    """Collect what the run's own report shows, less the latencies."""
    run = RunDirectory(root.resolve())
    metrics = json.loads(run.metrics.read_text(encoding='utf-8'))
    contract = contracts.load(metrics['robot'])
    book = ScoreBook(run, contract, metrics['num_layouts'])
    book.load()
    episodes = recorded_episodes(run.episodes)
    return build_record(run, contract, book, metrics, episodes, np.empty(0), [])


def draw(record: RunRecord) -> bytes:
    """Return the picture as PNG: the success curve, maps before and after, camera and lidar."""
    with mpl.rc_context(figures.STYLE):
        figure = Figure(figsize=(10.8, 4.8), facecolor='white')
        figure.text(0.012, 0.955, record.verdict, fontsize=12, weight='bold', va='center')
        grid = figure.add_gridspec(
            2,
            4,
            left=0.058,
            right=0.995,
            top=0.84,
            bottom=0.11,
            width_ratios=(2.25, 1, 1, 0.96),
            wspace=0.07,
            hspace=0.06,
        )
        curve = figure.add_subplot(grid[:, 0])
        figures.draw_success(curve, record.success_curve, record.baselines, record.episodes)
        for index, panel in enumerate(record.maps[:_NUM_MAPS]):
            map_pictures.draw_map(figure.add_subplot(grid[index // 2, 1 + index % 2]), panel)
        if record.frames:
            frame = record.frames[-1]
            _draw_camera(figure.add_subplot(grid[0, 3]), frame)
            map_pictures.draw_scan(figure.add_subplot(grid[1, 3], projection='polar'), frame)
        _draw_legend(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format='png', dpi=130)
        return buffer.getvalue()


def _draw_camera(axes: Axes, frame: SensorFrame) -> None:
    if frame.image is not None:
        axes.imshow(frame.image, interpolation='nearest')
    axes.set_axis_off()


def _draw_legend(figure: Figure) -> None:
    marks = [
        Line2D([], [], color=ORANGE, label='before learning'),
        Line2D([], [], color=BLUE, label='after'),
        Line2D([], [], color=MUTED, linestyle=(0, (1, 2)), label='shortest path'),
        Line2D([], [], color=GREEN, marker='o', linestyle='', label='goal'),
        Line2D([], [], color=RED, marker='X', linestyle='', label='collision'),
    ]
    figure.legend(
        handles=marks,
        loc='lower right',
        bbox_to_anchor=(0.995, 0.0),
        ncols=len(marks),
        fontsize=9,
        labelcolor=MUTED,
    )


if __name__ == '__main__':
    sys.exit(main())
