"""Slots as one tag per token, and back: B-name begins a slot, I-name continues it, O is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from robot_learning.language.tokens import Token

OUTSIDE = 'O'
Span = tuple[int, int, str]  # From, to (exclusive) in the text, name.


def all_tags(names: Iterable[str]) -> tuple[str, ...]:
    """Return the tags of these slots; OUTSIDE is the first."""
    return (OUTSIDE, *(f'{mark}-{name}' for name in sorted(set(names)) for mark in 'BI'))


def tags_of(tokens: Sequence[Token], spans: Sequence[Span]) -> list[str]:
    """Return the tag of each token; one that lies in a span only in part belongs to it."""
    tags = [OUTSIDE] * len(tokens)
    for start, end, name in spans:
        mark = 'B'
        for place, token in enumerate(tokens):
            if token.start < end and token.end > start and tags[place] == OUTSIDE:
                tags[place], mark = f'{mark}-{name}', 'I'
    return tags


def spans_of(tokens: Sequence[Token], tags: Sequence[str]) -> tuple[Span, ...]:
    """Return the slots that tags mark; an I without a B before it begins one."""
    spans: list[Span] = []
    open_name = ''
    for token, tag in zip(tokens, tags, strict=False):
        mark, _, name = tag.partition('-')
        if mark == 'I' and name == open_name:
            spans[-1] = (spans[-1][0], token.end, name)
        elif name:
            spans.append((token.start, token.end, name))
        open_name = name
    return tuple(spans)
