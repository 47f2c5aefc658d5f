"""Does everything the README says, for real, with less to do where it would take long."""

from __future__ import annotations

import itertools
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
import readme
import ros2_stand_in
import yaml
from packaging.requirements import Requirement
from readme_commands import AFTER, IMPORT, LEAVES, SHORTENED, TRAIN
from robot_learning.model_store import ModelStore
from robot_learning.phases.phase import PHASES

ROOT = readme.ROOT
COMMANDS = readme.commands()
PATIENCE_S = 150.0  # Longest that one command may take on a busy machine.

VERSIONS = 12  # The README speaks of navigator@12.


class Project:
    """A copy of the project, and the system that `./run up` started in it."""

    def __init__(self, root: Path):
        self.root = root
        self._system: subprocess.Popen[bytes] | None = None
        self._system_command = ''
        self._has_run: dict[str, str] = {}

    def run(self, command: str) -> str:
        """Run a shell command in the copy, once; return its output."""
        if command not in self._has_run:
            result = subprocess.run(
                ['bash', '-c', command],
                cwd=self.root,
                env=self._environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE_S,
            )
            assert result.returncode == 0, f'{command}: {result.returncode}\n{result.stdout}'
            self._has_run[command] = result.stdout
        return self._has_run[command]

    def _environment(self) -> dict[str, str]:
        return os.environ | {'HOME': str(self.root.parent)}

    def demo(self) -> None:
        """Run the demo and have versions enough to speak of."""
        self.run(SHORTENED['./run demo'])
        models = self.root / 'runs' / 'latest' / 'models'
        store = ModelStore(models)
        if store.newest('navigator') is None:  # Too short for the trainer of the demo.
            self.run(IMPORT)
            self.run(SHORTENED[TRAIN])
            store.publish('navigator', *ModelStore(self.root / 'runs' / 'models').load('cloned'))
        while (newest := store.newest('navigator') or 0) < VERSIONS:
            store.publish('navigator', *store.load('navigator', newest))
        here = self.root / 'runs' / 'models' / 'navigator'  # Where `./run up` looks.
        if not here.exists():
            shutil.copytree(models / 'navigator', here)

    def start(self, command: str) -> None:
        """Have the system of a `./run up` command running, and no other."""
        if self._system_command != command:
            self.stop()
            with (self.root.parent / 'up.log').open('ab') as log:
                self._system = subprocess.Popen(
                    shlex.split(command),
                    cwd=self.root,
                    env=self._environment(),
                    stdout=log,
                    stderr=log,
                )
            self._system_command = command

    def stop(self) -> None:
        """End what `start` started, as Ctrl-C does; it must end in order."""
        if self._system is not None:
            self._system.send_signal(signal.SIGINT)
            code = self._system.wait(60)
            self._system, self._system_command = None, ''
            assert code == 0, (self.root.parent / 'up.log').read_text()[-4000:]


@pytest.fixture(scope='module')
def project(tmp_path_factory, ros_domain) -> Iterator[Project]:
    root = readme.copy_project(tmp_path_factory.mktemp('readme') / 'robot_learning')
    for name, text in readme.snippets().items():
        with (root / name).open('a', encoding='utf-8') as file:
            file.write(f'\n\n{text}')
    project = Project(root)
    yield project
    try:
        project.stop()
    finally:
        if project._system is not None:
            project._system.kill()


def handler_of(command: str):
    for pattern, handler in HANDLERS:
        if re.match(pattern, command):
            return handler
    return None


@pytest.mark.parametrize('command', COMMANDS, ids=lambda command: command[:72])
def test_the_command_does_what_it_says(command, project, monkeypatch):
    handler = handler_of(command)
    assert handler, f'README.md: {command!r} is run by no test. Add a line to HANDLERS.'
    handler(command, project, monkeypatch)


def run_once(command: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    if 'demonstrations --robot' in command:
        project.run(next(short for short in SHORTENED.values() if '--out demonstrations' in short))
    elif './run collect' not in command:
        project.demo()
    if 'runs/store' in command:
        project.run(IMPORT)
    if command in AFTER:
        project.run(SHORTENED[AFTER[command]])
    project.run(SHORTENED.get(command, command))
    for name in LEAVES.get(command, []):
        assert (project.root / name).exists(), name


def start_system(command: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.demo()
    project.start(command)
    echo = ['topic', 'echo', '--once', '/policy_action']
    deadline = time.monotonic() + PATIENCE_S
    while ros2_stand_in.perform(echo, ROOT / 'launch', monkeypatch).version < 1:
        assert time.monotonic() < deadline, 'no model version drives'


def talk(command: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    _, *argv = shlex.split(command)
    if argv[0] != 'launch':
        project.demo()
        is_said = 'execute_command' in command or 'generate_code' in command
        project.start('./run up --launch-file commands' if is_said else './run up')
    if 'rollback_model' in command:  # Goes back from what was loaded before.
        talk(next(c for c in COMMANDS if 'load_model' in c), project, monkeypatch)
    answer = ros2_stand_in.perform(argv, project.root / 'launch', monkeypatch)
    is_drive = argv[0] == 'action' and 'run_policy' in command
    assert getattr(answer, 'success', True) or is_drive, answer
    if 'train_phase' in command:
        assert answer.update == 100 and answer.version >= 1
    if is_drive:
        assert answer.reason in ('goal', 'collision', 'time_limit')
        assert answer.num_steps > 0
    if argv[-1] == '--show-args':
        assert all(argument.description for argument in answer)


def start_commander(command: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.start(command)
    echo = ['topic', 'echo', '--once', '/gate_status']
    ros2_stand_in.perform(echo, ROOT / 'launch', monkeypatch)


def say(command: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.stop()  # It starts what it needs.
    said = project.run(command)
    assert 'plan 2: ' in said and 'refused' not in said and 'question' not in said


def clone(command: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (ROOT / '.git').exists():
        pytest.skip('git clone: this copy of the project is not a git checkout')
    folder = project.root.parent / 'clones'
    folder.mkdir()
    here = command.replace('REPOSITORY', shlex.quote(f'file://{ROOT}'))
    project.run(f'cd {shlex.quote(str(folder))} && {here} && ./run help')


def install_requirements(command: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installing into the system is not ours to do: the files must be there and readable."""
    words = shlex.split(command)
    files = [word for flag, word in itertools.pairwise(words) if flag in ('-r', '-c')]
    assert files
    for name in files:
        lines = (project.root / name).read_text().splitlines()
        assert [Requirement(line) for line in lines if line and not line.startswith(('#', '-'))]


def source(command: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = shlex.split(command)
    if path.startswith('/opt/ros/'):
        distribution = Path(path).parent.name
        assert f'= {distribution} ]' in (ROOT / 'requirements' / 'prepare.sh').read_text()
        if not Path(path).exists():
            return
    assert 'robot_learning' in project.run(f'{command} && echo "$AMENT_PREFIX_PATH"')


def find_packages(command: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """See that colcon finds both packages where the command stands; `./run` has built them."""
    workspace = project.root.parent / 'ws' / 'src'
    if not workspace.exists():
        workspace.mkdir(parents=True)
        (workspace / 'robot_learning').symlink_to(project.root)
    colcon = f'{shlex.quote(sys.executable)} -m colcon --log-base /dev/null list --names-only'
    listed = project.run(command.replace('colcon build', colcon)).split()
    assert sorted(listed) == ['robot_learning', 'robot_learning_interfaces']


def sign(command: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.demo()
    for earlier in COMMANDS:  # Each stands on those before it.
        if re.match(SIGNING, earlier):
            project.run(earlier)
        if earlier == command:
            return


def list_processes(command: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 'replicator_node' in project.run(f'{command} --list')


def list_grounding(command: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 'grounding_node' in project.run(f'{command} --list')


def look_at_the_system(command: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.demo()
    project.start('./run up')
    echo = ['topic', 'echo', '--once', '/policy_action']  # Whatever it does, stopped or not.
    ros2_stand_in.perform(echo, ROOT / 'launch', monkeypatch)
    said = project.run(f'{command} || [ $? -eq 1 ]')  # 1: something to say, on a busy machine.
    assert 'no policy node' not in said.lower() and 'Traceback' not in said


SIGNING = r'\./run models (keygen|sign|trust|verify --require-signature)'
HANDLERS = [
    (SIGNING, sign),
    (r'\./run doctor --live', look_at_the_system),
    (r'\./run up --list$', run_once),
    (r'\./run up .*--replicate ', list_processes),  # Driven in test_replication.py.
    (r'\./run up --launch-file commands$', start_commander),
    (r'\./run up .*--grounding ', list_grounding),  # Its node has tests of its own.
    (r'\./run up', start_system),
    (r'\./run say ', say),
    (r'\./run ', run_once),
    (r'ros2 ', talk),
    (r'git clone REPOSITORY ', clone),
    (r'pip install --user ', install_requirements),
    (r'source ', source),
    (r'(cd ~/ws && )?colcon build', find_packages),
]


def test_every_shortened_command_is_in_the_readme():
    assert set(SHORTENED) | set(LEAVES) <= set(COMMANDS)


def test_the_two_commands_come_first():
    assert COMMANDS[0].startswith('git clone ')
    assert COMMANDS[1] == './run demo'


def test_the_snippets_go_to_folders_that_exist():
    for name in readme.snippets():
        assert (ROOT / name).parent.is_dir(), name


def test_the_table_of_rooms_is_the_package():
    package = ROOT / 'ros_ws' / 'src' / 'robot_learning'
    there = {f'`{path.parent.name}/`' for path in package.glob('*/__init__.py')}
    rows = readme.table('| room | what | may import |')
    assert {row[0] for row in rows} - {'ground floor'} == there


def test_the_table_of_rooms_says_who_may_import_whom():
    from test_layering import ROOMS, RULES

    for room, _, imports in readme.table('| room | what | may import |')[1:]:
        named = ROOMS if imports == 'all' else set(re.findall(r'`(\w+)`', imports))
        assert named == RULES[room.strip('`/')][0], room


def test_the_table_of_folders_names_every_folder():
    listed = {row[0].strip('`') for row in readme.table('| folder | what |')}
    assert [name for name in listed if not (ROOT / name).is_dir()] == []
    top = {name.split('/')[0] for name in readme.project_files() if '/' in name}
    assert {name for name in top if not name.startswith('.')} == {
        name.split('/')[0] for name in listed
    }


def test_every_link_and_picture_is_there():
    links = re.findall(r'\]\(([^)#]+)\)', readme.TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
    assert (ROOT / 'docs' / 'run.png').stat().st_size < 300_000
    assert ElementTree.parse(ROOT / 'docs' / 'loop.svg').getroot().tag.endswith('}svg')


def test_the_numbers_are_those_of_the_results():
    program = runpy.run_path(str(ROOT / 'docs' / 'result_tables.py'))
    advice = 'call `python docs/result_tables.py`'
    assert program['filled'](readme.TEXT) == readme.TEXT, advice
    assert program['page']() == (ROOT / 'docs' / 'results.md').read_text('utf-8'), advice


def test_the_table_of_phases_is_complete():
    rows = readme.table('| phase | `train` | what it learns |')
    # Commands, pairs and video belong to no robot's episode.
    others = {'neural_policy', 'intent', 'code', 'vision_language', 'aime', 'action_inference'}
    others |= {'meta'}
    others |= {'nsca'}  # All of its phases.
    assert {row[0].strip('`') for row in rows} - {'---'} == {*PHASES, *others}


def test_settings_that_the_text_speaks_of_are_those_of_the_demo():
    sac = yaml.safe_load((ROOT / 'config' / 'phases' / 'sac.yaml').read_text())
    assert sac['trainer']['demonstration_ratio'] == 0.5
    assert sac['config']['imitation_weight'] > 0
    assert sac['config']['hidden'] == [256, 256]


def test_nothing_that_was_started_is_left(project):
    deadline = time.monotonic() + 60
    project.stop()
    while time.monotonic() < deadline and running_in(project.root):
        time.sleep(0.1)
    assert running_in(project.root) == []


def running_in(root: Path) -> list[str]:
    found = []
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            line = (folder / 'cmdline').read_bytes().decode(errors='replace')
        except OSError:
            continue
        if f'{root}/' in line and 'robot_learning/' in line and 'pytest' not in line:
            found.append(line.replace('\0', ' '))
    return found
