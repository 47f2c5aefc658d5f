"""How passes over fixed data are made."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT


@dataclass(frozen=True, config=STRICT)
class PassesConfig:
    """The guide's choices; each is an option of `train` too."""

    epochs: PositiveInt = 50
    max_updates: PositiveInt | None = None  # Ends earlier than the passes do.
    batch_size: Annotated[int, Field(ge=2)] = 64  # Of one process.
    accumulation: PositiveInt = 1  # Batches whose mean gradient makes one update.
    learning_rate: PositiveFloat = 3e-4
    weight_decay: NonNegativeFloat = 1e-4
    warmup_updates: NonNegativeInt = 1000  # At most a tenth of all.
    schedule: Literal['cosine', 'linear', 'constant'] = 'cosine'  # After the warm-up, to zero.
    gradient_norm: PositiveFloat = 1.0  # Longer gradients are shortened.
    precision: Literal['float32', 'bfloat16', 'float16'] = 'float32'  # float16: CUDA only.
    workers: NonNegativeInt = 0  # Processes that read batches ahead; 0: a thread does.
    prefetch: PositiveInt = 2  # Batches that each of them reads ahead.
    compile: bool = False  # By torch.compile; takes a minute and pays on GPUs.
    checkpoint_updates: PositiveInt = 500  # Between two checkpoints.
    report_updates: PositiveInt = 10  # Between two reports of progress.
    measure_epochs: PositiveInt = 1  # Passes between two measurements on held-out data.
    keep_best: PositiveInt = 3  # Versions that stay when newer ones come.
    keep_newest: PositiveInt = 2

    def learning_rate_factor(self, update: int, total: int) -> float:
        """Return what multiplies the learning rate at an update, counted from 0, of `total`."""
        warmup = min(self.warmup_updates, total // 10)
        if update < warmup:
            return (update + 1) / (warmup + 1)
        done = (update - warmup) / max(total - warmup, 1)
        if self.schedule == 'cosine':
            return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return 1.0 if self.schedule == 'constant' else max(1 - done, 0.0)
