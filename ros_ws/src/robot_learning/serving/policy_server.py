"""The policy that serves now: loaded and checked off the control thread, swapped between ticks."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT, Names
from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError, ModelRefusedError, RobotLearningError, StoreError
from robot_learning.serving.canary import CanaryConfig
from robot_learning.serving.exploration import Exploration
from robot_learning.serving.rollback import RollbackConfig, RollbackWatch
from robot_learning.serving.succession import Change, Succession, VersionSource
from robot_learning.serving.version_checks import Served
from robot_learning.version_history import VersionHistory

Array = np.ndarray[Any, Any]
_LIMITS = frozenset(('value', 'rate', 'acceleration'))  # Reasons of the gate a policy answers for.


@dataclass(frozen=True, config=STRICT)
class ServingConfig:
    """Which model acts, and how."""

    model_name: str = 'navigator'  # Name in the model store.
    version: Annotated[int, Field(ge=-1)] = -1  # Version to serve; -1: the newest good one.
    explore: bool = False  # Draw actions at random instead of the policy's mode.
    seed: Annotated[int, Field(ge=-1)] = -1  # Of exploration; -1: another one at every start.
    random_hold_steps: PositiveInt = 5  # Mean control steps that a random action is kept for.
    # Of noise from step to step; above 0 no likelihoods are known, which PPO needs.
    noise_correlation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    poll_s: PositiveFloat = 0.5  # Time between looks for a newer version without a notice.
    images: Names = ()  # Picture fields that versions may look at, camera,other.
    canary: CanaryConfig = CanaryConfig()
    rollback: RollbackConfig = RollbackConfig()


class Decision(NamedTuple):
    """What the policy wants to do, before the gate."""

    action: Array  # [A] float32, contract units.
    log_prob: float  # Nats; NaN: deterministic, correlated noise, or no policy drew it.
    model: str  # '' when no model acted.
    version: int  # -1 when no model acted.
    exploring: bool


class _Asked(NamedTuple):
    """What was decided on last, and by whom."""

    features: Array
    images: Mapping[str, Array] | None
    served: Served | None


class PolicyServer:
    """Acts with the newest good version and changes to newer ones between two decisions.

    One thread, the control thread, calls `act`, `review`, `start_episode` and `end_episode`.
    Loading and checking happen on a thread of the server's own (`Succession`), and the change is
    the assignment of one reference. A version that fails is refused in the store by name; the
    one before serves on.
    """

    def __init__(
        self,
        store: VersionSource,
        contract: RobotContract,
        config: ServingConfig,
        on_change: Callable[[Change], None] = lambda change: None,
        history: VersionHistory | None = None,
    ):
        """Make a server that does nothing until `start`.

        Args:
            store: where versions come from.
            contract: of the robot.
            config: which model, and how.
            on_change: told what happens to versions, on the loading thread.
            history: where that is written as well.

        Raises:
            ConfigError: a field of `images` is no picture of the contract.
        """
        self._config = config
        self.images = _checked_images(config.images, contract)  # `act` needs them.
        self._stop = contract.action_stop
        self._exploration = Exploration(
            contract,
            config.random_hold_steps,
            config.noise_correlation,
            None if config.seed < 0 else config.seed,
        )
        self._succession = Succession(
            store,
            contract,
            config.model_name,
            config.version,
            config.canary,
            config.rollback.hold_ticks,
            on_change,
            history,
            config.images,
        )
        self._watch = RollbackWatch(config.rollback)
        self._num_not_finite: dict[tuple[str, int], int] = {}
        self._last: _Asked | None = None  # Not reviewed yet.
        self._remembering: Served | None = None  # Whose memory is that of this episode.
        self._complaint: tuple[Served, str] | None = None  # Against a version that was chosen.
        self._trouble = ''  # What last went wrong on the loading thread without explanation.
        self._is_follow_asked = False
        self._requests: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name='policy_loader', daemon=True)

    # --- the control thread ----------------------------------------------------------------

    def act(
        self,
        features: Array,
        explore: bool | None = None,
        images: Mapping[str, Array] | None = None,
    ) -> Decision:
        """Decide on one observation [D]; without a version yet: at random, or stop.

        A version that begins to act in the middle of an episode remembers nothing of it.

        Args:
            features: as `FeatureBuilder` gives them.
            explore: overrides the configuration.
            images: pictures of the configuration's `images`, by field.
        """
        explore = self._config.explore if explore is None else explore
        self._succession.num_decisions += 1
        served = self._succession.acting
        self._last = _Asked(features, images, served)
        if served is None:
            action = self._exploration.action() if explore else self._stop.copy()
            return Decision(action, math.nan, '', -1, explore)
        if served is not self._remembering:
            served.policy.reset()
            self._remembering = served
        noise = self._exploration.noise() if explore else None
        with np.errstate(all='ignore'):  # What overflows shows in the result.
            action, log_prob = served.policy.act(features, noise, images)
        if self._exploration.is_correlated:
            log_prob = math.nan
        if not math.isfinite(sum(action.tolist())):
            served.policy.reset()  # What it remembers is not finite either.
            self._on_not_finite(served, features, images, action)
        return Decision(action, log_prob, served.model, served.version, explore)

    def review(
        self, decision: Decision, reasons: Collection[str], executed: Array | None = None
    ) -> None:
        """Learn from a decision after its command was sent: canary and watch.

        Args:
            decision: what the command came from; a person's has another version than ours.
            reasons: why the gate altered it.
            executed: [A] the command itself; None: that of the decision.
        """
        if self._last is None:
            return
        (features, images, served), self._last = self._last, None
        if served is not None and executed is not None:
            served.policy.executed(executed)
        canary = self._succession.canary
        if canary is not None and not canary.is_over:
            canary.observe(features, images, executed)
            if canary.is_over:
                self._requests.put(self._succession.end_canary)
        if served is None or decision.version != served.version:
            self._watch.on_command(None, False)
            return
        is_altered = not _LIMITS.isdisjoint(reasons)
        self._complain(self._watch.on_command((served.model, served.version), is_altered))

    def start_episode(self) -> None:
        """Forget what policy and exploration kept, and an episode that did not end."""
        self._remembering = None
        canary = self._succession.canary
        if canary is not None:
            canary.start_episode()
        self._exploration.start_episode()
        self._watch.on_episode_end(None)

    def end_episode(self, success: bool | None) -> None:
        """Count an episode for the version that drove it; None: it says nothing about it."""
        self._complain(self._watch.on_episode_end(success))

    def _on_not_finite(
        self,
        served: Served,
        features: Array,
        images: Mapping[str, Array] | None,
        action: Array,
    ) -> None:
        """Condemn the version, unless the one before it fails on the same observation."""
        other = self._succession.behind(served)
        if not self._config.rollback.enabled:
            return
        with np.errstate(all='ignore'):
            if other is not None and not _is_finite(other, features, images):
                return
        key = served.model, served.version
        count = self._num_not_finite[key] = self._num_not_finite.get(key, 0) + 1
        if count >= self._config.rollback.non_finite:
            self._condemn(served, f'answered {action.tolist()}, expected finite actions')

    def _complain(self, problem: str) -> None:
        served = self._succession.acting
        if not problem or not self._config.rollback.enabled or served is None:
            return
        if (served.model, served.version) != self._watch.key:
            return  # Another one serves by now.
        if self._succession.is_chosen:
            self._complaint = served, problem
        else:
            self._condemn(served, problem)

    def _condemn(self, served: Served, problem: str) -> None:
        self._succession.condemn(served)  # From the next decision on another one acts.
        self._watch.condemn((served.model, served.version))
        reason = f'{served.model}@{served.version}: {problem}'
        self._requests.put(lambda: self._succession.withdraw(served, reason))

    # --- any thread ------------------------------------------------------------------------

    @property
    def served(self) -> Served | None:
        """The version that acts now; None before the first."""
        return self._succession.acting

    @property
    def candidate(self) -> str:
        """What is being tried in shadow and how far it is; '' if nothing is."""
        canary = self._succession.canary
        if canary is None:
            return ''
        name = f'{canary.candidate.model}@{canary.candidate.version}'
        return f'{name}: {canary.num_ticks} of {self._config.canary.ticks} steps in shadow'

    @property
    def warning(self) -> str:
        """What a person should know about the version that serves; '' if nothing."""
        if self._trouble:
            return self._trouble
        if self._succession.last_rollback:
            return self._succession.last_rollback
        if self._complaint is None or self._complaint[0] is not self.served:
            return ''
        return f'{self._complaint[1]}; it serves on because it was chosen by name'

    def start(self) -> None:
        """Begin to follow the store."""
        self._thread.start()

    def close(self) -> None:
        """End the loading thread; the served version keeps acting."""
        self._requests.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def notice(self, model: str) -> None:
        """Look at the store at once: somebody said that a version was published or refused."""
        if model == self._succession.model and not self._is_follow_asked:
            self._is_follow_asked = True  # However many come, one look is enough.
            self._requests.put(self._follow)

    def load(self, model: str = '', version: int = -1) -> Future[Served]:
        """Serve a version from now on; -1: the newest good one, and follow newer ones.

        A version named by number, or of another model, serves without canary. The future gives
        what serves then; it raises ModelRefusedError when the version fails or was refused, and
        the old one serves on.
        """
        return self._ask(lambda: self._succession.load(model or self._succession.model, version))

    def rollback(self, reason: str) -> Future[Served]:
        """Refuse the version that serves, go back to the one before and stay there.

        The future raises ModelRefusedError when there is none.
        """
        return self._ask(lambda: self._succession.rollback(reason or 'rolled back by request'))

    def _ask(self, work: Callable[[], Served]) -> Future[Served]:
        future: Future[Served] = Future()

        def answer() -> None:
            try:
                future.set_result(work())
            except RobotLearningError as error:  # Goes to whoever asked, as does the next.
                future.set_exception(error)
            except Exception as error:
                future.set_exception(ModelRefusedError(_fault(error)))

        self._requests.put(answer)
        return future

    # --- the loading thread ----------------------------------------------------------------

    def _work(self) -> None:
        work: Callable[[], None] | None = self._succession.begin
        while work is not None:
            self._do(work)
            try:
                work = self._requests.get(timeout=self._config.poll_s)
            except queue.Empty:
                work = self._follow

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except StoreError:  # A store that is not there yet may come.
            pass
        except Exception as error:  # Without this thread no version would ever change again.
            self._trouble = _fault(error)
        else:
            self._trouble = ''

    def _follow(self) -> None:
        self._is_follow_asked = False
        self._succession.follow()


def _fault(error: Exception) -> str:
    return (
        f'versions cannot be changed ({type(error).__name__}: {error}). Look at the model store '
        f'and report this fault'
    )


def _checked_images(names: tuple[str, ...], contract: RobotContract) -> tuple[str, ...]:
    pictures = [n for n, f in contract.observation.items() if len(f.shape) == 3]
    unknown = [name for name in names if name not in pictures]
    if unknown:
        raise ConfigError(
            f'images: {", ".join(unknown)} is no picture of {contract.robot}, expected one of: '
            f'{", ".join(pictures) or "none"}. Correct the setting.'
        )
    return names


def _is_finite(served: Served, features: Array, images: Mapping[str, Array] | None) -> bool:
    """Tell whether a version, with an empty memory, answers an observation soundly."""
    return bool(np.isfinite(served.policy.fork().act(features, images=images).action).all())
