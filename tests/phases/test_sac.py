import dataclasses

import numpy as np
import pytest
import torch
from point_mass import episodes, mean_reward, point_contract
from robot_learning.errors import ConfigError, TrainingError
from robot_learning.models.distributions import squashed_log_prob
from robot_learning.phases.experience import Experience
from robot_learning.phases.phase import PolicySpace
from robot_learning.phases.prioritised_update import learn
from robot_learning.phases.sac import SacConfig, SoftActorCritic
from robot_learning.serving.policy import build_policy

SPACE = PolicySpace(3, np.array([-1.0, 0.0], np.float32), np.array([1.0, 2.0], np.float32))


def make(seed=0, **settings):
    return SoftActorCritic(SacConfig(hidden=(16, 16), batch_size=8, **settings), SPACE, seed)


def batch(seed=0, size=8):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    return {
        'observation': draw(size, 3),
        'next_observation': draw(size, 3),
        'action': torch.tanh(draw(size, 2)),
        'reward': draw(size),
        'discount': torch.full((size,), 0.99),
    }


def copies(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def changed(module, before):
    return [not torch.equal(a, b) for a, b in zip(module.parameters(), before, strict=True)]


def step_critics(phase, data, temperature):
    *_, next_drawn = phase._draw(data, phase._generator, for_actor=False)
    phase._update_critics(data, phase._target(data, next_drawn, torch.tensor(temperature)))


def step_actor(phase, data, temperature):
    mean, drawn, _ = phase._draw(data, phase._generator, for_actor=True)
    return phase._update_actor(data, mean, drawn, torch.tensor(temperature))


def test_the_critic_step_changes_every_critic_parameter_and_nothing_else():
    phase = make(layer_norm=True)
    before = {name: copies(getattr(phase, name)) for name in ('actor', 'critics')}
    target = copies(phase.target_critics)
    temperature = phase.log_temperature.detach().clone()
    step_critics(phase, batch(), 1.0)
    assert all(changed(phase.critics, before['critics']))
    assert not any(changed(phase.actor, before['actor']))
    assert not any(changed(phase.target_critics, target))
    assert torch.equal(phase.log_temperature, temperature)


def test_what_follows_slowly_keeps_no_graph_of_earlier_updates():
    phase = make()
    for seed in range(3):
        phase.update(batch(seed))
    followers = [*phase.target_critics.parameters(), *phase.average_actor.parameters()]
    assert not any(parameter.requires_grad for parameter in followers)
    assert all(parameter.grad_fn is None for parameter in followers)  # A chain that only grows.


def test_the_actor_step_changes_actor_and_temperature_and_no_critic():
    phase = make()
    actor, critics = copies(phase.actor), copies(phase.critics)
    temperature = phase.log_temperature.detach().clone()
    step_actor(phase, batch(), 1.0)
    assert all(changed(phase.actor, actor))
    assert not any(changed(phase.critics, critics))
    assert phase.log_temperature != temperature


def test_critics_learn_again_after_they_judged_the_actor():
    phase = make()
    step_actor(phase, batch(), 0.2)
    assert all(parameter.requires_grad for parameter in phase.critics.parameters())
    before = copies(phase.critics)
    phase.update(batch())
    assert all(changed(phase.critics, before))


@pytest.mark.parametrize('layer_norm', [False, True])
def test_a_bfloat16_update_stays_near_the_exact_one(layer_norm):
    """Adam hides the size of gradients; its first moment is a tenth of the first gradient."""
    states = []
    for numeric in ('float32', 'bfloat16'):
        phase = make(layer_norm=layer_norm, numeric=numeric)
        phase.update(batch(size=64))
        states.append(phase.state_dict())
    exact, rounded = states
    moments = [key for key in exact if key.endswith('exp_avg')]
    assert len(moments) == 3  # Actor, temperature, critics.
    for key in moments:
        difference = (rounded[key] - exact[key]).norm()
        assert difference <= 0.03 * exact[key].norm() + 1e-6, key


def test_targets_move_by_the_target_rate():
    phase = make(target_rate=0.25)
    before = copies(phase.target_critics)
    phase.update(batch())
    for old, new, critic in zip(
        before, phase.target_critics.parameters(), phase.critics.parameters(), strict=True
    ):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * critic)


def test_the_actor_waits_for_its_period():
    phase = make(actor_update_period=3)
    moves = []
    for index in range(6):
        before = copies(phase.actor)
        phase.update(batch(index))
        moves.append(any(changed(phase.actor, before)))
    assert moves == [True, False, False, True, False, False]


def test_the_published_actor_is_the_average_over_updates():
    phase = make(publish_rate=0.1)
    average = copies(phase.average_actor)
    for index in range(3):
        phase.update(batch(index))
        actor = copies(phase.actor)
        average = [0.9 * old + 0.1 * new for old, new in zip(average, actor, strict=True)]
    published = phase.policy()[0]
    names = [name for name, _ in phase.actor.named_parameters()]
    for name, expected in zip(names, average, strict=True):
        torch.testing.assert_close(published[name], expected)


def test_imitation_pulls_the_mode_towards_demonstrated_actions_only():
    data = batch(size=64)
    data['is_offline'] = torch.arange(64) < 32
    data['intervention'] = torch.zeros(64, dtype=torch.bool)
    phase = make(imitation_weight=100.0, actor_learning_rate=1e-2)

    def distance(rows):
        mode = torch.tanh(phase.actor(data['observation'])[0])
        return (mode - data['action']).square().mean(1)[rows].mean().item()

    before = distance(data['is_offline'])
    for _ in range(100):
        step_actor(phase, data, 0.01)
    assert distance(data['is_offline']) < 0.3 * before
    assert distance(data['is_offline']) < 0.5 * distance(~data['is_offline'])


@pytest.mark.parametrize(('weight', 'expected'), [(4.0, (0.09 + 4 * 0.64) / 5), (0.0, 0.09)])
def test_steps_that_a_person_drove_are_imitated_with_their_weight(weight, expected):
    phase = make(imitation_weight=1.0, intervention_weight=weight)
    with torch.no_grad():
        phase.actor.mean.weight.zero_()
        phase.actor.mean.bias.zero_()  # The mode is 0 everywhere.
    data = batch(size=3)
    size = data['action'].shape[1]
    data['action'] = torch.tensor([[0.3], [0.8], [0.9]]) / size**0.5 * torch.ones(1, size)
    data['is_offline'] = torch.tensor([True, True, False])
    data['intervention'] = torch.tensor([False, True, False])
    with_loss = actor_loss(phase, data)
    phase.config = dataclasses.replace(phase.config, imitation_weight=0.0)
    assert with_loss - actor_loss(phase, data) == pytest.approx(expected, rel=1e-4)


def actor_loss(phase, data):
    """Return the loss at the present parameters; nothing is learned, noise is the same."""
    for group in phase._actor_optimizer.param_groups:
        group['lr'] = 0.0
    phase._generator.manual_seed(0)
    return step_actor(phase, data, 0.0)['sac/actor_loss'].item()


def test_the_serving_room_computes_what_was_learned():
    phase = make()
    phase.update(batch())
    tensors, description = phase.policy()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    served = build_policy(arrays, {'policy': description}, 'test@1')
    features, noise = np.array([0.2, -1.0, 3.0], np.float32), np.array([0.3, -1.1], np.float32)
    mean, log_std = phase.average_actor(torch.from_numpy(features)[None])
    u = mean + log_std.exp() * torch.from_numpy(noise)
    output = served.act(features, noise)
    low, high = SPACE.action_low, SPACE.action_high
    expected = low + (torch.tanh(u)[0].detach().numpy() + 1) / 2 * (high - low)
    np.testing.assert_allclose(output.action, expected, atol=1e-5)
    log_prob = squashed_log_prob(mean, log_std, torch.tanh(u)).item()
    assert output.log_prob == pytest.approx(log_prob, abs=1e-3)


def test_rows_that_ended_ignore_what_lies_beyond():
    """The next observation matters after truncation and not after termination."""
    outcomes = {}
    for name, discount in (('terminated', 0.0), ('truncated', 0.99)):
        for beyond in (0.0, 5.0):
            data = batch()
            data['discount'][0] = discount
            data['next_observation'][0] = beyond
            phase = make()
            step_critics(phase, data, 0.2)
            outcomes[name, beyond] = copies(phase.critics)
    for name, same in (('terminated', True), ('truncated', False)):
        pairs = zip(outcomes[name, 0.0], outcomes[name, 5.0], strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) is same


def test_the_same_seed_repeats_bit_by_bit_and_another_differs():
    def weights(seed):
        phase = make(seed)
        for index in range(5):
            phase.update(batch(index))
        return phase.state_dict()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first['actor.mean.weight'], other['actor.mean.weight'])


def test_going_on_from_a_state_equals_never_having_stopped():
    whole = make(actor_update_period=2)
    for index in range(7):
        whole.update(batch(index))
    first = make(actor_update_period=2)
    for index in range(3):
        first.update(batch(index))
    second = make(seed=77, actor_update_period=2)
    second.load_state_dict(first.state_dict())
    for index in range(3, 7):
        second.update(batch(index))
    expected = whole.state_dict()
    found = second.state_dict()
    assert set(found) == set(expected)
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []


def test_a_state_of_another_network_is_refused():
    state = make().state_dict()
    bigger = SoftActorCritic(SacConfig(hidden=(32, 16)), SPACE, 0)
    with pytest.raises(TrainingError, match=r'trunk\.0\.weight has shape \[16, 3\]'):
        bigger.load_state_dict(state)
    with pytest.raises(TrainingError, match='another configuration'):
        make(layer_norm=True).load_state_dict(state)


def test_evaluating_changes_neither_weights_nor_what_is_drawn_next():
    phase = make()
    phase.update(batch())
    before = phase.state_dict()
    first, second = phase.evaluate(batch(5)), phase.evaluate(batch(5))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert all(torch.equal(before[key], value) for key, value in phase.state_dict().items())


def test_settings_out_of_range_are_refused():
    with pytest.raises((ConfigError, ValueError), match='discount'):
        SacConfig(discount=1.5)


def test_priorities_weigh_the_critics_rows_and_say_how_wrong_they_were():
    rows = batch() | {'selection_ratio': torch.tensor([1.0] * 7 + [16.0])}
    phase = make(priority_exponent=0.6, importance_exponent=0.5, importance_updates=2)
    assert phase.draws.priority_exponent == 0.6
    plain = make()
    step_critics(phase, rows, 0.0)
    *_, next_drawn = plain._draw(rows, plain._generator, for_actor=False)
    target = plain._target(rows, next_drawn, torch.tensor(0.0))
    with torch.no_grad():
        wrong = plain.critics(rows['observation'], rows['action']) - target  # [2, B]
    torch.testing.assert_close(phase.error, wrong.abs().mean(0))
    weight = torch.tensor([1.0] * 7 + [0.25])  # 16 to the power of -1/2.
    by_hand = torch.autograd.grad(
        0.5
        * (weight * (plain.critics(rows['observation'], rows['action']) - target) ** 2)
        .sum(0)
        .mean(),
        list(plain.critics.parameters()),
    )
    given = [p.grad for p in phase.critics.parameters()]
    for one, other in zip(given, by_hand, strict=True):
        torch.testing.assert_close(one, other)


def test_the_correction_of_priorities_grows_to_1():
    phase = make(priority_exponent=0.6, importance_exponent=0.4, importance_updates=4)
    found = []
    for seed in range(6):
        found.append(phase._importance())
        phase.update(batch(seed) | {'selection_ratio': torch.ones(8)})
    assert found == pytest.approx([0.4, 0.55, 0.7, 0.85, 1.0, 1.0])


@pytest.mark.parametrize(
    'changes', [{}, {'numeric': 'bfloat16'}, {'priority_exponent': 0.6}], ids=str
)
def test_learns_to_drive_a_point_to_its_goal(changes):
    experience = Experience(point_contract(), 5000, seed=0)
    experience.append(episodes(60, seed=0), 'random')
    settings = SacConfig(
        hidden=(32, 32),
        batch_size=64,
        discount=0.8,
        target_rate=0.02,
        actor_learning_rate=3e-3,
        critic_learning_rate=3e-3,
        temperature_learning_rate=3e-3,
        **changes,
    )
    phase = SoftActorCritic(settings, experience.space, seed=0)

    def act(place):
        with torch.no_grad():
            mean, _ = phase.actor(torch.tensor([[place]], dtype=torch.float32))
        return 2 * torch.tanh(mean).item()

    before = mean_reward(act)
    for _ in range(600):
        learn(phase, experience, phase.draws)
    best = mean_reward(lambda place: -2 * place)
    assert before < -0.8
    assert mean_reward(act) > best - 0.1
