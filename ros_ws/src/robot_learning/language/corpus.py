"""Commands made by a grammar: what people might say for each intent, with what it means.

Templates, not sentences, are split into those to learn from and those to measure on, so that no
phrase of the one occurs in the other.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from robot_learning import durable_files
from robot_learning.language.intents import OUT_OF_SCOPE, SLOT_WORDS
from robot_learning.language.skills import Value
from robot_learning.language.templates import SPECIAL, STRANGE, SYNONYMS, TEMPLATES

_BEFORE = ('please', 'robot', 'hey robot', 'ok', 'now', 'could you', 'can you', 'would you please')
_AFTER = ('please', 'now', 'for me', 'thanks', 'right away')
_STRANGE_RATIO = 0.12  # Values that are none of the schema.
_ANGLES = {
    30: ('thirty degrees',),
    45: ('forty-five degrees',),
    90: ('ninety degrees', 'a quarter turn'),
    180: ('a half turn', 'one hundred and eighty degrees'),
    360: ('a full turn',),
}
_WHOLE = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten')


class Example(NamedTuple):
    """A command and what it means."""

    text: str
    intent: str
    slots: dict[str, Value]  # Without those whose words mean nothing to the schema.
    spans: tuple[tuple[int, int, str], ...]  # Of each slot in words: from, to (exclusive), name.
    template: str  # Which it was made from.

    def record(self) -> dict[str, object]:
        """Return it as plain data, a line of a corpus file."""
        return {
            **self._asdict(),
            'spans': [list(span) for span in self.spans],
            'source': 'grammar',
        }


def split_templates(held_out_ratio: float, seed: int) -> tuple[list[str], list[str]]:
    """Return templates to learn from and to measure on; every intent has some of both."""
    rng = random.Random(seed)
    training: list[str] = []
    held_out: list[str] = []
    for templates in TEMPLATES.values():
        shuffled = rng.sample(templates, len(templates))
        count = min(max(round(held_out_ratio * len(shuffled)), 1), len(shuffled) - 1)
        held_out += shuffled[:count]
        training += shuffled[count:]
    return training, held_out


def examples(
    count: int, seed: int, templates: Sequence[str] | None = None, typo_ratio: float = 0.05
) -> Iterator[Example]:
    """Yield commands, of every intent about as many.

    Args:
        count: how many.
        seed: the same gives the same.
        templates: to use; None: all.
        typo_ratio: share of commands with a letter wrong in a word that is no slot.
    """
    rng = random.Random(seed)
    wanted = None if templates is None else set(templates)
    of_intent = {
        intent: [each for each in known if wanted is None or each in wanted]
        for intent, known in TEMPLATES.items()
    }
    intents = [intent for intent, known in of_intent.items() if known]
    for index in range(count):
        intent = intents[index % len(intents)]
        template = rng.choice(of_intent[intent])
        pieces, slots = _expand(template, rng)
        is_command = intent != OUT_OF_SCOPE and not template.startswith(
            ('could', 'can', 'I ', 'what')
        )
        if is_command and rng.random() < 0.4:
            pieces.insert(0, (rng.choice(_BEFORE), ''))
        if rng.random() < 0.2:
            pieces.append((rng.choice(_AFTER), ''))
        if rng.random() < typo_ratio:
            _misspell(pieces, rng)
        text, spans = _join(pieces)
        yield Example(text, intent, slots, spans, template)


def write(path: Path, found: Sequence[Example]) -> None:
    """Write commands as JSON lines."""
    lines = (json.dumps(example.record(), ensure_ascii=False) for example in found)
    durable_files.replace(path, ('\n'.join(lines) + '\n').encode())


def _expand(template: str, rng: random.Random) -> tuple[list[tuple[str, str]], dict[str, Value]]:
    """Return words with the slot that they are, '' for none, and the values of the slots."""
    while (match := re.search(r'\(([^()\[\]]*)\)|\[([^()\[\]]*)\]', template)) is not None:
        options = (match[1] if match[1] is not None else match[2]).split('|')
        chosen = rng.choice(options) if match[1] is not None or rng.random() < 0.5 else ''
        template = template[: match.start()] + chosen + template[match.end() :]
    pieces: list[tuple[str, str]] = []
    slots: dict[str, Value] = {}
    for part in re.split(r'(\{\w+\})', template):
        if part.startswith('{'):
            slot, words, value = _said(part[1:-1], rng)
            pieces.append((words, slot))
            if value is not None:
                slots[slot] = value
        elif part.strip():
            pieces.append((' '.join(part.split()), ''))
    return pieces, slots


def _said(slot: str, rng: random.Random) -> tuple[str, str, Value | None]:
    """Return the slot of the schema, how a value of it is said, and the value, None: strange."""
    if slot in SPECIAL:
        slot, values = SPECIAL[slot]
        value = rng.choice(tuple(values))
        return slot, rng.choice(values[value]), value
    if slot in STRANGE and rng.random() < _STRANGE_RATIO:
        return slot, rng.choice(STRANGE[slot]), None
    if slot in SLOT_WORDS:
        value = rng.choice(SLOT_WORDS[slot])
        return slot, rng.choice((value, *SYNONYMS.get(slot, {}).get(value, ()))), value
    if slot == 'distance':
        units = (('metre', 1.0), ('meter', 1.0), ('m', 1.0), ('cm', 0.01), ('foot', 0.3048))
        return slot, *_measured(rng, units)
    if slot == 'angle':
        degrees = rng.choice((15, 30, 45, 60, 90, 90, 90, 120, 180, 270, 360))
        said = (f'{degrees} degrees', f'{degrees}°', f'{degrees} deg', *_ANGLES.get(degrees, ()))
        return slot, rng.choice(said), float(degrees)
    if slot == 'duration':
        return slot, *_measured(rng, (('second', 1.0), ('minute', 60.0)))
    number = rng.choice((-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 2.25))
    return slot, f'{number:g}', float(number)


def _measured(rng: random.Random, units: Sequence[tuple[str, float]]) -> tuple[str, Value]:
    unit, size = rng.choice(units)
    if unit == 'cm':
        count = 10 * rng.randint(1, 9)
        return f'{count} cm', round(count * size, 4)
    if unit in ('m', 'minute', 'second') and rng.random() < 0.5:
        count = rng.randint(1, 9)
        name = unit if unit == 'm' else unit + 's' * (count > 1)
        return f'{count} {name}', count * size
    if unit == 'm':
        tenths = rng.randint(1, 49)
        return f'{tenths / 10:g} m', round(tenths / 10, 4)
    if rng.random() < 0.15:
        return f'half a {unit}', 0.5 * size
    count = rng.randint(1, 10)
    if rng.random() < 0.15:
        return f'{_WHOLE[count]} and a half {_plural(unit)}', (count + 0.5) * size
    if rng.random() < 0.3:
        return f'{count} {unit if count == 1 else _plural(unit)}', count * size
    return f'{_WHOLE[count]} {unit if count == 1 else _plural(unit)}', count * size


def _plural(unit: str) -> str:
    return 'feet' if unit == 'foot' else f'{unit}s'


def _misspell(pieces: list[tuple[str, str]], rng: random.Random) -> None:
    """Swap, drop or double a letter of a word that is no slot."""
    places = [i for i, (words, slot) in enumerate(pieces) if not slot and len(words) > 3]
    if not places:
        return
    place = rng.choice(places)
    words = pieces[place][0]
    at = rng.randint(1, len(words) - 2)
    changed = rng.choice(
        (
            words[: at - 1] + words[at] + words[at - 1] + words[at + 1 :],
            words[:at] + words[at + 1 :],
            words[:at] + words[at] + words[at:],
        )
    )
    pieces[place] = changed, ''


def _join(pieces: Sequence[tuple[str, str]]) -> tuple[str, tuple[tuple[int, int, str], ...]]:
    text = ''
    spans = []
    for words, slot in pieces:
        text += ' ' if text else ''
        if slot:
            spans.append((len(text), len(text) + len(words), slot))
        text += words
    return text, tuple(spans)
