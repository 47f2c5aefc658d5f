"""What an adapter is trained with: the network around it, optimizer and schedule by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from robot_learning.errors import ConfigError, EnvironmentSetupError
from robot_learning.models.hub_model import HubModel

if TYPE_CHECKING:
    from robot_learning.phases.code_adapter import AdapterConfig

_OPTIMIZERS = ('adamw_torch', 'adamw_torch_fused', 'sgd')


def adapted(base: HubModel, config: AdapterConfig) -> Any:
    """Return the base with a new adapter that does nothing yet; only the adapter learns.

    Raises:
        EnvironmentSetupError: peft is not installed.
        ConfigError: the base has none of the modules.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise EnvironmentSetupError(
            'peft: is not installed, expected for adapters. Install it with "pip install peft".'
        ) from error
    settings = LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=config.lora_dropout,
        target_modules=list(config.lora_target_modules),
        task_type='CAUSAL_LM',
    )
    try:
        model = get_peft_model(base.model, settings)
    except ValueError as error:
        found = {name.rsplit('.', 1)[-1] for name, m in _linear(base.model)}
        raise ConfigError(
            f'--lora-target-modules {" ".join(config.lora_target_modules)}: {str(error)[:100]} '
            f'{base.name} has {", ".join(sorted(found))}.'
        ) from None
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({'use_reentrant': False})
        model.enable_input_require_grads()
    return model


def _linear(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            yield name, module


def optimizer_of(config: AdapterConfig, trained: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer that the settings name.

    Raises:
        ConfigError: there is none of that name.
    """
    if config.optim not in _OPTIMIZERS:
        raise ConfigError(
            f'--optim {config.optim}: unknown, expected one of {", ".join(_OPTIMIZERS)}.'
        )
    if config.optim == 'sgd':
        return torch.optim.SGD(
            trained, config.learning_rate, momentum=0.9, weight_decay=config.weight_decay
        )
    return torch.optim.AdamW(
        trained,
        config.learning_rate,
        weight_decay=config.weight_decay,
        fused=config.optim == 'adamw_torch_fused',
    )


def schedule_of(config: AdapterConfig, optimizer: torch.optim.Optimizer, num_steps: int) -> Any:
    """Return the schedule that the settings name.

    Raises:
        ConfigError: there is none of that name, or it needs more settings.
    """
    from transformers import get_scheduler

    warmup = round(config.warmup_ratio * num_steps)
    try:
        return get_scheduler(config.lr_scheduler_type, optimizer, warmup, num_steps)
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f'--lr-scheduler-type {config.lr_scheduler_type}: {str(error)[:200]}. '
            f'Choose linear, cosine, constant or constant_with_warmup.'
        ) from None
