"""What is known of one run of the closed loop, in the form the report shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class RatePoint(NamedTuple):
    """A success rate measured with one model version on the fixed layouts."""

    environment_step: int
    wall_s: float
    rate: float
    low: float  # 95 % confidence.
    high: float


class EpisodePoint(NamedTuple):
    """One episode driven while learning."""

    environment_step: int  # At its end.
    wall_s: float
    episode_return: float  # NaN: not known.
    success: bool
    num_steps: int


@dataclass(frozen=True)
class Curve:
    """One training metric over gradient updates."""

    name: str
    update: list[int]
    value: list[float]


@dataclass(frozen=True)
class SensorFrame:
    """What the robot saw at one control step."""

    caption: str
    image: Array | None  # [H, W, 3] uint8; None: the camera gave nothing.
    ranges: Array  # [beams] metres, inf where nothing was in range.
    beam_angles: Array  # [beams] radians, 0 ahead, positive to the left.
    range_max: float
    goal_bearing: float | None = None  # Radians, as the beams.
    goal_distance_m: float | None = None


@dataclass(frozen=True)
class MapScene:
    """What stands where in one layout, map frame, metres."""

    half_size: tuple[float, float]  # Half width and half height of the arena.
    walls: list[Array]  # Corner points [N, 2] of each inner wall.
    objects: list[dict[str, Any]]  # Each with x, y, radius and color (any CSS name).
    start: tuple[float, float, float]  # x, y, yaw.
    goal: tuple[float, float]
    goal_radius_m: float


@dataclass(frozen=True)
class DrivenPath:
    """A path over a map and how it ended."""

    points: Array  # [N, 2] metres.
    success: bool
    reason: str  # 'goal', 'collision', 'time_limit'.


@dataclass(frozen=True)
class MapPanel:
    """One layout with the paths of the policy before and after learning."""

    caption: str
    scene: MapScene
    before: DrivenPath | None
    after: DrivenPath | None
    shortest: Array | None = None  # [N, 2] metres, the geodesic path.


@dataclass(frozen=True)
class Table:
    """A table for people; numbers are already formatted."""

    columns: list[str]
    rows: list[list[str]]
    highlight: set[int] = field(default_factory=set)  # Rows to stress.


@dataclass(frozen=True)
class RunRecord:
    """Everything `report.render` shows. Empty parts are left out of the page."""

    title: str
    verdict: str
    lead: str  # One or two sentences below the verdict.
    key_numbers: list[tuple[str, str]]  # (value, what it is).
    success_curve: list[RatePoint] = field(default_factory=list)
    baselines: dict[str, float] = field(default_factory=dict)  # Name -> success rate.
    episodes: list[EpisodePoint] = field(default_factory=list)
    policies: Table | None = None  # Baselines and policy side by side.
    maps: list[MapPanel] = field(default_factory=list)
    frames: list[SensorFrame] = field(default_factory=list)
    latency_ms: Array = field(default_factory=lambda: np.empty(0))  # [N]
    versions: Table | None = None
    versions_note: str = ''
    curves: list[Curve] = field(default_factory=list)
    topics: Table | None = None  # Received, dropped, unaccounted per topic.
    gate: Table | None = None
    commands: list[tuple[str, str]] = field(default_factory=list)  # (what it does, command).
    provenance: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # What went wrong or is missing.
