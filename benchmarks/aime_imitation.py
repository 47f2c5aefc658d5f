"""Imitation from video alone, by action inference with a frozen AIME model.

A small model learns how a place looks and what actions do there from a teacher with much noise.
Then a policy learns from video of the good teacher, whose actions it does not get, and is let
loose in the place; beside it behavioural cloning of the true actions on the same states, the mean
of those actions always, no action, random actions and the teacher. Normalised return: 0 is random,
1 the teacher.

    python benchmarks/aime_imitation.py [reacher] [arena] [--updates 2000] [--quick]

Places: reacher_easy of the DeepMind Control Suite, and goal reaching in the embedded world seen
by the robot's camera. Each runs in a process of its own; recordings stay in runs/.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from aime import FOLDER, SMALL, Budget, learn, videos_of
from imitation_places import PLACES, Constant, Place
from reporting import RESULTS, table, write
from robot_learning.commands.train_aime import load_settings, split_videos
from robot_learning.evaluation.means import mean_interval
from robot_learning.models.aime.model import ActionRange
from robot_learning.models.aime.policy import LatentActor
from robot_learning.phases import cpu
from robot_learning.phases.action_inference import ActionInference, ActionInferenceConfig
from robot_learning.phases.aime import AimeTraining
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.store import TrajectoryStore

NAME = 'aime_imitation'
IMAGE_SIZE = 32
NUM_TRIALS = 20
PLAY_NOISE, SHOWN_NOISE = (0.3, 1.0), 0.1
PLAY_SEED, SHOWN_SEED, TRIAL_SEED = 0, 10_000, 20_000
MODEL_RATE, MODEL_BATCH = 2e-3, 4  # As in aime_small.yaml.
POLICY_RATE = 1e-3
Array = np.ndarray[Any, Any]


class Latent:
    """An actor on the model's states, asked with a picture."""

    def __init__(self, inference: ActionInference, action_range: ActionRange):
        self._actor = LatentActor(inference.model, inference.module, action_range)

    def begin(self, seed: int) -> None:
        """Forget the last episode."""
        self._actor.begin()

    def act(self, observation: Mapping[str, Array]) -> Array:
        """Look and act."""
        return self._actor.act(observation['camera'])


def recorded(place: Place, what: str, count: int, noise: tuple[float, float], seed: int) -> Any:
    """Return episodes of the teacher, recorded at the first call; the noise rises over them."""
    folder = FOLDER / 'imitation' / f'{type(place).__name__.lower()}_{what}_{count}'
    store = TrajectoryStore(folder)
    if not store.segments(what):
        episodes = [
            place.drive(place.teacher(share, number), number, place.recorded_actions).episode
            for number, share in enumerate(np.linspace(*noise, count), seed)
        ]
        store.write_segment(episodes, what, place.contract)
    return list(store.episodes())


def measure(place: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Learn model and policies, and let all act."""
    num_play, num_shown, num_trials = (6, 4, 2) if options.quick else (
        place.num_play, place.num_shown, NUM_TRIALS)  # fmt: skip
    updates = 10 if options.quick else options.updates
    play: list[Episode] = recorded(place, 'play', num_play, PLAY_NOISE, PLAY_SEED)
    shown: list[Episode] = recorded(place, 'shown', num_shown, (SHOWN_NOISE,) * 2, SHOWN_SEED)
    config = load_settings(SMALL)[1]
    model = dataclasses.replace(config.model, image_size=IMAGE_SIZE)
    config = dataclasses.replace(config, model=model, stride=2)
    videos = videos_of(play, config, seed=0)
    bounds = videos.training.dataset.bounds
    epochs = updates * MODEL_BATCH / len(videos.training)
    losses = dataclasses.replace(config.losses, beta_epochs=epochs / 4)
    config = dataclasses.replace(config, losses=losses)
    objective = AimeTraining(config, videos.training.dataset, epochs, options.seed)
    found: dict[str, Any] = {
        'place': place.name,
        'updates': updates,
        'seed': options.seed,
        'episodes': {'play': num_play, 'shown': num_shown, 'trials': num_trials},
        'model': learn(objective, videos, updates, MODEL_RATE, Budget(1e9), MODEL_BATCH),
        'policies': {},
    }
    print(found['model'], flush=True)
    shows = split_videos(shown, config.length, 1, IMAGE_SIZE, 'camera', 0.2, 0, bounds)
    actors: dict[str, Any] = {}
    for name in ('evidence', 'actions'):
        chosen = ActionInferenceConfig(learns_from=name)
        inference = ActionInference(objective.module, bounds, {}, chosen, options.seed)
        found['policies'][name] = learn(inference, shows, updates, POLICY_RATE, Budget(1e9))
        print(name, found['policies'][name], flush=True)
        actors[name] = Latent(inference, ActionRange(*bounds))
    taken = np.concatenate([episode.action[:-1] for episode in shown])
    actors['mean'] = Constant(taken.mean(0))
    actors['none'] = Constant(np.zeros(taken.shape[1]))
    actors['random'] = place.teacher(1.0, 7)
    actors['expert'] = place.teacher(0.0, 7)
    trials = {
        name: [place.drive(actor, TRIAL_SEED + number) for number in range(num_trials)]
        for name, actor in actors.items()
    }
    returns = {name: [trial.total for trial in made] for name, made in trials.items()}
    worst, best = (float(np.mean(returns[name])) for name in ('random', 'expert'))
    rows = []
    for name, values in returns.items():
        low, high = mean_interval([(value - worst) / (best - worst) for value in values])
        rows.append(
            {
                'policy': name,
                'return': float(np.mean(values)),
                'normalised': (float(np.mean(values)) - worst) / (best - worst),
                'low': low,
                'high': high,
                'succeeded': sum(trial.success for trial in trials[name]),
                'of': num_trials,
            }
        )
    table(rows)
    return {**found, 'rows': rows, 'returns': returns}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('places', nargs='*', choices=[*PLACES, []], help='all, if none is named')
    parser.add_argument('--updates', type=int, default=2000, help='of model and policies, each')
    parser.add_argument('--seed', type=int, default=0, help='of the weights')
    parser.add_argument('--quick', action='store_true', help='a few updates: does it run?')
    options = parser.parse_args()
    places = options.places or [*PLACES]
    if len(places) > 1:  # Two libraries that draw do not share a process.
        for name in places:
            arguments = [name, '--updates', str(options.updates), '--seed', str(options.seed)]
            arguments += ['--quick'] if options.quick else []
            subprocess.run([sys.executable, __file__, *arguments], check=True)
        return 0
    cpu.settle()
    torch.manual_seed(options.seed)
    found = measure(PLACES[places[0]](IMAGE_SIZE), options)
    path = RESULTS / (f'{NAME}.quick.json' if options.quick else f'{NAME}.json')
    results = json.loads(path.read_text())['results'] if path.is_file() else {}
    print(f'written to {write(NAME, {**results, places[0]: found}, options.quick)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
