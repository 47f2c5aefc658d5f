"""Objects with drawn properties, and what each property means in kilograms, pascal and degrees.

| property | 0 | 1 | how it shows |
| --- | --- | --- | --- |
| hardness | surface of 1 MPa | of 100 GPa | short contacts: bright sound; rebound |
| weight | 0.05 kg | 1 kg | force to lift, push and stop it; pitch |
| size | 4 cm | 8.4 cm | picture, opening of the hand, pitch |
| animacy | lies still | starts and hops by itself | motion without touch |
| rigidity | walls of 1 MPa | of 200 GPa | how far the hand squeezes it; pitch |
| transparency | opaque | alpha 0.15 | picture |
| roughness | friction 0.25, even | friction 1.2, grainy | picture, slip, sound of sliding |
| temperature | 5 degrees Celsius | 60 degrees | thermometers of the hand |
| containment | empty | a loose piece of 40 % of the mass | rattles, pulls late when shaken |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from robot_learning.errors import SimulationError
from robot_learning.sense_formats import PROPERTIES
from robot_learning.simulation.resonance import ResonantBody, Shape, wall_area

Array = np.ndarray[Any, Any]

SHAPES: tuple[Shape, ...] = ('box', 'can', 'ball')
WALL = 0.025  # Thickness as a part of the size.
AMBIENT_C = 22.0

_SPREAD = 0.08  # Standard deviation of a property around its material's.
_SURPRISE = 0.25  # How often a property has nothing to do with the material.
_SHARE_ALIVE, _SHARE_FILLED = 0.35, 0.4
_LEAST_PRESENT = 0.4  # What is alive or filled is so at least this much.
_COLOUR_SPREAD = 0.06


class Material(NamedTuple):
    """Where the properties of a material lie, each 0 to 1, and what the others follow from."""

    hardness: float
    weight: float
    rigidity: float
    transparency: float
    roughness: float
    loss_factor: float  # Internal friction, tan delta.
    rgb: tuple[float, float, float]


MATERIALS = {
    'ceramic': Material(0.88, 0.55, 0.88, 0.0, 0.2, 0.005, (0.93, 0.9, 0.82)),
    'foam': Material(0.05, 0.06, 0.06, 0.0, 0.9, 0.3, (0.95, 0.8, 0.3)),
    'glass': Material(0.9, 0.6, 0.9, 0.85, 0.06, 0.003, (0.6, 0.85, 0.85)),
    'plastic': Material(0.5, 0.3, 0.6, 0.3, 0.25, 0.05, (0.8, 0.2, 0.2)),
    'rubber': Material(0.2, 0.45, 0.22, 0.0, 0.8, 0.2, (0.2, 0.2, 0.22)),
    'steel': Material(0.95, 0.75, 0.97, 0.0, 0.15, 0.002, (0.6, 0.63, 0.68)),
    'wood': Material(0.6, 0.4, 0.72, 0.0, 0.55, 0.02, (0.6, 0.4, 0.2)),
}
CLASSES = tuple(sorted(f'{material}_{shape}' for material in MATERIALS for shape in SHAPES))


@dataclass(frozen=True)
class BenchObject:
    """One object; `properties` are in the order of `sense_formats.PROPERTIES`."""

    name: str
    material: str
    shape: Shape
    rgb: tuple[float, float, float]
    properties: tuple[float, ...]
    seed: int  # Of its grain.

    @property
    def class_name(self) -> str:
        """Material and shape, one of `CLASSES`."""
        return f'{self.material}_{self.shape}'

    def value(self, name: str) -> float:
        """Return a property by name, 0 to 1."""
        return self.properties[PROPERTIES.index(name)]

    @property
    def size_m(self) -> float:
        """Side or diameter."""
        return 0.04 + 0.044 * self.value('size')

    @property
    def mass_kg(self) -> float:
        """All of it, contents too."""
        return float(0.05 * 20 ** self.value('weight'))

    @property
    def content_kg(self) -> float:
        """The loose piece; 0 where there is none."""
        return 0.4 * self.value('containment') * self.mass_kg

    @property
    def friction(self) -> float:
        """Coefficient of sliding friction."""
        return 0.25 + 0.95 * self.value('roughness')

    @property
    def alpha(self) -> float:
        """How opaque it is drawn."""
        return 1 - 0.85 * self.value('transparency')

    @property
    def temperature_c(self) -> float:
        """Degrees Celsius."""
        return 5 + 55 * self.value('temperature')

    @property
    def surface_modulus_pa(self) -> float:
        """Young's modulus of its surface, for contacts."""
        return float(1e6 * 1e5 ** self.value('hardness'))

    @property
    def own_push(self) -> tuple[float, float]:
        """How it starts by itself, m/s^2 along the bench and upwards; 0 where it never does.

        Along the bench it is what friction takes, and up to 4 m/s^2 more.
        """
        liveliness = 4 * self.value('animacy')
        if not liveliness:
            return 0.0, 0.0
        return self.friction * (9.81 - liveliness) + liveliness, liveliness

    @property
    def resonator(self) -> ResonantBody:
        """What rings when it is struck; its density follows from the weight."""
        thickness = WALL * self.size_m
        volume = wall_area(self.shape, self.size_m) * thickness
        modulus = float(1e6 * 2e5 ** self.value('rigidity'))
        density = (self.mass_kg - self.content_kg) / volume
        loss = MATERIALS[self.material].loss_factor
        return ResonantBody(self.shape, self.size_m, thickness, modulus, density, loss)


def draw_object(seed: int, class_name: str | None = None) -> BenchObject:
    """Draw an object; equal seeds give equal objects.

    Hardness, weight, rigidity, transparency and roughness lie near the material's, but each has
    one chance in four to be anything: looks and sounds are evidence, not proof.

    Args:
        seed: 0 or more.
        class_name: one of `CLASSES`; None: drawn too.

    Raises:
        SimulationError: there is no such class.
    """
    rng = np.random.default_rng([seed, 211])
    name = class_name or CLASSES[rng.integers(len(CLASSES))]
    if name not in CLASSES:
        raise SimulationError(f'object: found the class {name!r}, expected one of {CLASSES}.')
    material_name, _, shape_name = name.partition('_')
    shape = SHAPES[[str(known) for known in SHAPES].index(shape_name)]
    material = MATERIALS[material_name]
    drawn = {
        key: float(np.clip(getattr(material, key) + _SPREAD * rng.normal(), 0, 1))
        for key in ('hardness', 'weight', 'rigidity', 'transparency', 'roughness')
    }
    for key in drawn:
        surprise = rng.random(), rng.random()
        drawn[key] = surprise[1] if surprise[0] < _SURPRISE else drawn[key]
    drawn['size'], drawn['temperature'] = rng.random(), rng.random()
    drawn['animacy'] = _now_and_then(rng, _SHARE_ALIVE)
    drawn['containment'] = _now_and_then(rng, _SHARE_FILLED)
    rgb = np.clip(np.asarray(material.rgb) + _COLOUR_SPREAD * rng.normal(size=3), 0, 1)
    return BenchObject(
        f'{name}_{seed}',
        material_name,
        shape,
        (float(rgb[0]), float(rgb[1]), float(rgb[2])),
        tuple(float(drawn[key]) for key in PROPERTIES),
        seed,
    )


def with_property(item: BenchObject, name: str, value: float) -> BenchObject:
    """Return the same object with one property changed and nothing else.

    Raises:
        SimulationError: there is no such property, or the value is not 0 to 1.
    """
    if name not in PROPERTIES or not 0 <= value <= 1:
        raise SimulationError(
            f'object {item.name}: found {name} = {value:g}, expected one of {PROPERTIES} and a '
            f'value from 0 to 1.'
        )
    index = PROPERTIES.index(name)
    return replace(
        item, properties=(*item.properties[:index], float(value), *item.properties[index + 1 :])
    )


def opposite(name: str, value: float) -> float:
    """Return a value of a property that is far from `value`, for interventions."""
    far = value - 0.6 if value >= 0.5 else value + 0.6
    if name in ('animacy', 'containment'):
        return 0.0 if value > 0 else 0.9
    return float(np.clip(far, 0, 1))


def _now_and_then(rng: np.random.Generator, share: float) -> float:
    is_present, amount = rng.random() < share, rng.uniform(_LEAST_PRESENT, 1)
    return float(amount) if is_present else 0.0
