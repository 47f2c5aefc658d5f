"""A published meta-learner: adapts to a few examples, answers, and publishes what came of it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from robot_learning import config
from robot_learning.errors import ConfigError, DataError, ModelRefusedError
from robot_learning.model_store import ModelStore
from robot_learning.models.meta_learner import (
    Examples,
    MetaLearner,
    MetaLearnerConfig,
    MetaShape,
    Weights,
)

Array = np.ndarray[Any, Any]
KIND = 'meta_learner'
SUFFIX = '-adapted'  # Of the model that adapted versions belong to.
_HELD_OUT = 5  # One example of so many judges the others.


class Adapted(NamedTuple):
    """What adapting came to.

    Errors are mean squares: of targets in units of their deviation in training, or of the
    probabilities of all classes; NaN where no example could be held out.
    """

    tensors: dict[str, Array]  # To publish.
    policy: dict[str, Any]  # Their description.
    error_before: float
    error_after: float
    num_support: int  # Examples adapted to.
    num_held_out: int


class Published(NamedTuple):
    """Where an adapted version is."""

    model: str
    version: int
    adapted: Adapted
    wall_s: float


class AdaptableModel:
    """One version. Build it with `build_adaptable_model`, which checks it."""

    def __init__(self, learner: MetaLearner, description: Mapping[str, Any], where: str):
        self.where = where
        self._learner, self._description = learner, description
        self._initial = {name: tensor.detach() for name, tensor in learner.weights().items()}

    @property
    def shape(self) -> MetaShape:
        """What goes in and out."""
        return self._learner.shape

    def predict(self, inputs: Array) -> Array:
        """Return targets [N, num_targets], or the probability of every class [N, C].

        Args:
            inputs: [N, *shape.inputs].

        Raises:
            ConfigError: it takes any number of classes and was not adapted to examples yet.
        """
        if self._learner.head is None:
            raise ConfigError(
                f'{self.where}: knows no classes yet, expected an adapted version. Adapt it to '
                f'examples first.'
            )
        with torch.no_grad():
            outputs = self._learner.outputs(self._initial, torch.from_numpy(inputs))
            return self._learner.answers(outputs).numpy()

    def adapt(self, inputs: Array, targets: Array, num_steps: int | None = None) -> Adapted:
        """Return a version fitted to examples; the last of them judge what the others gave.

        Args:
            inputs: [N, *shape.inputs], or flat, in the order of time.
            targets: [N, num_targets], or [N] classes from 0, or flat.
            num_steps: of adapting; None: as in training.

        Raises:
            DataError: the examples do not fit, are not finite, or adapting to them fails.
        """
        examples = self._checked(inputs, targets)
        num_classes = self._num_classes(examples)
        support, held_out = self._parted(examples)
        learner = self._learner
        with torch.no_grad():
            begun = learner.begin(self._initial, support, num_classes)
            fitted = learner.adapt(
                self._initial, learner.rates, support, num_classes, num_steps, first_order=True
            )
            before = self._error(begun, held_out, num_classes)
            after = self._error(fitted, held_out, num_classes)
        if not all(bool(torch.isfinite(tensor).all()) for tensor in fitted.values()):
            raise DataError(
                f'{self.where}: adapting led to numbers that are not finite, expected finite '
                f'ones. Send examples in the units of its training, or fewer steps.'
            )
        tensors, policy = self._described(fitted, num_classes)
        return Adapted(tensors, policy, before, after, len(support.inputs), len(held_out.inputs))

    def _checked(self, inputs: Array, targets: Array) -> Examples:
        shape = self.shape
        width = shape.num_targets or 1
        count = np.asarray(targets).size // width
        size = math.prod(shape.inputs)
        if not count or np.size(inputs) != count * size or np.size(targets) != count * width:
            raise DataError(
                f'{self.where}: found {np.size(inputs)} numbers of inputs and {np.size(targets)} '
                f'of targets, expected {size} and {width} for each example, and one example or '
                f'more. Send whole examples.'
            )
        given = np.asarray(inputs, np.float32).reshape(count, *shape.inputs)
        wanted = np.asarray(targets, np.float32).reshape(count, width)
        if not (np.isfinite(given).all() and np.isfinite(wanted).all()):
            raise DataError(
                f'{self.where}: an example is not finite, expected numbers. Leave it out.'
            )
        if shape.num_targets:
            return Examples(torch.from_numpy(given), torch.from_numpy(wanted))
        classes = wanted[:, 0].astype(np.int64)
        if not np.array_equal(classes, wanted[:, 0]) or classes.min() < 0:
            raise DataError(
                f'{self.where}: targets are {wanted[:3, 0].tolist()} ..., expected classes 0, 1, '
                f'2 and so on. Number the classes.'
            )
        return Examples(torch.from_numpy(given), torch.from_numpy(classes))

    def _num_classes(self, examples: Examples) -> int:
        if self.shape.num_targets:
            return 0
        found = torch.unique(examples.targets)
        expected = self.shape.num_classes
        if len(found) < 2:
            raise DataError(
                f'{self.where}: all {len(examples.targets)} examples are of class '
                f'{int(found[0])}, expected two classes or more. Add examples of another one.'
            )
        highest = int(found[-1]) + 1
        if (expected and highest > expected) or (not expected and highest != len(found)):
            raise DataError(
                f'{self.where}: classes are {found.tolist()[:20]}, expected '
                f'{f"at most {expected}" if expected else "0, 1, 2 and so on without gaps"}. '
                f'Number the classes.'
            )
        return expected or highest

    def _parted(self, examples: Examples) -> tuple[Examples, Examples]:
        """Return examples to adapt to, and the last fifth, of classifiers of each class."""
        targets = examples.targets
        groups = torch.zeros(len(targets)) if self.shape.num_targets else targets
        is_held = torch.zeros(len(targets), dtype=torch.bool)
        for group in torch.unique(groups):
            rows = torch.nonzero(groups == group).flatten()
            is_held[rows[len(rows) - len(rows) // _HELD_OUT :]] = True
        return (
            Examples(examples.inputs[~is_held], targets[~is_held]),
            Examples(examples.inputs[is_held], targets[is_held]),
        )

    def _error(self, weights: Weights, held_out: Examples, num_classes: int) -> float:
        if not len(held_out.inputs):
            return math.nan
        outputs = self._learner.outputs(weights, held_out.inputs)
        if self.shape.num_targets:
            return float(self._learner.loss(outputs, held_out.targets))
        truth = F.one_hot(held_out.targets, num_classes).float()
        return float((outputs.softmax(-1) - truth).square().mean())

    def _described(
        self, weights: Weights, num_classes: int
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        tensors = {name: t.numpy() for name, t in self._learner.state_dict().items()}
        tensors |= {name: tensor.detach().numpy() for name, tensor in weights.items()}
        learner = dict(self._description['learner'])
        if num_classes:
            learner['head'] = 'learned'
        policy = {**self._description, 'learner': learner, 'num_classes': num_classes}
        return tensors, policy


def build_adaptable_model(
    tensors: Mapping[str, Array], manifest: Mapping[str, Any], where: str
) -> AdaptableModel:
    """Return the model of a version.

    Raises:
        ModelRefusedError: it is no meta-learner, or its tensors are not those of its description.
    """
    policy = manifest.get('policy') or {}
    if policy.get('kind') != KIND:
        raise ModelRefusedError(
            f'{where}: is a {policy.get("kind")!r}, expected {KIND!r}. Name a version of phase '
            f'meta.'
        )
    try:
        settings = config.from_mapping(MetaLearnerConfig, policy['learner'], where)
        sizes = [int(size) for size in policy['inputs']]
        shape = MetaShape(tuple(sizes), int(policy['num_targets']), int(policy['num_classes']))
        if len(sizes) not in (1, 3) or not all(0 < size <= 4096 for size in sizes):
            raise ValueError(f'inputs are {sizes}')
        learner = MetaLearner(settings, shape)
        found: dict[str, Tensor] = {k: torch.from_numpy(np.array(t)) for k, t in tensors.items()}
        learner.load_state_dict(found)
    except (ConfigError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelRefusedError(
            f'{where}: its tensors and its description do not fit together '
            f'({str(error).splitlines()[0]}). Train it again.'
        ) from error
    return AdaptableModel(learner.eval(), policy, where)


def publish_adapted(
    store: ModelStore, name: str, version: int | None, inputs: Array, targets: Array
) -> Published:
    """Adapt a version to examples and publish the result as a version of `NAME-adapted`.

    Args:
        store: of models.
        name: of the model to begin from.
        version: None: the one that serves.
        inputs: see `AdaptableModel.adapt`.
        targets: likewise.

    Raises:
        DataError: the examples do not fit.
        ModelRefusedError: the version is damaged or no meta-learner.
        StoreError: there is no such version, or the store cannot be written.
    """
    started = time.perf_counter()
    tensors, manifest = store.load(name, version)
    where = f'{name}@{manifest["version"]}'
    adapted = build_adaptable_model(tensors, manifest, where).adapt(inputs, targets)
    errors = {'error_before': adapted.error_before, 'error_after': adapted.error_after}
    kept = ('phase', 'config', 'contract')
    content = {
        **{key: manifest[key] for key in kept if key in manifest},
        'policy': adapted.policy,
        'metrics': {
            f'adapted/{key}': value for key, value in errors.items() if math.isfinite(value)
        },
        'created': datetime.now(timezone.utc).isoformat(timespec='milliseconds'),
        'provenance': {'adapted_from': where, 'examples': adapted.num_support},
    }
    model = name if name.endswith(SUFFIX) else f'{name}{SUFFIX}'
    number = store.publish(model, adapted.tensors, content)
    return Published(model, number, adapted, time.perf_counter() - started)
