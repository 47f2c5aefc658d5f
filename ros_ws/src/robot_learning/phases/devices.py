"""Where a phase computes: the processor or a GPU, by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from robot_learning.errors import ConfigError

CPU = torch.device('cpu')


def device_named(name: str, index: int = 0, count: int = 1) -> torch.device:
    """Return the device that a user means by 'cpu', 'cuda', 'cuda:1' or 'auto'.

    Args:
        name: 'auto' is a GPU where there is one, else the processor.
        index: of this process among those on this machine that learn together; each has a GPU
            of its own.
        count: of those processes.

    Raises:
        ConfigError: there is no such device, or there are too few for all processes.
    """
    num_gpus = torch.cuda.device_count()
    if name == 'auto':
        name = 'cuda' if num_gpus >= count else 'cpu'
    if name == 'cpu':
        return CPU
    kind, _, number = name.partition(':')
    if kind != 'cuda' or (':' in name and not number.isdecimal()):
        raise ConfigError(
            f'device: found {name!r}, expected cpu, cuda, cuda:1 or auto. {_there()}'
        )
    if number and count > 1:
        raise ConfigError(
            f'device: {name} is one GPU, and {count} processes need one each. Write cuda.'
        )
    wanted = int(number) if number else index
    if wanted >= num_gpus:
        needed = f'{count} processes need one GPU each' if count > 1 else f'{name} is not there'
        raise ConfigError(f'device: {needed}. {_there()}')
    return torch.device('cuda', wanted)


def placed(batch: Mapping[str, Tensor], device: torch.device) -> Mapping[str, Tensor]:
    """Return the batch on `device`; itself where that is the processor."""
    if device == CPU:
        return batch
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def noise_source(device: torch.device, seed: int, initial: torch.Generator) -> torch.Generator:
    """Return what a phase draws from while it learns, where it computes.

    Args:
        device: of the phase.
        seed: of the phase.
        initial: drew the first weights, on the processor so that they are the same on every
            device; on the processor it goes on.
    """
    return initial if device == CPU else torch.Generator(device).manual_seed(seed)


def _there() -> str:
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if names:
        listed = ', '.join(f'cuda:{index} ({name})' for index, name in enumerate(names))
        return f'Here are cpu and {listed}.'
    if torch.version.cuda is not None:
        return 'Here is cpu only: torch finds no GPU. Look at nvidia-smi, or choose cpu.'
    return 'Here is cpu only: this torch comes without CUDA. Install one with it, or choose cpu.'
