"""The smallest thing that learns by passes: a line through points."""

import torch
from robot_learning.errors import TrainingError
from robot_learning.phases.passes import Losses, Origin, Passes, summed_gradients
from robot_learning.phases.passes_config import PassesConfig

SLOPE, OFFSET = 2.0, -1.0


class Points:
    """Points on a line; remembers which rows were read."""

    def __init__(self, num_rows, seed=0):
        self.x = torch.randn(num_rows, 1, generator=torch.Generator().manual_seed(seed))
        self.read_rows = []

    def __len__(self):
        return len(self.x)

    def read(self, rows):
        self.read_rows.append(rows.tolist())
        x = self.x[torch.from_numpy(rows)]
        return {'x': x, 'y': SLOPE * x + OFFSET}


class LineFit:
    """Fits slope and offset under a little noise; `tasks` splits the loss in so many parts."""

    config = PassesConfig()

    def __init__(self, noise=0.0, tasks=1):
        torch.manual_seed(0)
        self.module = torch.nn.Linear(1, 1)
        self.noise, self.tasks = noise, tasks
        self.seen_done, self.num_combined = [], 0

    @property
    def parts(self):
        return {}

    def losses(self, batch, done):
        self.seen_done.append(done)
        x = batch['x'] + self.noise * torch.randn_like(batch['x'])
        loss = (self.module(x) - batch['y']).square().mean()
        parts = {f'part_{k}': loss / self.tasks for k in range(self.tasks)}
        return Losses(parts, {'line/loss': loss.detach()})

    def combined(self, gradients):
        self.num_combined += 1
        return summed_gradients(gradients)

    def measure(self, batches):
        errors = [(self.module(b['x']) - b['y']).square().mean() for b in batches]
        error = float(torch.stack(errors).mean())
        if error > 1e6:
            raise TrainingError('line: has collapsed.')
        return {'held_out/loss': error}

    def score(self, metrics):
        return -metrics['held_out/loss']

    def policy(self):
        return dict(self.module.state_dict()), {'kind': 'line'}


def passes(objective, training, publisher=None, checkpoints=None, place=None, **settings):
    """Return passes over `training` with few settings."""
    config = PassesConfig(
        **{'epochs': 3, 'batch_size': 8, 'learning_rate': 0.05, 'weight_decay': 0.0, **settings}
    )
    more = {} if place is None else {'place': place}
    return Passes(
        objective,
        training,
        Points(10, 9),
        config,
        publisher,
        checkpoints,
        Origin(['points']),
        **more,
    )
