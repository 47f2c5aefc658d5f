"""Which version serves, which one is tried, and which one comes back when it fails.

    newest good version -> load checks -> canary -> serves -> watched -> the last good one again

A version that fails at any of these is refused in the store with the reason, so that no node
takes it again. Named by a person (a number, a pin or another model), a version serves without
canary: the person has decided. So does the first one: there is nothing to compare it with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.errors import ModelRefusedError, StoreError
from robot_learning.serving.canary import Canary, CanaryConfig
from robot_learning.serving.version_checks import (
    Served,
    WeightSource,
    load_version,
    random_features,
)
from robot_learning.version_history import VersionHistory

Array = np.ndarray[Any, Any]
_NUM_REMEMBERED = 5  # Versions kept in memory to go back to.


class VersionSource(WeightSource, Protocol):
    """The part of the model store that serving needs."""

    def versions(self, name: str) -> list[int]:
        """Return all complete versions, oldest first."""

    def serving(self, name: str) -> int | None:
        """Return the version to serve: the pinned one, else the newest that nobody refused."""

    def newest_good(self, name: str) -> int | None:
        """Return the newest version that nobody refused, None if there is none."""

    def active(self, name: str) -> int | None:
        """Return the pinned version, None if serving follows the newest."""

    def refuse(self, name: str, version: int, reason: str) -> None:
        """Mark a version as not to be served."""

    def refusal(self, name: str, version: int) -> str | None:
        """Return why a version was refused, None if it was not."""

    def activate(self, name: str, version: int) -> None:
        """Pin a version for everyone."""

    def release(self, name: str) -> None:
        """End the pin."""


class Change(NamedTuple):
    """What happened to a version, for ModelVersion notices and the history."""

    state: Literal['canary', 'serving', 'refused', 'rolled_back']
    model: str
    version: int
    update: int = 0
    environment_step: int = 0
    sha256: str = ''
    reason: str = ''


class Succession:
    """Chooses versions. One thread, the loading one, calls its methods.

    The control thread reads `acting` and `canary`, and calls `condemn`; each is one reference or
    one set entry, so neither waits for the other.
    """

    def __init__(
        self,
        store: VersionSource,
        contract: RobotContract,
        model: str,
        version: int,
        canary: CanaryConfig,
        hold_ticks: int,
        on_change: Callable[[Change], None],
        history: VersionHistory | None = None,
        images: tuple[str, ...] = (),
    ):
        self.canary: Canary | None = None
        self.num_decisions = 0  # Written by the control thread.
        self.is_chosen = False  # A person named the version that serves.
        self.last_rollback = ''  # Why serving went back; '' once a newer version serves.
        self._store = store
        self._contract = contract
        self._model = model
        self._first_version = version
        self._is_pinned = version >= 0  # Do not follow newer versions.
        self._canary_config = canary
        self._hold_ticks = hold_ticks
        self._on_change = on_change
        self._history = history
        self._images = images
        self._probes = random_features(contract)
        self._served: Served | None = None
        self._before: tuple[Served, ...] = ()  # What served earlier, newest last.
        self._condemned: set[tuple[str, int]] = set()
        self._refused: set[tuple[str, int]] = set()  # That a read-only store does not remember.
        self._held_until = 0  # In decisions: no newer version before.
        self._floor = 0  # Versions up to this one are not followed: one of them was withdrawn.

    # --- any thread ------------------------------------------------------------------------

    @property
    def model(self) -> str:
        """Name of the model whose versions are followed."""
        return self._model

    @property
    def acting(self) -> Served | None:
        """The version that acts now: the last one that nothing is known against."""
        served = self._served  # Read once: the loading thread may replace it at any moment.
        if served is None or _key(served) not in self._condemned:
            return served
        return self.behind(served)

    def behind(self, served: Served) -> Served | None:
        """Return the version that would act if `served` were condemned."""
        for candidate in reversed(self._before):
            if _key(candidate) not in self._condemned and _key(candidate) != _key(served):
                return candidate
        return None

    def condemn(self, served: Served) -> None:
        """Let a version act no more, from the next decision on; `withdraw` does the rest."""
        self._condemned.add(_key(served))

    # --- the loading thread ----------------------------------------------------------------

    def begin(self) -> None:
        """Serve the version configured, else what served last, and follow newer ones."""
        if self._first_version >= 0:
            with contextlib.suppress(ModelRefusedError):  # Told by _checked.
                first = self._checked(self._model, self._first_version)
                self._serve(first, is_chosen=True)
            return
        if self._canary_config.ticks and self._store.active(self._model) is None:
            proven = next(self._proven(), None)
            if proven is not None:
                self._serve(proven)
        self.follow()

    def follow(self) -> None:
        """Try what the store says is to be served, unless somebody asked for a version."""
        self._leave_refused()
        if self._has_pin():  # A person has decided: there is nothing to try any more.
            self.canary = None
        while not self._is_pinned and self.canary is None:
            served, wanted = self.acting, self._store.serving(self._model)
            if wanted is None or self._refusal(self._model, wanted) is not None:
                return
            is_chosen = self._store.active(self._model) == wanted
            if served is not None and _key(served) == (self._model, wanted):
                self.is_chosen = is_chosen
                return
            if served is not None and not is_chosen and self._must_wait(wanted):
                return
            with contextlib.suppress(ModelRefusedError):  # Told by _checked; look for the next.
                self._try(self._checked(self._model, wanted), is_chosen)

    def load(self, model: str, version: int) -> Served:
        """Serve a version from now on; -1: try the newest good one, and follow newer ones.

        Returns:
            The version that serves now; with -1 that is still the one before while the newest
            is in its canary.

        Raises:
            ModelRefusedError: the version failed or was refused; the old one serves on.
        """
        is_pinned = version >= 0
        if not is_pinned:
            newest = self._store.newest_good(model)
            if newest is None:
                raise ModelRefusedError(
                    f'{model}: has no good version. Train one or choose another model.'
                )
            version = newest
        acting = self.acting
        if acting is None or is_pinned or acting.model != model:
            if acting is None or _key(acting) != (model, version):
                self._serve(self._checked(model, version))
            self.canary = None
            self.is_chosen = is_pinned
        if not is_pinned:
            self._store.release(model)
            self._held_until, self._floor, self.is_chosen = 0, 0, False
        self._model, self._is_pinned = model, is_pinned
        self.follow()
        acting = self.acting
        assert acting is not None, 'one was served above if there was none'
        return acting

    def rollback(self, reason: str) -> Served:
        """Refuse the version that serves, go back to the one before and stay there.

        Raises:
            ModelRefusedError: there is none.
        """
        self._forget_refused()
        served = self.acting
        previous = None if served is None else self._last_good(served)
        if served is None or previous is None:
            raise ModelRefusedError('rollback: no other version has served. Load one by number.')
        self._is_pinned = self.is_chosen = True
        self._go_back(served, previous, reason)
        with contextlib.suppress(StoreError, ModelRefusedError):  # What we hold is sound.
            self._store.activate(previous.model, previous.version)
        return previous

    def withdraw(self, served: Served, reason: str) -> None:
        """Refuse a version for what it did, go back to the last good one and go on from there.

        Newer versions are followed again after a while. Without a good one none acts.
        """
        self._withdraw(served, reason)
        self.follow()

    def end_canary(self) -> None:
        """Serve the candidate of a canary that is over, or refuse it; then look further."""
        canary = self.canary
        if canary is None or not canary.is_over:
            return
        self.canary = None
        report, candidate = canary.report(), canary.candidate
        if report.problem:
            self._refuse(candidate, f'canary: {report.problem}')
        elif self._refusal(*_key(candidate)) is None and not self._has_pin():  # Since it began.
            self._serve(candidate, f'canary passed: {report.summary}')
        self.follow()

    def _try(self, candidate: Served, is_chosen: bool) -> None:
        serving = self.acting
        if serving is None or is_chosen or not self._canary_config.ticks:
            self._serve(candidate, is_chosen=is_chosen)
            return
        reason = (
            f'in shadow of {serving.model}@{serving.version} for '
            f'{self._canary_config.ticks} control steps'
        )
        self._tell('canary', candidate, reason)
        self.canary = Canary(candidate, serving, self._contract, self._canary_config)

    def _has_pin(self) -> bool:
        return not self._is_pinned and self._store.active(self._model) is not None

    def _must_wait(self, wanted: int) -> bool:
        return wanted <= self._floor or self.num_decisions < self._held_until

    def _leave_refused(self) -> None:
        """Go back when somebody else refused what serves here or is being tried."""
        canary = self.canary
        if canary is not None and self._refusal(*_key(canary.candidate)) is not None:
            self.canary = None
        self._forget_refused()
        served = self.acting
        if served is not None:
            reason = self._store.refusal(*_key(served))
            if reason is not None:
                self._withdraw(served, reason, is_known=True)

    def _forget_refused(self) -> None:
        """Do not go back to what has been refused since it served, by another node for example."""
        good = (served for served in self._before if self._refusal(*_key(served)) is None)
        self._before = tuple(good)

    def _withdraw(self, served: Served, reason: str, is_known: bool = False) -> None:
        self.condemn(served)
        self._forget_refused()
        if self._served is None or _key(self._served) != _key(served):
            self._before = tuple(s for s in self._before if _key(s) != _key(served))
            self._refuse(served, f'rolled back: {reason}')
            self._condemned.discard(_key(served))
            return
        self._go_back(served, self._last_good(served), reason, is_known)
        self._is_pinned = self.is_chosen = False
        with contextlib.suppress(StoreError):
            if self._store.active(served.model) == served.version:
                self._store.release(served.model)

    def _go_back(
        self, bad: Served, previous: Served | None, reason: str, is_known: bool = False
    ) -> None:
        """Let `previous` act at once; then say so and mark the bad one."""
        self.condemn(bad)
        self.canary = None
        self._before = tuple(s for s in self._before if _key(s) != _key(bad) and s is not previous)
        self._served = previous
        self._held_until = self.num_decisions + self._hold_ticks
        self.last_rollback = f'{bad.model}@{bad.version} was rolled back: {reason}'
        if not is_known:
            self._refuse(bad, f'rolled back: {reason}')
        self._condemned.discard(_key(bad))  # The store, or _refused, knows it now.
        if previous is not None:
            self._floor = bad.version if bad.model == previous.model else 0
            self._model = previous.model
            self._tell('rolled_back', previous, reason)

    def _last_good(self, bad: Served) -> Served | None:
        """Return the version to go back to: of this run, else one that served before it."""
        return self.behind(bad) or next(
            (served for served in self._proven() if _key(served) != _key(bad)), None
        )

    def _proven(self) -> Iterator[Served]:
        """Load the versions that the history says have served, the last one first."""
        if self._history is None:
            return
        with contextlib.suppress(StoreError):
            present = self._store.versions(self._model)
            for version in reversed(self._history.served(self._model)):
                key = (self._model, version)
                if version in present and self._refusal(*key) is None:
                    with contextlib.suppress(ModelRefusedError):  # Told by _checked.
                        yield self._checked(*key)

    def _checked(self, model: str, version: int) -> Served:
        reason = self._refusal(model, version)
        if reason is not None:
            self._on_change(Change('refused', model, version, reason=reason))
            raise ModelRefusedError(
                f'{model}@{version}: was refused: {reason} Choose another version, or lift the '
                f'refusal with "models pardon {model}@{version}".'
            )
        try:
            return load_version(
                self._store, model, version, self._contract, self._probes, self._images
            )
        except ModelRefusedError as error:
            self._mark(model, version, str(error))
            self._report(Change('refused', model, version, reason=str(error)))
            raise

    def _serve(self, served: Served, note: str = '', is_chosen: bool = False) -> None:
        acting = self.acting
        if acting is not None:
            self._before = (*self._before[1 - _NUM_REMEMBERED :], acting)
        self._served = served
        self.is_chosen = is_chosen
        self.canary = None
        self.last_rollback = ''
        self._tell('serving', served, note)

    def _refuse(self, served: Served, reason: str) -> None:
        self._mark(served.model, served.version, reason)
        self._tell('refused', served, reason)

    def _mark(self, model: str, version: int, reason: str) -> None:
        try:
            self._store.refuse(model, version, reason)
        except StoreError:  # A read-only store: remembered here.
            self._refused.add((model, version))

    def _refusal(self, model: str, version: int) -> str | None:
        if (model, version) in self._refused:
            return 'it failed here before.'
        if (model, version) in self._condemned:  # Not in the store yet.
            return 'it has just failed here.'
        return self._store.refusal(model, version)

    def _tell(self, state: Any, served: Served, reason: str) -> None:
        self._report(
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

    def _report(self, change: Change) -> None:
        if self._history is not None:
            with contextlib.suppress(StoreError):  # A read-only store has no history.
                self._history.append(change.model, change.version, change.state, change.reason)
        self._on_change(change)


def _key(served: Served) -> tuple[str, int]:
    return served.model, served.version
