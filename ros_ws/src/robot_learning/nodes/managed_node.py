"""Nodes that serve what was learned have a managed life: configure, activate, deactivate.

See https://design.ros2.org/articles/node_lifecycle.html. With `autostart`, the default, such a
node configures and activates itself, so that nobody has to manage it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from pydantic.dataclasses import dataclass
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from robot_learning.config import STRICT
from robot_learning.errors import RobotLearningError
from robot_learning.nodes.diagnostics import OK, WARN, Health

_SUCCESS = TransitionCallbackReturn.SUCCESS
_FAILURE = TransitionCallbackReturn.FAILURE
_ERROR = TransitionCallbackReturn.ERROR


@dataclass(frozen=True, config=STRICT)
class ManagedConfig:
    """What every managed node can be told."""

    # Configure and activate at the start; false: wait for `ros2 lifecycle set NODE configure`.
    autostart: bool = True


class ManagedNode(LifecycleNode):
    """A node whose life is told by three methods; subclasses have the ones that they need.

    A subclass reads its parameters in `__init__` and ends it with `manage(config.autostart)`.
    Then configure calls `load`, activate calls `open`, deactivate calls `make_safe`, all on the
    control thread; so does whatever else ends an active node.

    What `load` creates on this node (publishers, subscriptions, timers, services, clients) is
    destroyed when it is cleaned up or closed. How to give back what else it acquires (threads,
    files, action servers), it pushes on `resources` as soon as it has it.
    """

    def __init__(self, name: str, **node_options: Any):
        super().__init__(name, **node_options)
        self.resources = ExitStack()
        self._is_active = False
        self._autostarts = False  # Whoever starts it says why that failed.
        self._failure: Exception | None = None  # Of the newest transition that failed.
        self._own: set[int] = set()  # Entities that are there in every state.

    def load(self) -> None:
        """Load what is served and create topics, services and timers; put nothing out yet.

        Raises:
            RobotLearningError: says why it cannot; the node stays unconfigured.
        """

    def open(self) -> None:
        """Begin to put out results; `is_active` is true as soon as this has returned."""

    def make_safe(self) -> None:
        """Stop what moves and put nothing out any more; `is_active` is already false."""

    @property
    def is_active(self) -> bool:
        """Whether results may be put out."""
        return self._is_active

    def manage(self, autostart: bool) -> None:
        """Begin the managed life; with `autostart`, serve at once.

        Raises:
            RobotLearningError: with `autostart`, why it cannot serve.
        """
        self._own = {id(entity) for entity, _ in self._entities()}
        if not autostart:
            name = self.get_fully_qualified_name()
            self.get_logger().info(
                f'waits to be managed: ros2 lifecycle set {name} configure, then activate'
            )
            return
        self._autostarts = True
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != _SUCCESS:
                assert self._failure is not None, 'every failure is kept'
                raise self._failure
        self._autostarts = False

    def lifecycle_health(self) -> Health:
        """Say on /diagnostics whether the node serves; add it in `load`."""
        if self._is_active:
            return Health(OK, 'active')
        name = self.get_fully_qualified_name()
        return Health(WARN, f'inactive. Go on with: ros2 lifecycle set {name} activate')

    def close(self) -> None:
        """Make safe and give everything back, in whatever state the node is."""
        self._leave_active()
        self._unload()

    # --- transitions -------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load."""
        result = self._attempt(self.load)
        if result != _SUCCESS:
            self._unload()
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open."""
        result = self._attempt(self.open)
        self._is_active = result == _SUCCESS
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Make safe."""
        return self._attempt(self._leave_active)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give everything back."""
        return self._attempt(self._unload)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Make safe and give everything back; the process stays until it is ended."""
        return self._attempt(self.close)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to the beginning after a fault, safe."""
        return self._attempt(self.close)

    def _attempt(self, work: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            work()
        except RobotLearningError as error:
            self._failure = error
            if not self._autostarts:
                self.get_logger().error(str(error))
            return _FAILURE
        except Exception as error:  # rclpy would swallow it without a word.
            self._failure = error
            text = f'{type(error).__name__}: {error}'
            self.get_logger().error(f'a transition failed ({text}). Report this fault.')
            return _ERROR
        return _SUCCESS

    def _leave_active(self) -> None:
        if self._is_active:
            self._is_active = False
            self.make_safe()

    def _unload(self) -> None:
        try:
            self.resources.close()
        finally:
            for entity, destroy in list(self._entities()):
                if id(entity) not in self._own:
                    destroy(entity)

    def _entities(self) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
        for entities, destroy in (
            (self.timers, self.destroy_timer),
            (self.subscriptions, self.destroy_subscription),
            (self.services, self.destroy_service),
            (self.clients, self.destroy_client),
            (self.publishers, self.destroy_publisher),
        ):
            for entity in entities:
                yield entity, destroy
