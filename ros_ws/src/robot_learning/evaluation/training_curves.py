"""Curves of a training, read back from its TensorBoard folder: restarts are in one line."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from robot_learning.evaluation.run_record import Curve

_MOST_POINTS = 2000  # Of a curve; longer ones are thinned out.


def read_curves(folder: Path) -> list[Curve]:
    """Return every curve in a folder of event files, by name; none where there is no folder."""
    if not folder.is_dir():
        return []
    logging.getLogger('tensorboard').setLevel(logging.ERROR)  # Files of a kill are cut short.
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={'scalars': _MOST_POINTS})
    events.Reload()
    curves = []
    for name in sorted(events.Tags()['scalars']):
        points = {
            event.step: event.value for event in events.Scalars(name)
        }  # The last one counts.
        steps = sorted(points)
        curves.append(Curve(name, steps, [points[step] for step in steps]))
    return curves


def in_order(curves: Sequence[Curve], leading: Sequence[str], most: int) -> list[Curve]:
    """Return the curves to show: those named first, in that order, then the others.

    How the trainer itself is doing is left out, and what has a single point.
    """
    drawn = {c.name: c for c in curves if len(c.update) > 1 and not c.name.startswith('trainer/')}
    first = [drawn.pop(name) for name in leading if name in drawn]
    return [*first, *drawn.values()][:most]
