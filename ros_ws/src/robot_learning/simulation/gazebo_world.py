"""The arena as a Gazebo world, from the same description as the embedded one.

SDFormat 1.9, nothing to download: ground, light, walls and objects are inline. The robot is a
model of its own (`gazebo_robot`), spawned into the world.
"""

from __future__ import annotations

from collections.abc import Iterable

from robot_learning.simulation.gazebo_release import WORLD_NAME, GazeboRelease
from robot_learning.simulation.geometry import (
    ARENA_HALF,
    FLOOR_FRICTION,
    FLOOR_MARGIN,
    KINDS,
    OBJECT_FRICTION,
    OBJECT_MASS,
    OBJECTS,
    WALL_HEIGHT,
    WALLS,
    FreeObject,
    Wall,
)

TIMESTEP_S = 0.001
OBJECT_POSE_RATE_HZ = 20.0  # So often the true poses of objects are published.
NOTE = '<!-- Written by robot_learning.commands.gazebo_files; do not edit, it is compared. -->'

_FLOOR_RGBA = (0.56, 0.56, 0.55, 1.0)
_WALL_RGBA = (0.8, 0.75, 0.65, 1.0)


def build_world(release: GazeboRelease) -> str:
    """Return the arena without a robot as SDFormat text."""
    systems = '\n    '.join(
        (
            release.plugin('physics', 'Physics'),
            release.plugin('user-commands', 'UserCommands'),
            release.plugin('scene-broadcaster', 'SceneBroadcaster'),
            release.plugin('imu', 'Imu'),
            release.plugin('sensors', 'Sensors', '<render_engine>ogre2</render_engine>'),
        )
    )
    walls = ''.join(_wall(wall) for wall in WALLS)
    objects = ''.join(_object(item, release) for item in OBJECTS)
    size = 2 * (ARENA_HALF + FLOOR_MARGIN)
    return f"""<?xml version="1.0"?>
{NOTE}
<sdf version="1.9">
  <world name="{WORLD_NAME}">
    <physics name="steps" type="ignored">
      <max_step_size>{TIMESTEP_S}</max_step_size>
      <real_time_factor>1.0</real_time_factor>
    </physics>
    {systems}
    <gravity>0 0 -9.81</gravity>
    <scene>
      <ambient>0.4 0.4 0.4 1</ambient>
      <background>0.8 0.85 0.92 1</background>
      <shadows>false</shadows>
    </scene>
    <light name="sun" type="directional">
      <cast_shadows>false</cast_shadows>
      <pose>0 0 4 0 0 0</pose>
      <diffuse>0.6 0.6 0.6 1</diffuse>
      <specular>0 0 0 1</specular>
      <direction>-0.3 0.2 -1</direction>
    </light>
    <model name="floor">
      <static>true</static>
      <link name="link">
        <collision name="collision">
          <geometry><plane><normal>0 0 1</normal><size>{size} {size}</size></plane></geometry>
          {friction(FLOOR_FRICTION)}
        </collision>
        <visual name="visual">
          <geometry><plane><normal>0 0 1</normal><size>{size} {size}</size></plane></geometry>
          {material(_FLOOR_RGBA)}
        </visual>
      </link>
    </model>
    <model name="walls">
      <static>true</static>{walls}
    </model>{objects}
  </world>
</sdf>
"""


def parking_place(index: int) -> tuple[float, float]:
    """Return x and y in metres where the object of that index waits outside the arena."""
    return ARENA_HALF + 1, 0.5 * index - 2.5


def material(rgba: Iterable[float]) -> str:
    """Write a plain colour."""
    text = row(rgba)
    return f'<material><ambient>{text}</ambient><diffuse>{text}</diffuse></material>'


def friction(mu: float) -> str:
    """Write the friction of a collision."""
    return f'<surface><friction><ode><mu>{mu}</mu><mu2>{mu}</mu2></ode></friction></surface>'


def inertial(mass: float, moments: tuple[float, float, float], at: Iterable[float] = ()) -> str:
    """Write mass and principal moments (kg m2), in axes parallel to the link's.

    Args:
        mass: kg.
        moments: about x, y and z.
        at: centre of mass in the link.
    """
    pose = f'<pose>{row(at)} 0 0 0</pose>' if at else ''
    xx, yy, zz = (f'{value:.6g}' for value in moments)
    return (
        f'<inertial>{pose}<mass>{mass:.6g}</mass><inertia><ixx>{xx}</ixx><ixy>0</ixy><ixz>0</ixz>'
        f'<iyy>{yy}</iyy><iyz>0</iyz><izz>{zz}</izz></inertia></inertial>'
    )


def box_moments(mass: float, half_size: Iterable[float]) -> tuple[float, float, float]:
    """Return the moments of a solid box about its centre."""
    x, y, z = (value * value for value in half_size)
    return mass / 3 * (y + z), mass / 3 * (x + z), mass / 3 * (x + y)


def cylinder_moments(mass: float, radius: float, half: float) -> tuple[float, float, float]:
    """Return the moments of a solid upright cylinder about its centre."""
    across = mass / 12 * (3 * radius**2 + (2 * half) ** 2)
    return across, across, mass / 2 * radius**2


def sphere_moments(mass: float, radius: float) -> tuple[float, float, float]:
    """Return the moments of a solid sphere."""
    moment = 0.4 * mass * radius**2
    return moment, moment, moment


def box(half_size: Iterable[float]) -> str:
    """Write a box's geometry."""
    return f'<geometry><box><size>{row(2 * v for v in half_size)}</size></box></geometry>'


def sphere(radius: float) -> str:
    """Write a sphere's geometry."""
    return f'<geometry><sphere><radius>{radius}</radius></sphere></geometry>'


def cylinder(radius: float, half_length: float) -> str:
    """Write a cylinder's geometry; its axis is z."""
    return (
        f'<geometry><cylinder><radius>{radius}</radius><length>{2 * half_length:.6g}</length>'
        f'</cylinder></geometry>'
    )


def row(values: Iterable[float]) -> str:
    """Write numbers side by side."""
    return ' '.join(f'{value:.6g}' for value in values)


def pose_publisher(release: GazeboRelease, rate_hz: float) -> str:
    """Write the system that publishes a model's true pose on `/model/NAME/pose`.

    The header of each pose names its frame, which `/world/NAME/dynamic_pose/info` does not, so
    that the bridge keeps the name. Fortress asks for nested models before it publishes the
    model's own pose; there are none.
    """
    switches = {'model': True, 'nested_model': True}
    switches |= dict.fromkeys(('link', 'sensor', 'collision', 'visual'), False)
    content = ''.join(
        f'<publish_{name}_pose>{str(is_on).lower()}</publish_{name}_pose>'
        for name, is_on in switches.items()
    )
    return release.plugin(
        'pose-publisher',
        'PosePublisher',
        f'{content}<use_pose_vector_msg>true</use_pose_vector_msg>'
        f'<static_publisher>false</static_publisher>'
        f'<update_frequency>{rate_hz:g}</update_frequency>',
    )


def _wall(wall: Wall) -> str:
    half_height = WALL_HEIGHT / 2
    shape = box((wall.half_x, wall.half_y, half_height))
    return f"""
      <link name="{wall.name}">
        <pose>{row((wall.x, wall.y, half_height))} 0 0 0</pose>
        <collision name="collision">{shape}</collision>
        <visual name="visual">{shape}{material(_WALL_RGBA)}</visual>
      </link>"""


def _object(item: FreeObject, release: GazeboRelease) -> str:
    kind = KINDS[item.kind]
    half = kind.height / 2
    shape, moments = {
        'ball': (sphere(kind.radius), sphere_moments(OBJECT_MASS, kind.radius)),
        'cube': (
            box((kind.half_width, kind.half_width, half)),
            box_moments(OBJECT_MASS, (kind.half_width, kind.half_width, half)),
        ),
        'can': (cylinder(kind.radius, half), cylinder_moments(OBJECT_MASS, kind.radius, half)),
    }[item.kind]
    x, y = parking_place(OBJECTS.index(item))
    return f"""
    <model name="{item.name}">
      <pose>{row((x, y, half))} 0 0 0</pose>
      <link name="link">
        {inertial(OBJECT_MASS, moments)}
        <collision name="collision">{shape}{friction(OBJECT_FRICTION)}</collision>
        <visual name="visual">{shape}{material(item.rgba)}</visual>
      </link>
      {pose_publisher(release, OBJECT_POSE_RATE_HZ)}
    </model>"""
