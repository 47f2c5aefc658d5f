"""The embedded world with a performer in it: plain numbers instead of topics."""

import math

import numpy as np
from robot_learning import contract as contracts
from robot_learning.language.body import Hand, Surroundings
from robot_learning.language.motions import Limits, wrapped
from robot_learning.language.obstacle_map import ObstacleMap
from robot_learning.language.performer import Performer
from robot_learning.language.planner import Zone
from robot_learning.language.senses import Outcome, Seen, Senses
from robot_learning.language.skills import Step, verb
from robot_learning.serving.camera_geometry import CameraGeometry
from robot_learning.serving.sense_fusion import SenseFusion
from robot_learning.simulation.geometry import FIELD_OF_VIEW_DEG, OBJECTS
from robot_learning.simulation.world import World, WorldConfig

ARENA = Zone('arena', -2.5, -2.5, 2.5, 2.5)
PLACES = {'home': (0.0, 0.0), 'kitchen': (-1.8, 1.8), 'office': (1.8, -1.8)}
PATHS = {'square': ((0.5, 0.0), (0.5, 0.5), (0.0, 0.5), (0.0, 0.0))}
HAND = Hand(open_m=0.16, low_m=0.0, high_m=0.25, reach_m=0.13)
_SEEN_M = 2.5
_KINDS = {item.name: item.kind for item in OBJECTS}


class ErrandWorld:
    """Carries out steps in the world.

    Unless it `sees`, objects are known by ground truth where a camera would look.
    """

    def __init__(
        self,
        seed=0,
        robot=None,
        objects=None,
        navigator=None,
        forbidden=(),
        sees=False,
        places=PLACES,
        paths=PATHS,
    ):
        self.contract = contracts.load('errands')
        self.world = World(self.contract, WorldConfig(camera='auto' if sees else 'off'))
        self._sees = sees
        self.world.begin(seed, robot)
        if objects is not None:
            far = {name: (9.0, float(n), 0.0) for n, name in enumerate(self.world.layout.objects)}
            self.world.set_state(robot, {**far, **objects})
        low, high = self.contract.action_low, self.contract.action_high
        limits = Limits(-float(low[0]), float(high[0]), float(high[1]))
        self.obstacles = ObstacleMap(ARENA, 0.2, forbidden)
        around = Surroundings(
            limits,
            self.obstacles,
            places,
            paths,
            forbidden,
            ARENA,
            HAND,
            navigator,
        )
        self.performer = Performer(around)
        self.time_s = 0.0
        self.orders = []
        self._memory = {}
        self._fusion = SenseFusion(self.contract, CameraGeometry(), self.obstacles, 0.2)
        self._hear()

    @property
    def pose(self):
        """Where it truly is."""
        return self.world.physics.robot_pose()

    def do(self, name, **arguments) -> Outcome:
        """Carry out one call to its end."""
        wanted = verb(name)
        self.performer.begin(Step(wanted, wanted.completed(arguments)))
        for _ in range(2000):
            answer = self.performer.tick(self.senses())
            if isinstance(answer, Outcome):
                self.live(None)
                return answer
            self.orders.append(answer)
            self.live(answer)
        raise AssertionError(f'{name} never ended')

    def senses(self) -> Senses:
        """What is known now."""
        self._fusion.held_color = self.performer.held_color
        senses = self._fusion.sense(self._readings, self.time_s)
        return senses if self._sees else senses._replace(objects=self._objects())

    def live(self, order):
        """Obey for a control period; None: stand."""
        world = self.world
        if order is None or order.drive is None:
            world.apply({'base': np.zeros(2)})
        else:
            world.apply({'base': np.array(order.drive)})
        if order is not None and order.lift_m is not None:
            world.apply({'lift': np.array([order.lift_m])})
        if order is not None and order.opening_m is not None:
            world.apply({'gripper': np.array([order.opening_m])})
        world.advance(self.contract.control_period_ns)
        self.time_s += self.contract.control_period_ns * 1e-9
        world.judge()
        self._hear()

    def _hear(self):
        self._readings = self.world.observe()

    def _objects(self):
        x, y, yaw = self.pose
        for name in self.world.layout.objects:
            ox, oy, oz = self.world.physics.object_position(name)
            bearing = wrapped(math.atan2(oy - y, ox - x) - yaw)
            is_near = 0.3 < math.dist((x, y), (ox, oy)) < _SEEN_M
            if abs(bearing) < math.radians(FIELD_OF_VIEW_DEG / 2) and is_near and oz < 0.1:
                self._memory[name] = Seen(_KINDS[name], name.split('_')[1], ox, oy), self.time_s
        return tuple(
            seen._replace(age_s=self.time_s - since_s) for seen, since_s in self._memory.values()
        )
