import dataclasses

import numpy as np
import pytest
import torch
from dreamer_toys import SPACE, TINY, batch, make
from robot_learning.errors import TrainingError
from robot_learning.models.rssm import State
from robot_learning.phases.phase import PolicySpace

CHOICES = PolicySpace(3, np.zeros(4, np.float32), np.ones(4, np.float32), is_discrete=True)
SEEING = PolicySpace(
    3, np.array([-1.0], np.float32), np.array([1.0], np.float32), images={'camera': (16, 16, 3)}
)
NETWORKS = ('model', 'actor', 'critic')


def network(phase, name):
    return phase.model if name == 'model' else getattr(phase.behavior, name)


def gradients(phase, loss):
    """Return which networks the loss has a gradient in."""
    reached = set()
    for name in (*NETWORKS, 'slow_critic'):
        parameters = [p for p in network(phase, name).parameters() if p.requires_grad]
        if not parameters:
            continue
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        if any(g is not None and g.abs().sum() > 0 for g in found):
            reached.add(name)
    return reached


def posterior_of(phase, data):
    return phase.model.observe(data, None, torch.Generator().manual_seed(0)).posterior


def start_of(phase, data):
    return State(*(tensor.detach().flatten(0, 1) for tensor in posterior_of(phase, data)))


def dream(phase, start, is_terminated):
    return phase.behavior.dream(phase.model, start, is_terminated, phase._generator)


def stirred(phase, count=3):
    """Let the outputs leave their zeros, through which no gradient passes."""
    for seed in range(count):
        phase.update(batch(seed, phase.space))
    return phase


@pytest.mark.parametrize('gradient', ['reinforce', 'pathwise'])
def test_what_is_imagined_teaches_actor_and_critic_and_not_the_model(gradient):
    phase, data = stirred(make(actor_gradient=gradient)), batch()
    loss, _, metrics = dream(phase, start_of(phase, data), data['terminated'].flatten())
    assert gradients(phase, loss) == {'actor', 'critic'}
    assert all(not value.requires_grad for value in metrics.values())
    assert all(p.requires_grad for p in phase.model.parameters())


def test_the_actors_loss_does_not_reach_the_critic_nor_the_other_way(monkeypatch):
    for name, expected in (('value_loss', {'actor'}), ('reinforce_loss', {'critic'})):
        phase, data = stirred(make()), batch()
        with monkeypatch.context() as patch:
            patch.setattr(
                f'robot_learning.phases.imagined_behavior.{name}', lambda *_: torch.zeros(())
            )
            loss, _, _ = dream(phase, start_of(phase, data), data['terminated'].flatten())
        assert gradients(phase, loss) == expected


def test_recorded_values_teach_the_critic_and_the_model_if_wanted():
    phase, data = stirred(make()), batch()
    features = phase.model.features(posterior_of(phase, data))
    returns = torch.randn(data['reward'].numel())
    loss = phase.behavior.replay_value_loss(features, data, returns)
    assert gradients(phase, loss) == {'critic', 'model'}
    loss = phase.behavior.replay_value_loss(features.detach(), data, returns)
    assert gradients(phase, loss) == {'critic'}


@pytest.mark.parametrize('reaches_model', [True, False])
def test_values_shape_the_model_only_if_asked_to(reaches_model):
    """The model learns the same with another critic, unless the critic's loss reaches it."""
    learned = []
    for seed in (0, 1):
        phase = make(replay_value_gradient=reaches_model)
        phase.behavior.critic.initialise(torch.Generator().manual_seed(seed))
        torch.nn.init.normal_(
            phase.behavior.critic.output.weight, generator=torch.Generator().manual_seed(seed)
        )
        phase.update(batch())
        learned.append(torch.cat([p.detach().flatten() for p in phase.model.parameters()]))
    assert torch.equal(*learned) is not reaches_model


def test_an_update_moves_every_network_and_the_slow_critic_by_its_rate():
    phase = stirred(make(slow_rate=0.25))
    names = (*NETWORKS, 'slow_critic')
    before = {
        name: [p.detach().clone() for p in network(phase, name).parameters()] for name in names
    }
    phase.update(batch(7))
    for name in NETWORKS:
        moved = [
            not torch.equal(a, b)
            for a, b in zip(network(phase, name).parameters(), before[name], strict=True)
        ]
        assert all(moved), name
    for old, new, fast in zip(
        before['slow_critic'],
        phase.behavior.slow_critic.parameters(),
        phase.behavior.critic.parameters(),
        strict=True,
    ):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * fast)
    assert all(
        p.grad_fn is None for p in phase.behavior.slow_critic.parameters()
    )  # A growing chain.


def test_starts_where_the_task_had_ended_do_not_count():
    """Whatever the critic says there, and whatever the actor does."""
    phase, data = stirred(make()), batch(size=2)
    ended = torch.zeros(12, dtype=torch.bool)
    ended[:6] = True
    start = start_of(phase, data)
    losses = []
    for shift in (0.0, 3.0):
        phase._generator.manual_seed(5)
        phase.behavior.normaliser.low_average.zero_()
        moved = start._replace(deter=start.deter + shift * ended[:, None])
        loss, _, _ = dream(phase, moved, ended)
        losses.append(gradients_of_critic(phase, loss))
    torch.testing.assert_close(losses[0], losses[1])
    loss, _, _ = dream(phase, start, torch.ones(12, dtype=torch.bool))
    assert loss.item() == 0.0


def gradients_of_critic(phase, loss):
    found = torch.autograd.grad(loss, list(phase.behavior.critic.parameters()))
    return torch.cat([gradient.flatten() for gradient in found])


def test_the_learning_rates_warm_up():
    phase = make(warmup_updates=4, learning_rate=1e-3, actor_learning_rate=2e-3)
    seen = []
    for index in range(5):
        phase.update(batch(index))
        seen.append([group['lr'] for group in phase._optimizer.param_groups])
    expected = [[s * 1e-3, s * 2e-3, s * 1e-3] for s in (0.25, 0.5, 0.75, 1, 1)]
    np.testing.assert_allclose(seen, expected)


def test_going_on_from_a_state_equals_never_having_stopped():
    whole, first = make(), make()
    acted = torch.zeros(2, 3), {}, None, torch.ones(2, dtype=torch.bool), True
    for index in range(5):
        whole.update(batch(index))
    for index in range(2):
        first.update(batch(index))
    second = make(seed=77)
    second.load_state_dict(first.state_dict())
    for index in range(2, 5):
        second.update(batch(index))
    expected, found = whole.state_dict(), second.state_dict()
    assert set(found) == set(expected)
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []
    assert torch.equal(whole.act(*acted)[0], second.act(*acted)[0])


def test_blocks_weigh_by_the_variance_of_the_first_batch_and_keep_their_weights():
    space = dataclasses.replace(SPACE, blocks={'pose': slice(0, 2), 'speed': slice(2, 3)})
    plain, weighed = make(space=space), make(space=space, block_scale=10.0)
    first = batch(0, space)
    first['observation'] = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0, 1.0]).expand(4, 6)[..., None]
    first['observation'] = first['observation'] * torch.tensor([1.0, 0.0, 3.0])
    plain.update(first)
    assert plain._weight.tolist() == [1, 1, 1]
    weighed.update(first)
    # Values are 0 or c, half and half: the symlog's variance is log(1 + c)^2 / 4.
    expected = [10 / (np.log(2) ** 2 / 4), 10 / (np.log(2) ** 2 / 4), 10 / (np.log(4) ** 2 / 4)]
    np.testing.assert_allclose(weighed._weight, expected, rtol=1e-5)
    weighed.update(batch(1, space))
    again = make(seed=5, space=space, block_scale=10.0)
    again.load_state_dict(weighed.state_dict())
    again.update(batch(2, space))
    np.testing.assert_allclose(again._weight, expected, rtol=1e-5)


def test_acting_does_not_change_what_is_learned():
    quiet, busy = make(), make()
    for index in range(3):
        quiet.update(batch(index))
        busy.update(batch(index))
        busy.act(torch.randn(1, 3), {}, None, torch.ones(1, dtype=torch.bool), True)
    found = busy.state_dict()
    assert [k for k, v in quiet.state_dict().items() if not torch.equal(v, found[k])] == ['acting']


def test_a_first_observation_forgets_the_episode_before():
    phase = stirred(make())
    observation, first = torch.randn(2, 2, 3), torch.tensor([True, True])
    _, carry = phase.act(observation[0], {}, None, first, False)
    again = torch.tensor([True, False])
    action, _ = phase.act(observation[1], {}, carry, again, False)
    fresh, _ = phase.act(observation[1], {}, None, first, False)
    torch.testing.assert_close(action[0], fresh[0])
    assert not torch.allclose(action[1], fresh[1], atol=1e-4)


def test_evaluating_changes_neither_weights_nor_what_is_drawn_next():
    phase = stirred(make())
    before = phase.state_dict()
    first, second = phase.evaluate(batch(5)), phase.evaluate(batch(5))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert first['loss'].isfinite()
    assert all(torch.equal(before[key], value) for key, value in phase.state_dict().items())


@pytest.mark.parametrize('space', [SPACE, CHOICES, SEEING], ids=['vector', 'choices', 'image'])
def test_updates_and_acts_in_every_kind_of_space(space):
    phase = make(space=space)
    for index in range(2):
        metrics = phase.update(batch(index, space))
    assert all(value.isfinite() for value in metrics.values())
    seen = batch(9, space)
    images = {name: seen[f'image/{name}'][:, 0] for name in space.images}
    first = torch.ones(4, dtype=torch.bool)
    for explore in (True, False):
        action, _ = phase.act(seen['observation'][:, 0], images, None, first, explore)
        assert action.shape == (4, space.action_size)
        assert action.abs().max() <= 1
    if space.is_discrete:
        assert torch.equal(action.sum(1), torch.ones(4))


def test_rounded_products_learn_nearly_the_same_and_leave_the_process_as_it_was():
    setting = torch.backends.mkldnn.matmul.fp32_precision
    losses = []
    for numeric in ('float32', 'bfloat16'):
        model = dataclasses.replace(TINY.model, numeric=numeric)
        metrics = make(model=model).update(batch())
        losses.append(metrics['world_model/loss'].item())
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    assert torch.backends.mkldnn.matmul.fp32_precision == setting


def test_a_state_of_another_network_is_refused():
    with pytest.raises(TrainingError, match='another configuration'):
        make().load_state_dict(make(actor_layers=2).state_dict())
