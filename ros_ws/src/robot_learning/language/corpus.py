"""Commands made by a grammar: what people might say for each intent, with what it means.

Templates are written in a small notation: `(a|b)` is one of these, `[a]` may be left out, `{slot}`
is a value in words. Templates, not sentences, are split into those to learn from and those to
measure on, so that no phrase of the one occurs in the other.
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

_OBJECT = '[the|a|that] [{size}] [{color}] {object}'
# What people call the words of the schema, besides those themselves.
SYNONYMS: dict[str, dict[str, tuple[str, ...]]] = {
    'object': {
        'ball': ('sphere',),
        'cube': ('box', 'block'),
        'can': ('tin', 'tin can', 'soda can'),
    },
    'size': {'small': ('little', 'tiny'), 'medium': (), 'large': ('big', 'huge')},
    'place': {
        'home': ('the base', 'the start', 'your dock', 'the charging station'),
        'kitchen': ('the kitchen',),
        'bedroom': ('the bedroom',),
        'office': ('the office', 'my office'),
        'hall': ('the hall', 'the corridor'),
        'garage': ('the garage',),
    },
    'path': {
        'square': ('square path',),
        'circle': ('circular path',),
        'corridor': ('corridor path',),
    },
    'direction': {
        'forward': ('forwards', 'ahead', 'straight ahead', 'straight on'),
        'backward': ('back', 'backwards', 'in reverse'),
        'left': ('to the left', 'leftwards'),
        'right': ('to the right', 'rightwards'),
    },
    'about': {
        'battery': ('your battery', 'battery level', 'charge'),
        'pose': ('your position', 'where you are', 'location'),
        'distance': ('distance ahead', 'how far the wall is'),
        'view': ('what you see', 'your surroundings'),
    },
}
TEMPLATES: dict[str, tuple[str, ...]] = {
    'move': (
        '(drive|go|move|roll|travel) {direction} [by|for] {distance}',
        '(drive|go|move) {distance} {direction}',
        '{distance} {direction}',
        '(make|do) {distance} {direction}',
        '(drive|move) {direction}',
        '(advance|proceed) {distance}',
        'could you (drive|go) {direction} about {distance}',
        'I (want|need) you to (go|move) {direction} {distance}',
        '(back up|reverse) {distance}',
    ),
    'turn': (
        '(turn|rotate|spin) {side}',
        '(turn|rotate|spin) {side} [by] {angle}',
        '(turn|rotate) {angle} {side}',
        'make a {side} turn',
        '{side} turn of {angle}',
        'face {side}',
        'swing round {side} {angle}',
        '(turn|spin) around',
    ),
    'go_to_place': (
        '(go|drive|move|head|navigate) to {place}',
        '(find your way|make your way) to {place}',
        'I (need|want) you in {place}',
        'meet me (in|at) {place}',
        'take yourself to {place}',
        '(proceed|travel) to {place}',
        'be (in|at) {place}',
    ),
    'go_to_object': (
        f'(go|drive|move|head) [up] to {_OBJECT}',
        f'(approach|reach) {_OBJECT}',
        f'(drive|get) (close|closer) to {_OBJECT}',
        f'(stand|park) (by|next to|in front of) {_OBJECT}',
        f'move towards {_OBJECT}',
        f'get over to {_OBJECT}',
    ),
    'go_to_pose': (
        '(go|drive|move|navigate) to [the] (point|position|coordinates) {x} {y}',
        '(go|drive) to x {x} y {y}',
        '(go|move) to {x} , {y}',
        'target position {x} and {y}',
        'drive to the spot at {x} by {y}',
    ),
    'follow_path': (
        '(follow|drive|run) [the] {path}',
        '(drive|patrol) along the {path}',
        'do the {path} [route]',
        'take the {path}',
        'go round the {path}',
    ),
    'look_for': (
        f'(look|search) for {_OBJECT}',
        f'(find|locate|spot) {_OBJECT}',
        f'where is {_OBJECT}',
        f'can you see {_OBJECT}',
        'is there [a] [{color}] {object} [around|here|anywhere]',
        f'scan for {_OBJECT}',
    ),
    'pick_up': (
        f'(pick up|grab|grasp|take) {_OBJECT}',
        f'(lift|collect|seize) {_OBJECT}',
        f'pick {_OBJECT} up',
        f'get hold of {_OBJECT}',
        f'hold {_OBJECT}',
        f'close your gripper on {_OBJECT}',
    ),
    'put_down': (
        '(put|set|lay) it down',
        '(drop|release) it',
        '(put|place|leave|drop) it (in|at) {place}',
        'let go [of it]',
        'open your gripper',
        'put down what you (hold|are holding|carry)',
    ),
    'bring': (
        f'(bring|fetch|get) me {_OBJECT}',
        f'(bring|carry|take|deliver) {_OBJECT} to {{place}}',
        f'(move|transport) {_OBJECT} (into|to) {{place}}',
        f'I (want|need|would like) {_OBJECT} (in|at) {{place}}',
        f'fetch {_OBJECT}',
        f'can I have {_OBJECT}',
        'bring me (that|it|this)',
    ),
    'return_home': (
        '(go|come|drive|get) [back] home',
        '(return|head|go) [back] to (base|the start|your dock|where you started)',
        'come back',
        'return [home]',
        'back to base',
        'go charge yourself',
    ),
    'stop': (
        'stop [moving|driving|now]',
        '(halt|freeze|pause there)',
        'stay where you are',
        "don't move [any further]",
        'cancel (that|the mission|everything)',
        'that is enough',
    ),
    'wait': (
        '(wait|pause|hold on) [for] {duration}',
        '(stay|stand) still for {duration}',
        'do nothing for {duration}',
        'give me {duration}',
        '(wait|hold on) [a moment]',
        'take a break of {duration}',
    ),
    'report': (
        '(report|tell me) [about] {about}',
        '(say|show me|describe) {about}',
        'what is {about}',
        'I want to know {about}',
        'give me a report on {about}',
        'status of {about}',
    ),
    OUT_OF_SCOPE: (
        "what's the (weather|temperature|time) [like] [today|tomorrow|in Paris]",
        '(play|turn on|turn off) (some music|the radio|the lights|the television)',
        'who (won|is winning) the (game|match|election)',
        '(book|order|buy) (a table|a pizza|a flight|tickets) [for two|for tonight]',
        '(tell me a joke|sing a song|what is your name|how old are you)',
        '(call|text|email) (mom|my boss|the office)',
        'how (do|can) I (cook rice|tie a tie|learn French)',
        '(translate|spell) (hello|robot|good morning) [in Spanish|please]',
        '(hurt|hit|attack|run over) (the cat|that man|somebody)',
        '(fly|climb|swim|dance) (to the moon|up the wall|across the pool|with me)',
        'set an alarm for (six|seven thirty|noon)',
        "(good morning|how are you|thank you|you're welcome|nice robot)",
    ),
}
_SLOT_OF = {'side': 'direction'}  # Nobody turns forward.
# Which value a template has that names none.
_MEANT: dict[str, dict[str, Value]] = {
    '(advance|proceed) {distance}': {'direction': 'forward'},
    '(back up|reverse) {distance}': {'direction': 'backward'},
    '(turn|spin) around': {'direction': 'backward'},
}
_BEFORE = ('please', 'robot', 'hey robot', 'ok', 'now', 'could you', 'can you', 'would you please')
_AFTER = ('please', 'now', 'for me', 'thanks', 'right away')
_PART = re.compile(r'\(([^()]*)\)|\[([^\[\]]*)\]|\{(\w+)\}')
_WHOLE = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten')


class Example(NamedTuple):
    """A command and what it means."""

    text: str
    intent: str
    slots: dict[str, Value]
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
        yield Example(text, intent, {**_MEANT.get(template, {}), **slots}, spans, template)


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
            slot = _SLOT_OF.get(part[1:-1], part[1:-1])
            words, slots[slot] = _said(part[1:-1], rng)
            pieces.append((words, slot))
        elif part.strip():
            pieces.append((' '.join(part.split()), ''))
    return pieces, slots


def _said(slot: str, rng: random.Random) -> tuple[str, Value]:
    """Return how a value is said, and the value."""
    words = ('left', 'right') if slot == 'side' else SLOT_WORDS.get(slot)
    slot = _SLOT_OF.get(slot, slot)
    if words is not None:
        value = rng.choice(words)
        return rng.choice((value, *SYNONYMS.get(slot, {}).get(value, ()))), value
    if slot == 'distance':
        return _measured(rng, (('metre', 1.0), ('meter', 1.0), ('m', 1.0), ('cm', 0.01)))
    if slot == 'angle':
        degrees = rng.choice((15, 30, 45, 60, 90, 90, 90, 120, 180, 270, 360))
        return rng.choice((f'{degrees} degrees', f'{degrees}°', f'{degrees} deg')), float(degrees)
    if slot == 'duration':
        return _measured(rng, (('second', 1.0), ('minute', 60.0)))
    number = rng.choice((-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2))
    return f'{number:g}', float(number)


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
    return f'{_WHOLE[count]} {unit}{"s" * (count > 1)}', count * size


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
