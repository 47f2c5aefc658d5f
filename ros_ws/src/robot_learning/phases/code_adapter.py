"""Robot-LoRA: low-rank adapters (Hu et al. 2022) that teach a language model robot-API code.

Any causal language model of Hugging Face, by name or from a folder, is left as it is; only the
adapter learns, and only from the code, not from the command. Checkpoints are safetensors and JSON;
going on from one is bit by bit as if uninterrupted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from robot_learning import durable_files
from robot_learning.config import STRICT
from robot_learning.errors import DataError, TrainingError
from robot_learning.language.code_corpus import Example
from robot_learning.language.code_prompt import prompt
from robot_learning.models.hub_model import HubModel
from robot_learning.phases.adapter_parts import adapted, optimizer_of, schedule_of
from robot_learning.phases.code_model import IGNORED, padded

STATE, OPTIMIZER = 'training_state.json', 'training_state.safetensors'
LINEAR = ('q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj')


@dataclass(frozen=True, config=STRICT)
class AdapterConfig:
    """How an adapter is trained; the guide's names and defaults."""

    max_length: PositiveInt = 256  # Tokens of prompt and code; longer records are refused.
    lora_r: PositiveInt = 32
    lora_alpha: PositiveFloat = 64.0
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    lora_target_modules: tuple[str, ...] = LINEAR
    num_epochs: PositiveInt = 3
    batch_size: PositiveInt = 4
    learning_rate: PositiveFloat = 1e-4
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1
    lr_scheduler_type: str = 'cosine'
    weight_decay: NonNegativeFloat = 0.0
    gradient_norm: PositiveFloat = 1.0
    eval_steps: PositiveInt = 100
    save_steps: PositiveInt = 500
    logging_steps: PositiveInt = 50
    gradient_checkpointing: bool = False  # Less memory for more time.
    group_by_length: bool = False  # Less padding; the order is still new in every pass.
    dataloader_num_workers: NonNegativeInt = 0
    dataloader_pin_memory: bool = False
    bf16: bool = False
    optim: str = 'adamw_torch'
    early_stopping_patience: NonNegativeInt = 0  # Evaluations without a better loss; 0: never.


class Report(NamedTuple):
    """Where training stands."""

    step: int
    epoch: int
    loss: float  # Mean since the last report.
    learning_rate: float
    held_out_loss: float | None = None  # Where it was measured.


class AdapterTraining:
    """An adapter on a base model that gets better step by step.

    Args:
        base: the model that is adapted.
        records: to learn from.
        held_out: to measure on.
        config: of the training.
        seed: of adapter, order and dropout.
        folder: of checkpoints.

    Raises:
        DataError: a record is too long; names it by its index.
    """

    def __init__(
        self,
        base: HubModel,
        records: Sequence[Example],
        held_out: Sequence[Example],
        config: AdapterConfig,
        seed: int,
        folder: Path,
    ):
        self.config, self.base, self._seed, self._folder = config, base, seed, folder
        self._rows = _rows(base, records, config.max_length, 'training')
        self._held_out = _rows(base, held_out, config.max_length, 'validation')
        torch.manual_seed(seed)
        self.model = adapted(base, config)
        self._trained = [p for p in self.model.parameters() if p.requires_grad]
        self._optimizer = optimizer_of(config, self._trained)
        self._per_epoch = -(-len(self._rows) // config.batch_size)
        self.num_steps = config.num_epochs * self._per_epoch
        self._schedule = schedule_of(config, self._optimizer, self.num_steps)
        self.step = 0
        self.losses: list[tuple[int, float]] = []  # On held-out records, by step.
        self.best_folder: Path | None = None  # Of the best adapter, where it may stop early.
        self._data_digest = _digest([*records, *held_out], config, seed)

    def run(
        self, report: Callable[[Report], None], should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Train to the end, until it stops getting better, or until told to; save as it goes.

        Raises:
            TrainingError: the loss is not finite.
        """
        since: list[float] = []
        for batch in self._batches():
            since.append(self._update(batch))
            loss = self._evaluated()
            if loss is not None or self.step % self.config.logging_steps == 0:
                rate, epoch = self._schedule.get_last_lr()[0], self.step // self._per_epoch
                report(Report(self.step, epoch, float(np.mean(since)), float(rate), loss))
                since.clear()
            is_over = should_stop() or self._is_enough()
            if is_over or self.step % self.config.save_steps == 0 or self.step == self.num_steps:
                self.save(self._folder / f'checkpoint-{self.step}')
            if is_over:
                return

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Return the mean loss of a code token of the held-out records."""
        self.model.eval()
        total, count = 0.0, 0
        for start in range(0, len(self._held_out), self.config.batch_size):
            loss, tokens = self._loss(padded(self._held_out[start:][: self.config.batch_size]))
            total, count = total + float(loss) * tokens, count + tokens
        return total / max(count, 1)

    def save(self, folder: Path) -> None:
        """Write the adapter as peft reads it, and all that `resume` needs."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(folder)
        tensors = {'rng': torch.random.get_rng_state()}
        for index, parameter in enumerate(self._trained):
            for key, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f'{index}.{key}'] = torch.as_tensor(value).detach().clone()
        save_file(tensors, folder / OPTIMIZER)
        state = {
            'step': self.step,
            'losses': self.losses,
            'learning_rate': self._schedule.get_last_lr()[0],
            'digest': self._data_digest,
        }
        durable_files.replace(folder / STATE, json.dumps(state).encode())

    def resume(self, folder: Path) -> bool:
        """Go on from a folder that `save` wrote; return whether all of it could be used.

        With the same data, settings and seed training goes on bit by bit. With others, which is
        the next stage of a curriculum, it begins anew from that adapter's weights.

        Raises:
            DataError: it holds no adapter, or one of another shape.
        """
        self._load_adapter(folder)
        path = folder / STATE
        state = json.loads(path.read_bytes()) if path.is_file() else {}
        if state.get('digest') != self._data_digest:
            return False
        tensors = load_file(folder / OPTIMIZER)
        torch.random.set_rng_state(tensors.pop('rng'))
        for name, value in tensors.items():
            index, key = name.split('.', 1)
            self._optimizer.state[self._trained[int(index)]][key] = value
        self.step = int(state['step'])
        self.losses = [(int(step), float(loss)) for step, loss in state['losses']]
        self._schedule.last_epoch = self.step
        self._optimizer.param_groups[0]['lr'] = float(state['learning_rate'])
        return True

    def _load_adapter(self, folder: Path) -> None:
        from peft import set_peft_model_state_dict

        path = folder / 'adapter_model.safetensors'
        if not path.is_file():
            raise DataError(f'{folder}: holds no {path.name}. Name a folder of train_robot.')
        try:
            result: Any = set_peft_model_state_dict(self.model, load_file(path))
        except RuntimeError as error:
            raise DataError(f'{path}: fits another adapter ({str(error)[:200]}).') from None
        if result.unexpected_keys:
            raise DataError(
                f'{path}: adapts {result.unexpected_keys[0]} as well, which this run does not. '
                f'Give the same --lora-target-modules and --model-name.'
            )

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches that are left; the order depends on seed and pass only."""
        from torch.utils.data import DataLoader

        config, done = self.config, self.step
        for epoch in range(done // self._per_epoch, config.num_epochs):
            batches = self._order(epoch)[done - epoch * self._per_epoch :]
            done = (epoch + 1) * self._per_epoch
            yield from DataLoader(
                self._rows,  # type: ignore[arg-type]
                batch_sampler=batches,
                collate_fn=padded,
                num_workers=config.dataloader_num_workers,
                pin_memory=config.dataloader_pin_memory,
                generator=torch.Generator(),  # Leaves the global one, which dropout uses, alone.
            )

    def _order(self, epoch: int) -> list[list[int]]:
        rng, size = np.random.default_rng((self._seed, epoch)), self.config.batch_size
        order = rng.permutation(len(self._rows))
        if self.config.group_by_length:
            order = order[np.argsort([len(self._rows[i][0]) for i in order], kind='stable')]
        batches = [order[cut : cut + size].tolist() for cut in range(0, len(order), size)]
        if self.config.group_by_length:
            batches = [batches[i] for i in rng.permutation(len(batches))]
        return batches

    def _update(self, batch: tuple[Tensor, Tensor]) -> float:
        self.model.train()
        loss, _ = self._loss(batch)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._trained, self.config.gradient_norm)
        self._optimizer.step()
        self._schedule.step()
        self.step += 1
        value = float(loss.detach())
        if not np.isfinite(value):
            raise TrainingError(
                f'adapter: the loss at step {self.step} is not finite. Lower --learning-rate.'
            )
        return value

    def _loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
        """Return the mean loss of the code's tokens, and how many there are."""
        device = self.base.device
        tokens, labels = (each.to(device) for each in batch)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.bf16):
            # Padding comes last and is nobody's past; what follows it is not looked at.
            logits = self.model(input_ids=tokens, use_cache=False).logits
        wanted = labels[:, 1:]
        is_wanted = wanted != IGNORED
        loss = F.cross_entropy(logits[:, :-1][is_wanted].float(), wanted[is_wanted])
        return loss, int(is_wanted.sum())

    def _evaluated(self) -> float | None:
        is_due = self.step % self.config.eval_steps == 0 or self.step == self.num_steps
        if not is_due or not self._held_out:
            return None
        loss = self.held_out_loss()
        self.losses.append((self.step, loss))
        is_best = loss == min(value for _, value in self.losses)
        if is_best and self.config.early_stopping_patience:
            self.best_folder = self._folder / 'best'
            self.model.save_pretrained(self.best_folder)
        return loss

    def _is_enough(self) -> bool:
        patience = self.config.early_stopping_patience
        values = [loss for _, loss in self.losses]
        return bool(patience) and len(values) - 1 - int(np.argmin(values or [0.0])) >= patience


def _rows(
    base: HubModel, records: Sequence[Example], max_length: int, which: str
) -> list[tuple[list[int], int]]:
    rows = []
    for index, record in enumerate(records):
        before = base.encode_prompt(prompt(record.input))
        tokens = [*before, *base.encode(record.output), base.end]
        if len(tokens) > max_length:
            raise DataError(
                f'{which} data: record {index} has {len(tokens)} tokens, expected at most '
                f'{max_length}. Shorten it or raise --max-length.'
            )
        rows.append((tokens, len(before)))
    return rows


def _digest(records: Sequence[Example], config: AdapterConfig, seed: int) -> str:
    content = json.dumps([[list(r) for r in records], repr(config), seed])
    return hashlib.sha256(content.encode()).hexdigest()
