"""Which NSCA version perceives: a newer one is tried aside and takes over between two moments.

A version that is damaged, of another phase or not finite is refused in the store, so that no node
takes it again. One that is sound and yet does not fit this node's senses is refused here alone.
Either way the one before serves on.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from robot_learning.errors import ConfigError, ModelRefusedError, RobotLearningError, StoreError
from robot_learning.models.nsca.published import Published, load_published
from robot_learning.serving.perception import Senses, WorldPerception
from robot_learning.serving.succession import Change, VersionSource


class Perceiving(NamedTuple):
    """A version at work."""

    world: WorldPerception
    version: int


class PerceptionSuccession:
    """Follows the version that serves.

    One thread, that of the senses, calls `take`; loading and trying happen on a thread of the
    succession's own, and the change is the assignment of one reference.

    Args:
        store: where versions come from.
        model: its name.
        pinned: version to stay with; None: the one that serves, and newer ones after it.
        check: raises ConfigError where a version does not fit this node.
        on_change: told what happens to versions, on the loading thread after the first.
        poll_s: time between looks for a newer version without a notice.
    """

    def __init__(
        self,
        store: VersionSource,
        model: str,
        pinned: int | None,
        check: Callable[[Published], None],
        on_change: Callable[[Change], None] = lambda change: None,
        poll_s: float = 0.5,
    ):
        self.model = model
        self._store, self._pinned, self._check = store, pinned, check
        self._on_change, self._poll_s = on_change, poll_s
        self._now: Perceiving | None = None
        self._next: Perceiving | None = None
        self._newest: int | None = None  # Version that was loaded last.
        self._unfit: set[int] = set()
        self._senses: Senses | None = None  # What a new version is tried on.
        self._wake, self._is_ending = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name='perception_loader', daemon=True)

    def begin(self) -> None:
        """Load the first good version, if there is one, and follow the store.

        Raises:
            ModelRefusedError: the version that was named is damaged, or not of phase full.
            ConfigError: the version does not fit this node.
            StoreError: there is none of the number that was named.
        """
        if self._pinned is not None:
            self._load(self._pinned)
            return
        with contextlib.suppress(StoreError):  # A store that is not there yet may come.
            while self._newest is None and self._has_other():
                self._follow()
        self._thread.start()

    def take(self) -> Perceiving | None:
        """Return the version that perceives from now on; None: there is none yet."""
        waiting = self._next
        if waiting is not None:
            self._now, self._next = waiting, None
        return self._now

    def tried_on(self, senses: Senses) -> None:
        """Keep what was sensed, to try the next version on."""
        self._senses = senses

    def notice(self, model: str) -> None:
        """Look at the store at once: somebody said that a version was published or refused."""
        if model == self.model:
            self._wake.set()

    def close(self) -> None:
        """End the loading thread."""
        self._is_ending = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def _work(self) -> None:
        while not self._is_ending:
            with contextlib.suppress(StoreError):  # Not there yet, or not readable now.
                self._follow()
            self._wake.wait(self._poll_s)
            self._wake.clear()

    def _has_other(self) -> bool:
        number = self._store.serving(self.model)
        return number is not None and number != self._newest and number not in self._unfit

    def _follow(self) -> None:
        """Load the version that serves; refuse it where it is unsound.

        Raises:
            ConfigError: it is the first one, and does not fit this node.
        """
        number = self._store.serving(self.model)
        if number is None or number == self._newest or number in self._unfit:
            return
        try:
            self._load(number)
        except ModelRefusedError as error:
            self._refuse(number, str(error))
            with contextlib.suppress(StoreError):  # A read-only store: remembered here.
                self._store.refuse(self.model, number, str(error))
        except ConfigError as error:
            self._refuse(number, str(error))
            if not self._thread.is_alive():
                raise
        except RobotLearningError as error:
            self._refuse(number, str(error))

    def _refuse(self, version: int, reason: str) -> None:
        self._unfit.add(version)
        self._on_change(Change('refused', self.model, version, reason=reason))

    def _load(self, number: int) -> None:
        where = f'{self.model}@{number}'
        tensors, manifest = self._store.load(self.model, number)
        published = load_published(tensors, manifest, where)
        world = WorldPerception(published)
        self._check(published)
        if self._senses is not None:
            _try(WorldPerception(published), self._senses, where)
        self._next, self._newest = Perceiving(world, number), number
        provenance: Any = manifest.get('provenance') or {}
        self._on_change(
            Change(
                'serving',
                self.model,
                number,
                int(provenance.get('update') or 0),
                int(provenance.get('environment_step') or 0),
                str(manifest['sha256']),
            )
        )


def _try(world: WorldPerception, senses: Senses, where: str) -> None:
    """Refuse a version whose state of what was sensed last is not finite.

    Raises:
        ModelRefusedError: says so.
        MessageError: what was sensed does not fit it.
    """
    state = world.observe(senses).state
    if not np.isfinite(state).all():
        raise ModelRefusedError(
            f'{where}: its state of what is sensed now holds '
            f'{int((~np.isfinite(state)).sum())} numbers that are not finite. Train anew.'
        )


def fits_body(published: Published, body: Mapping[str, int], has_camera: bool, where: str) -> None:
    """Refuse a version for other senses than a node has.

    Args:
        published: the version.
        body: numbers of each field that makes up the body; none: that sense stays absent.
        has_camera: whether there is a picture.
        where: the robot.

    Raises:
        ConfigError: it sees and there is no camera, or learned from another body.
    """
    if 'vision' in published.senses and not has_camera:
        raise ConfigError(
            f'{where}: has no picture of three colours, and {published.where} learned to see. '
            f'Choose another robot or version.'
        )
    size = published.config.proprioception_size
    found = sum(body.values())
    if body and found != size:
        raise ConfigError(
            f'body: {", ".join(body)} have {found} numbers, {published.where} learned from '
            f'{size}. Name the fields it learned from, or train on these.'
        )
