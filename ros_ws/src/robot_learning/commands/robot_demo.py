"""A prompt on a code model: type a command, see its code, and what the checker says of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from robot_learning.errors import CommandError, RobotLearningError
from robot_learning.language.interpreter import steps
from robot_learning.language.program import Program
from robot_learning.language.skills import Step, Value
from robot_learning.serving.code import CodeGenerator, Generated, vote

_EMBEDDED = 'robot_learning/code'
_EXAMPLES = """examples:
  robot_demo                                  the small model that comes with the project
  robot_demo --lora-path runs/adapter         an adapter of train_robot, on its own base model
  robot_demo --lora-path A --lora-path B      several of them vote
  robot_demo --text 'turn left twice' --walk  one command, and its calls one by one
With --walk the calls are named as they would be carried out, and you are asked what the sensors
say; nothing moves. To let a robot do it, start ./run up and send the action generate_code."""


class Generator(Protocol):
    """What writes code."""

    def generate(self, text: str) -> Generated:
        """Return code for a command."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(argv)
    try:
        generators = [_generator(path, options.model_name) for path in options.lora_path or [None]]
        lines: Iterable[str] = [options.text] if options.text is not None else _typed()
        for line in lines:
            try:
                answer = vote([each.generate(line) for each in generators])
                show(answer)
                if options.walk and answer.program is not None:
                    walk(answer.program, ask)
            except CommandError as error:
                print(error)
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def show(answer: Generated) -> None:
    """Print code, confidence and verdict."""
    if answer.code:
        print(answer.code)
    verdict = answer.verdict or 'accepted'
    print(f'-- {verdict} (confidence {answer.confidence:.2f})')


def walk(program: Program, result_of: Callable[[Step], Value | None]) -> list[str]:
    """Go through a program call by call, print and return the calls; nothing is carried out."""
    done: list[str] = []
    calls = steps(program)
    result: Value | None = None
    while True:
        try:
            step = calls.send(result)
        except StopIteration:
            return done
        done.append(step.text)
        print(f'   {len(done)}. {step.text}')
        result = result_of(step)


def ask(step: Step) -> Value | None:
    """Ask the person at the terminal what a sensor says."""
    if step.verb.result == 'nothing':
        return None
    while True:
        words = input(f'      {step.verb.summary} [{step.verb.result}] ').strip().lower()
        if step.verb.result == 'truth' and words in ('yes', 'no', 'y', 'n'):
            return words.startswith('y')
        try:
            if step.verb.result == 'number':
                return float(words)
        except ValueError:
            pass
        print('      expected yes or no' if step.verb.result == 'truth' else '      a number')


def _generator(adapter: Path | None, base: str | None) -> Generator:
    """Load the adapter on its base; the small model of this project without transformers."""
    from robot_learning.serving.code_adapters import Adapter

    found = None if adapter is None else Adapter.of_folder(adapter)
    name = base or (found.base if found is not None else _EMBEDDED)
    if name == _EMBEDDED or (adapter is not None and Path(name) == adapter / 'base'):
        generator = CodeGenerator.load()
        return generator if found is None else generator.with_adapter(found)
    from robot_learning.models.hub_model import HubModel
    from robot_learning.serving.hub_code import HubCodeGenerator

    return HubCodeGenerator(HubModel(name), adapter)


def _typed() -> Iterable[str]:
    while True:
        try:
            line = input('robot> ').strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if line in ('quit', 'exit'):
            return
        if line:
            yield line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='robot_demo',
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--lora-path',
        type=Path,
        action='append',
        metavar='DIR',
        help='adapter of train_robot; several vote',
    )
    parser.add_argument(
        '--model-name', help=f"base model ({_EMBEDDED}, or what the adapter's folder names)"
    )
    parser.add_argument('--text', help='one command instead of a prompt')
    parser.add_argument('--walk', action='store_true', help='go through the calls one by one')
    return parser


if __name__ == '__main__':
    sys.exit(main())
