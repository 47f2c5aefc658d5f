"""The emergency stop that outlives the process: a small file says that it is pressed."""

from __future__ import annotations

import json
import os
import re
import threading
from datetime import datetime, timezone
from pathlib import Path

from robot_learning import durable_files
from robot_learning.serving.action_gate import ActionGate

_RELEASE = 'Call release_emergency_stop to drive again'


class EmergencyStop:
    """Presses and releases the stop of a gate, and keeps it pressed over restarts.

    The file is there while the stop is pressed. One that cannot be read counts as pressed.
    Any thread may call.

    Args:
        path: of the file; its folder is made when it is needed.

    Attributes:
        text: why the robot is stopped, for people; '' while it is not.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        self.text = _read(path)
        self._is_saved = self.is_pressed  # The next start would find it pressed.

    @property
    def is_pressed(self) -> bool:
        """Whether the robot is held."""
        return bool(self.text)

    def press(self, gate: ActionGate, by: str) -> str:
        """Hold the robot; return why that will not survive a restart, '' if it will.

        The gate is closed at once; the file is on the disk when this returns.
        """
        gate.press()
        with self._lock:
            gate.press()  # A release may have come in between; file and gate must agree.
            if self._is_saved:
                return ''
            moment = datetime.now(timezone.utc).isoformat(timespec='seconds')
            self.text = f'pressed by {by} at {moment}. {_RELEASE}'
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                durable_files.replace(
                    self._path, json.dumps({'pressed_by': by, 'pressed_at': moment}).encode()
                )
            except OSError as error:
                return (
                    f'{self._path}: cannot be written ({error.strerror or error}): the emergency '
                    f'stop holds, but not over a restart. Make the folder writable or set '
                    f'state_directory.'
                )
            self._is_saved = True
        return ''

    def release(self, gate: ActionGate) -> str:
        """Let the robot drive; return why a restart will be stopped again, '' if it will not."""
        with self._lock:
            problem = ''
            try:
                self._path.unlink(missing_ok=True)
                if self._path.parent.is_dir():
                    durable_files.sync_folder(self._path.parent)
            except OSError as error:
                problem = (
                    f'{self._path}: cannot be removed ({error.strerror or error}): the robot is '
                    f'released, but a restart will be stopped again. Remove the file.'
                )
            self.text, self._is_saved = '', False
            gate.release()
        return problem

    def writing_problem(self) -> str:
        """Return why a press could not be kept over a restart; '' if it could."""
        folder = self._path.parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return ''
        return (
            f'{folder}: is not writable: an emergency stop will not survive a restart. Make it '
            f'writable or set state_directory.'
        )


def state_path(directory: Path | None, node_name: str, robot: str) -> Path:
    """Return where the stop of one robot is kept.

    It belongs to the robot, not to a run or a model: hence ROS's own folder, `$ROS_HOME` or
    `~/.ros`, and one file per domain, node name (with its namespace) and robot.

    Args:
        directory: instead of ROS's folder; for containers, whose home does not survive them.
        node_name: fully qualified.
        robot: of the contract.
    """
    if directory is None:
        home = os.environ.get('ROS_HOME')
        directory = (Path(home) if home else Path('~/.ros').expanduser()) / 'robot_learning'
    domain = os.environ.get('ROS_DOMAIN_ID') or '0'
    name = '.'.join((f'domain{domain}', *node_name.strip('/').split('/'), robot))
    return directory / 'emergency_stop' / f'{re.sub(r"[^A-Za-z0-9_.-]", "_", name)}.json'


def _read(path: Path) -> str:
    """Return why the robot starts stopped, '' if it does not."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ''
    except OSError as error:
        return f'stopped to be safe: {path}: cannot be read ({error.strerror}). {_RELEASE}'
    try:
        state = json.loads(content)
        return f'pressed by {state["pressed_by"]} at {state["pressed_at"]}. {_RELEASE}'
    except (ValueError, KeyError, TypeError):
        return (
            f'stopped to be safe: {path}: found {content[:40]!r}, expected pressed_by and '
            f'pressed_at. {_RELEASE}'
        )
