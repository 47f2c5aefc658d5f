"""The world as MJCF: floor, walls, free objects and a robot with lift and gripper.

Collision masks keep pairs apart that never need a test. Bits: 1 floor, 2 robot body,
4 objects, 8 walls. A pair is tested when one's contype meets the other's conaffinity.
"""

from __future__ import annotations

from collections.abc import Iterable

from robot_learning.simulation.geometry import (
    ARENA_HALF,
    BATTERY,
    CAMERA_POSITION,
    CAMERA_UP,
    CARRIAGE,
    CASTER_MASS,
    CASTER_RADIUS,
    CASTERS,
    CHASSIS,
    FIELD_OF_VIEW_DEG,
    FINGER,
    FINGER_FORCE,
    FINGER_FRICTION,
    FLOOR_FRICTION,
    FLOOR_MARGIN,
    GRIPPER_RANGE,
    IMU_HEIGHT,
    KINDS,
    LIDAR_HEIGHT,
    LIFT_FORCE,
    LIFT_RANGE,
    MAST,
    OBJECT_FRICTION,
    OBJECT_MASS,
    OBJECTS,
    WALL_HEIGHT,
    WALLS,
    WHEEL_FRICTION,
    WHEEL_HALF_WIDTH,
    WHEEL_MASS,
    WHEEL_RADIUS,
    WHEEL_SEPARATION,
    WHEEL_TORQUE,
    FreeObject,
    Part,
    Wall,
)

ROBOT_GROUP = 3  # Geom group of what one sees of the robot.
SUPPORT_GROUP = 5  # Wheels and casters as the contacts see them; not drawn.
HIDDEN_GROUPS = [ROBOT_GROUP, SUPPORT_GROUP]  # The lidar looks through these.
STOWED_LIFT = LIFT_RANGE[1]  # Fingers above every object.
STOWED_OPENING = GRIPPER_RANGE[1]

_FLOOR = 'contype="1" conaffinity="6"'
_CASTER = 'contype="2" conaffinity="1"'
_WHEEL = 'contype="2" conaffinity="13"'
_BODY = 'contype="2" conaffinity="12"'  # Chassis, mast and fingers never reach the floor.
_GHOST = 'contype="0" conaffinity="0"'
_OBJECT = 'contype="4" conaffinity="7"'
_WALL = 'contype="8" conaffinity="6"'


def build_mjcf(timestep_s: float) -> str:
    """Return the whole scene as MJCF text; only poses and physical numbers change later."""
    floor = ARENA_HALF + FLOOR_MARGIN
    walls = '\n'.join(_wall(wall) for wall in WALLS)
    objects = '\n'.join(_free_object(item, index) for index, item in enumerate(OBJECTS))
    return f"""
<mujoco model="arena">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{timestep_s}" integrator="implicitfast" cone="elliptic" impratio="10"
          sleep_tolerance="0.005">
    <flag sleep="enable" nativeccd="enable"/>
  </option>
  <size memory="4M"/>
  <visual>
    <quality shadowsize="0" offsamples="0"/>
    <global offwidth="640" offheight="480"/>
    <headlight ambient="0.25 0.25 0.25" diffuse="0.25 0.25 0.25" specular="0 0 0"/>
    <map znear="0.01"/>
  </visual>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.75 0.82 0.9"
             rgb2="0.92 0.94 0.96" width="32" height="32"/>
    <texture name="tiles" type="2d" builtin="checker" rgb1="0.62 0.62 0.6" rgb2="0.5 0.5 0.5"
             width="64" height="64"/>
    <material name="floor" texture="tiles" texrepeat="10 10"/>
  </asset>
  <worldbody>
    <light type="directional" pos="0 0 4" dir="-0.3 0.2 -1" diffuse="0.6 0.6 0.6"
           ambient="0.2 0.2 0.2" castshadow="false"/>
    <camera name="overview" pos="0 0 6.5" fovy="45"/>
    <geom name="floor" type="plane" size="{floor} {floor} 0.1"
          material="floor" {_FLOOR} friction="{FLOOR_FRICTION} 0.005 0.0005" solref="0.02 1"/>
    {walls}
    {_robot()}
    {objects}
  </worldbody>
  {_ACTUATORS}
  <sensor>
    <accelerometer name="imu_acceleration" site="imu"/>
    <gyro name="imu_gyro" site="imu"/>
  </sensor>
</mujoco>
"""


def _wall(wall: Wall) -> str:
    half_height = WALL_HEIGHT / 2
    return (
        f'<geom name="{wall.name}" type="box" pos="{wall.x} {wall.y} {half_height}" '
        f'size="{wall.half_x} {wall.half_y} {half_height}" rgba="0.8 0.75 0.65 1" {_WALL}/>'
    )


def _free_object(item: FreeObject, index: int) -> str:
    kind = KINDS[item.kind]
    half_height = kind.height / 2
    shape = {
        'ball': f'type="sphere" size="{kind.radius}"',
        'cube': f'type="box" size="{kind.half_width} {kind.half_width} {half_height}"',
        'can': f'type="cylinder" size="{kind.radius} {half_height}"',
    }[item.kind]
    # Parked in a row outside the arena until a layout places them.
    return f"""
    <body name="{item.name}" pos="{ARENA_HALF + 1} {0.5 * index - 2.5} {half_height}"
          sleep="allowed">
      <freejoint name="{item.name}"/>
      <geom name="{item.name}" {shape} mass="{OBJECT_MASS}" rgba="{_row(item.rgba)}" {_OBJECT}
            condim="4" friction="{OBJECT_FRICTION} 0.01 0.001" solref="0.02 1"/>
    </body>"""


def _robot() -> str:
    half_track = WHEEL_SEPARATION / 2
    wheels = ''.join(
        f"""
      <body name="{side}_wheel" pos="0 {y} {WHEEL_RADIUS}">
        <joint name="wheel_{side}_joint" type="hinge" axis="0 1 0" damping="0.0003"
               armature="0.0003"/>
        <geom name="{side}_wheel" type="sphere" size="{WHEEL_RADIUS}" mass="{WHEEL_MASS}"
              group="{SUPPORT_GROUP}" {_WHEEL} condim="3" friction="{WHEEL_FRICTION} 0.005 0.0001"
              priority="1" solref="0.02 1"/>
        <geom type="cylinder" size="{WHEEL_RADIUS} {WHEEL_HALF_WIDTH}" zaxis="0 1 0" mass="0"
              rgba="0.1 0.1 0.1 1" contype="0" conaffinity="0" group="{ROBOT_GROUP}"/>
      </body>"""
        for side, y in (('left', half_track), ('right', -half_track))
    )
    casters = ''.join(
        f"""
      <geom name="caster_{place}" type="sphere" size="{CASTER_RADIUS}" pos="{_row(position)}"
            mass="{CASTER_MASS}" {_CASTER} condim="1" priority="1" group="{SUPPORT_GROUP}"
            solref="0.02 1"/>"""
        for place, position in CASTERS.items()
    )
    return f"""
    <body name="base" pos="0 0 0" sleep="never">
      <freejoint name="base"/>
      <site name="base_scan" pos="0 0 {LIDAR_HEIGHT}" group="4"/>
      <site name="imu" pos="0 0 {IMU_HEIGHT}" group="4"/>
      <camera name="camera" pos="{_row(CAMERA_POSITION)}" xyaxes="0 -1 0 {_row(CAMERA_UP)}"
              fovy="{FIELD_OF_VIEW_DEG}"/>
      <geom name="chassis" {_box(CHASSIS)} {_BODY} group="{ROBOT_GROUP}"/>
      <geom name="mast" {_box(MAST)} {_BODY} group="{ROBOT_GROUP}"/>
      <geom name="battery" {_box(BATTERY)} {_GHOST} group="{ROBOT_GROUP}"/>
      {casters}{wheels}{_LIFT}
    </body>"""


def _row(values: Iterable[float]) -> str:
    return ' '.join(str(value) for value in values)


def _box(part: Part) -> str:
    return (
        f'type="box" size="{_row(part.half_size)}" pos="{_row(part.position)}" '
        f'mass="{part.mass}" rgba="{_row(part.rgba)}"'
    )


def _force(limit: float) -> str:
    return f'forcerange="{-limit} {limit}"'


def _finger(side: str, sign: int) -> str:
    # The joint's zero is a closed gripper; each finger moves half of the opening.
    return f"""
        <body name="{side}_finger" pos="0 {sign * FINGER.half_size[1]} 0">
          <joint name="{side}_finger" type="slide" axis="0 {sign} 0"
                 range="0 {GRIPPER_RANGE[1] / 2}" damping="2" armature="0.02"/>
          <geom name="{side}_finger" {_box(FINGER)} {_BODY} condim="4"
                friction="{FINGER_FRICTION} 0.05 0.001" priority="1" solref="0.02 1"
                group="{ROBOT_GROUP}"/>
        </body>"""


_LIFT = f"""
      <body name="lift" pos="0 0 0">
        <joint name="lift" type="slide" axis="0 0 1" range="{LIFT_RANGE[0]} {LIFT_RANGE[1]}"
               damping="20" armature="0.1"/>
        <geom name="carriage" {_box(CARRIAGE)} {_GHOST} group="{ROBOT_GROUP}"/>
        {_finger('left', 1)}{_finger('right', -1)}
      </body>"""

_ACTUATORS = f"""<actuator>
    <velocity name="left_wheel" joint="wheel_left_joint" kv="0.06" {_force(WHEEL_TORQUE)}/>
    <velocity name="right_wheel" joint="wheel_right_joint" kv="0.06" {_force(WHEEL_TORQUE)}/>
    <position name="lift" joint="lift" kp="1500" kv="60" {_force(LIFT_FORCE)}/>
    <position name="left_finger" joint="left_finger" kp="400" kv="8" {_force(FINGER_FORCE)}/>
    <position name="right_finger" joint="right_finger" kp="400" kv="8" {_force(FINGER_FORCE)}/>
  </actuator>"""
