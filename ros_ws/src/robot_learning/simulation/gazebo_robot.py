"""The robot of the arena as a Gazebo model that speaks TurtleBot3's topics."""

from __future__ import annotations

import math
from collections.abc import Iterable

from robot_learning.contract import ObservationField, RobotContract
from robot_learning.errors import SimulationError
from robot_learning.simulation.gazebo_release import ROBOT_NAME, GazeboRelease
from robot_learning.simulation.gazebo_world import (
    NOTE,
    box,
    box_moments,
    cylinder,
    friction,
    inertial,
    material,
    pose_publisher,
    row,
    sphere,
    sphere_moments,
)
from robot_learning.simulation.geometry import (
    BATTERY,
    CAMERA_UP,
    CARRIAGE,
    CASTER_RADIUS,
    CASTERS,
    CHASSIS,
    FIELD_OF_VIEW_DEG,
    FINGER,
    FINGER_FORCE,
    FINGER_FRICTION,
    GRIPPER_RANGE,
    LIFT_FORCE,
    LIFT_RANGE,
    MAST,
    MOUNTS,
    WHEEL_FRICTION,
    WHEEL_HALF_WIDTH,
    WHEEL_MASS,
    WHEEL_RADIUS,
    WHEEL_SEPARATION,
    WHEEL_TORQUE,
    Part,
)
from robot_learning.simulation.readings import JOINT_NAMES

ROBOT_POSE_RATE_HZ = 50.0
# Gazebo topics of the skills' joints; the bridge brings numbers there.
LIFT_TOPIC = 'lift/cmd_pos'
FINGER_TOPICS = {'left': 'gripper/left/cmd_pos', 'right': 'gripper/right/cmd_pos'}

# What the lidar must look through, as it stands inside the chassis; all other things have every
# bit, so a mask without this one hides the robot alone.
_ROBOT_BIT = 2
_LIDAR_MASK = 0xFFFFFFFF & ~_ROBOT_BIT
_DEFAULT_RATES_HZ = {'scan': 10.0, 'imu': 200.0, 'camera/image_raw': 30.0, 'odom': 30.0}
_TURTLEBOT3 = 'turtlebot3_waffle'


def build_robot(contract: RobotContract, release: GazeboRelease) -> str:
    """Return the robot as SDFormat text, with the sensors and limits of its contract.

    Raises:
        SimulationError: the contract has no twist of linear.x and angular.z.
    """
    wheels = _wheel('left', 1) + _wheel('right', -1)
    return f"""<?xml version="1.0"?>
{NOTE}
<sdf version="1.9">
  <model name="{ROBOT_NAME}" canonical_link="base_footprint">
    {_body()}
    {_sensor_links(contract, release)}{wheels}{_lift()}
    {_drive(contract, release)}
    {_joint_states(release)}
    {_joint_controllers(release)}
    {pose_publisher(release, ROBOT_POSE_RATE_HZ)}
  </model>
</sdf>
"""


def build_turtlebot3(release: GazeboRelease) -> str:
    """Return the user's installed TurtleBot3 with its true pose published, as SDFormat text.

    Its folder of models (`turtlebot3_gazebo/models`) must be in GZ_SIM_RESOURCE_PATH.
    """
    return f"""<?xml version="1.0"?>
{NOTE}
<sdf version="1.9">
  <model name="{ROBOT_NAME}">
    <include merge="true">
      <uri>model://{_TURTLEBOT3}</uri>
    </include>
    {pose_publisher(release, ROBOT_POSE_RATE_HZ)}
  </model>
</sdf>
"""


def sensor_rate_hz(contract: RobotContract, topic: str) -> float:
    """Return how often the sensor behind a topic is read."""
    field = _field(contract, topic)
    return (field.rate_hz if field else None) or _DEFAULT_RATES_HZ[topic]


def _field(contract: RobotContract, topic: str) -> ObservationField | None:
    return next((f for f in contract.observation.values() if f.topic == topic), None)


def _body() -> str:
    parts = {'chassis': CHASSIS, 'mast': MAST, 'battery': BATTERY}
    mass, centre, moments = _composite(parts.values())
    shapes = ''.join(_part(name, part, collides=name != 'battery') for name, part in parts.items())
    casters = ''.join(
        f"""
      <collision name="caster_{place}">
        <pose>{row(position)} 0 0 0</pose>
        {sphere(CASTER_RADIUS)}{friction(0.0)}
      </collision>"""
        for place, position in CASTERS.items()
    )
    return f"""<link name="base_footprint">
      {inertial(mass, moments, centre)}{shapes}{casters}
    </link>"""


def _part(name: str, part: Part, collides: bool = True, mu: float | None = None) -> str:
    pose = f'<pose>{row(part.position)} 0 0 0</pose>'
    collision = ''
    if collides:
        surface = '' if mu is None else friction(mu)
        collision = f"""
      <collision name="{name}">{pose}{box(part.half_size)}{surface}</collision>"""
    return f"""{collision}
      <visual name="{name}">
        {pose}{box(part.half_size)}{material(part.rgba)}
        <visibility_flags>{_ROBOT_BIT}</visibility_flags>
      </visual>"""


def _composite(
    parts: Iterable[Part],
) -> tuple[float, tuple[float, float, float], tuple[float, float, float]]:
    """Return mass, centre and moments of boxes that move as one (parallel axis theorem).

    The products of inertia are left out: the boxes are symmetric about the plane y = 0, and what
    is left of the others is a few percent of the moments.
    """
    parts = list(parts)
    mass = sum(part.mass for part in parts)
    x, y, z = (sum(p.mass * p.position[i] for p in parts) / mass for i in range(3))
    total = [0.0, 0.0, 0.0]
    for part in parts:
        dx, dy, dz = (part.position[i] - c for i, c in enumerate((x, y, z)))
        own = box_moments(part.mass, part.half_size)
        for i, square in enumerate((dy**2 + dz**2, dx**2 + dz**2, dx**2 + dy**2)):
            total[i] += own[i] + part.mass * square
    return mass, (x, y, z), (total[0], total[1], total[2])


def _sensor_links(contract: RobotContract, release: GazeboRelease) -> str:
    sensors = {
        'base_scan': _lidar(contract, release),
        'imu_link': _imu(contract, release),
        'camera_rgb_frame': _camera(contract, release),
    }
    light = inertial(0.01, (1e-5, 1e-5, 1e-5))
    return ''.join(
        f"""
    <link name="{frame}">
      <pose>{row(MOUNTS[frame])} 0 0 0</pose>
      {light}{sensor}
    </link>
    <joint name="{frame}_joint" type="fixed">
      <parent>base_footprint</parent>
      <child>{frame}</child>
    </joint>"""
        for frame, sensor in sensors.items()
    )


def _lidar(contract: RobotContract, release: GazeboRelease) -> str:
    field = _field(contract, 'scan')
    num_beams = field.shape[0] if field else 360
    first = (field.angle_min if field else None) or 0.0
    last = (field.angle_max if field else None) or first + 2 * math.pi * (1 - 1 / num_beams)
    nearest = (field.range_min if field else None) or 0.12
    farthest = (field.range_max if field else None) or 3.5
    return f"""
      <sensor name="lidar" type="gpu_lidar">
        <always_on>true</always_on>
        <update_rate>{sensor_rate_hz(contract, 'scan'):g}</update_rate>
        <topic>scan</topic>
        {release.frame('base_scan')}
        <lidar>
          <scan>
            <horizontal>
              <samples>{num_beams}</samples>
              <resolution>1</resolution>
              <min_angle>{first:.6g}</min_angle>
              <max_angle>{last:.6g}</max_angle>
            </horizontal>
          </scan>
          <range>
            <min>{nearest:g}</min>
            <max>{farthest:g}</max>
          </range>
          <noise><type>gaussian</type><mean>0</mean><stddev>0.01</stddev></noise>
          <visibility_mask>{_LIDAR_MASK}</visibility_mask>
        </lidar>
      </sensor>"""


def _imu(contract: RobotContract, release: GazeboRelease) -> str:
    return f"""
      <sensor name="imu" type="imu">
        <always_on>true</always_on>
        <update_rate>{sensor_rate_hz(contract, 'imu'):g}</update_rate>
        <topic>imu</topic>
        {release.frame('imu_link')}
      </sensor>"""


def _camera(contract: RobotContract, release: GazeboRelease) -> str:
    field = _field(contract, 'camera/image_raw')
    height, width = field.shape[:2] if field else (64, 64)
    vertical = math.radians(FIELD_OF_VIEW_DEG)
    horizontal = 2 * math.atan(math.tan(vertical / 2) * width / height)
    pitch = math.atan2(CAMERA_UP[0], CAMERA_UP[2])  # Nose down is positive.
    return f"""
      <sensor name="camera" type="camera">
        <pose>0 0 0 0 {pitch:.6g} 0</pose>
        <always_on>true</always_on>
        <update_rate>{sensor_rate_hz(contract, 'camera/image_raw'):g}</update_rate>
        <topic>camera/image_raw</topic>
        {release.frame('camera_rgb_frame')}
        <camera>
          <camera_info_topic>camera/camera_info</camera_info_topic>
          <horizontal_fov>{horizontal:.6g}</horizontal_fov>
          <image><width>{width}</width><height>{height}</height><format>R8G8B8</format></image>
          <clip><near>0.02</near><far>20</far></clip>
        </camera>
      </sensor>"""


def _wheel(side: str, sign: int) -> str:
    return f"""
    <link name="wheel_{side}_link">
      <pose>0 {sign * WHEEL_SEPARATION / 2:g} {WHEEL_RADIUS:g} 0 0 0</pose>
      {inertial(WHEEL_MASS, sphere_moments(WHEEL_MASS, WHEEL_RADIUS))}
      <collision name="collision">
        {sphere(WHEEL_RADIUS)}{friction(WHEEL_FRICTION)}
      </collision>
      <visual name="visual">
        <pose>0 0 0 {math.pi / 2:.6g} 0 0</pose>
        {cylinder(WHEEL_RADIUS, WHEEL_HALF_WIDTH)}{material((0.1, 0.1, 0.1, 1.0))}
        <visibility_flags>{_ROBOT_BIT}</visibility_flags>
      </visual>
    </link>
    <joint name="wheel_{side}_joint" type="revolute">
      <parent>base_footprint</parent>
      <child>wheel_{side}_link</child>
      <axis>
        <xyz>0 1 0</xyz>
        <limit><lower>-1e16</lower><upper>1e16</upper><effort>{WHEEL_TORQUE:g}</effort></limit>
        <dynamics><damping>0.0003</damping></dynamics>
      </axis>
    </joint>"""


def _lift() -> str:
    low, high = LIFT_RANGE
    fingers = _finger('left', 1) + _finger('right', -1)
    return f"""
    <link name="lift_link">
      {inertial(CARRIAGE.mass, box_moments(CARRIAGE.mass, CARRIAGE.half_size), CARRIAGE.position)}
      {_part('carriage', CARRIAGE, collides=False)}
    </link>
    <joint name="lift_joint" type="prismatic">
      <parent>base_footprint</parent>
      <child>lift_link</child>
      <axis>
        <xyz>0 0 1</xyz>
        <limit><lower>{low:g}</lower><upper>{high:g}</upper><effort>{LIFT_FORCE:g}</effort></limit>
        <dynamics><damping>20</damping></dynamics>
      </axis>
    </joint>{fingers}"""


def _finger(side: str, sign: int) -> str:
    x, _, z = FINGER.position
    part = FINGER._replace(position=(x, sign * FINGER.half_size[1], z))
    limit = f'<lower>0</lower><upper>{GRIPPER_RANGE[1] / 2:g}</upper>'
    return f"""
    <link name="gripper_{side}_link">
      {inertial(part.mass, box_moments(part.mass, part.half_size), part.position)}
      {_part(f'{side}_finger', part, mu=FINGER_FRICTION)}
    </link>
    <joint name="gripper_{side}_joint" type="prismatic">
      <parent>lift_link</parent>
      <child>gripper_{side}_link</child>
      <axis>
        <xyz>0 {sign} 0</xyz>
        <limit>{limit}<effort>{FINGER_FORCE:g}</effort></limit>
        <dynamics><damping>2</damping></dynamics>
      </axis>
    </joint>"""


def _drive(contract: RobotContract, release: GazeboRelease) -> str:
    field = next((f for f in contract.actions.values() if 'angular.z' in f.components), None)
    if field is None or 'linear.x' not in field.components:
        raise SimulationError(
            f'{contract.robot}: the contract has no twist of linear.x and angular.z, which the '
            f'differential drive needs. Choose a robot that drives.'
        )
    limits = ''.join(
        f'<{bound}_{kind}_velocity>{values[field.components.index(component)]:g}'
        f'</{bound}_{kind}_velocity>'
        for kind, component in (('linear', 'linear.x'), ('angular', 'angular.z'))
        for bound, values in (('min', field.low), ('max', field.high))
    )
    return release.plugin(
        'diff-drive',
        'DiffDrive',
        f"""
      <left_joint>wheel_left_joint</left_joint>
      <right_joint>wheel_right_joint</right_joint>
      <wheel_separation>{WHEEL_SEPARATION:g}</wheel_separation>
      <wheel_radius>{WHEEL_RADIUS:g}</wheel_radius>
      {limits}
      <topic>cmd_vel</topic>
      <odom_topic>odom</odom_topic>
      <tf_topic>drive/tf</tf_topic>
      <frame_id>odom</frame_id>
      <child_frame_id>base_footprint</child_frame_id>
      <odom_publish_frequency>{sensor_rate_hz(contract, 'odom'):g}</odom_publish_frequency>
    """,
    )


def _joint_states(release: GazeboRelease) -> str:
    joints = ''.join(f'<joint_name>{name}</joint_name>' for name in JOINT_NAMES)
    content = f'<topic>joint_states</topic>{joints}'
    return release.plugin('joint-state-publisher', 'JointStatePublisher', content)


def _joint_controllers(release: GazeboRelease) -> str:
    stowed = [
        ('lift_joint', LIFT_TOPIC, LIFT_RANGE[1], 1500, 60, LIFT_FORCE),
        *(
            (f'gripper_{side}_joint', topic, GRIPPER_RANGE[1] / 2, 400, 8, FINGER_FORCE)
            for side, topic in FINGER_TOPICS.items()
        ),
    ]
    return '\n    '.join(
        release.plugin(
            'joint-position-controller',
            'JointPositionController',
            f'<joint_name>{joint}</joint_name><topic>{topic}</topic><p_gain>{p_gain}</p_gain>'
            f'<d_gain>{d_gain}</d_gain><cmd_max>{force:g}</cmd_max><cmd_min>{-force:g}</cmd_min>'
            f'<initial_position>{start:g}</initial_position>',
        )
        for joint, topic, start, p_gain, d_gain, force in stowed
    )
