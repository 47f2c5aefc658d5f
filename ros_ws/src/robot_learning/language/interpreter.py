"""Walks through a checked program: asks for one call after the other and takes its result."""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator, Sequence
from typing import Any

from robot_learning.errors import CommandError
from robot_learning.language.program import (
    MAX_CALLS,
    Assignment,
    Branch,
    Call,
    Comparison,
    Expression,
    Literal,
    Name,
    Program,
    Repeat,
    Statement,
)
from robot_learning.language.skills import Step, Value, Verb

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    '<': operator.lt,
    '<=': operator.le,
    '>': operator.gt,
    '>=': operator.ge,
    '==': operator.eq,
    '!=': operator.ne,
}


Steps = Generator[Step, Value | None, None]


def steps(program: Program) -> Steps:
    """Yield each call that is due; send its result back, None for verbs that give none.

        walk = steps(program)
        step = next(walk)
        while True:
            result = carry_out(step)
            step = walk.send(result)      # StopIteration: all is done

    Raises:
        CommandError: a value that was measured is out of an argument's range, or a result is not
            what its verb gives.
    """
    return _Walk().block(program.statements)


class _Walk:
    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self._num_calls = 0

    def block(self, statements: Sequence[Statement]) -> Steps:
        for statement in statements:
            if isinstance(statement, Call):
                yield from self._call(statement)
            elif isinstance(statement, Assignment):
                self._values[statement.name] = yield from self._value(statement.value)
            elif isinstance(statement, Branch):
                holds = yield from self._value(statement.condition)
                yield from self.block(statement.then if holds else statement.otherwise)
            else:
                assert isinstance(statement, Repeat)
                for _ in range(statement.count):
                    yield from self.block(statement.body)

    def _value(self, node: Expression) -> Generator[Step, Value | None, Value]:
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, Name):
            return self._values[node.name]
        if isinstance(node, Call):
            result = yield from self._call(node)
            assert result is not None, 'the checker lets only verbs with results stand here'
            return result
        if isinstance(node, Comparison):
            left = yield from self._value(node.left)
            right = yield from self._value(node.right)
            return _COMPARE[node.operator](left, right)
        if node.operator == 'not':
            return not (yield from self._value(node.parts[0]))
        for part in node.parts:  # As in Python, what decides already leaves the rest unasked.
            holds = yield from self._value(part)
            if bool(holds) != (node.operator == 'and'):
                return bool(holds)
        return node.operator == 'and'

    def _call(self, node: Call) -> Generator[Step, Value | None, Value | None]:
        self._num_calls += 1
        assert self._num_calls <= MAX_CALLS, 'the checker has counted them'
        given = {
            key: self._values[value.name] if isinstance(value, Name) else value.value
            for key, value in node.arguments.items()
        }
        try:
            arguments = node.verb.completed(given)
        except CommandError as error:
            raise CommandError(f'line {node.line}: {error}') from None
        result = yield Step(node.verb, arguments, node.line)
        return _checked(node.verb, result)


def _checked(verb: Verb, result: Value | None) -> Value | None:
    is_number = isinstance(result, int | float) and not isinstance(result, bool)
    fits = {
        'nothing': result is None,
        'truth': isinstance(result, bool),
        'number': is_number and result == result,  # NaN compares with nothing.
    }
    if not fits[verb.result]:
        raise CommandError(f'{verb.name}: gave {result!r}, expected {verb.result}.')
    return result
