"""Steps of optimisers, and everything needed to go on bit by bit as one table of tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from robot_learning.errors import TrainingError
from robot_learning.phases.process_group import averaged

OTHERS = 'process_'  # Begins the names of what belongs to other processes in a checkpoint.
Part = nn.Module | torch.optim.Optimizer | torch.Generator | Tensor


def step(optimizer: torch.optim.Optimizer, parameters: list[Tensor], loss: Tensor) -> None:
    """Step only `parameters`; the loss's other leaves get no gradient, nor cost one.

    Of several processes that learn together all take the mean gradient.
    """
    gradients = averaged(torch.autograd.grad(loss, parameters))
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient.stride() != parameter.stride():  # Of convolutions; fused Adam refuses it.
            gradient = torch.empty_like(parameter).copy_(gradient)
        parameter.grad = gradient
    optimizer.step()


def collect(parts: Mapping[str, Part]) -> dict[str, Tensor]:
    """Return copies of all tensors on the processor, keyed `<part>.<name>`."""
    state: dict[str, Tensor] = {}
    for name, part in parts.items():
        if isinstance(part, torch.Generator):
            state[name] = part.get_state()
        elif isinstance(part, Tensor):
            state[name] = _copy_of(part)
        elif isinstance(part, nn.Module):
            state |= {f'{name}.{key}': _copy_of(t) for key, t in part.state_dict().items()}
        else:
            state |= {f'{name}.{key}': _copy_of(t) for key, t in _moments(part).items()}
    return state


def restore(parts: Mapping[str, Part], state: Mapping[str, Tensor]) -> None:
    """Fill `parts` from what `collect` returned, on whatever device they are.

    A generator of another kind of device begins a sequence that follows from the state.

    Raises:
        TrainingError: a tensor is missing, unknown or of another shape.
    """
    state = without_others(state)
    expected = {key for name, part in parts.items() for key in _keys(name, part, state)}
    if expected != set(state):
        raise TrainingError(
            f'checkpoint: lacks {sorted(expected - set(state))} and holds unknown '
            f'{sorted(set(state) - expected)}. It belongs to another configuration; '
            f'choose another output folder.'
        )
    for name, part in parts.items():
        if isinstance(part, torch.Generator):
            _restore_generator(part, state[name])
        elif isinstance(part, Tensor):
            _copy(name, part, state[name])
        elif isinstance(part, nn.Module):
            for key, tensor in part.state_dict().items():
                _copy(f'{name}.{key}', tensor, state[f'{name}.{key}'])
        else:
            _restore_optimizer(name, part, state)


def without_others(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what is the phase's in a checkpoint that several processes may have written."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(OTHERS)}


def _keys(name: str, part: Part, state: Mapping[str, Tensor]) -> list[str]:
    if isinstance(part, torch.Generator | Tensor):
        return [name]
    if isinstance(part, nn.Module):
        return [f'{name}.{key}' for key in part.state_dict()]
    return [key for key in state if key.startswith(f'{name}.')]  # Empty before its first step.


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f'{index}.{key}': value
        for index, moments in optimizer.state_dict()['state'].items()
        for key, value in moments.items()
    }


def _restore_optimizer(
    name: str, optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]
) -> None:
    parameters = [p for group in optimizer.param_groups for p in group['params']]
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        if key.startswith(f'{name}.'):
            number, moment = key[len(name) + 1 :].split('.')
            index = int(number)
            expected = parameters[index] if index < len(parameters) else tensor.new_empty(0)
            if tensor.dim() and tensor.shape != expected.shape:
                raise TrainingError(_misfit(key, tensor, expected))
            moments.setdefault(index, {})[moment] = tensor.clone()
    content = optimizer.state_dict()
    optimizer.load_state_dict({**content, 'state': moments})


def _restore_generator(generator: torch.Generator, state: Tensor) -> None:
    if len(state) == len(generator.get_state()):
        generator.set_state(state)
        return
    digest = hashlib.sha256(state.numpy().tobytes()).digest()
    generator.manual_seed(int.from_bytes(digest[:7]))


def _copy_of(tensor: Tensor) -> Tensor:
    return tensor.detach().to('cpu', copy=True)


def _copy(name: str, target: Tensor, source: Tensor) -> None:
    if target.shape != source.shape:
        raise TrainingError(_misfit(name, source, target))
    with torch.no_grad():
        target.copy_(source)


def _misfit(name: str, found: Tensor, expected: Tensor) -> str:
    return (
        f'checkpoint: {name} has shape {list(found.shape)}, expected {list(expected.shape)}. '
        f'It belongs to another configuration or version; choose another output folder.'
    )
