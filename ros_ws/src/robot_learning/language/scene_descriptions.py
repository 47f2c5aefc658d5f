"""Words for what is in a picture: captions of all of it, and phrases that name one thing.

Everything is seen from the camera: left and right as in the picture, in front is nearer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from robot_learning.language.skills import COLORS, OBJECTS

KIND_WORDS: Mapping[str, tuple[str, ...]] = {
    'ball': ('ball', 'ball', 'ball', 'sphere'),
    'cube': ('cube', 'cube', 'cube', 'box', 'block'),
    'can': ('can', 'can', 'can', 'tin', 'cylinder'),
}
RELATION_WORDS: Mapping[str, tuple[str, ...]] = {
    'left': ('left of', 'to the left of', 'on the left of'),
    'right': ('right of', 'to the right of', 'on the right of'),
    'front': ('in front of', 'before', 'nearer than'),
    'behind': ('behind', 'beyond', 'farther than'),
}
EXTREME_WORDS: Mapping[str, tuple[str, ...]] = {
    'left': ('leftmost', 'left'),
    'right': ('rightmost', 'right'),
    'front': ('nearest', 'closest'),
    'behind': ('farthest', 'most distant'),
}
_ANYTHING = ('object', 'thing')
_LEADS = ('the {}', 'the {}', 'the {}', '{}', 'a {}', 'find the {}', 'where is the {}')
_ASIDE, _APART_M = 0.06, 0.12  # Less than that (of the picture's height; metres) is neither.
_NEAR_M, _FAR_M = 0.9, 1.4


class Described(Protocol):
    """What is known of an object in a picture."""

    @property
    def kind(self) -> str:
        """One of skills.OBJECTS."""

    @property
    def color(self) -> str:
        """One of skills.COLORS."""

    @property
    def x(self) -> float:
        """Right of the picture's centre, in units of its height."""

    @property
    def distance_m(self) -> float:
        """From the robot."""


class Phrase(NamedTuple):
    """Words for one object of a picture, or for none."""

    text: str
    target: int | None  # Its number among the objects; None: nothing there is meant.
    sort: str  # 'name', 'relation', 'extreme'; 'absent' where nothing is meant.


class _Name(NamedTuple):
    """A noun phrase: kind and colour, either may be left open."""

    kind: str | None
    color: str | None

    def fits(self, thing: Described) -> bool:
        return self.kind in (None, thing.kind) and self.color in (None, thing.color)

    def words(self, rng: random.Random) -> str:
        noun = rng.choice(_ANYTHING if self.kind is None else KIND_WORDS[self.kind])
        return f'{self.color} {noun}' if self.color else noun


def caption(things: Sequence[Described], rng: random.Random) -> str:
    """Return a sentence that names every object from left to right, with how far it is."""
    if not things:
        return rng.choice(('nothing but floor and walls', 'an empty floor'))
    order = sorted(things, key=lambda thing: thing.x)
    parts = [_part(thing, rng) for thing in order]
    if len(parts) == 1:
        return rng.choice(('{}', 'only {}', 'there is {}')).format(parts[0])
    listed = f'{", ".join(parts[:-1])} and {parts[-1]}'
    chained = parts[0] + ''.join(f', right of it {part}' for part in parts[1:])
    return rng.choice((f'from left to right {listed}', f'{listed} from left to right', chained))


def phrases(
    things: Sequence[Described], rng: random.Random, count: int, absent_share: float = 0.3
) -> Iterator[Phrase]:
    """Yield phrases of all sorts for a picture.

    Args:
        things: what is in it.
        rng: the only source of chance.
        count: how many.
        absent_share: of those that mean nothing there.
    """
    present = [_name, _relation, _relation, _extreme] if len(things) > 1 else [_name, _extreme]
    for _ in range(count):
        if not things or rng.random() < absent_share:
            yield _absent(things, rng)
            continue
        made = None
        for _ in range(8):
            made = rng.choice(present)(things, rng)
            if made is not None:
                break
        yield made or _full_name(things, rng)


def meant_by(
    things: Sequence[Described], name: tuple[str | None, str | None], relation: str, landmark: int
) -> int | None:
    """Return the only object of that kind and colour that lies so to the landmark; else None.

    Args:
        things: what is in the picture.
        name: kind and colour, None: any.
        relation: key of RELATION_WORDS.
        landmark: number of an object.
    """
    wanted = _Name(*name)
    sides = [
        (number, _lies(thing, things[landmark], relation))
        for number, thing in enumerate(things)
        if number != landmark and wanted.fits(thing)
    ]
    if any(side is None for _, side in sides):  # Nobody could tell.
        return None
    yes = [number for number, side in sides if side]
    return yes[0] if len(yes) == 1 else None


def _part(thing: Described, rng: random.Random) -> str:
    noun = _Name(thing.kind, thing.color).words(rng)
    if thing.distance_m < _NEAR_M:
        return rng.choice((f'a near {noun}', f'a {noun} nearby'))
    if thing.distance_m > _FAR_M:
        return rng.choice((f'a far {noun}', f'a {noun} far away'))
    return f'a {noun}'


def _lies(thing: Described, landmark: Described, relation: str) -> bool | None:
    """Tell whether it does; None where it is too close to call."""
    if relation in ('left', 'right'):
        offset, least = thing.x - landmark.x, _ASIDE
    else:
        offset, least = thing.distance_m - landmark.distance_m, _APART_M
    if abs(offset) < least:
        return None
    return (offset > 0) == (relation in ('right', 'behind'))


def _unique_name(things: Sequence[Described], target: int, rng: random.Random) -> _Name | None:
    thing = things[target]
    name = _any_name(thing, rng)
    return name if sum(name.fits(other) for other in things) == 1 else None


def _any_name(thing: Described, rng: random.Random) -> _Name:
    return rng.choice(
        (
            _Name(thing.kind, thing.color),
            _Name(thing.kind, thing.color),
            _Name(thing.kind, None),
            _Name(None, thing.color),
        )
    )


def _led(words: str, rng: random.Random) -> str:
    return rng.choice(_LEADS).format(words)


def _full_name(things: Sequence[Described], rng: random.Random) -> Phrase:
    target = rng.randrange(len(things))
    name = _Name(things[target].kind, things[target].color)
    is_clear = sum(name.fits(other) for other in things) == 1
    if not is_clear:  # Twins; they can only be told apart by where they are.
        return _extreme(things, rng) or _absent(things, rng)
    return Phrase(_led(name.words(rng), rng), target, 'name')


def _name(things: Sequence[Described], rng: random.Random) -> Phrase | None:
    target = rng.randrange(len(things))
    name = _unique_name(things, target, rng)
    return None if name is None else Phrase(_led(name.words(rng), rng), target, 'name')


def _relation(things: Sequence[Described], rng: random.Random) -> Phrase | None:
    landmark, target = rng.sample(range(len(things)), 2)
    by = _unique_name(things, landmark, rng)
    name = _any_name(things[target], rng)
    relation = rng.choice(tuple(RELATION_WORDS))
    if by is None or meant_by(things, name, relation, landmark) != target:
        return None
    text = _related(name, relation, by, rng)
    return Phrase(text, target, 'relation')


def _related(name: _Name, relation: str, by: _Name, rng: random.Random) -> str:
    words = f'{name.words(rng)} {rng.choice(RELATION_WORDS[relation])} the {by.words(rng)}'
    return _led(words, rng)


def _extreme(things: Sequence[Described], rng: random.Random) -> Phrase | None:
    end = rng.choice(tuple(EXTREME_WORDS))
    thing = rng.choice(things)
    name = rng.choice((_Name(thing.kind, None), _Name(None, thing.color), _Name(None, None)))
    fitting = [number for number, other in enumerate(things) if name.fits(other)]
    key: Callable[[int], float] = (
        (lambda number: things[number].x)
        if end in ('left', 'right')
        else (lambda number: things[number].distance_m)
    )
    order = sorted(fitting, key=key, reverse=end in ('right', 'behind'))
    least = _ASIDE if end in ('left', 'right') else _APART_M
    if len(order) > 1 and abs(key(order[0]) - key(order[1])) < least:
        return None
    text = f'{rng.choice(EXTREME_WORDS[end])} {name.words(rng)}'
    return Phrase(_led(text, rng), order[0], 'extreme')


def _absent(things: Sequence[Described], rng: random.Random) -> Phrase:
    """Name what is not there: a thing, what lies so to another, or a landmark."""
    if len(things) > 1 and rng.random() < 0.5:
        landmark, target = rng.sample(range(len(things)), 2)
        by = _Name(things[landmark].kind, things[landmark].color)
        name = _Name(things[target].kind, things[target].color)
        relation = rng.choice(tuple(RELATION_WORDS))
        is_unique = all(sum(n.fits(other) for other in things) == 1 for n in (by, name))
        if is_unique and _lies(things[target], things[landmark], relation) is False:
            return Phrase(_related(name, relation, by, rng), None, 'absent')
    names = [_Name(kind, color) for kind in OBJECTS for color in COLORS]
    names += [_Name(kind, None) for kind in OBJECTS] + [_Name(None, color) for color in COLORS]
    missing = [name for name in names if not any(name.fits(thing) for thing in things)]
    name = rng.choice(missing)
    if things and rng.random() < 0.4:
        thing = rng.choice(things)
        there = _Name(thing.kind, thing.color)
        pair = (there, name) if rng.random() < 0.5 else (name, there)
        text = _related(pair[0], rng.choice(tuple(RELATION_WORDS)), pair[1], rng)
        return Phrase(text, None, 'absent')
    return Phrase(_led(name.words(rng), rng), None, 'absent')
