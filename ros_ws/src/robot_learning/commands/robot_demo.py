"""A prompt on a code model: type a command, see its code, what the checker says, and try it.

With --move the code is carried out by a robot: by the commander that runs already, else in the
embedded world, which is started for it. Every program is shown first, and runs only if you say
so; it goes through the same checks and limits as every other command.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from robot_learning.commands import embedded_world
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.errors import CommandError, RobotLearningError
from robot_learning.language.interpreter import steps
from robot_learning.language.program import Program
from robot_learning.language.skills import Step, Value
from robot_learning.serving.code import Generated
from robot_learning.serving.code_choice import EMBEDDED, adapted

_LISTEN_S = 3.0  # So long a commander that runs already is looked for.
_EXAMPLES = """examples:
  robot_demo                                  the small model that comes with the project
  robot_demo --lora-path runs/adapter         an adapter of train_robot, on its own base model
  robot_demo --lora-path A --lora-path B      several of them vote
  robot_demo --lora-path runs/adapter --move  and let a simulated robot do it
  robot_demo --text 'turn left twice' --walk  one command, and its calls one by one
With --walk the calls are named as they would be carried out, and you are asked what the sensors
say; nothing moves. --yes asks nothing before it moves."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(argv)
    lines: Iterable[str] = [options.text] if options.text is not None else _typed()
    try:
        if options.move:
            return _move(options, lines)
        writer = adapted(options.lora_path, options.model_name)
        for line in lines:
            try:
                answer = writer.generate(line)
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


def _move(options: argparse.Namespace, lines: Iterable[str]) -> int:
    """Have a commander write the code and, where the person says so, carry it out."""
    from robot_learning.nodes.command_link import CommandLink  # Brings in ROS.

    if options.model_name:
        raise CommandError(
            '--move: found --model-name, expected --lora-path alone. The adapter names its base.'
        )
    with StopRequests() as stop, CommandLink('') as link:
        if link.is_there(_LISTEN_S, lambda: not stop.is_requested):
            if options.lora_path:
                raise CommandError(
                    '--move: a commander runs already, with a code model of its own, expected '
                    'none beside --lora-path. End it, or start it with '
                    'commander.code_adapters set to your adapter.'
                )
            return _move_all(link, options, lines, stop)
        folders = os.pathsep.join(str(path.resolve()) for path in options.lora_path)
        more = ['--set', f'commander.code_adapters={folders}'] if folders else []
        with embedded_world.embedded_world(options, more) as log:
            if not link.is_there(embedded_world.START_S, lambda: not stop.is_requested):
                print(f'robot_demo: the commander did not start. {log} says why.', file=sys.stderr)
                return 2
            return _move_all(link, options, lines, stop)


def _move_all(
    link: Any, options: argparse.Namespace, lines: Iterable[str], stop: StopRequests
) -> int:
    code = 0
    for line in lines:
        written = link.generate(line, lambda: stop.is_requested)
        if written is None or stop.is_requested:
            return 2 if written is None else 1
        if written.code:
            print(written.code)
        confidence = f' (confidence {written.confidence:.2f})' if written.confidence >= 0 else ''
        print(f'-- {written.verdict or "accepted"}{confidence}', flush=True)
        if not written.check_passed:
            code = 1
        elif options.yes or input('move? [y/N] ').strip().lower() in ('y', 'yes'):
            result = link.generate(line, lambda: stop.is_requested, execute=True)
            if result is None:
                return 2
            for text in result.done:
                print(f'   done: {text}')
            for text in result.not_done or ([result.verdict] if not result.success else []):
                print(f'   not done: {text}')
            code = code if result.success else 1
    return code


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
        default=[],
        metavar='DIR',
        help='adapter of train_robot; several vote',
    )
    parser.add_argument(
        '--model-name', help=f"base model ({EMBEDDED}, or what the adapter's folder names)"
    )
    parser.add_argument('--text', help='one command instead of a prompt')
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--walk', action='store_true', help='go through the calls one by one')
    what.add_argument('--move', action='store_true', help='let a robot carry the code out')
    parser.add_argument('--yes', action='store_true', help='of --move: without asking')
    embedded_world.add_arguments(parser, Path('runs/robot_demo'))
    return parser


if __name__ == '__main__':
    sys.exit(main())
