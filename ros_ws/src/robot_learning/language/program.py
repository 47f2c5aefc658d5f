"""Robot-API code as a checked tree: parsed from text, never executed as Python.

The language is a small part of Python: calls of verbs with arguments by name, assignments, `if`
with `else`, `for _ in range(n)` with a number, comparisons, `and`, `or`, `not`. Everything else is
refused with its line, before anything moves.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from robot_learning.errors import CommandError
from robot_learning.language import skills
from robot_learning.language.skills import Value, Verb

MAX_CHARACTERS = 4000
MAX_CALLS = 50  # Longest way through, loops unrolled.
MAX_REPEATS = 20
_MAX_DEPTH = 8  # Blocks in blocks, and parts of conditions in each other.
_MAX_NESTING = 12  # Brackets in brackets.
_MAX_NAMES = 20
_COMPARISONS = {
    ast.Lt: '<',
    ast.LtE: '<=',
    ast.Gt: '>',
    ast.GtE: '>=',
    ast.Eq: '==',
    ast.NotEq: '!=',
}


@dataclass(frozen=True)
class Name:
    """A value that was assigned before."""

    line: int
    name: str


@dataclass(frozen=True)
class Literal:
    """A number, a truth or a word."""

    line: int
    value: Value


@dataclass(frozen=True)
class Call:
    """A verb with its arguments; names among them are looked up when it runs."""

    line: int
    verb: Verb
    arguments: dict[str, Literal | Name]


@dataclass(frozen=True)
class Comparison:
    """Two values and how they are compared."""

    line: int
    left: Expression
    operator: str
    right: Expression


@dataclass(frozen=True)
class Condition:
    """'and' or 'or' of parts, 'not' of one."""

    line: int
    operator: str
    parts: tuple[Expression, ...]


Expression = Name | Literal | Call | Comparison | Condition


@dataclass(frozen=True)
class Assignment:
    """A name for a value."""

    line: int
    name: str
    value: Expression


@dataclass(frozen=True)
class Branch:
    """`if` with what is done then and else."""

    line: int
    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


@dataclass(frozen=True)
class Repeat:
    """`for _ in range(count)`."""

    line: int
    count: int
    body: tuple[Statement, ...]


Statement = Call | Assignment | Branch | Repeat


class Program(NamedTuple):
    """Checked code."""

    statements: tuple[Statement, ...]
    max_calls: int  # On the longest way through.


def parse(text: str, abilities: frozenset[str] | None = None) -> Program:
    """Check code and return it as a tree.

    Args:
        text: as generated.
        abilities: of the robot; None: any.

    Raises:
        CommandError: says in which line what is not allowed, and what would be.
    """
    return _Checker(abilities).program(_syntax_tree(text))


def _syntax_tree(text: str) -> ast.Module:
    if len(text) > MAX_CHARACTERS:
        raise CommandError(f'code: has {len(text)} characters, expected at most {MAX_CHARACTERS}.')
    if not text.isascii():
        odd = next(character for character in text if not character.isascii())
        raise CommandError(f'code: holds {odd!a}, expected plain ASCII letters and signs.')
    if '\0' in text:
        raise CommandError('code: holds a zero byte, expected text.')
    _check_nesting(text)
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise CommandError(f'line {error.lineno or 1}: {error.msg}.') from None
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise CommandError(f'code: cannot be read ({type(error).__name__}).') from None


def _check_nesting(text: str) -> None:
    """Refuse what is nested so deeply that reading it could exhaust the stack."""
    depth = signs = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            is_sign = token.type == tokenize.OP and token.string in '-+~'
            signs = signs + 1 if is_sign or token.string == 'not' else 0
            depth += token.string in ('(', '[', '{') or token.type == tokenize.INDENT
            depth -= token.string in (')', ']', '}') or token.type == tokenize.DEDENT
            if max(depth, signs) > _MAX_NESTING:
                raise CommandError(
                    f'line {token.start[0]}: is nested too deeply, at most {_MAX_NESTING}.'
                )
    except tokenize.TokenError as error:
        reason, (line, _) = error.args
        raise CommandError(f'line {line}: {reason}.') from None
    except SyntaxError as error:
        raise CommandError(f'line {error.lineno or 1}: {error.msg}.') from None


class _Checker:
    def __init__(self, abilities: frozenset[str] | None):
        self._abilities = abilities
        self._kinds: dict[str, str] = {}  # Name -> 'number', 'truth' or 'word'.

    def program(self, tree: ast.Module) -> Program:
        statements, calls = self._block(tree.body, 0)
        if not calls:
            raise CommandError('code: calls nothing, expected at least one call.')
        return Program(statements, calls)

    def _block(self, nodes: Sequence[ast.stmt], depth: int) -> tuple[tuple[Statement, ...], int]:
        """Return the statements, and how many calls the longest way through makes."""
        if depth > _MAX_DEPTH:
            raise CommandError(f'line {nodes[0].lineno}: blocks are nested too deeply.')
        found = [self._statement(node, depth) for node in nodes]
        calls = sum(count for _, count in found)
        if calls > MAX_CALLS:
            raise CommandError(
                f'line {nodes[0].lineno}: up to {calls} calls, expected at most {MAX_CALLS}.'
            )
        return tuple(statement for statement, _ in found if statement is not None), calls

    def _statement(self, node: ast.stmt, depth: int) -> tuple[Statement | None, int]:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            return self._call(node.value), 1
        if isinstance(node, ast.Pass):
            return None, 0
        if isinstance(node, ast.Assign):
            return self._assignment(node)
        if isinstance(node, ast.If):
            condition, asked = self._condition(node.test, 0)
            self._expect(condition, 'truth')
            before = dict(self._kinds)
            then, most = self._block(node.body, depth + 1)
            after, self._kinds = self._kinds, before
            otherwise, other = self._block(node.orelse, depth + 1) if node.orelse else ((), 0)
            # Known behind it is only what both ways have set, to the same kind.
            self._kinds = {n: k for n, k in self._kinds.items() if after.get(n) == k}
            return Branch(node.lineno, condition, then, otherwise), asked + max(most, other)
        if isinstance(node, ast.For):
            return self._repeat(node, depth)
        raise _refused(node, 'calls, assignments, if and for _ in range(n)')

    def _assignment(self, node: ast.Assign) -> tuple[Statement, int]:
        target = node.targets[0]
        if len(node.targets) != 1 or not isinstance(target, ast.Name):
            raise _refused(node, 'one plain name on the left')
        _check_name(target.id, node.lineno)
        value, calls = self._condition(node.value, 0)
        kind = self._kind(value)
        if kind == 'nothing':
            raise CommandError(f'line {node.lineno}: gives no value that {target.id} could hold.')
        self._kinds[target.id] = kind
        if len(self._kinds) > _MAX_NAMES:
            raise CommandError(f'line {node.lineno}: more than {_MAX_NAMES} names.')
        return Assignment(node.lineno, target.id, value), calls

    def _repeat(self, node: ast.For, depth: int) -> tuple[Statement, int]:
        count = _count_of(node.iter)
        if count is None or not isinstance(node.target, ast.Name) or node.orelse:
            raise _refused(node, 'for _ in range(n) with a whole number')
        if not 1 <= count <= MAX_REPEATS:
            raise CommandError(
                f'line {node.lineno}: repeats {count} times, expected 1 to {MAX_REPEATS}.'
            )
        if node.target.id != '_':
            raise CommandError(f'line {node.lineno}: loops count in _, not in {node.target.id!r}.')
        before = dict(self._kinds)
        body, calls = self._block(node.body, depth + 1)
        if any(self._kinds[name] != kind for name, kind in before.items()):
            raise CommandError(f'line {node.lineno}: the loop changes what a name holds.')
        return Repeat(node.lineno, count, body), count * calls

    def _condition(self, node: ast.expr, depth: int) -> tuple[Expression, int]:
        if depth > _MAX_DEPTH:
            raise CommandError(f'line {node.lineno}: the condition is nested too deeply.')
        if isinstance(node, ast.Call):
            return self._call(node), 1
        if isinstance(node, ast.BoolOp):
            operator = 'and' if isinstance(node.op, ast.And) else 'or'
            found = [self._condition(value, depth + 1) for value in node.values]
            parts = tuple(part for part, _ in found)
            for part in parts:
                self._expect(part, 'truth')
            return Condition(node.lineno, operator, parts), sum(count for _, count in found)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            part, calls = self._condition(node.operand, depth + 1)
            self._expect(part, 'truth')
            return Condition(node.lineno, 'not', (part,)), calls
        if isinstance(node, ast.Compare):
            return self._comparison(node, depth)
        return self._value(node), 0

    def _comparison(self, node: ast.Compare, depth: int) -> tuple[Expression, int]:
        operator = _COMPARISONS.get(type(node.ops[0]))
        if len(node.ops) != 1 or operator is None:
            raise _refused(node, 'one comparison: <, <=, >, >=, == or !=')
        left, first = self._condition(node.left, depth + 1)
        right, second = self._condition(node.comparators[0], depth + 1)
        kinds = {self._kind(left), self._kind(right)}
        is_ordered = operator not in ('==', '!=')
        if len(kinds) != 1 or 'nothing' in kinds or (is_ordered and kinds != {'number'}):
            raise CommandError(
                f'line {node.lineno}: {operator} compares a {self._kind(left)} with a '
                f'{self._kind(right)}, expected two numbers{"" if is_ordered else ", or alike"}.'
            )
        return Comparison(node.lineno, left, operator, right), first + second

    def _value(self, node: ast.expr) -> Literal | Name:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str):
            return Literal(node.lineno, _checked(node.value, node.lineno))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = node.operand.value if isinstance(node.operand, ast.Constant) else None
            if isinstance(value, int | float) and not isinstance(value, bool):
                return Literal(node.lineno, _checked(-value, node.lineno))
        if isinstance(node, ast.Name):
            if node.id not in self._kinds:
                raise CommandError(
                    f'line {node.lineno}: {node.id!r} is not known here. Assign it before, on '
                    f'every way that leads here.'
                )
            return Name(node.lineno, node.id)
        raise _refused(node, 'a number, a word in quotes or a name')

    def _call(self, node: ast.Call) -> Call:
        name = _dotted(node.func)
        try:
            verb = skills.verb(name)
            if self._abilities is not None:
                skills.check_abilities(verb, self._abilities)
            if len(node.args) > len(verb.arguments):
                raise CommandError(
                    f'{verb.name}: got {len(node.args)} arguments. {verb.signature}'
                )
            given = {a.name: value for a, value in zip(verb.arguments, node.args, strict=False)}
            for keyword in node.keywords:
                if keyword.arg is None or keyword.arg in given:
                    raise CommandError(f'{verb.name}: give each argument once, by name.')
                given[keyword.arg] = keyword.value
            values = {key: self._value(value) for key, value in given.items()}
            self._check_arguments(verb, values)
        except CommandError as error:
            text = str(error)
            raise CommandError(
                text if text.startswith('line ') else f'line {node.lineno}: {text}'
            ) from None
        return Call(node.lineno, verb, values)

    def _check_arguments(self, verb: Verb, values: dict[str, Literal | Name]) -> None:
        """Check what is known now; the range of a name's number is checked when it runs."""
        known = {key: value.value for key, value in values.items() if isinstance(value, Literal)}
        for key, value in values.items():
            kind = verb.argument(key).kind
            if isinstance(value, Name):
                expected = 'number' if isinstance(kind, skills.Number) else 'word'
                self._expect(value, expected)
                known[key] = kind.low if isinstance(kind, skills.Number) else kind.words[0]
        verb.completed(known)

    def _kind(self, value: Expression) -> str:
        if isinstance(value, Name):
            return self._kinds[value.name]
        if isinstance(value, Call):
            return value.verb.result
        if isinstance(value, Literal):
            if isinstance(value.value, bool):
                return 'truth'
            return 'word' if isinstance(value.value, str) else 'number'
        return 'truth'

    def _expect(self, value: Expression, kind: str) -> None:
        if self._kind(value) != kind:
            raise CommandError(f'line {value.line}: is a {self._kind(value)}, expected a {kind}.')


def _count_of(node: ast.expr) -> int | None:
    """Return n of `range(n)` with a whole number, None for anything else."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return None
    if node.func.id != 'range' or len(node.args) != 1 or node.keywords:
        return None
    value = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _dotted(node: ast.expr) -> str:
    """Return 'a.b' of a name or an attribute of a name, for the table and for messages."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        parts: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            full = '.'.join([inner.id, *reversed(parts)])
            # The guide's spelling: everything belongs to the robot.
            return full.removeprefix('robot.') if full.count('.') > 1 else full
    raise _refused(node, 'a verb such as robot.turn')


def _check_name(name: str, line: int) -> None:
    if name.startswith('_') or len(name) > 40 or name in ('robot', 'range'):
        raise CommandError(f'line {line}: {name[:40]!r} cannot be assigned. Choose another name.')


def _checked(value: int | float | bool | str, line: int) -> Value:
    if isinstance(value, str):
        if len(value) > 40 or not value.replace('_', ' ').replace(' ', 'a').isalnum():
            raise CommandError(f'line {line}: {value[:40]!r} is not a word of the table.')
        return value
    if not isinstance(value, bool) and not -1e6 <= value <= 1e6:
        raise CommandError(f'line {line}: the number is out of range, at most a million.')
    return value if isinstance(value, bool) else float(value)


def _refused(node: ast.AST, allowed: str) -> CommandError:
    line = getattr(node, 'lineno', 1)
    return CommandError(f'line {line}: {type(node).__name__} is not allowed, only {allowed}.')
