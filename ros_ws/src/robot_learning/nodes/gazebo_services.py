"""What people ask of a Gazebo world: the services of the embedded one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future as ConcurrentFuture
from functools import partial
from typing import NamedTuple, Protocol

from rclpy.node import Node
from rclpy.task import Future
from robot_learning_interfaces.srv import ResetWorld
from std_srvs.srv import SetBool, Trigger

from robot_learning.errors import RobotLearningError
from robot_learning.nodes.run import ServiceThread


class StartWish(NamedTuple):
    """How the next episode is to begin, and whom to tell."""

    seed: int | None = None
    robot_pose: Sequence[float] | None = None
    goal_pose: Sequence[float] | None = None
    told: ConcurrentFuture[int] | None = None  # Gets the number of the episode, or the error.


class RemoteWorld(Protocol):
    """What the services may ask for, from their own thread."""

    def request_start(self, wish: StartWish) -> None:
        """Cut the episode off and begin another; `wish.told` learns how that went."""

    def request_hold(self, is_held: bool, told: ConcurrentFuture[int]) -> None:
        """Hold time or let it go on."""

    def request_step(self, told: ConcurrentFuture[int]) -> None:
        """Live one control period while time is held."""


class GazeboServices:
    """Serves `~/reset`, `~/reset_world`, `~/pause` and `~/step`; each answers when it is done."""

    def __init__(self, node: Node, world: RemoteWorld):
        self._world = world
        self._thread = ServiceThread(node)
        name = self._thread.private_name
        serve = partial(self._thread.node.create_service, callback_group=self._thread.group)
        serve(ResetWorld, name('reset'), self._on_reset)
        serve(Trigger, name('reset_world'), self._on_reset_world)
        serve(SetBool, name('pause'), self._on_pause)
        serve(Trigger, name('step'), self._on_step)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._thread.stop()

    async def _on_reset(
        self, request: ResetWorld.Request, response: ResetWorld.Response
    ) -> ResetWorld.Response:
        told = ConcurrentFuture[int]()
        seed = None if request.seed == -1 else request.seed
        robot, goal = list(request.robot_pose) or None, list(request.goal_pose) or None
        self._world.request_start(StartWish(seed, robot, goal, told))
        response.message = await self._outcome(told)
        response.success = not response.message
        response.episode = told.result() if response.success else 0
        return response

    async def _on_reset_world(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        told = ConcurrentFuture[int]()
        self._world.request_start(StartWish(told=told))
        response.message = await self._outcome(told)
        response.success = not response.message
        return response

    async def _on_pause(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        told = ConcurrentFuture[int]()
        self._world.request_hold(request.data, told)
        response.message = await self._outcome(told)
        response.success = not response.message
        return response

    async def _on_step(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        told = ConcurrentFuture[int]()
        self._world.request_step(told)
        response.message = await self._outcome(told)
        response.success = not response.message
        return response

    async def _outcome(self, told: ConcurrentFuture[int]) -> str:
        """Wait without holding the thread; return what went wrong, '' if nothing."""
        future = Future(executor=self._thread.executor)
        told.add_done_callback(lambda _: future.set_result(None))
        await future
        error = told.exception()
        if error is None:
            return ''
        if not isinstance(error, RobotLearningError):
            raise error
        return str(error)
