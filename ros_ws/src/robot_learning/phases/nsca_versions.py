"""What later NSCA phases take over from earlier ones, out of the model store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from robot_learning import config
from robot_learning.errors import ConfigError, ModelRefusedError, StoreError
from robot_learning.model_store import ModelStore
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.models.nsca.perception import load_part


class Earlier(NamedTuple):
    """A version of an earlier phase."""

    where: str  # NAME@VERSION
    tensors: Mapping[str, Tensor]
    manifest: Mapping[str, Any]

    def fill(self, module: nn.Module, prefix: str) -> None:
        """Load the part of the version whose tensors begin with `prefix.`.

        Raises:
            ModelRefusedError: its shapes or names are others.
        """
        try:
            load_part(module, self.tensors, prefix)
        except RuntimeError as error:
            raise ModelRefusedError(
                f'{self.where}: {prefix} does not fit ({str(error).splitlines()[-1].strip()}). '
                f'Train it again with these settings.'
            ) from error

    def written_to(self, tensors: Mapping[str, Tensor]) -> bool:
        """Write the version into tensors in place, unless names or shapes differ; tell whether."""
        own = {name: tensor.shape for name, tensor in self.tensors.items()}
        if own != {name: tensor.shape for name, tensor in tensors.items()}:
            return False
        for name, tensor in tensors.items():
            tensor.copy_(self.tensors[name])
        return True


def load_earlier(
    store: ModelStore,
    name: str,
    phase: str,
    model: NscaModelConfig,
    number: int | None = None,
) -> Earlier:
    """Return a version of an earlier phase.

    Args:
        store: to look in.
        name: of all phases together; versions are of NAME-PHASE.
        phase: 'vision' and the like.
        model: sizes that the version must have.
        number: of the version; None: the one that serves.

    Raises:
        StoreError: there is none; says how to make it.
        ModelRefusedError: it is of another phase, or has other sizes; names them.
    """
    full_name = f'{name}-{phase}'
    number = store.serving(full_name) if number is None else number
    if number is None:
        raise StoreError(
            f'{full_name}: {store.root} holds no version, expected one of phase {phase}. Run '
            f'./run train --mode nsca --phase {phase} --name {name} first, or --phase all.'
        )
    tensors, manifest = store.load(full_name, number)
    where = f'{full_name}@{number}'
    kind = (manifest.get('policy') or {}).get('kind')
    if kind != f'nsca_{phase}':
        raise ModelRefusedError(
            f"{where}: kind of model is {kind!r}, expected 'nsca_{phase}'. Choose another --name."
        )
    found = sizes_of(manifest, where)
    differing = [
        f'{key} {getattr(found, key)} instead of {getattr(model, key)}'
        for key in model.__dataclass_fields__
        if getattr(found, key) != getattr(model, key) and key != 'dropout'
    ]
    if differing:
        raise ModelRefusedError(
            f'{where}: has {", ".join(differing)}. Use the settings it was trained with, or '
            f'train phase {phase} again.'
        )
    return Earlier(
        where,
        {key: torch.from_numpy(np.array(value)) for key, value in tensors.items()},
        manifest,
    )


def sizes_of(manifest: Mapping[str, Any], where: str) -> NscaModelConfig:
    """Return the sizes that a version's manifest states.

    Raises:
        ModelRefusedError: it states none, or wrong ones.
    """
    settings = manifest.get('config')
    block = settings.get('model') if isinstance(settings, Mapping) else None
    if not isinstance(block, Mapping):
        raise ModelRefusedError(f'{where}: manifest has no config.model. Publish it anew.')
    try:
        return config.from_mapping(NscaModelConfig, dict(block), f'{where}: config.model')
    except ConfigError as error:
        raise ModelRefusedError(str(error)) from error
