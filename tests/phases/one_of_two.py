"""One of two processes that learn together; run by test_data_parallel.py, which see.

RANK=… WORLD_SIZE=2 MASTER_ADDR=… MASTER_PORT=… python one_of_two.py FOLDER
"""

import contextlib
import dataclasses
import json
import os
import sys
import types
from pathlib import Path

import dreamer_toys
import line_fit
import torch
from point_mass import episodes, point_contract
from robot_learning.errors import TrainingError
from robot_learning.phases import recipe
from robot_learning.phases.behavior_cloning import BehaviorCloning, BehaviorCloningConfig
from robot_learning.phases.data_parallel import Leader, Others, follow
from robot_learning.phases.devices import CPU
from robot_learning.phases.process_group import (
    averaged,
    joined,
    meeting_point,
    place_in,
    summed,
    told,
)
from robot_learning.phases.training_session import Destination, follow_offline, learn_offline
from robot_learning.phases.validation import split_episodes
from safetensors.torch import save_file

NUM_STEPS, BATCH_SIZE = 6, 32


def rows(index):
    """Return the batch of one step; both processes together see exactly this."""
    generator = torch.Generator().manual_seed(index)
    action = torch.rand(BATCH_SIZE, 2, generator=generator) * 2 - 1
    return {'observation': torch.randn(BATCH_SIZE, 3, generator=generator), 'action': action}


def cloning(seed):
    config = BehaviorCloningConfig(hidden=(16, 16), normalise=False, learning_rate=1e-2)
    return BehaviorCloning(config, dreamer_toys.SPACE, seed)


def sac_recipe():
    plan = recipe.load('sac', overrides='config: {hidden: [8], batch_size: 16}')
    trainer = dataclasses.replace(plan.trainer, checkpoint_every_s=1e9, publish_every_s=1e9)
    return recipe.Recipe('sac', plan.phase_config, trainer)


def learn(place, folder, num_updates):
    """Learn for so many updates as the first process or the other."""
    split = split_episodes(episodes(12, seed=0), 0.2, seed=0)
    contract, plan = point_contract(), sac_recipe()
    if not place.is_first:
        follow_offline(contract, plan, split, 'test', 0, CPU, place, lambda: False)
        return
    others = Others(place.size)
    to = Destination(folder / 'models', 'nav', folder)
    trainer = learn_offline(contract, plan, split, 'test', to, 0, CPU, others)
    trainer.run(num_updates)
    others.dismiss()


def main():
    folder, place = Path(sys.argv[1]), place_in(os.environ)
    torch.set_num_threads(1)
    numbers = {}
    with joined(meeting_point(os.environ), place, CPU):
        mine = torch.tensor([1.0, 3.0]) * (place.rank + 1), torch.full((1, 2), float(place.rank))
        numbers['averaged'] = [part.tolist() for part in averaged(mine)]
        numbers['summed'] = summed([place.rank + 1, 5])
        numbers['told'] = [told(f'from {place.rank}'.encode(), rank).decode() for rank in (0, 1)]
        phase = cloning(seed=0)
        half = slice(place.rank * BATCH_SIZE // 2, (place.rank + 1) * BATCH_SIZE // 2)
        for index in range(NUM_STEPS):
            phase.update({name: tensor[half] for name, tensor in rows(index).items()})
        save_file(phase.state_dict(), folder / f'cloning_{place.rank}.safetensors')
        dreamer = dreamer_toys.make(seed=0)
        batch = dreamer_toys.batch(seed=place.rank)
        for _ in range(2):
            dreamer.update(batch)
        save_file(dreamer.state_dict(), folder / f'dreamer_{place.rank}.safetensors')
        learn(place, folder / 'whole', 12)
        learn(place, folder / 'parts', 5)
        learn(place, folder / 'parts', 7)
        line = line_fit.LineFit()
        line_fit.passes(line, line_fit.Points(32), batch_size=8, place=place).run()
        save_file(line.module.state_dict(), folder / f'line_{place.rank}.safetensors')
        (folder / f'numbers_{place.rank}.json').write_text(json.dumps(numbers))
        fail(place, folder)


def fail(place, folder):
    """Let the first process fail in the middle of a step, for which the other waits."""
    phase, others = cloning(seed=0), Others(place.size)
    if place.is_first:
        leader = Leader(phase, others)
        phase.update = lambda batch: 1 / 0
        with contextlib.suppress(ZeroDivisionError):
            leader.update(rows(0))
        others.dismiss()
        return
    experience = types.SimpleNamespace(sample=lambda draw: rows(1))
    try:
        follow(phase, experience, place)
    except TrainingError as error:
        (folder / 'lost.txt').write_text(str(error))


if __name__ == '__main__':
    main()
    # Not through the end of the interpreter: a thread of torch.distributed that wants its lock at
    # that moment is ended inside C++, which aborts the process.
    sys.stdout.flush()
    os._exit(0)
