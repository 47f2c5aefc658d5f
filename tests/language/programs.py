"""Carries programs out without a robot, for tests."""

from robot_learning.language.interpreter import steps
from robot_learning.language.program import parse


def run(text, results=(), default=None):
    """Return the calls of a program as text; results are given out to those that want one."""
    left, done = list(results), []
    walk = steps(parse(text))
    result = None
    while True:
        try:
            step = walk.send(result)
        except StopIteration:
            return done
        done.append(step.text)
        result = None
        if step.verb.result != 'nothing':
            result = left.pop(0) if left else default
