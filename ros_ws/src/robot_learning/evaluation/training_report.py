"""One self-contained HTML page about a training: what was learned from what, and how well."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import NamedTuple

from robot_learning import durable_files
from robot_learning.evaluation import figures
from robot_learning.evaluation import report_page as html
from robot_learning.evaluation.run_record import Curve, Table


class Picture(NamedTuple):
    """A finished picture, PNG or GIF."""

    caption: str
    content: bytes


@dataclass(frozen=True)
class TrainingRecord:
    """Everything the page shows. Empty parts are left out."""

    title: str  # Of the browser's tab.
    verdict: str  # One sentence.
    lead: str  # What was trained on what.
    key_numbers: list[tuple[str, str]]  # (value, what it is).
    curves: list[Curve] = field(default_factory=list)
    measured: Table | None = None
    measured_on: str = ''  # What the numbers of the table come from.
    imagined: Table | None = None  # Open-loop errors.
    imagined_note: str = ''
    pictures: Sequence[Picture] = ()  # Of imagined futures.
    settings: list[tuple[str, str]] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)  # (what it does, command).
    provenance: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # What is missing, and why.


def write_training_report(path: Path, record: TrainingRecord) -> None:
    """Write the page, complete or not at all; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    durable_files.replace(path, render(record).encode())


def render(record: TrainingRecord) -> str:
    """Return the page as HTML with every picture inside and no link to the outside."""
    parts = [
        html.header(record.title, record.verdict, record.lead, record.key_numbers),
        html.section(
            'What to know about this training',
            ''.join(f'<p>{escape(note)}</p>' for note in record.notes),
            css_class='warning',
        ),
        html.section(
            'Measured', html.table(record.measured) if record.measured else '', record.measured_on
        ),
        _curves(record),
        _imagined(record),
        html.section('Go on', html.commands(record.commands)),
        html.section('Settings', html.definitions(record.settings)),
        html.section('Where this comes from', html.definitions(record.provenance)),
    ]
    return html.page(record.title, '\n'.join(parts))


def _curves(record: TrainingRecord) -> str:
    charts = ''.join(
        html.figure(
            html.svg_image(figures.training_curve(curve), f'{curve.name} over updates'),
            f'{curve.name}, last {curve.value[-1]:.4g}',
        )
        for curve in record.curves
    )
    body = f'<div class="small">{charts}</div>' if charts else ''
    return html.section('While it learned', body, 'Over updates; restarts are in the same line.')


def _imagined(record: TrainingRecord) -> str:
    pictures = ''.join(
        html.figure(_image(picture), picture.caption) for picture in record.pictures
    )
    table = html.table(record.imagined) if record.imagined else ''
    return html.section('Imagined futures', table + pictures, record.imagined_note)


def _image(picture: Picture) -> str:
    if picture.content[:3] != b'GIF':
        return html.png_image(picture.content, picture.caption)
    data = base64.b64encode(picture.content).decode()
    caption = escape(picture.caption, quote=True)
    return f'<img class="wide" src="data:image/gif;base64,{data}" alt="{caption}">'
