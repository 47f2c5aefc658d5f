"""Commands with the robot-API code that does them, made from sayings: `{input, output, category}`.

Phrases, that is templates with their alternatives chosen, are split into those to learn from and
those to measure on: a command to measure on is joined by a frame, asks a condition and says its
pieces in phrases of which none occurred in training. Harder still is `split_families`, where all
that one template can become is on one side.
"""

from __future__ import annotations

import functools
import hashlib
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from robot_learning.language.code_frames import CONDITIONS, FRAMES, WRAPPERS, Frame
from robot_learning.language.code_prompt import number
from robot_learning.language.code_sayings import CATEGORIES, OUT_OF_SCOPE, Skill
from robot_learning.language.code_sayings_motion import MOTION
from robot_learning.language.code_sayings_things import THINGS
from robot_learning.language.code_slots import Measures, said

_PART = re.compile(r'\(([^()\[\]]*)\)|\[([^()\[\]]*)\]')
_PIECES = ('first', 'second', 'third')
_BEFORE = ('please', 'robot', 'hey robot', 'ok', 'ok robot', 'now', 'robot please', 'hey')
_AFTER = ('please', 'now', 'for me', 'thanks', 'right away', 'thank you', 'if you can', 'robot')
_OTHER_UNITS = ('movement', 'turning', 'safety', 'parameters')  # Of what is said in other units.
# How often categories teach: what is joined is hardest to learn, and holds all of the others.
TEACHING: Mapping[str, float] = MappingProxyType(
    {'sequences': 5.0, 'conditions': 5.0, 'loops': 2.0}
)


class Wrapper(NamedTuple):
    """Ways to ask for something."""

    templates: tuple[str, ...]


class Sayings(NamedTuple):
    """Templates to make commands from."""

    skills: tuple[Skill, ...] = (*MOTION, *THINGS)
    conditions: tuple[Skill, ...] = CONDITIONS
    frames: tuple[Frame, ...] = FRAMES
    wrappers: tuple[Wrapper, ...] = (Wrapper(WRAPPERS),)

    @property
    def phrases(self) -> set[str]:
        """All that may be said, slots left open."""
        return {
            phrase
            for entries in self
            for entry in entries
            for template in entry.templates
            for phrase in phrases_of(template)
        }


class Example(NamedTuple):
    """A command, the code that does it, and of which kind it is."""

    input: str
    output: str
    category: str


ALL = Sayings()


def split(held_out_ratio: float = 0.1, seed: int = 0) -> tuple[Sayings, Sayings]:
    """Return sayings to learn from and to measure on, which have no phrase in common."""

    def is_held_out(phrase: str) -> bool:
        digest = hashlib.sha256(f'{seed} {phrase}'.encode()).digest()
        return int.from_bytes(digest[:4], 'big') < held_out_ratio * 2**32

    return _only(ALL, lambda phrase: not is_held_out(phrase)), _only(ALL, is_held_out)


def _only(sayings: Sayings, is_wanted: Callable[[str], bool]) -> Sayings:
    kept = {
        kind: tuple(e._replace(templates=_joined_again(e.templates, is_wanted)) for e in entries)
        for kind, entries in sayings._asdict().items()
    }
    return Sayings(**{k: tuple(e for e in v if e.templates) for k, v in kept.items()})


def _joined_again(templates: Sequence[str], is_wanted: Callable[[str], bool]) -> tuple[str, ...]:
    """Return each template as those phrases that are wanted, if there are any."""
    found = []
    for template in templates:
        phrases = [phrase for phrase in phrases_of(template) if is_wanted(phrase)]
        if phrases:
            found.append(f'{"!" * template.startswith("!")}({"|".join(phrases)})')
    return tuple(found)


def phrases_of(template: str) -> list[str]:
    """Return all that a template can become, slots left open, in their order."""
    found: dict[str, None] = {}
    left = [template.removeprefix('!')]
    while left:
        each = left.pop()
        match = _PART.search(each)
        if match is None:
            found[' '.join(each.split())] = None
            continue
        options = match[1].split('|') if match[1] is not None else ['', *match[2].split('|')]
        left += [each[: match.start()] + option + each[match.end() :] for option in options]
    return list(found)


def split_families(held_out_ratio: float = 0.2, seed: int = 0) -> tuple[Sayings, Sayings]:
    """Return sayings to learn from and to measure on, which have no template in common.

    What a held-out template shares with one that is learned from is left out of it.
    """
    rng = random.Random(seed)
    training: dict[str, list[object]] = {}
    held_out: dict[str, list[object]] = {}
    for kind, entries in ALL._asdict().items():
        for entry in entries:
            shuffled = rng.sample(entry.templates, len(entry.templates))
            count = min(max(round(held_out_ratio * len(shuffled)), 1), len(shuffled) - 1)
            held_out.setdefault(kind, []).append(entry._replace(templates=tuple(shuffled[:count])))
            training.setdefault(kind, []).append(entry._replace(templates=tuple(shuffled[count:])))
    first, second = (
        Sayings(**{kind: tuple(entries) for kind, entries in part.items()})  # type: ignore[arg-type]
        for part in (training, held_out)
    )
    known = first.phrases
    return first, _only(second, lambda phrase: phrase not in known)


def examples(
    count: int,
    seed: int,
    sayings: Sayings = ALL,
    typo_ratio: float = 0.0,
    weights: Mapping[str, float] = MappingProxyType({}),
) -> Iterator[Example]:
    """Yield commands of all categories, and some that are for no robot.

    Args:
        count: how many.
        seed: the same gives the same.
        sayings: to make them from.
        typo_ratio: share of commands with a letter wrong in a word that is no value.
        weights: how often a category comes, of those that are not named 1.
    """
    maker = _Maker(sayings, random.Random(seed), typo_ratio)
    names = [name for name in (*CATEGORIES, OUT_OF_SCOPE) if maker.can_say(name)]
    how_often = [weights.get(name, 1.0) for name in names]
    for _ in range(count):
        yield maker.example(maker.rng.choices(names, how_often)[0])


def lessons(count: int, seed: int, held_out_ratio: float, typo_ratio: float) -> list[Example]:
    """Return what a model of this seed learns from: no held-out phrase, joined commands often."""
    known, _ = split(held_out_ratio, seed)
    return list(examples(count, seed, known, typo_ratio, TEACHING))


def disjoint(found: Sequence[Example], seen: Sequence[Example]) -> list[Example]:
    """Return those whose command is none of `seen` and comes once only."""
    known = {example.input for example in seen}
    fresh = {example.input: example for example in found if example.input not in known}
    return list(fresh.values())


class _Maker:
    def __init__(self, sayings: Sayings, rng: random.Random, typo_ratio: float):
        self.rng = rng
        self._sayings = sayings
        self._typo_ratio = typo_ratio
        self._of_category: dict[str, list[Skill]] = {}
        for skill in sayings.skills:
            self._of_category.setdefault(skill.category, []).append(skill)
        self._pieces = {
            category: [skill for skill in skills if _pieces_of(skill)]
            for category, skills in self._of_category.items()
            if category != OUT_OF_SCOPE
        }
        measured = {
            category: [skill for skill in self._of_category[category] if _has_measure(skill)]
            for category in _OTHER_UNITS
        }
        self._measured = {category: skills for category, skills in measured.items() if skills}

    def can_say(self, category: str) -> bool:
        """Tell whether there are templates for a category."""
        of_frames = {frame.category for frame in self._sayings.frames}
        is_unit = category == 'units' and bool(self._measured)
        return category in of_frames or category in self._of_category or is_unit

    def example(self, category: str) -> Example:
        frames = [frame for frame in self._sayings.frames if frame.category == category]
        if frames:
            text, code, is_whole = *self._joined(self.rng.choice(frames)), False
        else:
            other = category == 'units'
            if other:
                skills = self._measured[self.rng.choice(tuple(self._measured))]
            else:
                skills = self._of_category[category]
            text, code, is_whole = self._spoken(self.rng.choice(skills), other, any_template=True)
        if not is_whole and self.rng.random() < 0.25:
            wrapper = self._chosen(self.rng.choice(self._sayings.wrappers[0].templates))
            text = self._filled(wrapper, {'first': text})
        elif not is_whole and self.rng.random() < 0.3:
            text = f'{self.rng.choice(_BEFORE)} {text}'
        if self.rng.random() < 0.15:
            text = f'{text} {self.rng.choice(_AFTER)}'
        return Example(_tidy(text), code, category)

    def _joined(self, frame: Frame) -> tuple[str, str]:
        template = self._chosen(self.rng.choice(frame.templates))
        texts, codes = {}, {}
        for name in re.findall(r'\{(\w+)\}', template):
            if name == 'condition':
                text, code, _ = self._spoken(self.rng.choice(self._sayings.conditions), False)
            elif name in _PIECES:
                skills = self._pieces[self.rng.choice(list(self._pieces))]
                text, code, _ = self._spoken(self.rng.choice(skills), self.rng.random() < 0.1)
            else:
                text, value = said(name, self.rng, Measures.USUAL)
                code = str(int(value)) if name == 'count' else number(float(value))
            texts[name], codes[name] = text, code
        return self._filled(template, texts), frame.code(codes)

    def _spoken(
        self, skill: Skill, in_other_units: bool, any_template: bool = False
    ) -> tuple[str, str, bool]:
        """Return a way to say it, its code, and whether that stands alone."""
        templates = skill.templates if any_template else _pieces_of(skill)
        if in_other_units and any_template:
            templates = tuple(each for each in templates if _measures(each))
        template = self.rng.choice(templates)
        is_whole = template.startswith('!')
        template = self._chosen(template.removeprefix('!'))
        measures = Measures.OTHER if in_other_units else Measures.USUAL
        texts: dict[str, str] = {}
        values: dict[str, str | float] = {}
        for name in re.findall(r'\{(\w+)\}', template):
            texts[name], value = said(name, self.rng, measures)
            values['side' if name == 'to_side' else name] = value
        return self._filled(template, texts), skill.code(values), is_whole

    def _chosen(self, template: str) -> str:
        """Return the template with its alternatives chosen."""
        if template.startswith('(') and template.endswith(')') and template.count('(') == 1:
            return self.rng.choice(_options(template))
        while (match := _PART.search(template)) is not None:
            options = (match[1] if match[1] is not None else match[2]).split('|')
            is_said = match[1] is not None or self.rng.random() < 0.5
            chosen = self.rng.choice(options) if is_said else ''
            template = template[: match.start()] + chosen + template[match.end() :]
        return template

    def _filled(self, template: str, texts: Mapping[str, str]) -> str:
        words = template.split()
        if self.rng.random() < self._typo_ratio:
            places = [i for i, word in enumerate(words) if len(word) > 3 and word.isalpha()]
            if places:
                place = self.rng.choice(places)
                words[place] = _misspelt(words[place], self.rng)
        return ' '.join(texts[w[1:-1]] if w.startswith('{') else w for w in words)


@functools.lru_cache(maxsize=10_000)
def _options(template: str) -> tuple[str, ...]:
    """Return the alternatives of a template that is nothing but these."""
    return tuple(template[1:-1].split('|'))


def _pieces_of(skill: Skill) -> tuple[str, ...]:
    return tuple(template for template in skill.templates if not template.startswith('!'))


def _measures(template: str) -> bool:
    return any(f'{{{name}}}' in template for name in ('distance', 'angle', 'duration'))


def _has_measure(skill: Skill) -> bool:
    return any(_measures(template) for template in skill.templates)


def _misspelt(word: str, rng: random.Random) -> str:
    at = rng.randint(1, len(word) - 2)
    return rng.choice(
        (
            word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :],
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
        )
    )


def _tidy(text: str) -> str:
    """Return it with its signs where people put them."""
    return re.sub(r' ([,.;:])', r'\1', ' '.join(text.split()))
