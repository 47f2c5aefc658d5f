import dataclasses

import numpy as np
import pytest
import torch
from robot_learning.errors import TrainingError
from robot_learning.models.aime.config import AimeModelConfig
from robot_learning.phases.aime import SHARED, AimeConfig, AimeTraining
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.passes import Origin, Passes, summed_gradients
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.phases.video_data import VideoWindows
from robot_learning.trajectory.dmc_video import DMCVideoDataset
from robot_learning.trajectory.formats.foreign import regular_stamps, whole_episode

CONFIG = AimeConfig(
    model=AimeModelConfig(
        image_size=32, depth=4, hidden=16, latent=5, components=3, slot_size=8, codes=16,
        code_size=8, context_frames=2, context_latents=3, context_size=8, context_heads=2,
        context_layers=1, context_every=4,
    ),
    length=6,
    stride=3,
    open_loop_context=3,
)  # fmt: skip


def bar_world(count=24):
    """A white bar on black whose column follows the actions."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (count, 1))
    places = np.clip(np.concatenate([[16], 16 + 6 * np.cumsum(actions[:-1, 0])]), 2, 29)
    frames = np.zeros((count, 32, 32, 3), np.uint8)
    for step, place in enumerate(places.round().astype(int)):
        frames[step, :, place - 2 : place + 2] = 255
    stamps = regular_stamps(count, 50_000_000)
    return whole_episode(0, {'camera': frames}, actions, np.zeros(count), stamps, 'bar')


@pytest.fixture(scope='module')
def windows():
    return VideoWindows(DMCVideoDataset([bar_world()], 6, 3, 32))


def training(config=CONFIG, seed=0, windows=None):
    return AimeTraining(config, windows.dataset, epochs=4, seed=seed)


def passes(windows, folder=None, updates=4, config=CONFIG, learning_rate=1e-3):
    settings = PassesConfig(
        epochs=1000, max_updates=updates, batch_size=3, learning_rate=learning_rate,
        warmup_updates=0, gradient_norm=5.0, checkpoint_updates=2, report_updates=1,
        measure_epochs=1000, schedule='constant',
    )  # fmt: skip
    objective = training(config, windows=windows)
    checkpoints = None if folder is None else CheckpointFolder(folder)
    return objective, Passes(
        objective, windows, windows, settings, None, checkpoints, Origin(['bar'])
    )


def test_a_training_that_was_stopped_equals_one_that_was_not(tmp_path, windows):
    whole, run = passes(windows)
    run.run()
    first, run = passes(windows, tmp_path)
    stops = iter([False] * 2 + [True])
    run.run(lambda: next(stops))
    second, run = passes(windows, tmp_path)
    run.resume()
    run.run()
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, second.module.state_dict()[name]), name
    for name, value in whole.parts.items():
        assert torch.equal(value, second.parts[name]), name
    assert not torch.equal(first.module.decoder.input.weight, second.module.decoder.input.weight)


def test_drawing_gets_better_and_all_is_reported(windows):
    objective, run = passes(windows, updates=20, learning_rate=5e-3)
    seen = []
    progress = run.run(on_progress=lambda p: seen.append(dict(p.metrics)))
    assert seen[-1]['aime/psnr'] > seen[0]['aime/psnr'] + 1
    logged = {
        'psnr', 'kl', 'stick_kl', 'cluster_entropy', 'negative_elbo', 'task_elbo',
        'task_perceiver', 'task_predictive', 'components', 'perplexity', 'latent_mean',
        'latent_spread', 'latent_std', 'component_00', 'component_02', 'beta', 'gradient_elbo',
        'gradient_perceiver', 'gradient_predictive', 'balancing_cosine_before',
    }  # fmt: skip
    assert {f'aime/{name}' for name in logged} <= set(seen[-1])
    measured = {
        'reconstruction_psnr', 'one_step_psnr', 'open_loop_psnr', 'persistence_psnr', 'foresight',
        'kl_sampled', 'components', 'perplexity', 'negative_elbo',
    }  # fmt: skip
    assert {f'held_out/{name}' for name in measured} <= set(progress.metrics)
    assert objective.score(progress.metrics) == -progress.metrics['held_out/negative_elbo']


def losses_of(objective, windows, done=0.5):
    torch.manual_seed(0)
    return objective.losses(windows.read(np.arange(3)), done)


def test_beta_follows_the_passes(windows):
    objective = training(dataclasses.replace(CONFIG), windows=windows)
    # Four passes will be made, beta is 1 after ten: 0.2 in the middle.
    assert losses_of(objective, windows).metrics['aime/beta'].item() == pytest.approx(0.2)


def gradients_of(objective, windows):
    parameters = list(objective.module.parameters())
    tasks = losses_of(objective, windows).tasks
    return {
        name: torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
        for name, loss in tasks.items()
    }


def test_only_what_tasks_share_is_turned(windows):
    objective = training(windows=windows)
    gradients = gradients_of(objective, windows)
    plain = summed_gradients(gradients)
    turned = objective.combined(gradients)
    changed = set()
    names = [name.split('.')[0] for name, _ in objective.module.named_parameters()]
    for name, before, after in zip(names, plain, turned, strict=True):
        assert before.shape == after.shape
        if not torch.allclose(before, after):
            changed.add(name)
    assert changed and changed <= set(SHARED)
    # At least two tasks reach every part that is called shared.
    for part in SHARED:
        reached = [
            any(g.any() for n, g in zip(names, each, strict=True) if n == part)
            for each in gradients.values()
        ]
        assert sum(reached) >= 2, part


def test_gradients_can_be_summed_instead(windows):
    objective = training(dataclasses.replace(CONFIG, balancing='sum'), windows=windows)
    gradients = gradients_of(objective, windows)
    for found, expected in zip(
        objective.combined(gradients), summed_gradients(gradients), strict=True
    ):
        assert torch.equal(found, expected)


def test_a_collapse_changes_the_weights_of_the_next_update(windows):
    config = dataclasses.replace(
        CONFIG,
        collapse=dataclasses.replace(CONFIG.collapse, check_updates=1, least_perplexity=99.0),
    )
    objective = training(config, windows=windows)
    losses_of(objective, windows)
    assert 'codebook' in objective.collapsed
    losses_of(objective, windows)
    codebook = objective.module.tokenizer.codebook
    assert codebook.revival_usage == 2 * config.model.revival_usage


def test_the_same_seed_gives_the_same_model(windows):
    first, again, other = (training(seed=seed, windows=windows) for seed in (1, 1, 2))
    weights = [each.module.decoder.input.weight for each in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_losses_that_are_not_finite_stop_the_training(windows):
    objective, run = passes(windows)
    with torch.no_grad():
        objective.module.decoder.input.weight[0, 0] = torch.nan
    with pytest.raises(TrainingError, match='elbo: loss nan'):
        run.run()


def test_half_precision_learns_too(windows):
    objective = training(windows=windows)
    settings = PassesConfig(epochs=9, max_updates=1, batch_size=3, precision='bfloat16')
    run = Passes(objective, windows, windows, settings, None, None, Origin(['bar']))
    assert np.isfinite(run.run().metrics['held_out/negative_elbo'])
    assert objective.module.tokenizer.codebook.codes.dtype == torch.float32
