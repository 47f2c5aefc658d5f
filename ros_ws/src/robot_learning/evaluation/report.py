"""One self-contained HTML page about a run: what was learned, how well, from what."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from robot_learning.evaluation import figures, map_pictures
from robot_learning.evaluation import report_page as html
from robot_learning.evaluation.figures import BLUE, GREEN, MUTED, ORANGE, RED
from robot_learning.evaluation.run_record import RunRecord


def write_report(path: Path, record: RunRecord) -> None:
    """Write the page; a reader sees the old file or the whole new one."""
    temporary = path.with_name(f'.{path.name}.partial')
    temporary.write_text(render(record), encoding='utf-8')
    temporary.replace(path)


def render(record: RunRecord) -> str:
    """Return the page as HTML with every picture inside and no link to the outside."""
    parts = [
        html.header(record.title, record.verdict, record.lead, record.key_numbers),
        _notes(record),
        _success(record),
        _policies(record),
        _maps(record),
        _frames(record),
        '<div class="pair">' + _returns(record) + _latency(record) + '</div>',
        _versions(record),
        _training(record),
        _health(record),
        html.section('Replay or continue', html.commands(record.commands)),
        html.section('Where this comes from', html.definitions(record.provenance)),
    ]
    return html.page(record.title, '\n'.join(parts))


def _notes(record: RunRecord) -> str:
    items = ''.join(f'<p>{escape(note)}</p>' for note in record.notes)
    return html.section('What to know about this run', items, css_class='warning')


def _success(record: RunRecord) -> str:
    if not record.success_curve and not record.episodes:
        return ''
    svg = figures.success_curve(record.success_curve, record.baselines, record.episodes)
    last = record.success_curve[-1] if record.success_curve else None
    alternative = f'Success rate over environment steps, ending at {last.rate:.2f}' if last else ''
    marks = [(BLUE, 'stored version on the fixed layouts, deterministic, with 95 % interval')]
    if len(record.episodes) >= 10:
        marks.append(('#9aa4b5', 'last 25 episodes while exploring'))
    return html.section(
        'Success while it drives and learns',
        html.svg_image(svg, alternative, 'wide') + html.legend(marks),
    )


def _policies(record: RunRecord) -> str:
    if record.policies is None:
        return ''
    return html.section(
        'Measured on the same layouts',
        html.table(record.policies),
        'Path efficiency is the shortest possible over the driven distance, cross-track error the '
        'mean distance from the shortest path; both over successful drives.',
    )


def _maps(record: RunRecord) -> str:
    if not record.maps:
        return ''
    panels = ''.join(
        html.figure(html.svg_image(map_pictures.map_panel(panel), panel.caption), panel.caption)
        for panel in record.maps
    )
    marks = html.legend(
        [
            (ORANGE, 'before learning'),
            (BLUE, 'after'),
            (MUTED, 'shortest path'),
            (GREEN, 'goal'),
            (RED, 'failure (cross: collision, square: out of time)'),
        ]
    )
    return html.section(
        'The same layouts before and after', marks + f'<div class="maps">{panels}</div>'
    )


def _frames(record: RunRecord) -> str:
    cards = []
    for frame in record.frames:
        lidar = html.svg_image(map_pictures.lidar_picture(frame), f'Lidar scan, {frame.caption}')
        if frame.image is None:
            camera = '<p class="note">no camera frame</p>'
        else:
            png = map_pictures.camera_png(frame.image)
            camera = html.png_image(png, f'Camera frame, {frame.caption}', 'camera')
        cards.append(html.figure(f'<div class="frame">{camera}{lidar}</div>', frame.caption))
    body = f'<div class="frames">{"".join(cards)}</div>' if cards else ''
    return html.section(
        'What the camera and the lidar saw',
        body,
        'Recorded steps. The scan looks from above, ahead is up; the green mark is the goal.',
    )


def _returns(record: RunRecord) -> str:
    known = [episode for episode in record.episodes if np.isfinite(episode.episode_return)]
    if len(known) < 2:
        return ''
    svg = figures.return_curve(known)
    marks = html.legend([(GREEN, 'goal reached'), (RED, 'not reached'), ('#1c2430', 'mean of 25')])
    return html.section(
        'Return per episode', html.svg_image(svg, 'Return per episode over steps') + marks
    )


def _latency(record: RunRecord) -> str:
    if len(record.latency_ms) == 0:
        return ''
    p50, p99 = np.percentile(record.latency_ms, [50, 99])
    svg = figures.latency_histogram(record.latency_ms)
    summary = f'p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {record.latency_ms.max():.2f} ms'
    return html.section(
        'From sensor message to command',
        html.svg_image(svg, f'Latency histogram, {summary}'),
        f'{len(record.latency_ms)} commands: {summary}.',
    )


def _versions(record: RunRecord) -> str:
    if record.versions is None:
        return ''
    return html.section('Model versions', html.table(record.versions), record.versions_note)


def _training(record: RunRecord) -> str:
    charts = ''.join(
        html.figure(html.svg_image(figures.training_curve(curve), curve.name), curve.name)
        for curve in record.curves
        if len(curve.update) > 1
    )
    return html.section('Training', f'<div class="small">{charts}</div>' if charts else '')


def _health(record: RunRecord) -> str:
    topics = html.section(
        'Messages',
        html.table(record.topics) if record.topics else '',
        'Counted by the recorder: every message it received is used, not needed, or named here.',
    )
    return topics + html.section('Action gate', html.table(record.gate) if record.gate else '')
