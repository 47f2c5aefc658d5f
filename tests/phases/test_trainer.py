import itertools
import json
import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from point_mass import episodes, point_contract, write_store
from robot_learning.errors import ConfigError, TrainingError
from robot_learning.model_store import ModelStore
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.experience import Experience
from robot_learning.phases.publishing import Publisher
from robot_learning.phases.sac import SacConfig, SoftActorCritic
from robot_learning.phases.trainer import Trainer
from robot_learning.phases.trainer_config import TrainerConfig
from robot_learning.trajectory.store import TrajectoryStore

SETTINGS = TrainerConfig(
    train_ratio=0.5,
    max_saved_updates=10_000,
    warmup_steps=20,
    publish_every_s=None,
    checkpoint_every_s=1e6,
    report_every_s=1e-9,
)
PHASE = SacConfig(hidden=(8,), batch_size=16)


def make(tmp_path, settings=SETTINGS, phase=PHASE, seed=0, name='one', **options):
    experience = Experience(
        point_contract(), settings.capacity, seed, TrajectoryStore(tmp_path / 'store')
    )
    publisher = Publisher(ModelStore(tmp_path / 'models'), name, 'sac', seed)
    learner = SoftActorCritic(phase, experience.space, seed)
    checkpoints = CheckpointFolder(tmp_path / 'checkpoints' / name)
    return Trainer(learner, experience, publisher, settings, checkpoints, **options)


def run_dry(trainer):
    """Run until the governor has nothing left to spend."""
    seen = []

    def note(progress):
        seen.append(progress)

    trainer.run(should_stop=lambda: bool(seen) and seen[-1].state == 'waiting', on_progress=note)
    return seen


def test_updates_keep_the_ratio_to_environment_steps(tmp_path):
    write_store(tmp_path / 'store', 20, seed=0)
    progress = run_dry(make(tmp_path))[-1]
    assert progress.environment_step == sum(map(len, episodes(20, 0)))
    assert progress.update == progress.environment_step // 2
    assert progress.train_ratio == pytest.approx(0.5, abs=0.01)


def test_without_data_it_waits_and_says_so(tmp_path):
    (first, *_, last) = run_dry(make(tmp_path))
    assert first.state == 'waiting'
    assert first.detail == 'Holds 0 of 20 steps; waiting for more.'
    assert (last.state, last.update, last.version) == ('finished', 0, None)


def test_a_silent_actor_is_named(tmp_path):
    write_store(tmp_path / 'store', 5, seed=0)
    now = [0.0]

    def clock():
        now[0] += 0.5
        return now[0]

    trainer = make(tmp_path, clock=clock)
    details = []
    trainer.run(
        should_stop=lambda: any('No new steps for' in text for text in details),
        on_progress=lambda progress: details.append(progress.detail),
    )
    assert any('Are the recorder and the robot running?' in text for text in details)


def test_learning_goes_on_when_the_actor_comes_back(tmp_path):
    write_store(tmp_path / 'store', 10, seed=0)
    trainer = make(tmp_path)
    before = run_dry(trainer)[-1].update
    write_store(tmp_path / 'store', 10, seed=1, first=10)
    assert run_dry(trainer)[-1].update > before


def test_versions_say_where_they_come_from(tmp_path):
    write_store(tmp_path / 'store', 10, seed=0)
    settings = replace(SETTINGS, publish_every_updates=10)
    progress = make(tmp_path, settings, seed=5).run(25)
    store = ModelStore(tmp_path / 'models')
    assert store.versions('one') == [1, 2, 3]  # After 10, 20 and at the end.
    manifest = store.manifest('one', 2)
    provenance = manifest['provenance']
    assert provenance['segments'] == ['a/segment_000000..000001.hdf5']
    assert (provenance['update'], provenance['seed'], provenance['parent']) == (20, 5, 1)
    assert provenance['environment_step'] == progress.environment_step
    assert manifest['contract_hash'] == point_contract().hash
    assert manifest['config']['batch_size'] == 16
    assert manifest['metrics']['sac/critic_loss'] > 0
    assert manifest['score'] == pytest.approx(manifest['metrics']['episode/return'])
    assert store.load('one', 3)[0]['mean.weight'].shape == (1, 8)


@pytest.mark.parametrize('priority_exponent', [0.0, 0.6])
def test_interrupted_and_resumed_equals_uninterrupted_bit_by_bit(tmp_path, priority_exponent):
    torch.set_num_threads(1)
    write_store(tmp_path / 'store', 20, seed=0)
    phase = replace(PHASE, priority_exponent=priority_exponent)
    whole = make(tmp_path, phase=phase, name='whole')
    whole.run(60)
    make(tmp_path, phase=phase, name='parts').run(23)
    resumed = make(tmp_path, phase=phase, name='parts', seed=0)
    assert resumed.resume()
    resumed.run(37)
    contents = [
        CheckpointFolder(tmp_path / 'checkpoints' / n).newest() for n in ('whole', 'parts')
    ]
    expected, found = contents
    different = [
        key
        for key, tensor in expected.tensors.items()
        if not torch.equal(tensor, found.tensors[key])
    ]
    assert different == []
    assert found.content['experience'] == expected.content['experience']
    assert found.content['governor'] == expected.content['governor']
    store = ModelStore(tmp_path / 'models')
    weights = [store.load(name)[0] for name in ('whole', 'parts')]
    assert all(np.array_equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_resumed_trainer_remembers_ratio_version_and_time(tmp_path):
    write_store(tmp_path / 'store', 20, seed=0)
    trainers = [make(tmp_path, clock=itertools.count().__next__) for _ in range(2)]
    before = run_dry(trainers[0])[-1]
    trainers[1].resume()
    after = run_dry(trainers[1])[-1]
    assert after.update == before.update
    assert after.train_ratio == before.train_ratio
    assert after.version == before.version
    # Counted in looks at the clock; few of them fall behind the first trainer's last checkpoint.
    assert after.wall_s > before.wall_s > 100


def test_another_configuration_does_not_go_on_from_the_checkpoint(tmp_path):
    write_store(tmp_path / 'store', 5, seed=0)
    make(tmp_path).run(3)
    with pytest.raises(ConfigError, match='batch_size'):
        make(tmp_path, phase=SacConfig(hidden=(8,), batch_size=32)).resume()


def test_without_a_checkpoint_it_begins_anew(tmp_path):
    assert make(tmp_path).resume() is False


def test_a_nan_stops_loudly_and_leaves_the_last_good_version_and_checkpoint(tmp_path):
    write_store(tmp_path / 'store', 20, seed=0)
    make(tmp_path).run(20)
    trainer = make(tmp_path)
    trainer.resume()
    with torch.no_grad():
        trainer._phase.critics.ensemble.output.bias.fill_(math.nan)
    reports = []
    with pytest.raises(TrainingError, match=r'update 40: sac/critic_loss is nan') as caught:
        trainer.run(30, on_progress=reports.append)
    assert 'version 1 stays' in str(caught.value)
    assert (reports[-1].state, reports[-1].detail) == ('failed', str(caught.value))
    assert ModelStore(tmp_path / 'models').versions('one') == [1]
    assert CheckpointFolder(tmp_path / 'checkpoints' / 'one').newest().content['update'] == 20


def test_an_infinite_weight_is_never_published(tmp_path):
    write_store(tmp_path / 'store', 20, seed=0)
    trainer = make(tmp_path, replace(SETTINGS, publish_every_updates=1))
    trainer.run(2)
    with torch.no_grad():
        trainer._phase.actor.mean.bias.fill_(math.inf)
    with pytest.raises(TrainingError):
        trainer.run(5)
    assert ModelStore(tmp_path / 'models').versions('one') == [1, 2]


def test_a_stop_ends_with_a_version_and_a_checkpoint(tmp_path):
    write_store(tmp_path / 'store', 40, seed=0)
    stop = threading.Event()

    def stop_soon(progress):
        if progress.update >= 7:
            stop.set()

    progress = make(tmp_path).run(should_stop=stop.is_set, on_progress=stop_soon)
    assert progress.version == 1
    checkpoint = CheckpointFolder(tmp_path / 'checkpoints' / 'one').newest()
    assert checkpoint.content['update'] == progress.update == 7
    json.dumps(checkpoint.content)


def test_a_notice_wakes_a_waiting_trainer(tmp_path, monkeypatch):
    from robot_learning.phases import trainer as module

    monkeypatch.setattr(module, '_POLL_S', 1e3)  # Without the notice, this test would hang.
    trainer = make(tmp_path)
    states = []

    def on_progress(progress):
        states.append(progress.state)
        if len(states) == 1:
            write_store(tmp_path / 'store', 20, seed=0)
            trainer.wake.set()

    trainer.run(3, on_progress=on_progress)
    assert states[0] == 'waiting'
    assert states[-1] == 'finished'
