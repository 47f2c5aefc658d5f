"""The grammar of robot-API code, made from the table of verbs, for decoding under it.

What is decoded under it, `program.parse` accepts, except numbers and totals beyond their limits:
those stay sayable on purpose, so that 'drive 900 metres' is refused instead of bent into range.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robot_learning.errors import ConfigError, EnvironmentSetupError
from robot_learning.language.code_prompt import number
from robot_learning.language.skills import VERBS, Argument, Choice, Number, Verb

NOTHING = 'pass'  # Code for a command that asks for nothing the robot can do; no program.
NUMBER_NAME, TRUTH_NAME = 'measured', 'seen'  # What results are assigned to.
_INDENT = '    '
_MAX_DEPTH = 3  # Blocks in blocks.
_COMPARISONS = ('<', '<=', '>', '>=', '==', '!=')
_UNSIGNED = r'(0|[1-9][0-9]{0,4})(\.[0-9]{1,4})?'
_COUNT = r'[1-9][0-9]?'
_UNSIGNED_RULE = 'UNSIGNED: '
_NUMBER = re.compile(r'\d+(?:\.\d+)?')
# What 'turn left', 'turn around', 'a triangle' and 'a square' leave unsaid: degrees and sides.
_ANGLES_MEANT, _COUNTS_MEANT = ('90.0', '180.0', '120.0'), ('3', '4')
_NONE_SAID = '0.0'  # No distance, duration or speed may be this.


def grammar(verbs: Mapping[str, Verb] = VERBS) -> str:
    """Return the grammar in llguidance's Lark notation.

    A program is `pass`, or calls with named arguments in the table's order, `if` with `else`,
    `for _ in range(n)`, blocks up to three deep, and assignments that the next line's `if` asks
    about. Words may be quoted either way, and whatever belongs to the robot may say so:
    `robot.gripper.drop()`.
    """
    of_result: dict[str, list[str]] = {'number': [], 'truth': [], 'nothing': []}
    rules = []
    for index, verb in enumerate(verbs.values()):
        rules.append(f'call_{index}: {_call(verb)}')
        of_result[verb.result].append(f'call_{index}')
    every = [name for names in of_result.values() for name in names]
    lines = [
        f'start: {_quoted(NOTHING)} | block_0',
        *(line for depth in range(_MAX_DEPTH + 1) for line in _block(depth)),
        f'call: {" | ".join(every)}',
        *_conditions(of_result),
        *rules,
    ]
    return '\n'.join(lines) + '\n' + _numbers(_UNSIGNED, _UNSIGNED, _COUNT)


def _numbers(unsigned: str, signed: str, count: str) -> str:
    return f'{_UNSIGNED_RULE}/{unsigned}/\nSIGNED: /-?{signed}/\nCOUNT: /{count}/\n'


def numbers_said(prompt: str) -> list[str]:
    """Return the numbers that stand in a prompt, as code may write them."""
    said = [float(found) for found in _NUMBER.findall(prompt)]
    whole = [f'{value:g}' for value in said if value == int(value) < 1e5]
    return list(dict.fromkeys([*map(number, said), *whole]))


def _block(depth: int) -> list[str]:
    """Return the rules of statements that stand `depth` blocks deep."""
    newline = _quoted('\n' + _INDENT * depth)
    lines = [f'block_{depth}: statement_{depth} ({newline} statement_{depth})*']
    if depth == _MAX_DEPTH:
        return [*lines, f'statement_{depth}: call']
    begin = _quoted(':\n' + _INDENT * (depth + 1))
    otherwise = _quoted('\n' + _INDENT * depth + 'else')
    body = f'{begin} block_{depth + 1}'
    return [
        *lines,
        f'statement_{depth}: call | branch_{depth} | repeat_{depth}',
        f'branch_{depth}: assigned_{depth} {body} ({otherwise} {body})?',
        f'assigned_{depth}: "if " condition'
        f' | {_quoted(f"{NUMBER_NAME} = ")} number_call {newline} '
        f'{_quoted(f"if {NUMBER_NAME} ")} comparison " " SIGNED'
        f' | {_quoted(f"{TRUTH_NAME} = ")} truth_call {newline} '
        f'"if " "not "? {_quoted(TRUTH_NAME)}',
        f'repeat_{depth}: "for _ in range(" COUNT ")" {body}',
    ]


def _conditions(of_result: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the rules of what `if` may ask: truths and compared numbers, one or two of them."""
    comparisons = ' | '.join(_quoted(each) for each in _COMPARISONS)
    return [
        'condition: simple ((" and " | " or ") simple)?',
        'simple: "not "? truth_call | number_call " " comparison " " SIGNED',
        f'truth_call: {" | ".join(of_result["truth"])}',
        f'number_call: {" | ".join(of_result["number"])}',
        f'comparison: {comparisons}',
    ]


def _call(verb: Verb) -> str:
    prefix = '' if verb.name.startswith('robot.') else '"robot."? '
    return f'{prefix}{_quoted(verb.name + "(")} {_arguments(verb.arguments)} ")"'


def _arguments(arguments: Sequence[Argument]) -> str:
    """Return what may stand in the brackets: one alternative for each argument that comes first.

    Those before it must be ones that may be left out.
    """
    alternatives = []
    for place, first in enumerate(arguments):
        rest = ''.join(_following(argument) for argument in arguments[place + 1 :])
        alternatives.append(_argument(first) + rest)
        if not _may_be_left_out(first):
            break
    else:
        return f'({" | ".join(alternatives)})?' if alternatives else ''
    return f'({" | ".join(alternatives)})'


def _following(argument: Argument) -> str:
    text = f'", " {_argument(argument)}'
    return f' ({text})?' if _may_be_left_out(argument) else f' {text}'


def _may_be_left_out(argument: Argument) -> bool:
    return argument.optional or argument.default is not None


def _argument(argument: Argument) -> str:
    return f'{_quoted(argument.name + "=")} {_value(argument.kind)}'


def _value(kind: Number | Choice) -> str:
    if isinstance(kind, Number):
        return 'SIGNED' if kind.low < 0 else 'UNSIGNED'
    words = ' | '.join(_quoted(quote + w + quote) for w in kind.words for quote in ('"', "'"))
    return f'({words})'


def _one_of(words: Sequence[str]) -> str:
    return f'({"|".join(map(re.escape, words))})'


def _quoted(text: str) -> str:
    escaped = text.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')
    return f'"{escaped}"'


class CodeGrammar:
    """The grammar over one tokenizer's tokens.

    Args:
        tokenizer: a Hugging Face tokenizer.json as text, or 'byte': a token per byte.
        num_tokens: that the model has logits for; None: as many as the tokenizer.
        end_token: of the end of the code; None: the tokenizer's own.
        text: the grammar; see `grammar`.

    Raises:
        EnvironmentSetupError: llguidance is not installed.
        ConfigError: tokenizer or grammar are not what it can read.
    """

    def __init__(
        self,
        tokenizer: str = 'byte',
        num_tokens: int | None = None,
        end_token: int | None = None,
        text: str | None = None,
    ):
        try:
            import llguidance
        except ImportError as error:
            raise EnvironmentSetupError(
                'llguidance: is not installed, expected for decoding code under its grammar. '
                'Install it with "pip install llguidance", or run ./run prepare.'
            ) from error
        self._library = llguidance
        try:
            self._tokenizer = llguidance.LLTokenizer(tokenizer, num_tokens, end_token)
        except (ValueError, RuntimeError) as error:
            raise ConfigError(f'tokenizer: cannot be read ({error}). Name another.') from None
        self._text = grammar() if text is None else text
        self._grammar = llguidance.LLMatcher.grammar_from_lark(self._text)
        problem = llguidance.LLMatcher.validate_grammar(self._grammar, self._tokenizer)
        if problem:
            raise ConfigError(f'grammar: {problem[:300]}. Correct the table of verbs.')
        self._start = llguidance.LLMatcher(self._tokenizer, self._grammar)

    def walk(self, numbers: Sequence[str] | None = None) -> Walk:
        """Begin a program; where `numbers` are given, with no others.

        They may be negative where the table allows it. Angles may also be those that people do
        not say, and so may the number of sides of a figure.
        """
        if numbers is None:
            return Walk(self._start.deep_copy(), self._tokenizer.vocab_size)
        counts = [each for each in numbers if each.isdigit() and each != '0']
        terminals = _numbers(
            _one_of(numbers or [_NONE_SAID]),
            _one_of([*numbers, *_ANGLES_MEANT]),
            _one_of([*counts, *_COUNTS_MEANT]),
        )
        text = self._text[: self._text.index(_UNSIGNED_RULE)] + terminals
        matcher = self._library.LLMatcher
        start = matcher(self._tokenizer, matcher.grammar_from_lark(text))
        assert not start.is_error(), start.get_error()
        return Walk(start, self._tokenizer.vocab_size)

    def accepts(self, code: str) -> bool:
        """Tell whether a whole text is in the grammar."""
        matcher = self._start.deep_copy()
        tokens = self._tokenizer.tokenize_str(code)
        return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


class Walk:
    """A program that grows token by token."""

    def __init__(self, matcher: Any, num_tokens: int):
        self._matcher = matcher
        self._num_tokens = num_tokens

    def copy(self) -> Walk:
        """Return another that stands at the same place."""
        return Walk(self._matcher.deep_copy(), self._num_tokens)

    def allowed(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which tokens may come next, [V] bool; the end token where it may end."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return np.unpackbits(bits, bitorder='little')[: self._num_tokens].astype(bool)

    def forced(self) -> list[int]:
        """Return tokens that must come next, because nothing else may; often none."""
        return list(self._matcher.compute_ff_tokens())

    def take(self, token: int) -> None:
        """Go on by a token that is allowed."""
        is_taken = self._matcher.consume_token(token)
        assert is_taken, self._matcher.get_error()

    @property
    def is_over(self) -> bool:
        """Whether nothing but the end may come."""
        return bool(self._matcher.is_stopped())
