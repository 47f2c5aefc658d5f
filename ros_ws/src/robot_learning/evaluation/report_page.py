"""The page the report's parts stand on: its stylesheet and small HTML builders."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

from robot_learning.evaluation.run_record import Table

STYLESHEET = """
:root { color-scheme: light; --ink: #1c2430; --muted: #667085; --line: #e6e9ee; --blue: #2458d3; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #f6f7f9; line-height: 1.5;
  font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .2rem 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.12rem; margin: 0 0 .15rem; }
p { margin: .2rem 0 .7rem; }
p.note, figcaption, .legend { color: var(--muted); font-size: .88rem; }
.eyebrow { color: var(--muted); font-size: .82rem; letter-spacing: .04em; }
section { background: #fff; border: 1px solid var(--line); border-radius: 12px;
  padding: 1.1rem 1.2rem; margin-top: 1rem; }
.numbers { display: grid; gap: .6rem; margin: 1.1rem 0 0;
  grid-template-columns: repeat(auto-fit, minmax(8.2rem, 1fr)); }
.numbers div { background: #fff; border: 1px solid var(--line); border-radius: 12px;
  padding: .65rem .85rem; }
.numbers b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.numbers span { color: var(--muted); font-size: .8rem; }
.pair { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); }
.pair section { min-width: 0; }
figure { margin: 0; min-width: 0; } img { display: block; width: 100%; height: auto; }
img.wide { max-width: 46rem; margin: 0 auto; }
.maps { display: grid; gap: .7rem;
  grid-template-columns: repeat(auto-fill, minmax(10.2rem, 1fr)); }
.maps figcaption, .small figcaption { text-align: center; font-size: .8rem; }
.small { display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(min(10rem, 44%), 1fr)); }
.frames { display: grid; gap: .9rem;
  grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
.frame { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; align-items: center; }
.frame img.camera { image-rendering: pixelated; border-radius: 8px; }
.legend span { display: inline-block; margin-right: 1rem; }
.legend i { display: inline-block; width: 1.1rem; height: .3rem; border-radius: 2px;
  vertical-align: middle; margin-right: .35rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .88rem;
  font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--muted); font-weight: 500; }
th, td { padding: .32rem .7rem .32rem 0; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
td.number, th.number { text-align: right; } tr.stress td { font-weight: 600; background: #f2f6ff; }
pre { background: #f3f4f7; border-radius: 8px; padding: .6rem .8rem; margin: .2rem 0 .8rem;
  overflow-x: auto; font-size: .84rem; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .25rem 1rem;
  font-size: .9rem; margin: .4rem 0 0; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
.warning { border-color: #f0c36d; background: #fffaf0; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""


def page(title: str, body: str) -> str:
    """Return a whole HTML document."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<style>{STYLESHEET}</style></head>\n'
        f'<body><main>\n{body}\n</main></body></html>\n'
    )


def header(title: str, verdict: str, lead: str, numbers: Iterable[tuple[str, str]]) -> str:
    """Return the top of the page; `numbers` are values with their names."""
    cards = ''.join(
        f'<div><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in numbers
    )
    return (
        f'<header><div class="eyebrow">{escape(title)}</div>'
        f'<h1>{escape(verdict)}</h1><p>{escape(lead)}</p>'
        f'<div class="numbers">{cards}</div></header>'
    )


def section(heading: str, body: str, note: str = '', css_class: str = '') -> str:
    """Return one card of the page, nothing for an empty body."""
    if not body:
        return ''
    lead = f'<p class="note">{escape(note)}</p>' if note else ''
    return f'<section class="{css_class}"><h2>{escape(heading)}</h2>{lead}\n{body}</section>\n'


def svg_image(svg: str, alternative: str, css_class: str = '') -> str:
    """Return an image element that carries its SVG inline and leaks no ids or styles."""
    data = base64.b64encode(svg.encode()).decode()
    return _image(f'data:image/svg+xml;base64,{data}', alternative, css_class)


def png_image(png: bytes, alternative: str, css_class: str = '') -> str:
    """Return an image element that carries its PNG inline."""
    data = base64.b64encode(png).decode()
    return _image(f'data:image/png;base64,{data}', alternative, css_class)


def figure(image: str, caption: str = '') -> str:
    """Return a figure with an optional caption."""
    text = f'<figcaption>{escape(caption)}</figcaption>' if caption else ''
    return f'<figure>{image}{text}</figure>\n'


def table(content: Table) -> str:
    """Return a table that scrolls sideways on narrow screens; numbers stand right."""
    numeric = [
        all(_looks_numeric(row[column]) for row in content.rows)
        for column in range(len(content.columns))
    ]

    def cells(tag: str, values: list[str]) -> str:
        return ''.join(
            f'<{tag} class="number">{escape(value)}</{tag}>'
            if numeric[index]
            else f'<{tag}>{escape(value)}</{tag}>'
            for index, value in enumerate(values)
        )

    rows = ''.join(
        f'<tr{" class=stress" if index in content.highlight else ""}>{cells("td", row)}</tr>\n'
        for index, row in enumerate(content.rows)
    )
    head = f'<tr>{cells("th", content.columns)}</tr>'
    return f'<div class="scroll"><table>{head}\n{rows}</table></div>'


def definitions(pairs: list[tuple[str, str]]) -> str:
    """Return a list of names and what they are."""
    items = ''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>\n' for name, text in pairs)
    return f'<dl>{items}</dl>' if items else ''


def commands(pairs: list[tuple[str, str]]) -> str:
    """Return shell commands, each below what it does."""
    return ''.join(
        f'<p class="note">{escape(purpose)}</p><pre>{escape(command)}</pre>\n'
        for purpose, command in pairs
    )


def legend(entries: list[tuple[str, str]]) -> str:
    """Return a line of coloured marks and their meaning."""
    marks = ''.join(
        f'<span><i style="background:{color}"></i>{escape(text)}</span> '
        for color, text in entries
    )
    return f'<p class="legend">{marks}</p>'


def _image(source: str, alternative: str, css_class: str) -> str:
    return f'<img class="{css_class}" src="{source}" alt="{escape(alternative, quote=True)}">'


def _looks_numeric(text: str) -> bool:
    stripped = text.replace(' ', '').strip('%+-–.,ksmin')
    return text in ('', '–') or stripped[:1].isdigit()
