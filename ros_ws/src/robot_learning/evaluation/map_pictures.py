"""Maps of driven paths and pictures of what the sensors saw."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle
from PIL import Image

from robot_learning.evaluation.figures import BLUE, GREEN, INK, MUTED, ORANGE, RED, STYLE, to_svg
from robot_learning.evaluation.run_record import DrivenPath, MapPanel, MapScene, SensorFrame

Array = np.ndarray[Any, Any]


def map_panel(panel: MapPanel) -> str:
    """Top-down map of one layout with the paths before and after learning."""
    with mpl.rc_context(STYLE):
        half_width, half_height = panel.scene.half_size
        figure = Figure(figsize=(2.6, 2.6 * half_height / half_width))
        draw_map(figure.add_axes((0, 0, 1, 1)), panel)
        return to_svg(figure)


def draw_map(axes: Axes, panel: MapPanel) -> None:
    """Draw what `map_panel` shows into axes of somebody's figure."""
    _draw_scene(axes, panel.scene)
    if panel.shortest is not None and len(panel.shortest) > 1:
        axes.plot(*panel.shortest.T[:2], color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
    for path, color in ((panel.before, ORANGE), (panel.after, BLUE)):
        if path is not None:
            _draw_path(axes, path, color)
    _draw_start(axes, panel.scene.start)
    margin = 0.14
    half_width, half_height = panel.scene.half_size
    axes.set(
        xlim=(-half_width - margin, half_width + margin),
        ylim=(-half_height - margin, half_height + margin),
        aspect='equal',
    )
    axes.set_axis_off()


def lidar_picture(frame: SensorFrame) -> str:
    """The scan around the robot, ahead upwards, with the goal's direction."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.4, 2.4))
        draw_scan(figure.add_axes((0.02, 0.02, 0.96, 0.96), projection='polar'), frame)
        return to_svg(figure)


def draw_scan(axes: Any, frame: SensorFrame) -> None:
    """Draw what `lidar_picture` shows into polar axes of somebody's figure."""
    axes.set_theta_zero_location('N')
    ranges = np.asarray(frame.ranges, float)
    hit = np.isfinite(ranges) & (ranges < frame.range_max)
    shown = np.where(hit, ranges, frame.range_max)
    around = np.append(frame.beam_angles, frame.beam_angles[0] + 2 * np.pi)
    axes.fill(around, np.append(shown, shown[0]), color=BLUE, alpha=0.10, lw=0)
    axes.plot(frame.beam_angles[hit], ranges[hit], '.', color=BLUE, markersize=2.2)
    if frame.goal_bearing is not None:
        reach = min(frame.goal_distance_m or frame.range_max, frame.range_max)
        axes.plot([frame.goal_bearing] * 2, [0, reach], color=GREEN, linewidth=1.2)
        axes.plot([frame.goal_bearing], [reach], 'o', color=GREEN, markersize=6)
    axes.plot([0], [0], marker=(3, 0, 0), color=INK, markersize=9)
    axes.set_rmax(frame.range_max)
    axes.set_rgrids([1, 2, 3], ['1', '2', '3 m'], fontsize=8, color=MUTED, angle=200)
    axes.set_thetagrids([0, 90, 180, 270], [''] * 4)
    axes.spines['polar'].set_color('#dfe3e9')


def camera_png(image: Array) -> bytes:
    """A camera frame [H, W, 3] uint8 as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image, np.uint8)).save(buffer, 'PNG', optimize=True)
    return buffer.getvalue()


def _draw_scene(axes: Axes, scene: MapScene) -> None:
    half_width, half_height = scene.half_size
    axes.add_patch(
        Rectangle(
            (-half_width, -half_height),
            2 * half_width,
            2 * half_height,
            facecolor='#fbfcfd',
            edgecolor='#475063',
            linewidth=2.2,
        )
    )
    for corners in scene.walls:
        axes.add_patch(Polygon(corners, facecolor='#475063', edgecolor='#475063', linewidth=1))
    for thing in scene.objects:
        axes.add_patch(
            Circle(
                (thing['x'], thing['y']),
                max(thing['radius'], 0.06),
                facecolor=thing['color'],
                edgecolor='white',
                linewidth=0.6,
                alpha=0.75,
            )
        )
    axes.add_patch(
        Circle(
            scene.goal,
            scene.goal_radius_m,
            facecolor='#d9f2e7',
            edgecolor=GREEN,
            linewidth=1.4,
            zorder=1.5,
        )
    )


def _draw_path(axes: Axes, path: DrivenPath, color: str) -> None:
    axes.plot(
        path.points[:, 0],
        path.points[:, 1],
        color=color,
        linewidth=1.7,
        solid_joinstyle='round',
        zorder=3,
    )
    end_x, end_y = path.points[-1, :2]
    if path.success:
        axes.plot(end_x, end_y, 'o', color=color, markersize=4, zorder=4)
    else:
        marker = 'X' if path.reason == 'collision' else 's'
        axes.plot(
            end_x,
            end_y,
            marker,
            color=RED,
            markeredgecolor='white',
            markeredgewidth=0.7,
            markersize=8 if marker == 'X' else 6,
            zorder=5,
        )


def _draw_start(axes: Axes, start: tuple[float, float, float]) -> None:
    x, y, yaw = start
    axes.plot(x, y, 'o', color=INK, markersize=5.5, zorder=6)
    axes.plot(
        [x, x + 0.26 * np.cos(yaw)], [y, y + 0.26 * np.sin(yaw)], color=INK, lw=1.6, zorder=6
    )
