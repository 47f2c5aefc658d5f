"""Adapters of code models, merged into the weights: peft is not needed where they serve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from robot_learning import foreign_files
from robot_learning.errors import ModelRefusedError
from robot_learning.foreign_files import Refusal
from robot_learning.model_store import Array

WEIGHTS, CONFIG = 'adapter_model.safetensors', 'adapter_config.json'
_PREFIX, _FIRST, _SECOND = 'base_model.model.', '.lora_A.weight', '.lora_B.weight'
_MAX_BYTES = 1 << 20
_REFUSE = Refusal(ModelRefusedError, 'Name a folder that train_robot wrote.')


class Adapter(NamedTuple):
    """Low-rank changes of some weights (Hu et al. 2022, section 4.1)."""

    tensors: Mapping[str, Array]  # By peft's names: A [r, in] and B [out, r].
    scale: float  # alpha / r.
    base: str  # What it was made for.

    @classmethod
    def of_folder(cls, folder: Path) -> Adapter:
        """Read what peft wrote.

        Raises:
            ModelRefusedError: it holds no LoRA adapter.
        """
        path = folder / CONFIG
        data = foreign_files.parse_json(
            foreign_files.read(path, _MAX_BYTES, _REFUSE), path, _REFUSE
        )
        try:
            tensors = load_file(folder / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise _REFUSE(folder / WEIGHTS, f'cannot be read ({error})') from None
        return cls._of(tensors, data, str(path))

    @classmethod
    def of_version(cls, tensors: Mapping[str, Array], manifest: Mapping[str, Any]) -> Adapter:
        """Take a version of a model store.

        Raises:
            ModelRefusedError: it is no adapter.
        """
        where = f'{manifest.get("model")}@{manifest.get("version")}'
        return cls._of(tensors, manifest.get('adapter'), where)

    @classmethod
    def _of(cls, tensors: Mapping[str, Array], data: Any, where: str) -> Adapter:
        values = data if isinstance(data, dict) else {}
        rank, alpha = values.get('r'), values.get('lora_alpha')
        if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank < 1:
            raise _REFUSE(where, 'describes no LoRA adapter, expected r and lora_alpha')
        return cls(tensors, alpha / rank, str(values.get('base_model_name_or_path', '')))


def merged(base: Mapping[str, Array], adapter: Adapter) -> dict[str, Array]:
    """Return the base's weights with the adapter's change added, float32.

    Raises:
        ModelRefusedError: it changes what the base does not have, or in another shape.
    """
    found = {key: np.asarray(value, np.float32) for key, value in base.items()}
    for key, first in adapter.tensors.items():
        if not key.endswith(_FIRST):
            continue
        name = key.removeprefix(_PREFIX).removesuffix(_FIRST)
        second = adapter.tensors.get(key.removesuffix(_FIRST) + _SECOND)
        weight = found.get(f'{name}.weight')
        if second is None or weight is None or weight.shape != (len(second), first.shape[1]):
            raise ModelRefusedError(
                f'adapter: changes {name}, which does not fit this model. It was made for '
                f'{adapter.base or "another one"}; use it there.'
            )
        change = np.asarray(second, np.float32) @ np.asarray(first, np.float32)
        found[f'{name}.weight'] = weight + adapter.scale * change
    return found
