"""Puts each NSCA phase together from data, settings and the versions it stands on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from robot_learning.errors import ConfigError
from robot_learning.model_store import ModelStore
from robot_learning.phases.nsca_audio import audio_objective
from robot_learning.phases.nsca_config import NscaConfig
from robot_learning.phases.nsca_data import PairedBatches
from robot_learning.phases.nsca_dynamics import DynamicsObjective, StateEpisodes
from robot_learning.phases.nsca_encoded import EncodedSamples, sensed_steps, stepwise_batches
from robot_learning.phases.nsca_full import FullObjective
from robot_learning.phases.nsca_fusion import FusionObjective
from robot_learning.phases.nsca_versions import Earlier, load_earlier
from robot_learning.phases.nsca_vision import vision_objective
from robot_learning.trajectory.paired_data import Modality, PairedSet

if TYPE_CHECKING:
    from robot_learning.phases.batch_plan import Batches
    from robot_learning.phases.passes import Objective
    from robot_learning.phases.passes_config import PassesConfig

_FIELDS: dict[str, Modality] = {
    'vision': 'image',
    'audio': 'sound',
    'proprioception': 'proprioception',
}


class Data(NamedTuple):
    """What is learned from, and what is measured on."""

    training: PairedSet
    held_out: PairedSet


class Prepared(NamedTuple):
    """A phase that is ready to learn."""

    objective: Objective
    training: Batches
    held_out: Batches
    passes: PassesConfig
    earlier: tuple[str, ...]  # NAME@VERSION of what it stands on; of the same phase: began with.


def prepare(
    name: str,
    data: Data,
    settings: NscaConfig,
    store: ModelStore,
    model_name: str,
    seed: int,
    device: torch.device,
    begun: Earlier | None = None,
) -> Prepared:
    """Make objective and batches of a phase.

    Args:
        name: of the phase, 'vision'.
        data: training and held out.
        settings: of all phases.
        store: where earlier phases are.
        model_name: of all phases together.
        seed: of the first weights.
        device: where it will learn.
        begun: version of the same phase whose weights it begins with, if they fit; None: fresh
            ones. What it takes over from the phases before is theirs either way.

    Raises:
        DataError: the data lack a sense that the phase needs.
        StoreError: a phase that must come first has no version yet.
        ModelRefusedError: a version has other sizes.
    """
    if name not in ('vision', 'audio') and 'proprioception' in settings.fusion.senses:
        _check_body(data, settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name in ('vision', 'audio'):
            return _single_sense(name, data, settings, begun, device)
        earlier = _Earlier(store, model_name, settings)
        if name == 'fusion':
            return _fusion(data, settings, earlier, begun, device)
        if name == 'dynamics':
            return _dynamics(data, settings, earlier, begun, device)
        return _full(data, settings, earlier, begun, device)


def _check_body(data: Data, settings: NscaConfig) -> None:
    """Refuse settings for another body.

    Raises:
        DataError: the data have none.
        ConfigError: theirs has another number of readings.
    """
    found = data.training.require('proprioception').read(0).proprioception
    assert found is not None, 'required'
    expected = settings.model.proprioception_size
    if found.shape[1] != expected:
        raise ConfigError(
            f'model.proprioception_size: is {expected}, and {data.training.report.where} has '
            f'{found.shape[1]} numbers per step. Write {found.shape[1]}.'
        )


class _Earlier:
    """Reads earlier versions and remembers which."""

    def __init__(self, store: ModelStore, name: str, settings: NscaConfig):
        self._store, self._name, self._settings = store, name, settings
        self.found: list[str] = []

    def __getitem__(self, phase: str) -> Earlier:
        version = load_earlier(self._store, self._name, phase, self._settings.model)
        self.found.append(version.where)
        return version


def _begin(objective: Objective, begun: Earlier | None) -> tuple[str, ...]:
    """Take over the weights of a version, if they fit; return which, if any."""
    if begun is None or not begun.written_to(objective.policy()[0]):
        return ()
    return (begun.where,)


def _single_sense(
    name: str, data: Data, settings: NscaConfig, begun: Earlier | None, device: torch.device
) -> Prepared:
    if name == 'vision':
        objective = vision_objective(settings.model, settings.vision)
        passes = settings.vision.passes
    else:
        objective = audio_objective(settings.model, settings.audio)
        passes = settings.audio.passes
    taken = _begin(objective, begun)
    objective.module.to(device)
    sides = [PairedBatches(paired, [_FIELDS[name]]) for paired in data]
    training, held_out = sides
    return Prepared(objective, training, held_out, passes, taken)


def _fusion(
    data: Data,
    settings: NscaConfig,
    earlier: _Earlier,
    begun: Earlier | None,
    device: torch.device,
) -> Prepared:
    phase = settings.fusion
    objective = FusionObjective(settings.model, phase)
    taken = _begin(objective, begun)
    perception = objective.perception
    if 'vision' in phase.senses:
        earlier['vision'].fill(perception.vision, 'vision')
    if 'audio' in phase.senses:
        earlier['audio'].fill(perception.audio, 'audio')
    if 'proprioception' in phase.senses:
        readings = [
            torch.from_numpy(data.training.read(row).proprioception)
            for row in range(min(len(data.training), 200))
        ]
        perception.proprioception.fit(torch.cat(readings))
    objective.module.to(device)
    raw = [PairedBatches(paired, _moment_fields(paired, phase.senses)) for paired in data]
    stands_on = (*earlier.found, *taken)
    if not phase.encodes_once:
        return Prepared(objective, raw[0], raw[1], phase.passes, stands_on)
    training, held_out = (_encoded(side, perception, settings) for side in raw)
    objective.fit(training.latents)
    return Prepared(objective, training, held_out, phase.passes, stands_on)


def _dynamics(
    data: Data,
    settings: NscaConfig,
    earlier: _Earlier,
    begun: Earlier | None,
    device: torch.device,
) -> Prepared:
    from robot_learning.models.nsca.perception import Perception

    version = earlier['fusion']
    senses, window = settings.fusion.senses, settings.fusion.window
    perception = Perception(settings.model)
    version.fill(perception, 'perception')
    perception.eval().requires_grad_(False).to(device)
    sides = []
    for paired in data:
        encoded = _encoded(stepwise_batches(paired, senses), perception, settings)
        encoded.require_steps(2)
        whole: Any = encoded.read(np.arange(len(encoded)))
        sensed = sensed_steps(whole, perception, senses, window.felt_steps)
        states = torch.cat(
            [
                perception.fusion(latents, there)
                for latents, there in zip(
                    torch.split(sensed.latents, 2048),
                    torch.split(sensed.is_there, 2048),
                    strict=True,
                )
            ]
        )
        actions = whole['action']
        sides.append(StateEpisodes(torch.unflatten(states, 0, actions.shape[:2]), actions))
    objective = DynamicsObjective(settings.model, settings.dynamics, senses)
    taken = _begin(objective, begun)
    objective.world.fit(sides[0].states.flatten(0, 1))
    objective.module.to(device)
    training, held_out = sides
    return Prepared(
        objective, training, held_out, settings.dynamics.passes, (*earlier.found, *taken)
    )


def _full(
    data: Data,
    settings: NscaConfig,
    earlier: _Earlier,
    begun: Earlier | None,
    device: torch.device,
) -> Prepared:
    phase, senses, window = settings.full, settings.fusion.senses, settings.fusion.window
    objective = FullObjective(settings.model, phase, senses, window)
    taken = _begin(objective, begun)
    fusion, dynamics = earlier['fusion'], earlier['dynamics']
    fusion.fill(objective.full.perception, 'perception')
    fusion.fill(objective.full.predictor, 'predictor')
    dynamics.fill(objective.full.world, 'world')
    objective.module.to(device)
    sides: list[Batches]
    if phase.train_encoders:
        sides = [stepwise_batches(paired, senses) for paired in data]
    else:
        sides = [
            _encoded(
                stepwise_batches(paired, senses), objective.full.perception, settings
            ).require_steps(2)
            for paired in data
        ]
    training, held_out = sides
    return Prepared(objective, training, held_out, phase.passes, (*earlier.found, *taken))


def _encoded(batches: PairedBatches, perception: Any, settings: NscaConfig) -> EncodedSamples:
    from tqdm import tqdm

    is_silent = not sys.stderr.isatty()
    with tqdm(total=len(batches), desc='encoding', unit='sample', disable=is_silent) as bar:
        return EncodedSamples(
            batches,
            perception,
            settings.fusion.senses,
            settings.fusion.window,
            lambda done, total: bar.update(done - bar.n) and None,
        )


def _moment_fields(paired: PairedSet, senses: Any) -> list[Modality]:
    """Pictures and, where there are, frames; every other sense that is wanted."""
    fields = [_FIELDS[sense] for sense in senses]
    if 'vision' in senses and 'image' not in paired.modalities and 'frames' in paired.modalities:
        fields[fields.index('image')] = 'frames'
    elif 'vision' in senses and 'frames' in paired.modalities:
        fields.append('frames')
    return fields
