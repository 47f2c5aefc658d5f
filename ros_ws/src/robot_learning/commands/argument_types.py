"""Numbers on the command line, within limits; a wrong one is named with what was expected."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return a type for argparse: whole numbers from `low` to `high`."""
    expected = f'a whole number from {low}' + (' up' if high is None else f' to {high}')

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'found {text!r}, expected {expected}') from None
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f'found {value}, expected {expected}')
        return value

    return read


def number_above(low: float, below: float = math.inf) -> Callable[[str], float]:
    """Return a type for argparse: finite numbers above `low` and below `below`."""
    expected = f'a number above {low:g}' + ('' if below == math.inf else f' and below {below:g}')

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'found {text!r}, expected {expected}') from None
        if not low < value < below:
            raise argparse.ArgumentTypeError(f'found {text}, expected {expected}')
        return value

    return read
