"""A published intent model: what a command means, how sure that is, and several steps at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from robot_learning import config
from robot_learning.errors import CommandError, ConfigError, ModelRefusedError
from robot_learning.language import commands
from robot_learning.language.intent_scores import OUT_OF_SCOPE_NAMES
from robot_learning.language.intents import INTENTS, OUT_OF_SCOPE, SLOT_WORDS, Intent
from robot_learning.language.skills import Value
from robot_learning.language.slot_values import value_of
from robot_learning.language.tags import Span, spans_of
from robot_learning.language.tokens import tokens
from robot_learning.model_files import ModelFileRules
from robot_learning.model_store import ModelStore
from robot_learning.serving.intent_network import IntentNetwork, IntentSpec
from robot_learning.serving.policy import tensor_problems
from robot_learning.serving.text_network import softmax

Array = np.ndarray[Any, Any]
PRETRAINED = Path(__file__).resolve().parent.parent / 'pretrained'  # A model store.
_PRONOUN = re.compile(r"\b(?:it|that|this|them|those|these|one)\b(?!\s*'?s\b)")
_NEGATED = re.compile(r"(?:(?:please|robot|hey|ok|now)\W+)*(?:don't|dont|do not|never)\b")
_FROM = re.compile(r'\bfrom (?:the |my |your )?$')
_FILLERS = re.compile(r'(?:(?:the|a|an|my|your|that|this|it|me|here|there|to|in|at|of)\b\W*)*')
_SURE_OF_STRANGE = 0.5  # Of words that mean no value, to be taken for a slot at all.
_OBJECT_SLOTS = ('object', 'color', 'size')


class Prediction(NamedTuple):
    """What one command was taken for."""

    name: str  # `out_of_scope` also where the model is not sure of anything.
    slots: Mapping[str, Value]  # Values of the schema; of other schemas the words.
    confidence: float  # Calibrated, that `guess` is right, 0 to 1.
    slot_confidence: Mapping[str, float]  # Of each slot: its least sure word, 0 to 1.
    guess: str  # The most likely intent, sure or not.
    spans: tuple[Span, ...]  # Where slots stand in the lower-case text.
    text: str
    unknown: Mapping[str, str] = MappingProxyType({})  # Words of slots that mean no value.

    @property
    def intent(self) -> Intent:
        """As the planner takes it."""
        return Intent(self.name, self.slots, self.confidence, self.text)


class IntentModel:
    """One version. Build it with `build_intent_model` or `load`, which check it."""

    def __init__(self, spec: IntentSpec, tensors: Mapping[str, Array]):
        self.spec = spec
        self._network = IntentNetwork(spec, tensors)
        self._is_robots = set(spec.intents) <= set(INTENTS)

    def predict(self, text: str) -> Prediction:
        """Return what one command means; upper case counts as lower case."""
        lowered = text.lower()
        intent_logits, tag_logits = self._network(lowered)
        shares = softmax(intent_logits / np.float32(self.spec.temperature))
        best = int(shares.argmax())
        confidence, guess = float(shares[best]), self.spec.intents[best]
        is_rejected = (
            guess in OUT_OF_SCOPE_NAMES
            or confidence < self.spec.min_confidence
            or (self._is_robots and guess != 'stop' and _NEGATED.match(lowered) is not None)
        )
        name = OUT_OF_SCOPE if is_rejected else guess
        tag_shares = softmax(tag_logits)
        words = tokens(lowered)[: self.spec.max_tokens]
        tags = [self.spec.tags[tag] for tag in tag_shares.argmax(-1)][: len(words)]
        spans = spans_of(words, tags)
        slots: dict[str, Value] = {}
        sure: dict[str, float] = {}
        unknown: dict[str, str] = {}
        for start, end, slot in spans if name == guess else ():
            if not self._takes(name, slot) or slot in slots:
                continue
            if self._is_robots and slot == 'place' and _FROM.search(lowered[:start]):
                continue  # Where a thing is now, not where it shall be.
            places = [i for i, word in enumerate(words) if start <= word.start < end]
            value = self._value(name, slot, lowered[start:end])
            if value is not None:
                slots[slot] = value
                sure[slot] = float(tag_shares[places].max(-1).min())
            elif (
                tag_shares[places].max(-1).min() > _SURE_OF_STRANGE
                and _FILLERS.fullmatch(lowered, start, end) is None
            ):
                unknown[slot] = lowered[start:end]
        unknown = {slot: said for slot, said in unknown.items() if slot not in slots}
        return Prediction(name, slots, confidence, sure, guess, spans, text, unknown)

    def understand(self, text: str) -> list[Intent]:
        """Return what a command of one or more steps means, one intent per step.

        A step that speaks of `it` means the object of the step before. What is brought and was
        picked up by an earlier step is held already, so that it is only put down there.

        Raises:
            CommandError: it is empty, too long, not written in plain letters, or names something
                that nobody would ask for again: a place, color or size that is not known.
        """
        parts = commands.clauses(commands.prepared(text))
        found = [self.predict(part) for part in parts]
        for each in found:
            _refuse_unknown(each)
        return resolved([each.intent for each in found])

    @staticmethod
    def _takes(name: str, slot: str) -> bool:
        kind = INTENTS.get(name)
        return kind is None or slot in (*kind.needed, *kind.possible)

    @staticmethod
    def _value(name: str, slot: str, words: str) -> Value | None:
        return value_of(slot, words) if name in INTENTS else words


def resolved(intents: Sequence[Intent]) -> list[Intent]:
    """Return the steps with what `it` means in them filled in from the steps before."""
    found: list[Intent] = []
    spoken_of: dict[str, Value] = {}
    is_held = False
    for intent in intents:
        kind = INTENTS.get(intent.name)
        takes_object = kind is not None and 'object' in (*kind.needed, *kind.possible)
        is_pronoun = takes_object and 'object' not in intent.slots and _says_it(intent.text)
        step = intent
        is_carried = intent.name == 'go_to_place' and _says_it(intent.text)  # 'Carry it to ...'
        if is_held and (is_carried or (is_pronoun and intent.name == 'bring')):
            step = intent._replace(
                name='put_down', slots={'place': intent.slots.get('place', 'home')}
            )
        elif is_pronoun and spoken_of:
            step = intent._replace(slots={**spoken_of, **intent.slots})
        if takes_object and 'object' in step.slots:
            spoken_of = {slot: step.slots[slot] for slot in _OBJECT_SLOTS if slot in step.slots}
        if step.name in ('pick_up', 'put_down', 'bring'):
            is_held = step.name == 'pick_up'
        found.append(step)
    return found


def build_intent_model(
    tensors: Mapping[str, Array], manifest: Mapping[str, Any], where: str
) -> IntentModel:
    """Make the model of one version after checking that its parts fit together.

    Args:
        tensors: weights by name.
        manifest: of the version; its `policy` block says what they are.
        where: what to call the version in errors, 'intent@1'.

    Raises:
        ModelRefusedError: names what is missing, wrong or not finite.
    """
    block = manifest.get('policy')
    found = block.get('kind') if isinstance(block, Mapping) else None
    if not isinstance(block, Mapping) or found != 'intent_transformer':
        raise ModelRefusedError(
            f"{where}: kind of model is {found!r}, expected 'intent_transformer'. Choose a "
            f'version that train --mode intent published.'
        )
    try:
        spec = config.from_mapping(IntentSpec, block, f'{where}: manifest: policy')
    except ConfigError as error:
        raise ModelRefusedError(str(error)) from error
    problems = tensor_problems(spec.tensor_shapes(), tensors)
    for name, labels in (('intents', spec.intents), ('tags', spec.tags), ('words', spec.words)):
        if len(set(labels)) != len(labels):
            problems.append(f'{name} hold {len(labels) - len(set(labels))} of their names twice')
    if spec.width % spec.heads:
        problems.append(f'width is {spec.width}, expected a multiple of {spec.heads} heads')
    if problems:
        raise ModelRefusedError(f'{where}: {"; ".join(problems)}. Publish it anew.')
    return IntentModel(spec, tensors)


def load(
    models: Path = PRETRAINED,
    name: str = 'intent',
    version: int | None = None,
    rules: ModelFileRules | None = None,
) -> IntentModel:
    """Read a version of a model store; without arguments the one that ships with the project.

    Args:
        models: folder of the store.
        name: model.
        version: None is the version that serves.
        rules: what a version must fulfil.

    Raises:
        ModelRefusedError: it is damaged, or no intent model.
        StoreError: there is no such version.
    """
    store = ModelStore(models, rules)
    number = store.serving(name) if version is None else version
    tensors, manifest = store.load(name, number)
    return build_intent_model(tensors, manifest, f'{name}@{manifest.get("version")}')


def load_folder(folder: Path, rules: ModelFileRules | None = None) -> IntentModel:
    """Read the version that lies in a folder `<models>/<name>/<version>`.

    Raises:
        ModelRefusedError: it is damaged, or no intent model.
        StoreError: the folder is none of a model store.
    """
    path = folder.resolve()
    if not path.name.isdecimal():
        raise ModelRefusedError(
            f'{folder}: is named {path.name!r}, expected the number of a version such as 000001. '
            f'Name the folder of a version in a model store.'
        )
    return load(path.parent.parent, path.parent.name, int(path.name), rules)


def _refuse_unknown(found: Prediction) -> None:
    """Refuse what would be done without a part of what was said; needed slots are asked for."""
    for slot, words in found.unknown.items():
        if slot not in INTENTS[found.name].needed and slot in SLOT_WORDS:
            raise CommandError(
                f'command: {words!r} is no {slot} that I know. Say one of '
                f'{", ".join(SLOT_WORDS[slot])}.'
            )


def _says_it(text: str) -> bool:
    return _PRONOUN.search(text) is not None
