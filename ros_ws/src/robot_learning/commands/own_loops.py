"""Modes of `train` and `evaluate` whose phases have a loop of their own, and who does them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from robot_learning.commands.evaluate_aime import evaluate_aime
from robot_learning.commands.evaluate_code import ADAPTER, evaluate_code
from robot_learning.commands.evaluate_code import MODEL as CODE
from robot_learning.commands.evaluate_intent import evaluate_intent
from robot_learning.commands.evaluate_pairs import evaluate_pairs
from robot_learning.commands.train_aime import MODE as AIME
from robot_learning.commands.train_aime import PHASES as AIME_PHASES
from robot_learning.commands.train_aime import add_arguments as add_aime_arguments
from robot_learning.commands.train_aime import train_aime
from robot_learning.commands.train_code import train_code
from robot_learning.commands.train_intent import PHASE as INTENT
from robot_learning.commands.train_intent import add_arguments as add_intent_arguments
from robot_learning.commands.train_intent import train_intent
from robot_learning.commands.train_meta import PHASE as META
from robot_learning.commands.train_meta import train_meta
from robot_learning.commands.train_nsca import MODE as NSCA
from robot_learning.commands.train_nsca import PHASES as NSCA_PHASES
from robot_learning.commands.train_nsca import add_arguments as add_nsca_arguments
from robot_learning.commands.train_nsca import train_nsca
from robot_learning.commands.train_pairs import PHASE as PAIRS
from robot_learning.commands.train_pairs import train_pairs
from robot_learning.commands.train_vision_language import PHASE as VISION_LANGUAGE
from robot_learning.commands.train_vision_language import add_arguments as add_vision_arguments
from robot_learning.commands.train_vision_language import train_vision_language
from robot_learning.errors import ConfigError
from robot_learning.model_store import Array


class Version(NamedTuple):
    """A model version that is to be measured, and with what."""

    tensors: Mapping[str, Array]
    manifest: Mapping[str, Any]
    where: str  # NAME@VERSION
    options: argparse.Namespace  # Of `evaluate`.

    def data(self, what: str) -> list[Path]:
        """Return the data that --data names.

        Raises:
            ConfigError: it names none; `what` says what the version is, 'an intent model'.
        """
        paths: list[Path] = self.options.data
        if not paths:
            raise ConfigError(
                f'{self.where}: {what} is measured on recordings, none is named. Give --data PATH.'
            )
        return paths

    @property
    def pictures(self) -> Path | None:
        """Where pictures go: --pictures, else beside --json; None: none are drawn."""
        folder: Path | None = self.options.pictures
        if folder is None and self.options.json:
            folder = self.options.json.parent
        return folder


class OwnLoop(NamedTuple):
    """One kind of learning."""

    mode: str  # Of `train` and `evaluate`.
    phases: tuple[str, ...]  # What manifests of its versions name.
    key: str  # Of what `evaluate` finds, in its result.
    train: Callable[[argparse.Namespace], dict[str, Any]]  # Options of `train` -> its result.
    evaluate: Callable[[Version], dict[str, Any]]
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None  # Only of its mode.
    takes_teams: bool = False  # Learns in several processes, or on a GPU, where asked to.


def _evaluate_pairs(version: Version) -> dict[str, Any]:
    tensors, manifest, where, _ = version
    return evaluate_pairs(tensors, manifest, where, version.data('a classifier'))


def _evaluate_intent(version: Version) -> dict[str, Any]:
    tensors, manifest, where, _ = version
    data = version.data('an intent model')
    return evaluate_intent(tensors, manifest, where, data, version.pictures)


def _evaluate_code(version: Version) -> dict[str, Any]:
    return evaluate_code(version.tensors, version.manifest, version.data('a code model'))


def _evaluate_aime(version: Version) -> dict[str, Any]:
    tensors, manifest, where, options = version
    data = version.data('an AIME model')
    return evaluate_aime(tensors, manifest, where, data, version.pictures, options.robot)


def _evaluate_vision_language(version: Version) -> dict[str, Any]:
    from robot_learning.commands.evaluate_vision_language import evaluate_vision_language

    tensors, manifest, where, options = version
    return evaluate_vision_language(tensors, manifest, where, options.data)


def _evaluate_nsca(version: Version) -> dict[str, Any]:
    from robot_learning.commands.evaluate_nsca import evaluate_nsca  # Brings torch.

    return evaluate_nsca(version)


def _evaluate_meta(version: Version) -> dict[str, Any]:
    from robot_learning.commands.evaluate_meta import evaluate_meta  # Brings torch.

    tensors, manifest, where, options = version
    return evaluate_meta(tensors, manifest, where, version.data('a meta-learner'), options.robot)


OWN_LOOPS = (
    OwnLoop('supervised', (PAIRS,), 'labels', train_pairs, _evaluate_pairs),
    OwnLoop('intent', (INTENT,), 'intent', train_intent, _evaluate_intent, add_intent_arguments),
    OwnLoop('code', (CODE, ADAPTER), 'code', train_code, _evaluate_code),
    OwnLoop(AIME, AIME_PHASES, AIME, train_aime, _evaluate_aime, add_aime_arguments, True),
    OwnLoop(
        VISION_LANGUAGE,
        (VISION_LANGUAGE,),
        VISION_LANGUAGE,
        train_vision_language,
        _evaluate_vision_language,
        add_vision_arguments,
        True,
    ),
    OwnLoop(NSCA, NSCA_PHASES, NSCA, train_nsca, _evaluate_nsca, add_nsca_arguments, True),
    OwnLoop(META, (META,), META, train_meta, _evaluate_meta, takes_teams=True),
)


def modes() -> list[str]:
    """List the modes that consist of such loops only, in order."""
    return [loop.mode for loop in OWN_LOOPS if loop.mode != 'supervised']


def loop_for(mode: str, phase: str | None) -> OwnLoop | None:
    """Return the loop that --mode or --phase means; None: the phase needs none of its own.

    The phase of a mode of its own is that mode's to read: --mode nsca --phase vision.
    """
    for loop in OWN_LOOPS:
        if phase in loop.phases or (mode == loop.mode and mode in modes()):
            return loop
    return None


def loop_of_phase(phase: str | None) -> OwnLoop | None:
    """Return the loop whose versions name this phase in their manifests; None: none does."""
    return next((loop for loop in OWN_LOOPS if phase in loop.phases), None)
