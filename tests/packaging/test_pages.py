"""What pages show: the parsers and launch files that take a command know all that it names."""

from __future__ import annotations

import argparse
import functools
import importlib
import re
import runpy
import shlex
import textwrap

import fake_launch
import pytest
import readme
from robot_learning import contract
from robot_learning.commands.process_table import LAUNCH_FILES

ROOT = readme.ROOT
PAGES = [ROOT / 'README.md', ROOT / 'bags' / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
SETUP = (ROOT / 'setup.py').read_text(encoding='utf-8')
NODES, COMMANDS = (
    re.findall(r"'(\w+)'", re.search(rf'^{name} = \((.*?)^\)', SETUP, re.M | re.S).group(1))
    for name in ('NODES', 'COMMANDS')
)
OURS = re.compile(r'(?:\./run|ros2 run robot_learning) (.+)')
LAUNCH = re.compile(r'ros2 launch robot_learning (\w+)\.launch\.py(.*)')


def shown(pattern: re.Pattern[str]) -> list[tuple[str, ...]]:
    """List what `pattern` finds in the command lines of all pages, after the page's name."""
    found = []
    for page in PAGES:
        for line in readme.commands(page.read_text(encoding='utf-8')):
            if match := pattern.fullmatch(line):
                found.append((str(page.relative_to(ROOT)), *match.groups()))
    return found


def spoken() -> list[tuple[str, str, str]]:
    """List page, command and the rest of everything with options in the pages' sentences."""
    found = []
    for page in PAGES:
        text = re.sub(r'^ *```.*?^ *```', '', page.read_text('utf-8'), flags=re.M | re.S)
        for code in re.findall(r'`([^`]+)`', text):
            words = re.sub(r'^(\./run|ros2 run robot_learning) ', '', ' '.join(code.split()))
            command, _, rest = words.partition(' ')
            if command in {*COMMANDS, 'benchmark'} and '--' in rest:
                found.append((page.name, command, rest))
    return found


class Parsing(Exception):  # noqa: N818  No error: a command has come to its arguments.
    """Carries the parser that was asked."""


@functools.cache
def parser_of(command: str) -> argparse.ArgumentParser:
    """Return the parser to which a command gives its arguments, without running it."""

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise Parsing(parser)

    main = importlib.import_module(f'robot_learning.commands.{command}').main
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', stop)
        with pytest.raises(Parsing) as reached:
            main([])
    return reached.value.args[0]


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the options of a parser and of those below it."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= set().union(*map(options_of, action.choices.values()))
    return found


def check_benchmark(words: list[str]) -> None:
    program = (ROOT / 'benchmarks' / f'{words[0]}.py').read_text(encoding='utf-8')
    assert "\nif __name__ == '__main__':" in program
    assert [w for w in words if w.startswith('--') and f"'{w}'" not in program] == []


@pytest.mark.parametrize(('page', 'line'), shown(OURS))
def test_a_command_of_a_page_is_one_that_its_parser_takes(page, line, capsys):
    command, *argv = shlex.split(line)
    if command in ('test', 'prepare'):
        return
    if command == 'benchmark':
        check_benchmark(argv)
    elif command.removesuffix('_node') in NODES:
        assert command.endswith('_node')
    else:
        assert command in COMMANDS
        try:
            parser_of(command).parse_args(argv)
        except SystemExit as end:
            assert end.code == 0, f'{page}: {line}\n{capsys.readouterr().err}'


@pytest.mark.parametrize(('page', 'command', 'rest'), spoken())
def test_options_in_a_sentence_exist(page, command, rest):
    if command == 'benchmark':
        check_benchmark(rest.split())
        return
    named = set(re.findall(r'(?<!\S)--[\w-]+', rest))
    assert named <= options_of(parser_of(command)), page


@pytest.mark.parametrize(('page', 'name', 'rest'), shown(LAUNCH))
def test_a_launch_file_of_a_page_has_the_arguments_that_it_is_given(page, name, rest, monkeypatch):
    fake_launch.install(monkeypatch)
    assert name in LAUNCH_FILES, page
    module = runpy.run_path(str(ROOT / 'launch' / f'{name}.launch.py'))
    declared = {
        entity.name: entity.choices
        for entity in module['generate_launch_description']().entities
        if isinstance(entity, fake_launch.DeclareLaunchArgument)
    }
    for given in rest.split():
        argument, _, value = given.partition(':=')
        if argument != '--show-args':
            assert argument in declared, page
            assert not declared[argument] or value in declared[argument], page


def test_the_contract_that_is_explained_is_one(tmp_path):
    page = (ROOT / 'docs' / 'robots.md').read_text(encoding='utf-8')
    (block,) = readme.blocks('yaml', page)
    path = tmp_path / 'rover.yaml'
    path.write_text(textwrap.dedent(block.text))
    assert contract.load(str(path)).robot == 'rover'


def test_pages_show_commands_at_all():
    assert len(shown(OURS)) > 60 and len(shown(LAUNCH)) > 8 and len(spoken()) > 10


def test_a_wrong_option_would_be_found(capsys):
    with pytest.raises(SystemExit):
        parser_of('bags').parse_args(['trim', 'runs/bag', '--latest', '5'])
    assert 'required: --out' in capsys.readouterr().err
    assert '--latest' not in options_of(parser_of('bags'))
