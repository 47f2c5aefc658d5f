"""What the keys of a terminal mean for a robot, without terminal and robot."""

from __future__ import annotations

import enum
from typing import NamedTuple

# A terminal tells that a key goes down and that it repeats, never that it is let go. Repeating
# begins after up to 0.66 s; a key that is silent for longer was let go.
HOLD_S = 0.7
_LEVEL_STEP = 0.1

HELP = (
    'w s a d or arrows: drive, as long as the key is held     + -: speed     space: stop\n'
    'h: hand back to the policy     e: EMERGENCY STOP     R: release it     q: quit'
)


class Request(enum.Enum):
    """What a key asks for besides driving."""

    EMERGENCY_STOP = 'e'
    RELEASE = 'R'
    QUIT = 'q'


class Speeds(NamedTuple):
    """Speeds at full level."""

    forward: float  # m/s.
    backward: float  # m/s, 0 or more.
    turn: float  # rad/s.


class Wanted(NamedTuple):
    """What the person wants now."""

    linear: float  # m/s.
    angular: float  # rad/s.


_FORWARD = {'w': 1, 'up': 1, 's': -1, 'down': -1}
_TURN = {'a': 1, 'left': 1, 'd': -1, 'right': -1}
_SEQUENCES = {
    b'\x1b[A': 'up',
    b'\x1b[B': 'down',
    b'\x1b[C': 'right',
    b'\x1b[D': 'left',
    b'\x1bOA': 'up',
    b'\x1bOB': 'down',
    b'\x1bOC': 'right',
    b'\x1bOD': 'left',
}


class KeyDriver:
    """Turns keys into a velocity that lasts as long as they are held.

    With the first driving key the robot is the person's, and it stays theirs, standing still,
    until they hand it back: a hand that slips off the keys, or a connection that hangs, must
    neither drive on nor let the policy do so.
    """

    def __init__(self, speeds: Speeds):
        self.level = 0.5  # Share of the full speeds.
        self.is_driving = False  # The robot is the person's.
        self._speeds = speeds
        self._forward = self._turn = 0
        self._forward_until_s = self._turn_until_s = 0.0

    def press(self, key: str, now_s: float) -> Request | None:
        """Take a key; return what it asks for besides driving."""
        if key in _FORWARD:
            self.is_driving = True
            self._forward, self._forward_until_s = _FORWARD[key], now_s + HOLD_S
        elif key in _TURN:
            self.is_driving = True
            self._turn, self._turn_until_s = _TURN[key], now_s + HOLD_S
            if now_s < self._forward_until_s:  # Only one key repeats: a curve keeps its speed.
                self._forward_until_s = now_s + HOLD_S
        elif key == ' ':
            self.is_driving = True
            self._forward_until_s = self._turn_until_s = 0.0
        elif key in '+=':
            self.level = min(1.0, self.level + _LEVEL_STEP)
        elif key == '-':
            self.level = max(_LEVEL_STEP, self.level - _LEVEL_STEP)
        elif key == 'h':
            self.is_driving = False
            self._forward_until_s = self._turn_until_s = 0.0
        elif key in ('e', 'R', 'q'):
            if key == 'e':
                self._forward_until_s = self._turn_until_s = 0.0
            return Request(key)
        return None

    def wanted(self, now_s: float) -> Wanted:
        """Return the velocity of the keys that are held."""
        forward = self._forward if now_s < self._forward_until_s else 0
        turn = self._turn if now_s < self._turn_until_s else 0
        full = self._speeds.forward if forward > 0 else self._speeds.backward
        return Wanted(forward * full * self.level, turn * self._speeds.turn * self.level)


class KeyReader:
    """Finds keys in the bytes that a terminal sends, which may cut a sequence in two."""

    def __init__(self) -> None:
        self._rest = b''

    def keys(self, data: bytes) -> list[str]:
        """Return the keys that are complete with `data`; unknown sequences are passed over."""
        data, found = self._rest + data, []
        while data:
            if data[:1] != b'\x1b':
                found.append(chr(data[0]))
                data = data[1:]
            elif data[:3] in _SEQUENCES:
                found.append(_SEQUENCES[data[:3]])
                data = data[3:]
            elif data in (b'\x1b', b'\x1b[', b'\x1bO'):
                break
            else:
                data = data[3:] if data[1:2] in (b'[', b'O') else data[1:]
        self._rest = data
        return found
