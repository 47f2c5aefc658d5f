"""When a trainer learns, publishes and saves: the `trainer` block of a phase's settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT


@dataclass(frozen=True, config=STRICT)
class TrainerConfig:
    """When to learn, publish and save."""

    train_ratio: PositiveFloat = 1.0  # Updates per environment step.
    max_saved_updates: PositiveInt = 1000  # A slower trainer lets the rest go.
    initial_updates: NonNegativeInt = 0  # On demonstrations, before the robot's first step.
    warmup_steps: NonNegativeInt = 1000  # In memory, demonstrations included, before learning.
    capacity: PositiveInt = 200_000  # Control steps in memory; 11 h at 5 Hz.
    images: tuple[str, ...] = ()  # Picture fields to learn from; 64x64 take 12 kB a step.
    demonstration_ratio: Annotated[float, Field(ge=0, le=1)] = 0.25  # Share of each batch.
    # What a person does who takes over is experience, and a demonstration as well (Luo et al.
    # 2024, "Human-in-the-Loop Reinforcement Learning", arXiv 2410.21845, section III).
    interventions_as_demonstrations: bool = False
    publish_every_s: PositiveFloat | None = 5.0
    publish_every_updates: PositiveInt | None = None
    checkpoint_every_s: PositiveFloat = 30.0
    report_every_updates: PositiveInt = 20  # Also how late a NaN is noticed.
    report_every_s: PositiveFloat = 1.0
    validate_every_updates: PositiveInt = 500  # Only where episodes are held out.
    keep_best: NonNegativeInt = 5
    keep_newest: PositiveInt = 20
    patience_s: PositiveFloat = 5.0  # Without new steps for so long, the wait is reported.
