"""All five phases on a toy: brighter things ring higher, and actions move the body."""

import dataclasses

import pytest
import torch
from nsca_samples import EVERYTHING, STEPS, TINY, sample_set
from robot_learning.errors import DataError, ModelRefusedError, StoreError, TrainingError
from robot_learning.model_store import ModelStore
from robot_learning.models.nsca.config import MomentWindow
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.nsca_audio import AudioPhaseConfig, audio_objective
from robot_learning.phases.nsca_augmentation import (
    ImageAugmentationConfig,
    SoundAugmentationConfig,
)
from robot_learning.phases.nsca_contrast import ContrastConfig
from robot_learning.phases.nsca_data import PairedBatches, moment_at
from robot_learning.phases.nsca_dynamics import (
    DynamicsLossConfig,
    DynamicsObjective,
    DynamicsPhaseConfig,
    StateEpisodes,
)
from robot_learning.phases.nsca_encoded import EncodedSamples, stepwise_batches
from robot_learning.phases.nsca_full import FullObjective, FullPhaseConfig
from robot_learning.phases.nsca_fusion import (
    FusionLossConfig,
    FusionObjective,
    FusionPhaseConfig,
)
from robot_learning.phases.nsca_versions import load_earlier
from robot_learning.phases.nsca_vision import VisionPhaseConfig, vision_objective
from robot_learning.phases.passes import Origin, Passes
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.phases.publishing import Publisher

SENSES = ('vision', 'audio', 'proprioception')
CONTRAST = ContrastConfig(smallest_rank=1.0)
LOOSE = FusionLossConfig(smallest_rank=1.0)
QUICK = PassesConfig(epochs=2, batch_size=8, warmup_updates=0, learning_rate=3e-3)


@pytest.fixture(scope='module')
def samples():
    return sample_set(24, senses=EVERYTHING)


def passes(objective, training, held_out, store=None, folder=None, **changes):
    publisher = None if store is None else Publisher(store, 'toy-vision', 'nsca_vision', 0)
    made = Passes(
        objective,
        training,
        held_out,
        dataclasses.replace(QUICK, **changes),
        publisher,
        folder,
        Origin(['toy']),
    )
    made.resume()
    return made


def seeded(make, *arguments):
    torch.manual_seed(0)
    return make(*arguments)


def vision():
    return seeded(vision_objective, TINY, VisionPhaseConfig(contrast=CONTRAST))


def batches(samples, *modalities):
    return [PairedBatches(samples.split(name), modalities) for name in ('train', 'val')]


def encoded(batches, perception):
    return EncodedSamples(batches, perception, SENSES, MomentWindow(0.1, 2))


def weights(objective):
    return {name: t.detach().clone() for name, t in objective.module.state_dict().items()}


def moved(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_sight_learns_to_match_two_looks(samples):
    objective = vision()
    training, held_out = batches(samples, 'image')
    run = passes(objective, training, held_out, epochs=5)
    losses = []
    run.run(on_progress=lambda progress: losses.append(progress.metrics['held_out/contrast']))
    assert losses[-1] < losses[0]


def test_hearing_learns_to_match_two_hearings(samples):
    mild = SoundAugmentationConfig(window_s=0.3, pitch_semitones=0.2, noise=0.0)
    config = AudioPhaseConfig(contrast=CONTRAST, augmentation=mild)
    objective = seeded(audio_objective, TINY, config)
    training, held_out = batches(samples, 'sound')
    losses = []
    run = passes(objective, training, held_out, epochs=6)
    run.run(on_progress=lambda progress: losses.append(progress.metrics['held_out/contrast']))
    assert losses[-1] < losses[0]


def test_a_phase_that_was_stopped_equals_one_that_was_not(samples, tmp_path):
    training, held_out = batches(samples, 'image')
    whole, again = vision(), vision()
    passes(whole, training, held_out).run()
    folder = CheckpointFolder(tmp_path)
    updates = []
    passes(vision(), training, held_out, folder=folder, report_updates=1).run(
        should_stop=lambda: len(updates) >= 2,
        on_progress=lambda progress: updates.append(progress.update),
    )
    resumed = passes(again, training, held_out, folder=folder)
    assert resumed.run().update == 4
    assert moved(weights(whole), weights(again)) == set()


def test_constant_pictures_collapse_and_the_run_stops_with_advice(samples):
    objective = seeded(vision_objective, TINY, VisionPhaseConfig())
    collapsed = pytest.raises(TrainingError, match=r'nsca_vision: has collapsed.*raise variance')
    with torch.no_grad(), collapsed:
        objective.measure([{'image': torch.full((4, 3, 32, 32), 9, dtype=torch.uint8)}] * 2)


def test_fusion_leaves_eyes_and_ears_as_they_are_and_learns_the_rest(samples):
    objective = seeded(FusionObjective, TINY, FusionPhaseConfig(loss=LOOSE))
    training, held_out = (
        encoded(side, objective.perception)
        for side in batches(samples, 'image', 'sound', 'proprioception', 'frames')
    )
    objective.fit(training.latents)
    before = weights(objective)
    passes(objective, training, held_out, epochs=1).run()
    changed = moved(before, weights(objective))
    assert changed and not any('.vision.' in name or '.audio.' in name for name in changed)
    assert {name.split('.')[1] for name in changed if name.startswith('perception')} == {
        'fusion',
        'proprioception',
        'scale',
    }


def test_fusion_lets_eyes_and_ears_learn_where_it_is_told_to(samples):
    config = FusionPhaseConfig(loss=LOOSE, train_encoders=True)
    objective = seeded(FusionObjective, TINY, config)
    before = weights(objective)
    training, held_out = batches(samples, 'image', 'sound', 'proprioception')
    passes(objective, training, held_out, epochs=1).run()
    changed = {name.split('.')[1] for name in moved(before, weights(objective))}
    assert {'vision', 'audio', 'fusion'} <= changed


def test_fusion_varies_what_it_learns_from_and_not_what_it_is_measured_on(samples):
    looks = ImageAugmentationConfig(flip=0.0, jitter=1.0, brightness=0.9)
    hearings = SoundAugmentationConfig(window_s=0.2)
    senses = ('vision', 'audio')
    plain = FusionPhaseConfig(senses=senses, loss=LOOSE)
    varied = dataclasses.replace(plain, looks=looks, hearings=hearings)
    training, _ = batches(samples, 'image', 'sound')
    batch = training.read(range(8))
    found = []
    for config in (plain, varied):
        objective = seeded(FusionObjective, TINY, config)
        objective.module.train()
        torch.manual_seed(3)
        learned = float(objective.losses(batch, 0.0).tasks['nsca'].detach())
        objective.module.eval()
        torch.manual_seed(3)
        with torch.no_grad():
            found.append((learned, objective.measure([batch])['held_out/consistency']))
    assert found[0][0] != found[1][0]
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-4)


def test_dynamics_learns_what_actions_do(samples):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    actions = torch.zeros(64, 8, 16)
    actions[:, :, 0] = torch.randn(64, 8, generator=generator)
    places = (actions[:, :, :1].cumsum(1) - actions[:, :, :1]).expand(-1, -1, 16).contiguous()
    config = DynamicsPhaseConfig(loss=DynamicsLossConfig(horizon=4, starts=2))
    objective = DynamicsObjective(TINY, config, SENSES)
    objective.world.fit(places.flatten(0, 1))
    data = StateEpisodes(places, actions)
    held_out = StateEpisodes(places[:32], actions[:32])
    progress = passes(objective, data, held_out, epochs=40, batch_size=32, measure_epochs=40).run()
    measured = progress.metrics
    assert measured['held_out/error'] < 0.4 * measured['held_out/persistence']
    assert measured['held_out/calibration_error'] < 0.1


def test_full_learns_properties_and_moves_everything_or_not_the_encoders(samples):
    for train_encoders in (True, False):
        config = FullPhaseConfig(fusion=LOOSE, train_encoders=train_encoders)
        objective = seeded(FullObjective, TINY, config, SENSES, MomentWindow(0.1, 2))
        before = weights(objective)
        sides = [
            stepwise_batches(part, SENSES)
            if train_encoders
            else encoded(stepwise_batches(part, SENSES), objective.full.perception)
            for part in (samples.split('train'), samples.split('val'))
        ]
        losses = []
        run = passes(objective, *sides, epochs=1 if train_encoders else 6)
        run.run(
            on_progress=lambda p, kept=losses: kept.append(p.metrics['held_out/property_error'])
        )
        changed = {name.split('.')[1] for name in moved(before, weights(objective))}
        assert ('vision' in changed) == ('audio' in changed) == train_encoders
        assert {'fusion', 'temporal', 'dynamics'} <= changed
    assert losses[-1] < losses[0]


def test_unknown_properties_teach_nothing(samples):
    objective = seeded(
        FullObjective, TINY, FullPhaseConfig(fusion=LOOSE), SENSES, MomentWindow(0.1, 2)
    )
    states, actions = torch.randn(2, STEPS, 16), torch.zeros(2, STEPS, 16)
    batch = {'action': actions, 'properties': torch.full((2, 9), float('nan'))}
    assert float(objective._property_loss(states, batch).detach()) == 0


def test_rewards_and_ends_are_learned_where_data_hold_them():
    objective = seeded(
        FullObjective, TINY, FullPhaseConfig(fusion=LOOSE), SENSES, MomentWindow(0.1, 2)
    )
    states = torch.randn(2, STEPS, 16)
    assert float(objective._outcome_loss(states, {}).detach()) == 0
    assert objective.policy()[1]['has_outcomes'] is False
    batch = {'outcome': torch.tensor([1.0, 0.0, 0.0]).expand(2, STEPS, 3)}
    loss = objective._outcome_loss(states, batch)
    found = torch.autograd.grad(loss, list(objective.full.outcomes.parameters()))
    assert all(float(gradient.abs().sum()) > 0 for gradient in found)
    assert objective.policy()[1]['has_outcomes'] is True


def test_a_missing_sense_is_named_and_never_made_up(samples):
    silent = sample_set(6, senses=('image', 'proprioception', 'action'))
    with pytest.raises(DataError, match='has no sound, only image, proprioception, action'):
        PairedBatches(silent, ['image', 'sound'])
    with pytest.raises(DataError, match='has no frames, sound'):
        stepwise_batches(silent, SENSES)


def test_a_phase_says_which_one_must_come_first(tmp_path):
    with pytest.raises(StoreError, match=r'toy-vision.*--phase vision --name toy first'):
        load_earlier(ModelStore(tmp_path), 'toy', 'vision', TINY)


def test_a_version_of_other_sizes_is_refused_by_name(samples, tmp_path):
    store = ModelStore(tmp_path)
    training, held_out = batches(samples, 'image')
    passes(vision(), training, held_out, store=store, epochs=1).run()
    assert load_earlier(store, 'toy', 'vision', TINY).where == 'toy-vision@1'
    wider = dataclasses.replace(TINY, latent_size=32)
    with pytest.raises(ModelRefusedError, match='toy-vision@1: has latent_size 16 instead of 32'):
        load_earlier(store, 'toy', 'vision', wider)


def test_a_moment_hears_and_feels_the_past_only():
    steps, rate = 4, 10
    batch = {
        'frames': torch.zeros(1, steps, 3, 8, 8, dtype=torch.uint8),
        'sound': torch.arange(1.0, steps * rate + 1).unsqueeze(0),
        'proprioception': torch.arange(float(steps)).view(1, steps, 1),
    }
    first = moment_at(batch, 0, 15, 2, SENSES)
    assert first.sounds[0].tolist() == [0.0] * 5 + list(range(1, 11))
    assert first.readings[0, :, 0].tolist() == [0.0, 0.0]
    last = moment_at(batch, 3, 15, 2, SENSES)
    assert last.sounds[0, -1] == 40 and last.readings[0, :, 0].tolist() == [2.0, 3.0]
