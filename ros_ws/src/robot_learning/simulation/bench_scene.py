"""A bench with one object and a hand on three rails above it, as MJCF.

The hand moves in x, y and z and closes two fingers along x; the camera looks along y. What is
seen of the object is a geom of its own, so that it can be drawn squeezed.
"""

from __future__ import annotations

from robot_learning.simulation.resonance import Shape

SEEN_GROUP, TOUCHED_GROUP = 1, 4  # Of the object: what is drawn, what collides.
FINGER_THICKNESS, FINGER_LENGTH = 0.012, 0.08
HAND_RANGE = {'x': (-0.2, 0.2), 'y': (-0.1, 0.1), 'z': (0.085, 0.3)}
OPENING_RANGE = (0.0, 0.12)
HALF_SIZE = 0.03  # Of the object as compiled; the real one is set later.
CAMERA_FIELD_DEG = 30.0
TEXTURE_SIZE = 32  # Pixels of the object's grain, per side of a cube.

_SHAPES = {
    'box': f'type="box" size="{HALF_SIZE} {HALF_SIZE} {HALF_SIZE}"',
    'can': f'type="cylinder" size="{HALF_SIZE} {HALF_SIZE}"',
    'ball': f'type="ellipsoid" size="{HALF_SIZE} {HALF_SIZE} {HALF_SIZE}"',
}
_TOUCHED = {**_SHAPES, 'ball': f'type="sphere" size="{HALF_SIZE}"'}


def build_bench(shape: Shape, timestep_s: float) -> str:
    """Return the scene for objects of one shape."""
    return f"""
<mujoco model="bench_{shape}">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{timestep_s}" integrator="implicitfast" cone="elliptic" impratio="10">
    <flag nativeccd="enable"/>
  </option>
  <visual>
    <quality shadowsize="0" offsamples="0"/>
    <global offwidth="256" offheight="256"/>
    <headlight ambient="0.35 0.35 0.35" diffuse="0.3 0.3 0.3" specular="0.2 0.2 0.2"/>
    <map znear="0.05"/>
  </visual>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.55 0.62 0.7"
             rgb2="0.85 0.87 0.9" width="32" height="32"/>
    <texture name="tiles" type="2d" builtin="checker" rgb1="0.3 0.29 0.28" rgb2="0.72 0.7 0.66"
             width="64" height="64"/>
    <texture name="grain" type="cube" builtin="flat" rgb1="1 1 1" width="{TEXTURE_SIZE}"
             height="{TEXTURE_SIZE}"/>
    <material name="bench" texture="tiles" texrepeat="9 6"/>
    <material name="object" texture="grain" specular="0.5" shininess="0.5"/>
    <material name="content" rgba="0.9 0.1 0.7 1"/>
  </asset>
  <worldbody>
    <light type="directional" pos="0 0 2" dir="0.3 0.5 -1" diffuse="0.5 0.5 0.5"
           castshadow="false"/>
    <camera name="camera" pos="0 -0.4 0.24" xyaxes="1 0 0 0 0.39 0.92"
            fovy="{CAMERA_FIELD_DEG}"/>
    <geom name="bench" type="box" size="0.45 0.3 0.02" pos="0 0 -0.02" material="bench"
          contype="0" conaffinity="0"/>
    <body name="hand" gravcomp="1">
      <joint name="x" type="slide" axis="1 0 0" range="{_range('x')}" damping="4"/>
      <joint name="y" type="slide" axis="0 1 0" range="{_range('y')}" damping="4"/>
      <joint name="z" type="slide" axis="0 0 1" range="{_range('z')}" damping="4"/>
      <geom name="palm" type="box" size="0.07 0.015 0.008" pos="0 0 0.008" mass="0.4"
            rgba="0.2 0.25 0.32 1" contype="0" conaffinity="0"/>
      {_finger('left', -1)}{_finger('right', 1)}
    </body>
    <body name="object" pos="0 0 {HALF_SIZE}">
      <freejoint name="object"/>
      <geom name="touched" {_TOUCHED[shape]} mass="0.2" group="{TOUCHED_GROUP}" contype="0"
            conaffinity="0" rgba="0 0 0 0"/>
      <geom name="seen" {_SHAPES[shape]} mass="0" group="{SEEN_GROUP}" contype="0"
            conaffinity="0" material="object"/>
      <body name="content">
        <joint name="content_x" type="slide" axis="1 0 0" range="-0.01 0.01" damping="0.01"/>
        <joint name="content_y" type="slide" axis="0 1 0" range="-0.01 0.01" damping="0.01"/>
        <joint name="content_z" type="slide" axis="0 0 1" range="-0.01 0.01" damping="0.01"/>
        <geom name="content" type="sphere" size="0.008" mass="0.01" group="{SEEN_GROUP}"
              contype="0" conaffinity="0" material="content"/>
      </body>
    </body>
  </worldbody>
  <contact>
    <pair name="bench" geom1="bench" geom2="touched" condim="4"/>
    <pair name="left" geom1="left" geom2="touched" condim="4"/>
    <pair name="right" geom1="right" geom2="touched" condim="4"/>
  </contact>
  <actuator>
    <position name="x" joint="x" kp="1500" kv="60" forcerange="-40 40"/>
    <position name="y" joint="y" kp="1500" kv="60" forcerange="-40 40"/>
    <position name="z" joint="z" kp="2500" kv="90" forcerange="-60 60"/>
    <position name="left" joint="left" kp="1200" kv="25" forcerange="-25 25"/>
    <position name="right" joint="right" kp="1200" kv="25" forcerange="-25 25"/>
  </actuator>
</mujoco>
"""


def _range(axis: str) -> str:
    low, high = HAND_RANGE[axis]
    return f'{low} {high}'


def _finger(side: str, sign: int) -> str:
    # The joint's zero is a closed hand; each finger moves half of the opening.
    half = FINGER_THICKNESS / 2
    return f"""
      <body name="{side}" pos="{sign * half} 0 0" gravcomp="1">
        <joint name="{side}" type="slide" axis="{sign} 0 0" range="0 {OPENING_RANGE[1] / 2}"
               damping="1" armature="0.05"/>
        <geom name="{side}" type="box" size="{half} 0.014 {FINGER_LENGTH / 2}"
              pos="0 0 {-FINGER_LENGTH / 2}" mass="0.05" rgba="0.85 0.85 0.88 1"
              contype="0" conaffinity="0"/>
      </body>"""
