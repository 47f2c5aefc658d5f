"""Whether the version that serves does worse than it must, or than those before it did.

Single episodes say little while a robot explores, and commands in a row resemble each other. So
a version is only condemned when the lower end of a confidence interval (Newcombe 1998) is past a
margin, at a confidence that survives looking again after every episode.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Annotated, NamedTuple

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.proportions import difference_interval, wilson_interval

Key = tuple[str, int]  # Model and version.
_OWN_SHARE = 0.8  # Of an episode's commands that a version gave, for the episode to be its own.
_CORRELATED_TICKS = 50  # Commands that count as one independent trial.
_Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class RollbackConfig:
    """When serving goes back to the version before by itself."""

    enabled: bool = True
    non_finite: PositiveInt = 1  # NaN or infinite outputs until it goes back.
    min_success_rate: _Share = 0.0  # Surely below this: back. 0: no such limit.
    max_success_drop: _Share = 0.2  # Below the versions before, beyond doubt.
    max_altered_share: _Share = 1.0  # Of commands altered by the gate; surely above: back.
    max_altered_increase: _Share = 0.2  # Above the versions before, beyond doubt.
    window_episodes: PositiveInt = 50  # The newest that count.
    window_ticks: PositiveInt = 2000  # Likewise, of commands.
    min_episodes: PositiveInt = 5  # Before success is judged at all.
    confidence_z: PositiveFloat = 3.3  # Standard errors; one-sided 0.05 % for a single look.
    hold_ticks: NonNegativeInt = 1000  # After going back, control steps until newer ones may come.


class _Window:
    """Counts of the newest trials."""

    def __init__(self, size: int):
        self._trials: deque[bool] = deque(maxlen=size)
        self._num_true = 0

    def add(self, trials: Iterable[bool]) -> None:
        for trial in trials:
            if len(self._trials) == self._trials.maxlen:
                self._num_true -= self._trials[0]
            self._trials.append(trial)
            self._num_true += trial

    def add_all(self, other: _Window) -> None:
        self.add(other._trials)

    def counts(self, correlated: int = 1) -> tuple[float, float]:
        return self._num_true / correlated, len(self._trials) / correlated

    def __len__(self) -> int:
        return len(self._trials)


class _Record(NamedTuple):
    """What is known of one version, or of those before it together."""

    episodes: _Window  # Success.
    commands: _Window  # Altered by the gate.


class RollbackWatch:
    """Follows commands and episodes on the control thread; knows no model and no store."""

    def __init__(self, config: RollbackConfig):
        self._config = config
        self.key: Key | None = None  # Whose record is kept now.
        self._own = self._empty()
        self._before = self._empty()
        self._episode: Counter[Key | None] = Counter()
        self._num_commands = 0

    def on_command(self, key: Key | None, is_altered: bool) -> str:
        """Count one command; return why its version should go, '' if it may stay.

        Args:
            key: the version that gave it; None: a person, chance or a stop.
            is_altered: whether the gate's limits altered it.
        """
        self._episode[key] += 1
        if key is None:
            return ''
        if key != self.key:
            self._change(key)
        self._own.commands.add((is_altered,))
        self._num_commands += 1
        return '' if self._num_commands % _CORRELATED_TICKS else self._altered_problem()

    def on_episode_end(self, success: bool | None) -> str:
        """Count one episode; return why the version should go, '' if it may stay.

        Args:
            success: None if it says nothing, for example ended by a person.
        """
        total = sum(self._episode.values())
        own = self._episode[self.key] if self.key is not None else 0
        self._episode.clear()
        if success is None or not own or own < _OWN_SHARE * total:
            return ''
        self._own.episodes.add((success,))
        return self._success_problem()

    def condemn(self, key: Key) -> None:
        """Forget a version that goes, and with it the past: what follows is measured anew.

        The version that comes back is so never condemned by comparison with what was before it,
        and the next one is compared with what that one achieves from now on.
        """
        if key == self.key:
            self.key = None
            self._own = self._empty()
        self._before = self._empty()

    def _empty(self) -> _Record:
        return _Record(_Window(self._config.window_episodes), _Window(self._config.window_ticks))

    def _change(self, key: Key) -> None:
        self._before.episodes.add_all(self._own.episodes)
        self._before.commands.add_all(self._own.commands)
        self._own = self._empty()
        self.key, self._num_commands = key, 0

    def _success_problem(self) -> str:
        config, own = self._config, self._own.episodes.counts()
        if own[1] < config.min_episodes:
            return ''
        text = f'{own[0]:.0f} of {own[1]:.0f} episodes succeeded'
        if wilson_interval(*own, config.confidence_z).high < config.min_success_rate:
            return f'{text}, surely below {config.min_success_rate:.0%}'
        before = self._before.episodes.counts()
        drop = difference_interval(before, own, config.confidence_z)
        if drop.low > config.max_success_drop:
            return (
                f'{text}, {before[0]:.0f} of {before[1]:.0f} with the versions before: a drop of '
                f'more than {config.max_success_drop:.0%}'
            )
        return ''

    def _altered_problem(self) -> str:
        config, own = self._config, self._own.commands.counts(_CORRELATED_TICKS)
        share = own[0] / own[1]
        text = f'the gate altered {share:.0%} of {len(self._own.commands)} commands'
        if wilson_interval(*own, config.confidence_z).low > config.max_altered_share:
            return f'{text}, surely above {config.max_altered_share:.0%}'
        before = self._before.commands.counts(_CORRELATED_TICKS)
        rise = difference_interval(own, before, config.confidence_z)
        if rise.low > config.max_altered_increase:
            return (
                f'{text}, {before[0] / before[1]:.0%} with the versions before: a rise of more '
                f'than {config.max_altered_increase:.0%}'
            )
        return ''
