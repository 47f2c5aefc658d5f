"""Commands a robot in plain words: `./run say`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from robot_learning.commands import embedded_world
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.nodes.command_link import CommandLink, Feedback, Result

_LISTEN_S = 3.0  # So long a commander that runs already is looked for.
_EXAMPLES = """examples:
  ./run say "drive forward 1 metre, then turn left"
  ./run say "go to the red cube" "pick it up" "bring it home"
  ./run say --dry-run "fetch the blue ball"     understand and plan, move nothing
  ./run say                                     type one command after the other

Where no commander runs, the embedded world is started with one and ended afterwards. Ctrl-C
stops the robot. On a ROS 2 installation the same is:
  ros2 launch robot_learning commands.launch.py
  ros2 action send_goal /execute_command robot_learning_interfaces/action/ExecuteCommand \\
      "{text: 'go to the red cube, then come back home'}" --feedback"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return 0 if all was done, 1 if not, 2 if it cannot be tried."""
    options = _parser().parse_args(argv)
    with StopRequests() as stop, CommandLink(options.namespace) as link:
        if link.is_there(_LISTEN_S, lambda: not stop.is_requested):
            return _say_all(link, options, stop)
        if stop.is_requested:
            return 1
        if options.namespace:
            print(
                f'say: no commander answers in namespace {options.namespace!r}. Start one: '
                f'./run up --launch-file commands --namespace {options.namespace}',
                file=sys.stderr,
            )
            return 2
        more = ['--intent-model', options.intent_model] if options.intent_model else []
        with embedded_world.embedded_world(options, more) as log:
            if not link.is_there(embedded_world.START_S, lambda: not stop.is_requested):
                if not stop.is_requested:
                    print(f'say: the commander did not start. {log} says why.', file=sys.stderr)
                return 2
            return _say_all(link, options, stop)


def _say_all(link: CommandLink, options: argparse.Namespace, stop: StopRequests) -> int:
    code = 0
    for text in options.text or _typed(stop):
        if stop.is_requested:
            return 1
        print(f'> {text}', flush=True)
        result = link.execute(
            text,
            _Progress().show,
            lambda: stop.is_requested,
            dry_run=options.dry_run,
            time_limit_s=options.time_limit,
        )
        if result is None:
            print('say: the commander has gone.', file=sys.stderr)
            return 2
        _show(result)
        code = code if result.success else 1
    return code


def _typed(stop: StopRequests) -> Iterator[str]:
    """Yield one line of the terminal after the other, until its end or Ctrl-C."""
    print('Say what to do, for example: look for the red ball. Ctrl-D ends.')
    while not stop.is_requested:
        try:
            line = input('> ')
        except EOFError:
            return
        if line.strip():
            yield line


class _Progress:
    """Shows intent and plan once, and each skill when it begins."""

    def __init__(self) -> None:
        self._has_plan = False
        self._step = -1

    def show(self, feedback: Feedback) -> None:
        if not self._has_plan and feedback.intent:
            self._has_plan = True
            print(f'  understood: {feedback.intent}')
            for number, step in enumerate(feedback.plan, 1):
                print(f'  plan {number}: {step}')
        if feedback.skill and feedback.step != self._step:
            self._step = feedback.step
            print(f'  doing {feedback.step + 1}: {feedback.skill}', flush=True)


def _show(result: Result) -> None:
    for text in result.done:
        print(f'  done: {text}')
    for text in result.not_done:
        print(f'  not done: {text}')
    if result.needs_clarification:
        print(f'  question: {result.question}')
    if result.refusal:
        print(f'  refused: {result.refusal}')
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='./run say',
        description='Tell a robot in plain words what to do, and see what it makes of it.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('text', nargs='*', help='commands, one after the other; none: type them')
    parser.add_argument('--dry-run', action='store_true', help='understand and plan, move nothing')
    parser.add_argument(
        '--time-limit', type=float, default=0.0, metavar='S', help='seconds per command'
    )
    parser.add_argument('--namespace', default='', help='ROS namespace of the commander')
    embedded_world.add_arguments(parser, Path('runs/say'))
    parser.add_argument(
        '--intent-model', default='', metavar='NAME', help='of the store, not the one that ships'
    )
    return parser


if __name__ == '__main__':
    sys.exit(main())
