"""Rates, sizes and names that data of several senses have everywhere in the package."""

from __future__ import annotations

SAMPLE_RATE_HZ = 16_000  # Of all sound inside the package; other rates are resampled.
FRAME_SIZE = 64  # Pixels, height and width of a frame.
ACTION_SIZE = 16  # Numbers per action; commands come first, zeros follow.

# What may be asked about an object, each 0 to 1; the simulation says what 0 and 1 stand for.
PROPERTIES = (
    'hardness',
    'weight',
    'size',
    'animacy',
    'rigidity',
    'transparency',
    'roughness',
    'temperature',
    'containment',
)
