"""The state of a running closed loop, kept from notices that arrive a few times a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NUM_RECENT_EPISODES = 50
_RATE_WINDOW_S = 10.0
_TOPIC_MARK = 'recorder: topic '  # How the recorder calls its statuses on /diagnostics.


class GrowingCounts:
    """Adds up the counts of a process that begin anew when it is started again.

    Args:
        key: the count that shows a new start by falling.
    """

    def __init__(self, key: str):
        self.total: dict[str, int] = {}
        self._key = key
        self._before: dict[str, int] = {}
        self._newest: dict[str, int] = {}

    def update(self, counts: Mapping[str, int]) -> None:
        """Take what the process says now."""
        if counts.get(self._key, 0) < self._newest.get(self._key, 0):
            self._before = dict(self.total)
        self._newest = dict(counts)
        self.total = {name: n + self._before.get(name, 0) for name, n in counts.items()}


@dataclass
class LiveNumbers:
    """What a person watches while the robot learns, and the events worth keeping.

    Times are seconds of loop time: 0 is the first environment step of the run, earlier
    sessions of the same run included. Nothing here is per control step.

    Attributes:
        steps_before: environment steps of earlier sessions.
        seconds_before: loop time of earlier sessions.
        events: one plain mapping per event since `take_events` was last called.
    """

    steps_before: int = 0
    seconds_before: float = 0.0
    session_steps: int = 0
    started_s: float | None = None  # Clock of the caller at the first step.
    version: int = -1
    newest_version: int = -1
    refused: list[str] = field(default_factory=list)
    train_state: str = 'starting'
    train_detail: str = ''
    train_ratio: float = float('nan')
    target_train_ratio: float = float('nan')
    updates_per_second: float = 0.0
    update: int = 0
    dropped: int = 0
    emergency_stopped: bool = False
    intervention: bool = False  # A person drives.
    other_publishers: tuple[str, ...] = ()  # Nodes that command the robot past the gate.
    health: dict[str, dict[str, str]] = field(default_factory=dict)  # Status name -> values.
    health_level: dict[str, tuple[int, str]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._recent: deque[bool] = deque(maxlen=NUM_RECENT_EPISODES)
        self._progress: deque[tuple[float, int]] = deque()
        self._gate = GrowingCounts('commands')
        self._topics: dict[str, GrowingCounts] = {}
        self.num_episodes = 0

    @property
    def gate(self) -> dict[str, int]:
        """What the action gate did in this session; empty before its first report."""
        return self._gate.total

    @property
    def messages(self) -> dict[str, dict[str, int]]:
        """What became of the messages of each topic in this session, by the recorder."""
        return {topic: counts.total for topic, counts in sorted(self._topics.items())}

    @property
    def last_progress_s(self) -> float | None:
        """When the newest control steps were counted; None before the first."""
        return self._progress[-1][0] if self._progress else None

    @property
    def environment_step(self) -> int:
        """Control steps of all sessions."""
        return self.steps_before + self.session_steps

    @property
    def recent_success_rate(self) -> float:
        """Share of successes in the last episodes; NaN before the first end."""
        return sum(self._recent) / len(self._recent) if self._recent else float('nan')

    @property
    def num_recent(self) -> int:
        """How many episodes `recent_success_rate` looks at."""
        return len(self._recent)

    def latency_ms(self) -> tuple[float, float] | None:
        """Median and 99th percentile of the policy's answers; None before the first report."""
        for name, values in self.health.items():
            if name.endswith('policy: latency') and int(values.get('decisions', 0)):
                return float(values['p50_ms']), float(values['p99_ms'])
        return None

    def loop_seconds(self, now_s: float) -> float:
        """Loop time of the whole run; it begins with the first environment step."""
        return self.seconds_before + (0.0 if self.started_s is None else now_s - self.started_s)

    def steps_per_second(self, now_s: float) -> float:
        """Environment steps per second over the last ten seconds."""
        while len(self._progress) > 2 and now_s - self._progress[0][0] > _RATE_WINDOW_S:
            self._progress.popleft()
        if len(self._progress) < 2:
            return 0.0
        (begin_s, begin), (end_s, end) = self._progress[0], self._progress[-1]
        return (end - begin) / max(end_s - begin_s, 1e-9)

    def on_steps(self, session_steps: int, now_s: float) -> None:
        """Take a newer count of this session's environment steps."""
        if session_steps <= self.session_steps:
            return
        if self.started_s is None:
            self.started_s = now_s
        self.session_steps = session_steps
        self._progress.append((now_s, session_steps))

    def on_first_action(self, now_s: float) -> None:
        """Start the clock of the loop: the robot was commanded for the first time."""
        if self.started_s is None:
            self.started_s = now_s

    def on_episode_end(self, episode: int, success: bool, reason: str, now_s: float) -> None:
        """Count one finished episode."""
        self._recent.append(success)
        self.num_episodes += 1
        self._note('episode', now_s, episode=episode, success=success, reason=reason)

    def on_training(
        self, metrics: Mapping[str, float], fields: Mapping[str, Any], now_s: float
    ) -> None:
        """Take the trainer's report: metric values and the message's other fields."""
        self.train_state = fields['state']
        self.train_detail = fields['detail']
        self.update = fields['update']
        self.updates_per_second = fields['updates_per_second']
        self.train_ratio = fields['train_ratio']
        self.target_train_ratio = fields['target_train_ratio']
        self.newest_version = max(self.newest_version, fields['version'])
        self._note('training', now_s, update=self.update, metrics=dict(metrics))

    def on_version(self, state: str, version: int, reason: str, now_s: float) -> None:
        """Take a notice of the model store: published, canary, serving, refused, rolled back."""
        if state == 'published':
            self.newest_version = max(self.newest_version, version)
        elif state == 'refused':
            self.refused.append(f'version {version}: {reason}')
        elif state in ('serving', 'rolled_back'):
            self.version = version
        self._note('version', now_s, state=state, version=version, reason=reason)

    def on_gate(
        self,
        counts: Mapping[str, int],
        emergency_stopped: bool,
        now_s: float,
        intervention: bool = False,
        other_publishers: Sequence[str] = (),
    ) -> None:
        """Take the gate's counts since its node started; one command is one control step."""
        self._gate.update(counts)
        self.emergency_stopped = emergency_stopped
        self.intervention = intervention
        self.other_publishers = tuple(other_publishers)
        self.on_steps(self.gate['commands'], now_s)

    def on_segment(self, total_steps: int, dropped: int, now_s: float) -> None:
        """Take a recorder's notice of a visible segment."""
        self.dropped = dropped

    def on_health(
        self, name: str, level: int, message: str, values: Mapping[str, str], now_s: float
    ) -> None:
        """Take one status from /diagnostics."""
        self.health[name] = dict(values)
        self.health_level[name] = (level, message)
        _, mark, topic = name.partition(_TOPIC_MARK)
        if mark:
            counts = self._topics.setdefault(topic, GrowingCounts('received'))
            counts.update({key: int(value) for key, value in values.items()})

    def take_events(self) -> list[dict[str, Any]]:
        """Return the events since the last call and forget them."""
        events, self.events = self.events, []
        return events

    def _note(self, kind: str, now_s: float, **values: Any) -> None:
        self.events.append(
            {
                'kind': kind,
                'wall_s': round(self.loop_seconds(now_s), 3),
                'environment_step': self.environment_step,
                **values,
            }
        )
