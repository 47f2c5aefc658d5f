"""Who writes code: the model that ships, or adapters from folders on bases of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robot_learning.serving.code import CodeGenerator, CodeVote, CodeWriter
from robot_learning.serving.code_adapters import Adapter

EMBEDDED = 'robot_learning/code'  # What adapters for the model that ships call it.


def adapted(folders: Sequence[Path], base: str | None = None) -> CodeWriter:
    """Return what writes code with these adapters of `train_robot`; several vote.

    The small model of this project needs no transformers.

    Args:
        folders: of the adapters; none: the base as it is.
        base: language model by name or folder; None: what an adapter's folder names, without one
            the model that ships.

    Raises:
        EnvironmentSetupError: a library that the base needs is not installed.
        ModelRefusedError: an adapter is damaged or made for another model.
    """
    writers = [_one(folder, base) for folder in folders] or [_one(None, base)]
    return writers[0] if len(writers) == 1 else CodeVote(writers)


def _one(folder: Path | None, base: str | None) -> CodeWriter:
    found = None if folder is None else Adapter.of_folder(folder)
    name = base or (found.base if found is not None else EMBEDDED)
    if name == EMBEDDED or (folder is not None and Path(name) == folder / 'base'):
        generator = CodeGenerator.load()
        return generator if found is None else generator.with_adapter(found)
    from robot_learning.models.hub_model import HubModel
    from robot_learning.serving.hub_code import HubCodeGenerator

    return HubCodeGenerator(HubModel(name), folder)
