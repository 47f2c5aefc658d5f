"""Every message that the document on troubles lists is one that the code writes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / 'ros_ws' / 'src' / 'robot_learning'
PAGE = ROOT / 'docs' / 'troubleshooting.md'
# Gazebo's and Fast DDS's.
OF_OTHERS = {'Failed to create OpenGL context', 'Please make sure you have compiled ... SECURITY'}
IS_FILLED_IN = re.compile(r"\d|[/_@]|\.\.\.|^'?(scan|robot|policy)\b")


def texts_of_code() -> Iterator[str]:
    """Yield every text in the code; what is filled in is left out of it."""
    for path in SOURCE.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else ' ' for p in node.values]
                yield ''.join(parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
    yield from (path.read_text() for path in (ROOT / 'run', ROOT / 'requirements/prepare.sh'))


TEXTS = [' '.join(text.split()) for text in texts_of_code()]


def listed() -> list[str]:
    rows = re.findall(r'^\| (.+?) \| .+ \| .+ \|$', PAGE.read_text(), re.MULTILINE)[1:]
    found = [message for row in rows for message in re.findall(r'`(.+?)`', row)]
    return [message for message in found if message not in OF_OTHERS]


def is_written(message: str) -> bool:
    """Tell whether one text of the code has the fixed words of a message, in their order.

    What follows `because` is a message of its own.
    """
    message, _, cause = message.partition(' because ')
    if cause and not is_written(cause):
        return False
    fixed = [word for word in message.split() if not IS_FILLED_IN.search(word)]
    pattern = re.compile('.*?'.join(map(re.escape, fixed)))
    return any(pattern.search(text) for text in TEXTS)


def test_rows_are_found():
    assert len(listed()) >= 20


@pytest.mark.parametrize('message', listed())
def test_the_code_writes_it(message):
    assert is_written(message)


def test_a_message_that_nobody_writes_is_found():
    assert not is_written('the flux capacitor is empty')
    assert not is_written('scan: is 0.412 s young, allowed are 0.25 s')
