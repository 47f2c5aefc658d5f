"""A published dual encoder: where in a picture the thing is that a phrase names, and how sure.

A picture is looked at once; any number of phrases are then held against what was seen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from robot_learning import config
from robot_learning.errors import CommandError, ConfigError, ModelRefusedError
from robot_learning.model_files import ModelFileRules
from robot_learning.model_store import ModelStore
from robot_learning.models.picture_scaling import scaled, scaled_width
from robot_learning.serving.clip_grounding import ClipGroundingNetwork, ClipGroundingSpec
from robot_learning.serving.grounding_network import (
    GroundingNetwork,
    GroundingSpec,
    ImageFeatures,
)
from robot_learning.serving.policy import tensor_problems
from robot_learning.serving.text_network import softmax

Array = np.ndarray[Any, Any]
PRETRAINED = Path(__file__).resolve().parent.parent / 'pretrained'  # A model store.
NAME = 'grounding'
KINDS = ('dual_encoder', 'dual_encoder_clip')
_KNOWN_TEXTS = 256  # Kept, so that a phrase that is asked for again and again is read once.
_LONGEST = 2000  # Characters of a text.


class Look(NamedTuple):
    """What was seen in one picture."""

    features: ImageFeatures
    height: int  # Of the picture as it came, pixels.
    width: int


class Found(NamedTuple):
    """Where the thing is that a phrase names; pixels of the picture as it came."""

    phrase: str
    confidence: float  # Calibrated, that the place is right; low where the thing is not there.
    x: float  # Of the box's centre, from the left edge.
    y: float  # From the upper edge.
    width: float
    height: float


class _Network(Protocol):
    @property
    def size_step(self) -> int: ...

    def see(self, image: Array) -> ImageFeatures: ...

    def read(self, text: str) -> Array: ...

    def text_embedding(self, text: Array) -> Array: ...

    def ground(self, features: ImageFeatures, text: Array) -> Array: ...


class GroundingModel:
    """One version. Build it with `build_grounding_model` or `load`, which check it."""

    def __init__(self, spec: GroundingSpec | ClipGroundingSpec, network: _Network):
        self.spec = spec
        self._network = network
        self._texts: OrderedDict[str, Array] = OrderedDict()

    def look(self, image: Array) -> Look:
        """Look at a picture [H, W, 3] uint8, rgb, of any size.

        Raises:
            MessageError: it has another shape or type.
        """
        height, width = image.shape[:2] if image.ndim == 3 else (1, 1)
        step, to_height = self._network.size_step, self.spec.height
        to_width = self.spec.width or scaled_width(height, max(width, 1), to_height, step)
        return Look(self._network.see(scaled(image, to_height, to_width)), height, width)

    def find(self, look: Look, phrases: Sequence[str]) -> list[Found]:
        """Return where the thing is that each phrase names, in their order.

        Raises:
            CommandError: a phrase is empty or too long.
        """
        return [self._found(look, phrase) for phrase in phrases]

    def image_embedding(self, look: Look) -> Array:
        """Return the picture's place in the common space, a unit vector [E]."""
        return look.features.embedding

    def text_embedding(self, text: str) -> Array:
        """Return a text's place in the common space, a unit vector [E].

        Raises:
            CommandError: it is empty or too long.
        """
        return self._network.text_embedding(self._read(text))

    def _found(self, look: Look, phrase: str) -> Found:
        features = look.features
        scores = self._network.ground(features, self._read(phrase))
        share = softmax(scores / np.float32(self.spec.temperature))[:-1]
        best = int(scores[:-1].argmax())
        left, upper, right, lower = features.boxes[best].tolist()
        margin = 0.5 / features.rows  # Half a cell.
        x, y = features.place.T
        is_inside = (x >= left - margin) & (x <= right + margin)
        is_inside &= (y >= upper - margin) & (y <= lower + margin)
        is_inside[best] = True
        unit = look.height  # Pixels.
        if self.spec.width is not None:  # It was stretched.
            across = look.width * self.spec.height / self.spec.width
        else:
            across = unit
        return Found(
            phrase,
            min(float(share[is_inside].sum()), 1.0),
            (left + right) / 2 * across + look.width / 2,
            (upper + lower) / 2 * unit + look.height / 2,
            (right - left) * across,
            (lower - upper) * unit,
        )

    def _read(self, text: str) -> Array:
        lowered = ' '.join(text.lower().split())
        if not lowered or len(lowered) > _LONGEST:
            raise CommandError(
                f'phrase: {len(lowered)} characters, expected 1 to {_LONGEST}. Say what to find, '
                f'such as "the red cube left of the can".'
            )
        if lowered not in self._texts:
            self._texts[lowered] = self._network.read(lowered)
            if len(self._texts) > _KNOWN_TEXTS:
                self._texts.popitem(last=False)
        self._texts.move_to_end(lowered)
        return self._texts[lowered]


def build_grounding_model(
    tensors: Mapping[str, Array], manifest: Mapping[str, Any], where: str
) -> GroundingModel:
    """Make the model of one version after checking that its parts fit together.

    Args:
        tensors: weights by name.
        manifest: of the version; its `policy` block says what they are.
        where: what to call the version in errors, 'grounding@1'.

    Raises:
        ModelRefusedError: names what is missing, wrong or not finite.
    """
    block = manifest.get('policy')
    kind = block.get('kind') if isinstance(block, Mapping) else None
    if not isinstance(block, Mapping) or kind not in KINDS:
        raise ModelRefusedError(
            f'{where}: kind of model is {kind!r}, expected {" or ".join(KINDS)}. Choose a version '
            f'that train --mode vision_language published.'
        )
    is_clip = kind == 'dual_encoder_clip'
    name = f'{where}: manifest: policy'
    try:
        if is_clip:
            clip = config.from_mapping(ClipGroundingSpec, block, name)
            _check_finite(tensors, where)
            return GroundingModel(clip, ClipGroundingNetwork(clip, tensors, where))
        spec = config.from_mapping(GroundingSpec, block, name)
    except ConfigError as error:
        raise ModelRefusedError(str(error)) from error
    problems = tensor_problems(spec.tensor_shapes(), tensors)
    if len(set(spec.words)) != len(spec.words):
        problems.append('words hold some twice')
    if spec.text.width % spec.text.heads:
        problems.append(f'width is {spec.text.width}, not a multiple of {spec.text.heads} heads')
    if problems:
        raise ModelRefusedError(f'{where}: {"; ".join(problems)}. Publish it anew.')
    return GroundingModel(spec, GroundingNetwork(spec, tensors))


def load(
    models: Path = PRETRAINED,
    name: str = NAME,
    version: int | None = None,
    rules: ModelFileRules | None = None,
) -> tuple[GroundingModel, int]:
    """Read a version of a model store, and its number; without arguments the one that ships.

    Raises:
        ModelRefusedError: it is damaged, or no dual encoder.
        StoreError: there is no such version.
    """
    store = ModelStore(models, rules)
    number = store.serving(name) if version is None else version
    tensors, manifest = store.load(name, number)
    number = int(manifest['version'])
    return build_grounding_model(tensors, manifest, f'{name}@{number}'), number


def _check_finite(tensors: Mapping[str, Array], where: str) -> None:
    wrong = [name for name, tensor in tensors.items() if not np.isfinite(tensor).all()]
    if wrong:
        raise ModelRefusedError(f'{where}: {wrong[0]} is not finite. Publish it anew.')
