from dataclasses import replace

import pytest
from point_mass import episodes, point_contract, write_store
from robot_learning.errors import NotEnoughDataError
from robot_learning.model_store import ModelStore
from robot_learning.phases import recipe
from robot_learning.phases.training_session import Destination, follow_store, learn_offline
from robot_learning.phases.validation import split_episodes


def driver(place):
    return max(-2.0, min(2.0, -1.5 * place))


def small(phase, **trainer):
    plan = recipe.load(phase, overrides='config: {hidden: [16], batch_size: 32}')
    return recipe.Recipe(phase, plan.phase_config, replace(plan.trainer, **trainer))


def test_offline_cloning_publishes_the_best_on_held_out_episodes(tmp_path):
    split = split_episodes(episodes(30, seed=0, policy=driver), 0.2, seed=0)
    plan = small('behavior_cloning', validate_every_updates=20)
    to = Destination(tmp_path / 'models', 'cloned')
    trainer = learn_offline(point_contract(), plan, split, 'test', to, seed=0)
    progress = trainer.run(200)
    store = ModelStore(to.models)
    scores = [store.manifest('cloned', v)['score'] for v in store.versions('cloned')]
    assert len(scores) > 3
    assert scores == sorted(scores)
    assert progress.metrics['held_out/loss'] >= -scores[-1]
    assert store.manifest('cloned', 1)['provenance']['sources'] == ['test']


def test_offline_sac_publishes_by_schedule_and_reports_held_out_numbers(tmp_path):
    split = split_episodes(episodes(30, seed=0), 0.2, seed=0)
    to = Destination(tmp_path / 'models', 'sac')
    trainer = learn_offline(point_contract(), small('sac'), split, 'test', to, seed=0)
    progress = trainer.run(50)
    assert progress.update == 50
    assert {'held_out/loss', 'held_out/action_error'} <= set(progress.metrics)
    assert ModelStore(to.models).newest('sac') == progress.version


def test_offline_sac_stays_close_to_what_was_done(tmp_path):
    split = split_episodes(episodes(30, seed=0, policy=driver), 0.2, seed=0)
    errors = []
    for weight in (0.0, 1.0):
        config = f'{{hidden: [16], batch_size: 32, imitation_weight: {weight}}}'
        plan = recipe.load('sac', overrides=f'config: {config}')
        to = Destination(tmp_path / f'models-{weight}', 'sac')
        progress = learn_offline(point_contract(), plan, split, 'test', to, seed=0).run(400)
        errors.append(progress.metrics['held_out/action_error'])
        assert progress.environment_step > 100  # All the same it is experience.
    assert errors[1] < 0.6 * errors[0]


def test_recordings_without_rewards_are_refused_by_name_where_one_is_needed(tmp_path):
    recorded = episodes(10, seed=0)
    num_steps = 0
    for each in recorded:
        each.reward[:] = float('nan')
        num_steps += len(each)
    to = Destination(tmp_path / 'models', 'nav')
    split, plan = split_episodes(recorded, 0.2, seed=0), small('sac')
    with pytest.raises(NotEnoughDataError, match=r'test: 0 usable steps for sac.*train behavior_'):
        learn_offline(point_contract(), plan, split, 'test', to, seed=0)
    reason = rf'demonstrations: 0 usable steps.*{num_steps} steps came without a reward'
    with pytest.raises(NotEnoughDataError, match=reason):
        follow_store(point_contract(), plan, tmp_path / 'store', to, 0, recorded)


def test_following_a_store_goes_on_after_a_restart(tmp_path):
    write_store(tmp_path / 'store', 20, seed=0)
    to = Destination(tmp_path / 'models', 'nav', tmp_path)
    plan = small('sac', warmup_steps=10)

    def start():
        return follow_store(point_contract(), plan, tmp_path / 'store', to, seed=0)

    assert start().run(10).update == 10
    assert start().run(10).update == 20
    assert (tmp_path / 'checkpoints' / 'nav-sac').is_dir()


def test_demonstrations_let_learning_begin_before_the_robot_moves(tmp_path):
    to = Destination(tmp_path / 'models', 'nav')
    plan = small('sac', initial_updates=15, warmup_steps=50)
    trainer = follow_store(
        point_contract(), plan, tmp_path / 'store', to, 0, episodes(20, seed=0, policy=driver)
    )
    states = []
    progress = trainer.run(
        should_stop=lambda: 'waiting' in states,
        on_progress=lambda progress: states.append(progress.state),
    )
    assert progress.update == 15
    assert progress.environment_step == 0
    assert progress.train_ratio != pytest.approx(0)


def test_one_damaged_segment_is_named_and_counted_and_the_rest_is_learned_from(tmp_path, caplog):
    write_store(tmp_path / 'store', 20, seed=0)
    segments = sorted((tmp_path / 'store').glob('*/segment_*.hdf5'))
    content = bytearray(segments[1].read_bytes())
    content[len(content) // 2] ^= 1
    segments[1].write_bytes(content)
    to = Destination(tmp_path / 'models', 'nav', tmp_path)
    trainer = follow_store(
        point_contract(), small('sac', warmup_steps=10), tmp_path / 'store', to, seed=0
    )
    progress = trainer.run(10)
    assert progress.update == 10
    assert progress.metrics['data/skipped_segments'] == 1
    assert str(segments[1]) in caplog.text and 'left out of learning' in caplog.text
