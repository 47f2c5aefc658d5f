"""A world that runs elsewhere, as the episodes see it: layout and task here, the truth from there.

The same seed gives the same layout as in the embedded world.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from robot_learning.contract import RobotContract
from robot_learning.simulation.contact import body_of, touched_by_robot
from robot_learning.simulation.gazebo_release import ROBOT_NAME
from robot_learning.simulation.gazebo_world import parking_place
from robot_learning.simulation.geodesic import GeodesicMap
from robot_learning.simulation.geometry import ARENA_HALF, KINDS, OBJECTS
from robot_learning.simulation.layout import Layout, LayoutConfig, Pose2D
from robot_learning.simulation.scenario import Outcome, layout_of, outcome_of, step_limit
from robot_learning.simulation.tasks import Task, build_task
from robot_learning.simulation.world_reset import Placement


class ObservedWorld:
    """Layouts, task and touches of an arena whose physics another process has.

    `begin` decides on a layout and `placements` tells where everything belongs; who moves it
    there reports what is true with `see`. `judge` is asked once per control step.
    """

    def __init__(self, contract: RobotContract, config: LayoutConfig | None = None):
        self.contract = contract
        self.task: Task = build_task(contract)
        self.layout: Layout
        self.seed = -1
        self.randomisation: dict[str, float] = {}  # Physics is the other's.
        self.time_ns = 0
        self.num_steps = 0  # Control steps since the beginning.
        self.touched: set[str] = set()  # Since the last `judge`.
        self.robot: Pose2D = (math.nan, math.nan, math.nan)
        self._config = config or LayoutConfig()
        self._body = body_of(contract.robot)
        self._map = GeodesicMap()
        self._max_steps = step_limit(contract)

    def begin(
        self,
        seed: int,
        robot_pose: Sequence[float] | None = None,
        goal_pose: Sequence[float] | None = None,
    ) -> None:
        """Decide on the layout of a new episode.

        Raises:
            SimulationError: a given pose is not free, or the seed is negative.
        """
        self.layout = layout_of(seed, self.task, self._config, self._map, robot_pose, goal_pose)
        self.seed = int(seed)
        self.task.begin(self.layout, self._map)
        self.num_steps = 0
        self.touched.clear()

    def placements(self) -> dict[str, Placement]:
        """Return where robot and objects belong; objects that are not used wait outside."""
        x, y, yaw = self.layout.robot
        found = {ROBOT_NAME: Placement(x, y, 0.0, yaw)}
        for index, item in enumerate(OBJECTS):
            x, y, yaw = self.layout.objects.get(item.name, (*parking_place(index), 0.0))
            found[item.name] = Placement(x, y, KINDS[item.kind].height / 2, yaw)
        return found

    def see(self, time_ns: int, robot: Pose2D, objects: Mapping[str, Pose2D]) -> None:
        """Take what is true at a moment; touching anything is kept until the next `judge`."""
        self.time_ns, self.robot = time_ns, robot
        inside = {name: pose for name, pose in objects.items() if _is_inside(pose)}
        self.touched |= touched_by_robot(robot, inside, self._body)

    def judge(self) -> Outcome:
        """Ask the task about the control period that ended now, once per period."""
        self.num_steps += 1
        verdict = self.task.judge(self.robot, self.touched)
        self.touched.clear()
        return outcome_of(verdict, is_late=self.num_steps >= self._max_steps)


class OdometryOrigin:
    """Wheel odometry without what the robot drove before the episode.

    Putting a robot somewhere does not turn its wheels, so its odometry goes on counting.
    """

    def __init__(self) -> None:
        self._origin: Pose2D = (0.0, 0.0, 0.0)

    def begin(self, pose: Pose2D) -> None:
        """Take the odometry's pose at the beginning of an episode as the origin."""
        self._origin = pose

    def relative(self, pose: Pose2D) -> Pose2D:
        """Return a later pose in the frame of the origin."""
        x0, y0, yaw0 = self._origin
        dx, dy = pose[0] - x0, pose[1] - y0
        cos, sin = math.cos(yaw0), math.sin(yaw0)
        turn = math.remainder(pose[2] - yaw0, math.tau)
        return cos * dx + sin * dy, cos * dy - sin * dx, turn


def _is_inside(pose: Pose2D) -> bool:
    return max(abs(pose[0]), abs(pose[1])) <= ARENA_HALF
