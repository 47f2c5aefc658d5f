"""Worker processes that share the drives of an evaluation between them."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from types import TracebackType

from robot_learning.errors import RobotLearningError
from robot_learning.evaluation.layouts import LayoutChoice
from robot_learning.evaluation.navigation import (
    DriveResult,
    NavigationPolicy,
    NavigationResult,
    NavigationWorld,
    PolicyFactory,
    WorldFactory,
    drive,
)


class EvaluationPool:
    """Evaluates policies over layouts in a few processes that keep their worlds.

    A drive depends on its layout and policy only, so the result does not depend on the number
    of workers. Both factories must be picklable: classes or `functools.partial` of functions.
    """

    def __init__(self, make_world: WorldFactory, num_workers: int = 2):
        self._pool = ProcessPoolExecutor(
            num_workers,
            mp_context=multiprocessing.get_context('spawn'),
            initializer=_start_worker,
            initargs=(make_world,),
        )

    def evaluate(
        self,
        name: str,
        make_policy: PolicyFactory,
        layouts: Sequence[LayoutChoice],
        on_drive: Callable[[DriveResult], None] = lambda result: None,
    ) -> NavigationResult:
        """Drive through all layouts; results are in their order.

        Args:
            name: what to call the policy.
            make_policy: makes it in each worker.
            layouts: what to drive through.
            on_drive: is told each result as it comes, for progress.

        Raises:
            RobotLearningError: the world cannot be made, or a layout is impossible.
        """
        futures = [self._pool.submit(_drive, name, make_policy, layout) for layout in layouts]
        try:
            for future in as_completed(futures):
                on_drive(future.result())
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return NavigationResult(name, [future.result() for future in futures])

    def close(self) -> None:
        """End the workers; drives not yet begun are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> EvaluationPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Worker:
    """What one worker process keeps from drive to drive."""

    world: NavigationWorld
    policy: NavigationPolicy
    policy_name: str | None = None
    error: RobotLearningError | None = None  # Why there is no world.


def _start_worker(make_world: WorldFactory) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle.
    try:
        _Worker.world = make_world()
    except RobotLearningError as error:  # Raised here it would only break the pool.
        _Worker.error = error


def _drive(name: str, make_policy: PolicyFactory, layout: LayoutChoice) -> DriveResult:
    if _Worker.error is not None:
        raise _Worker.error
    if _Worker.policy_name != name:
        _Worker.policy, _Worker.policy_name = make_policy(_Worker.world), name
    return drive(_Worker.world, _Worker.policy, layout)
