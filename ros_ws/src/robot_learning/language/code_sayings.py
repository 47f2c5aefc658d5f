"""Ways to say a piece of robot-API code: what they are made of.

The notation is that of `corpus`: `(a|b)` is one of these, `[a]` may be left out, `{slot}` is a
value in words. Templates that begin with `!` are whole sentences: they stand alone and are not
put into sequences, conditions or loops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from robot_learning.language.code_prompt import number

Slots = Mapping[str, str | float]
CATEGORIES = (
    *('movement', 'turning', 'parameters', 'navigation', 'objects', 'manipulation', 'sensing'),
    *('safety', 'units', 'conditions', 'loops', 'sequences'),
)
OUT_OF_SCOPE = 'out_of_scope'  # Besides the twelve: what the robot cannot do, or too little said.


class Skill(NamedTuple):
    """Ways to say one piece of code."""

    category: str
    code: Callable[[Slots], str]
    templates: tuple[str, ...]


def call(verb: str, **values: str | float | None) -> str:
    """Write a call; arguments that are None are left out."""
    given = (
        f'{key}="{value}"' if isinstance(value, str) else f'{key}={number(value)}'
        for key, value in values.items()
        if value is not None
    )
    return f'{verb}({", ".join(given)})'


def calls(verb: str, **slots: str | float) -> Callable[[Slots], str]:
    """Return what writes a call whose arguments are slots by name, or numbers."""

    def write(said: Slots) -> str:
        values = {
            key: said.get(slot) if isinstance(slot, str) else slot for key, slot in slots.items()
        }
        return call(verb, **values)

    return write
