"""Learning characters from few examples where a GPU computes: accuracy, and tasks per second.

Omniglot's background set, a fifth of its alphabets held out by seed 0, as in `meta_learning.py`;
600 tasks of characters never seen, not turned, each query judged for itself. Tasks are drawn on
the device: characters turned by quarters are classes of their own, each picture is shifted,
scaled and slanted a little, and a training task has more classes than a measured one.

learn    one learner for one example per class, one for five; each for a share of --seconds. The
         weights measured are running means of those that are learned
speed    one outer update with all tasks at once, and task after task, in wall time

    python benchmarks/meta_learning_gpu.py --data ARCHIVE --out FILE [--device cuda]
        [--seconds 280] [--validation]

It needs torch, numpy, pydantic, pyyaml and pillow, not ROS. --validation holds out alphabets of
the training part instead, to choose settings by.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

from robot_learning.evaluation.means import mean_interval  # noqa: E402
from robot_learning.models.meta_learner import MetaLearnerConfig, MetaShape  # noqa: E402
from robot_learning.phases.meta import MetaConfig, MetaObjective  # noqa: E402
from robot_learning.phases.meta_tasks import (  # noqa: E402
    QUERY_INPUT,
    QUERY_TARGET,
    SUPPORT_INPUT,
    SUPPORT_TARGET,
    PictureTasks,
    Shots,
    SinusoidTasks,
)
from robot_learning.trajectory.character_files import (  # noqa: E402
    PictureClasses,
    read_classes,
    split_classes,
)

_SIZE = 28
_SHARES = (0.31, 0.31, 0.14)  # Of the seconds, for each learner.
_COUNTS = (16, 64, 256)
_MEASURED_SEED, _QUERIES, _NUM_TASKS = 12_345, 15, 600  # As `evaluate` measures.


class Recipe(NamedTuple):
    """How one learner learns."""

    shots: int
    ways: int = 20
    queries: int = 5
    batch: int = 16  # Tasks of an update.
    channels: int = 64
    adapts: str = 'head'
    steps: int = 1
    learning_rate: float = 2e-3
    jitter: float = 1.0  # Times the widest shifts, scales and slants.
    weight_decay: float = 1e-4
    mean_over: int = 200  # Updates that the running mean of weights looks back on.


class DeviceTasks:
    """Tasks drawn where they are needed, from pictures [turns, classes, drawings, S, S]."""

    def __init__(self, data: PictureClasses, device: torch.device, seed: int):
        rows = np.stack(data.rows_of_classes())  # As many drawings of each.
        pictures = data.images[rows][..., 0]
        turned = np.stack([np.rot90(pictures, turn, (2, 3)) for turn in range(4)])
        self._pictures = torch.from_numpy(turned.reshape(-1, *turned.shape[2:]).copy()).to(device)
        self._generator = torch.Generator(device).manual_seed(seed)

    def draw(self, recipe: Recipe) -> dict[str, Tensor]:
        """Return `recipe.batch` tasks [B, ...]."""
        total, drawings = self._pictures.shape[:2]
        count = recipe.shots + recipe.queries
        size = (recipe.batch, recipe.ways)
        classes = self._uniform(recipe.batch, total).topk(recipe.ways, 1).indices
        chosen = self._uniform(*size, drawings).topk(count, 2).indices
        images = self._pictures[classes[..., None], chosen].float().div_(255)
        images = self._moved(images.flatten(0, 2)[:, None], recipe.jitter)
        images = images.reshape(*size, count, 1, _SIZE, _SIZE)
        labels = torch.arange(recipe.ways, device=images.device).expand(size)
        return {
            SUPPORT_INPUT: images[:, :, : recipe.shots].flatten(1, 2),
            SUPPORT_TARGET: labels.repeat_interleave(recipe.shots, 1),
            QUERY_INPUT: images[:, :, recipe.shots :].flatten(1, 2),
            QUERY_TARGET: labels.repeat_interleave(recipe.queries, 1),
        }

    def _moved(self, images: Tensor, jitter: float) -> Tensor:
        if jitter == 0:
            return images
        change = (self._uniform(len(images), 6) * 2 - 1) * jitter
        change = change * change.new_tensor((0.15, 0.15, 0.1, 0.15, 0.15, 0.1))
        still = change.new_tensor((1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
        grid = F.affine_grid((still + change).reshape(-1, 2, 3), list(images.shape), False)
        padding = 'border'  # Paper or ink, whichever the archive calls bright.
        return F.grid_sample(images, grid, padding_mode=padding, align_corners=False)

    def _uniform(self, *size: int) -> Tensor:
        return torch.rand(size, generator=self._generator, device=self._pictures.device)


def learn(
    recipe: Recipe, data: PictureClasses, device: torch.device, seconds: float, seed: int = 0
) -> tuple[MetaObjective, dict[str, Any]]:
    """Learn for some seconds, the rate falling to 0 along a cosine; return the mean weights."""
    objective = _objective(recipe, device, seed)
    tasks = DeviceTasks(data, device, seed)
    parameters = list(objective.module.parameters())
    means = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.AdamW(
        parameters, recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    begun, updates, share, right = _clock(device), 0, 0.0, torch.zeros(())
    while share < 1:
        for group in optimizer.param_groups:
            group['lr'] = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
        judged = objective.judge(tasks.draw(recipe))
        optimizer.zero_grad()
        judged.loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0, foreach=True)
        optimizer.step()
        updates += 1
        weight = max(1 / updates, 1 / recipe.mean_over)
        torch._foreach_lerp_(means, [p.detach() for p in parameters], weight)
        right = judged.right.detach().mean()
        share = (_clock(device) - begun) / seconds
    with torch.no_grad():
        torch._foreach_copy_(parameters, means)
    return objective, {
        **recipe._asdict(),
        'seconds': _clock(device) - begun,
        'updates': updates,
        'tasks': updates * recipe.batch,
        'accuracy in training': float(right),
    }


@torch.no_grad()
def measured(
    objective: MetaObjective, data: PictureClasses, ways: int, shots: int, device: torch.device
) -> dict[str, Any]:
    """Return accuracy over tasks of unseen characters, and its interval."""
    tasks = PictureTasks(data, ways, Shots(shots, _QUERIES), _NUM_TASKS, _MEASURED_SEED)
    judge = MetaObjective(objective.config, tasks.shape, 0)
    judge.module.load_state_dict(objective.module.state_dict())
    judge.module.to(device)
    right: list[float] = []
    for start in range(0, _NUM_TASKS, 25):
        batch = tasks.read(np.arange(start, start + 25))
        found = judge.judge({name: value.to(device) for name, value in batch.items()})
        right += found.right.tolist()
    return {
        'task': f'{ways}-way {shots}-shot',
        'accuracy': float(np.mean(right)),
        'interval_95': list(mean_interval(right)),
        'count': len(right),
    }


def speed(data: PictureClasses, device: torch.device, counts: tuple[int, ...]) -> Iterator[Any]:
    """Time an outer update of some tasks, second order, at once; and of 16 in a loop."""
    pictures = PictureTasks(data, 5, Shots(1, 5), 10_000, 0)
    cases = [
        ('sine curves', SinusoidTasks(Shots(10, 10), 99, 0), MetaLearnerConfig(inner_steps=3)),
        ('pictures, adapts head', pictures, MetaLearnerConfig(adapts='head')),
        ('pictures, adapts all', pictures, MetaLearnerConfig(adapts='all')),
    ]
    for name, tasks, learner in cases:
        objective = MetaObjective(MetaConfig(learner=learner), tasks.shape, 0)
        objective.module.to(device)
        read = {count: tasks.read(np.arange(count)) for count in {16, *counts}}
        batches = {n: {k: v.to(device) for k, v in batch.items()} for n, batch in read.items()}
        looped = 16 / _median_s(objective, batches[16], True, device)
        for count in counts:
            rate = count / _median_s(objective, batches[count], False, device)
            yield {
                'tasks': name,
                'tasks of an update': count,
                'at once, tasks/s': rate,
                'one after the other, tasks/s': looped,
                'times as fast': rate / looped,
            }


def _objective(recipe: Recipe, device: torch.device, seed: int) -> MetaObjective:
    learner = MetaLearnerConfig(
        channels=recipe.channels, adapts=recipe.adapts, inner_steps=recipe.steps, inner_rate=0.4
    )
    config = MetaConfig(learner=learner, ways=recipe.ways, shots=recipe.shots)
    objective = MetaObjective(config, MetaShape((1, _SIZE, _SIZE), 0, recipe.ways), seed)
    objective.module.to(device)
    return objective


def _median_s(
    objective: MetaObjective, batch: dict[str, Tensor], is_looped: bool, device: torch.device
) -> float:
    spent = []
    for _ in range(6):
        begun = _clock(device)
        loss = objective.judge(batch, is_looped=is_looped).loss.mean()
        torch.autograd.grad(loss, list(objective.module.parameters()))
        spent.append(_clock(device) - begun)
    return float(np.median(spent[1:]))


def _clock(device: torch.device) -> float:
    """Wall time when the device is done; of the processor its own time."""
    if device.type == 'cpu':
        return time.process_time()
    torch.cuda.synchronize()
    return time.monotonic()


def main() -> int:
    """Learn, measure and write after every part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--seconds', type=float, default=280.0, help='of everything')
    parser.add_argument('--validation', action='store_true')
    parser.add_argument('--recipe', action='append', help='settings as JSON, in place of the own')
    options = parser.parse_args()
    begun = time.monotonic()
    device = torch.device(options.device)
    torch.set_num_threads(1 if device.type == 'cpu' else 8)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    data = read_classes(options.data, _SIZE)
    split = split_classes(data, 0.2, 0)
    if options.validation:
        split = split_classes(split.training, 0.2, 1)
    found: dict[str, Any] = {
        'device': torch.cuda.get_device_name() if device.type == 'cuda' else platform.processor(),
        'torch': torch.__version__,
        'held_out_alphabets': split.held_out_groups,
        'is_validation': options.validation,
        'classes': [len(split.training.classes), len(split.held_out.classes)],
        'rows': [],
        'speed': [],
    }
    recipes = [Recipe(1), Recipe(5), Recipe(1, ways=5, adapts='all', batch=32)]
    if options.recipe:
        recipes = [Recipe(**json.loads(text)) for text in options.recipe]
    for number, recipe in enumerate(recipes):
        if number == len(recipes) - 1 and not options.validation:
            for row in speed(split.training, device, (16,) if device.type == 'cpu' else _COUNTS):
                found['speed'].append(row)
                print(row, flush=True)
            options.out.write_text(json.dumps(found, indent=1))
        seconds = _SHARES[number % len(_SHARES)] * options.seconds
        objective, learned = learn(recipe, split.training, device, seconds)
        for ways in (5, 20):
            row = measured(objective, split.held_out, ways, recipe.shots, device)
            found['rows'].append({**row, 'learned': learned})
            print(row, learned, flush=True)
        found['seconds'] = time.monotonic() - begun
        options.out.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == '__main__':
    sys.exit(main())
