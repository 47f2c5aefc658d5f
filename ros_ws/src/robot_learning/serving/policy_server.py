"""The policy that serves now: loaded and checked off the control thread, swapped between ticks."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.contract import RobotContract
from robot_learning.errors import ModelRefusedError, StoreError
from robot_learning.serving.version_checks import (
    Served,
    WeightSource,
    load_version,
    random_features,
)

Array = np.ndarray[Any, Any]


class VersionSource(WeightSource, Protocol):
    """The part of the model store that serving needs."""

    def serving(self, name: str) -> int | None:
        """Return the version to serve: the pinned one, else the newest that nobody refused."""

    def newest_good(self, name: str) -> int | None:
        """Return the newest version that nobody refused, None if there is none."""

    def refuse(self, name: str, version: int, reason: str) -> None:
        """Mark a version as not to be served."""

    def activate(self, name: str, version: int) -> None:
        """Pin a version for everyone."""

    def release(self, name: str) -> None:
        """End the pin."""


@dataclass(frozen=True, config=STRICT)
class ServingConfig:
    """Which model acts, and how."""

    model_name: str = 'navigator'  # Name in the model store.
    version: Annotated[int, Field(ge=-1)] = -1  # Version to serve; -1: the newest good one.
    explore: bool = False  # Draw actions at random instead of the policy's mode.
    seed: Annotated[int, Field(ge=-1)] = -1  # Of exploration; -1: another one at every start.
    random_hold_steps: PositiveInt = 5  # Mean control steps that a random action is kept for.
    noise_correlation: Annotated[float, Field(ge=0, lt=1)] = 0.0  # Of noise from step to step.
    poll_s: PositiveFloat = 0.5  # Time between looks for a newer version without a notice.


class Decision(NamedTuple):
    """What the policy wants to do, before the gate."""

    action: Array  # [A] float32, contract units.
    log_prob: float  # Nats; NaN: deterministic, or no policy drew it.
    model: str  # '' when no model acted.
    version: int  # -1 when no model acted.
    exploring: bool


class Change(NamedTuple):
    """What happened to a version, for ModelVersion notices."""

    state: Literal['serving', 'refused', 'rolled_back']
    model: str
    version: int
    update: int = 0
    environment_step: int = 0
    sha256: str = ''
    reason: str = ''


class PolicyServer:
    """Acts with the newest good version and changes to newer ones between two decisions.

    One thread calls `act`; loading and checking happen on a thread of the server's own, and the
    change is the assignment of one reference. A version that fails its checks is marked in the
    store and named; the one before serves on.
    """

    def __init__(
        self,
        store: VersionSource,
        contract: RobotContract,
        config: ServingConfig,
        on_change: Callable[[Change], None] = lambda change: None,
    ):
        self._store = store
        self._contract = contract
        self._config = config
        self._on_change = on_change  # Called on the loading thread.
        self._rng = np.random.default_rng(None if config.seed < 0 else config.seed)
        self._probes = random_features(contract)
        self._served: Served | None = None
        self._before: list[Served] = []  # What served earlier, newest last, for rollback.
        self._model = config.model_name
        self._is_pinned = config.version >= 0  # Do not follow newer versions.
        self._refused: set[tuple[str, int]] = set()
        self._requests: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name='policy_loader', daemon=True)
        self._noise = np.zeros(contract.action_size)
        self._random_action = contract.action_stop
        self._has_noise = False

    # --- the control thread ----------------------------------------------------------------

    @property
    def served(self) -> Served | None:
        """The version that acts now; None before the first."""
        return self._served

    def act(self, features: Array, explore: bool | None = None) -> Decision:
        """Decide on one observation [D]; without a version yet: at random, or stop.

        Args:
            features: as `FeatureBuilder` gives them.
            explore: overrides the configuration.
        """
        explore = self._config.explore if explore is None else explore
        served = self._served  # Read once: the loading thread may replace it at any moment.
        if served is None:
            action = self._random() if explore else self._contract.action_stop.copy()
            return Decision(action, math.nan, '', -1, explore)
        noise = self._next_noise() if explore else None
        action, log_prob = served.policy.act(features, noise)
        return Decision(action, log_prob, served.model, served.version, explore)

    def start_episode(self) -> None:
        """Forget what exploration kept from step to step."""
        self._has_noise = False
        self._random_action = self._draw()

    def _random(self) -> Array:
        """Uniform within the limits, kept for a geometrically distributed number of steps."""
        if self._rng.random() < 1 / self._config.random_hold_steps:
            self._random_action = self._draw()
        return self._random_action.copy()

    def _draw(self) -> Array:
        low, high = self._contract.action_low, self._contract.action_high
        return self._rng.uniform(low, high).astype(np.float32)

    def _next_noise(self) -> Array:
        """Standard normal at every step, correlated from one to the next where configured."""
        fresh = self._rng.standard_normal(len(self._noise))
        correlation = self._config.noise_correlation
        if correlation and self._has_noise:
            fresh = correlation * self._noise + math.sqrt(1 - correlation**2) * fresh
        self._noise, self._has_noise = fresh, True
        return fresh

    # --- any thread ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to follow the store."""
        self._thread.start()

    def close(self) -> None:
        """End the loading thread; the served version keeps acting."""
        self._requests.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def notice(self, model: str) -> None:
        """Look for a newer version at once: a trainer said that it published one."""
        if model == self._model:
            self._requests.put(self._follow)

    def load(self, model: str = '', version: int = -1) -> Future[Served]:
        """Serve a version from now on; -1: the newest good one, and follow newer ones.

        The future raises ModelRefusedError when the version fails; the old one serves on.
        """
        return self._ask(lambda: self._load(model or self._model, version))

    def rollback(self, reason: str) -> Future[Served]:
        """Refuse the version that serves, go back to the one before and stay there.

        The future raises ModelRefusedError when there is none.
        """
        return self._ask(lambda: self._rollback(reason or 'rolled back by request'))

    def _ask(self, work: Callable[[], Served]) -> Future[Served]:
        future: Future[Served] = Future()

        def answer() -> None:
            try:
                future.set_result(work())
            except Exception as error:  # Goes to whoever asked.
                future.set_exception(error)

        self._requests.put(answer)
        return future

    # --- the loading thread ----------------------------------------------------------------

    def _work(self) -> None:
        work: Callable[[], None] | None = self._begin
        while work is not None:
            with contextlib.suppress(StoreError):  # A store that is not there yet may come.
                work()
            try:
                work = self._requests.get(timeout=self._config.poll_s)
            except queue.Empty:
                work = self._follow

    def _begin(self) -> None:
        if self._config.version >= 0:
            with contextlib.suppress(ModelRefusedError):  # Named by _checked's notice.
                self._serve(self._checked(self._model, self._config.version))
        else:
            self._follow()

    def _follow(self) -> None:
        """Serve what the store says is to be served, unless somebody asked for a version."""
        while not self._is_pinned:
            wanted, served = self._store.serving(self._model), self._served
            if wanted is None or (self._model, wanted) in self._refused:
                return
            if served is not None and (served.model, served.version) == (self._model, wanted):
                return
            with contextlib.suppress(ModelRefusedError):  # Told by _checked; look for the next.
                self._serve(self._checked(self._model, wanted))

    def _load(self, model: str, version: int) -> Served:
        is_pinned = version >= 0
        if not is_pinned:
            newest = self._store.newest_good(model)
            if newest is None:
                raise ModelRefusedError(
                    f'{model}: has no good version. Train one or choose another model.'
                )
            version = newest
        served = self._served
        if served is None or (served.model, served.version) != (model, version):
            served = self._checked(model, version)
            self._serve(served)
        if not is_pinned:
            self._store.release(model)
        self._model, self._is_pinned = model, is_pinned
        return served

    def _rollback(self, reason: str) -> Served:
        served = self._served
        if served is None or not self._before:
            raise ModelRefusedError(
                'rollback: no other version has served since the start. Load one by number.'
            )
        self._served = previous = self._before.pop()
        self._model, self._is_pinned = previous.model, True
        self._mark(served.model, served.version, f'rolled back: {reason}')
        with contextlib.suppress(StoreError, ModelRefusedError):  # What we hold is sound.
            self._store.activate(previous.model, previous.version)
        self._tell('rolled_back', previous, reason)
        return previous

    def _checked(self, model: str, version: int) -> Served:
        try:
            return load_version(self._store, model, version, self._contract, self._probes)
        except ModelRefusedError as error:
            self._mark(model, version, str(error))
            self._on_change(Change('refused', model, version, reason=str(error)))
            raise

    def _serve(self, served: Served) -> None:
        if self._served is not None:
            self._before = [*self._before[-4:], self._served]
        self._served = served
        self._tell('serving', served, '')

    def _mark(self, model: str, version: int, reason: str) -> None:
        self._refused.add((model, version))
        with contextlib.suppress(StoreError):  # A read-only store: remembered here.
            self._store.refuse(model, version, reason)

    def _tell(self, state: Any, served: Served, reason: str) -> None:
        self._on_change(
            Change(
                state,
                served.model,
                served.version,
                served.update,
                served.environment_step,
                served.sha256,
                reason,
            )
        )
