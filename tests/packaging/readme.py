"""What the README and other pages say, in parts, and a copy of the project to do it in."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / 'README.md').read_text(encoding='utf-8')
ENVIRONMENTS = ('.venv', '.venv-jazzy')


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str


def blocks(language: str, page: str = TEXT) -> list[Block]:
    """List the blocks of a language on a page, in order."""
    found = re.findall(r'^ *```(\w+)\n(.*?)^ *```$', page, re.MULTILINE | re.DOTALL)
    return [Block(*parts) for parts in found if parts[0] == language]


def commands(page: str = TEXT) -> list[str]:
    """List every command line of a page, without comments."""
    lines = [line for block in blocks('bash', page) for line in block.text.splitlines()]
    return [command for line in lines if (command := re.sub(r'(^|\s+)#.*$', '', line).strip())]


def snippets() -> dict[str, str]:
    """Map the file that the first line of a block names to what the block puts there."""
    found = {}
    for block in [*blocks('python'), *blocks('yaml')]:
        first, rest = block.text.split('\n', 1)
        assert first.startswith('# '), f'a block does not name its file: {first}'
        assert first[2:] not in found, f'{first[2:]}: in two blocks'
        found[first[2:]] = rest
    return found


def table(head: str) -> list[list[str]]:
    """Return the rows of the table whose first line is `head`."""
    assert f'\n{head}\n' in TEXT, f'README.md has no table {head}'
    lines = TEXT.split(f'\n{head}\n', 1)[1].splitlines()[1:]
    rows = []
    for line in lines:
        if not line.startswith('|'):
            break
        rows.append([cell.strip() for cell in line.strip('|').split('|')])
    return rows


def copy_project(target: Path) -> Path:
    """Copy what belongs to the project and link what was prepared, so that nothing is built."""
    for name in project_files():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, path)
    for name in ENVIRONMENTS:
        if (ROOT / name).is_dir():
            _link_prepared(ROOT / name, target / name, 'packages.stamp', target)
    install = Path('ros_ws', 'install')
    _link_prepared(ROOT / install, target / install, 'run.stamp', target)
    # Without fitting stamps `./run` would prepare anew, and through the links at that.
    script = (
        'set -eu; root=$1; environment=$1/.venv; . "$root/requirements/prepare.sh"; '
        'source_of_ros=wheels; ! has_ros || source_of_ros=jazzy; '
        '[ "$source_of_ros" = wheels ] || environment=$environment-jazzy; has_packages; is_built'
    )
    state = subprocess.run(['sh', '-c', script, 'sh', str(target)], check=False)
    assert state.returncode == 0, 'the environment is not up to date: call `./run prepare` first'
    return target


def _link_prepared(there: Path, here: Path, stamp: str, target: Path) -> None:
    """Link everything in a folder but its stamp, which names the place of the project."""
    here.mkdir(parents=True)
    for path in there.iterdir():
        if path.name != stamp:
            (here / path.name).symlink_to(path)
    content = (there / stamp).read_text()
    assert f'-{ROOT}-' in content, f'{there / stamp}: found {content!r}, expected {ROOT} in it'
    (here / stamp).write_text(content.replace(f'-{ROOT}-', f'-{target}-'))


def project_files() -> list[str]:
    """List the files that git would carry, or all but what is made, without git."""
    command = ['git', 'ls-files', '--cached', '--others', '--exclude-standard']
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        names = listed.stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        made = {'__pycache__', 'build', 'install', 'log', 'runs', *ENVIRONMENTS}
        paths = [path.relative_to(ROOT) for path in ROOT.rglob('*') if path.is_file()]
        names = [str(path) for path in paths if not made & set(path.parts)]
    return [name for name in names if (ROOT / name).is_file()]
