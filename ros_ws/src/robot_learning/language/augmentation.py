"""More commands from few: other words in their slots, and words around them that mean nothing."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from robot_learning.language.command_files import Labelled
from robot_learning.language.tags import Span

_SUBSTITUTED = 0.7  # Share of the slots that get other words.
_AROUND = 0.25  # Share of commands that get words before or behind them.
_BEFORE = (
    *('please', 'robot', 'robot please', 'could you', 'could you please', 'can you', 'hey'),
    *('robot can you', 'robot could you', 'please robot', 'would you', 'may you', 'now', 'ok'),
    *("let 's", 'i want you to', 'i need you to', 'i would like you to', 'sorry', 'hey robot'),
    *("i 'm tired", 'i am in a hurry', 'it is late', 'the guests are coming', 'i am busy'),
)
_JOINTS = (' and ', ' and then ', ', ', ', then ', ', and ', ' then ')
_BEHIND = ('please', 'for me', 'now', 'quickly', 'thank you', 'robot', 'as soon as possible')


def variants(commands: Sequence[Labelled], copies: int, seed: int) -> list[list[Labelled]]:
    """Return `copies` lists, each with a variant of every command, in the same order.

    Words of a slot are exchanged for those that another command has in a slot of this name.
    """
    rng = random.Random(seed)
    known: dict[str, set[str]] = defaultdict(set)
    for command in commands:
        for start, end, name in command.spans:
            known[name].add(command.text[start:end])
    pool = {name: sorted(words) for name, words in known.items()}
    return [[_varied(command, pool, rng) for command in commands] for _ in range(copies)]


def joined(commands: Sequence[Labelled], ratio: float, seed: int) -> list[Labelled]:
    """Return commands, a share of them with another one behind; the first gives the intent."""
    rng = random.Random(seed)
    return [
        _joined(command, rng.choice(commands), rng.choice(_JOINTS))
        if rng.random() < ratio
        else command
        for command in commands
    ]


def _joined(first: Labelled, second: Labelled, joint: str) -> Labelled:
    behind = len(first.text) + len(joint)
    moved = tuple((start + behind, end + behind, name) for start, end, name in second.spans)
    return first._replace(
        text=f'{first.text}{joint}{second.text}',
        spans=(*first.spans, *moved),
        has_slots=first.has_slots and second.has_slots,
    )


def _varied(command: Labelled, pool: dict[str, list[str]], rng: random.Random) -> Labelled:
    text, spans, place = '', [], 0
    if rng.random() < _AROUND:
        text = f'{rng.choice(_BEFORE)} '
    for start, end, name in command.spans:
        words = command.text[start:end]
        if rng.random() < _SUBSTITUTED:
            words = rng.choice(pool[name])
        text += command.text[place:start]
        spans.append((len(text), len(text) + len(words), name))
        text += words
        place = end
    text += command.text[place:]
    if rng.random() < _AROUND:
        text += f' {rng.choice(_BEHIND)}'
    return command._replace(text=text, spans=tuple[Span, ...](spans))
