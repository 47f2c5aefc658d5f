import numpy as np
import pytest
import torch
from robot_learning.models.meta_learner import Examples, MetaLearnerConfig, MetaShape
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.meta import MetaConfig, MetaObjective
from robot_learning.phases.meta_tasks import Shots, SinusoidTasks
from robot_learning.phases.passes import Origin, Passes
from robot_learning.phases.passes_config import PassesConfig

LEARNER = MetaLearnerConfig(hidden=(24, 24), inner_steps=1, inner_rate=0.05)


def training(folder, seed=0, **settings):
    tasks = SinusoidTasks(Shots(10, 10), 400, seed)
    held_out = SinusoidTasks(Shots(10, 10), 100, seed + 1)
    objective = MetaObjective(MetaConfig(learner=LEARNER, shots=10), tasks.shape, seed)
    config = PassesConfig(
        **{
            'epochs': 1,
            'batch_size': 20,
            'learning_rate': 1e-2,
            'warmup_updates': 0,
            'gradient_norm': 10.0,
            **settings,
        }
    )
    checkpoints = None if folder is None else CheckpointFolder(folder)
    passes = Passes(objective, tasks, held_out, config, None, checkpoints, Origin([]), seed)
    passes.resume()
    return objective, passes, held_out


def test_a_step_on_a_few_points_fits_a_new_curve_after_some_learning():
    objective, passes, held_out = training(None, epochs=8)
    metrics = passes.run().metrics
    before, after = (metrics[f'held_out/mean_squared_error{x}'] for x in ('_before', ''))
    assert after < 0.5 * before and after < 1.6
    assert objective.score(metrics) == -after
    batch = held_out.read(np.arange(100))
    by_hand = objective.judge(batch).right.mean().item()
    assert by_hand == pytest.approx(after, rel=1e-4)


def test_resumed_it_is_the_same(tmp_path):
    whole, passes, _ = training(None)
    passes.run()
    stopped, passes, _ = training(tmp_path)
    count = iter(range(100))
    passes.run(should_stop=lambda: next(count) >= 7)
    resumed, passes, _ = training(tmp_path)
    assert passes.run().state == 'finished'
    assert not torch.equal(stopped.module.rates, whole.module.rates)
    for a, b in zip(whole.module.parameters(), resumed.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_looped_it_is_the_same():
    objective, _, held_out = training(None)
    batch = held_out.read(np.arange(4))
    together, apart = objective.judge(batch), objective.judge(batch, is_looped=True)
    torch.testing.assert_close(together.loss, apart.loss)
    torch.testing.assert_close(together.right, apart.right)


def test_heads_adapt_on_the_features_of_all_tasks_as_each_task_would_by_itself():
    torch.manual_seed(0)
    learner = MetaLearnerConfig(channels=8, blocks=2, adapts='head', inner_steps=2)
    objective = MetaObjective(MetaConfig(learner=learner), MetaShape((1, 8, 8), 0, 3), 0)
    inputs, labels = torch.rand(4, 9, 1, 8, 8), torch.arange(3).expand(4, 3)
    batch = {
        'support_input': inputs[:, :3],
        'support_target': labels,
        'query_input': inputs[:, 3:],
        'query_target': labels.repeat_interleave(2, 1),
    }
    together = objective.judge(batch)
    module = objective.module
    for task, loss in enumerate(together.loss):
        support = Examples(inputs[task, :3], labels[task])
        adapted = module.adapt(module.weights(), module.rates, support, 3)
        outputs = module.outputs(adapted, inputs[task, 3:])
        torch.testing.assert_close(module.loss(outputs, batch['query_target'][task]), loss)
    apart = objective.judge(batch, is_looped=True)
    torch.testing.assert_close(together.loss, apart.loss)


def test_what_is_published_rebuilds_the_learner():
    objective, _, _ = training(None)
    tensors, description = objective.policy()
    assert set(tensors) == set(objective.module.state_dict())
    assert description['inputs'] == [1] and description['num_targets'] == 1
    assert description['learner']['hidden'] == (24, 24)


def test_seeds_decide_the_initial_weights():
    torch.manual_seed(5)
    first, second, other = (training(None, seed)[0].module.head.weight for seed in (0, 0, 1))
    assert torch.equal(first, second) and not torch.equal(first, other)
