"""Does what a Dreamer learns agree with what is known about its world?"""

import pytest
import torch
from dreamer_toys import SPACE, drive_points, make
from point_mass import episodes, mean_reward, point_contract
from robot_learning.phases.experience import Experience
from robot_learning.phases.recipe import load

FAST = {'learning_rate': 3e-3, 'slow_rate': 0.1, 'discount': 0.8, 'horizon': 5}


def two_worlds(size=8):
    """Return windows of a world without end that is watched for six steps, and one of one step.

    Both give a reward of 1 on every arrival. By hand, with a discount of 0.8: 1 / (1 - 0.8) = 5
    everywhere in the first, 1 at the beginning in the second.
    """
    endless, starts = torch.zeros(size, 6, dtype=torch.bool), torch.zeros(size, 6).bool()
    endless[: size // 2] = True
    starts[:, 0] = True
    starts[size // 2 :, ::2] = True
    ends = torch.zeros(size, 6, dtype=torch.bool)
    ends[size // 2 :, 1::2] = True
    truncated = torch.zeros(size, 6, dtype=torch.bool)
    truncated[: size // 2, -1] = True
    observation = torch.stack([endless, ~endless & starts, ends], -1).float()
    return {
        'observation': observation,
        'action': torch.zeros(size, 6, SPACE.action_size),
        'reward': torch.where(starts, torch.nan, 1.0),
        'terminated': ends,
        'truncated': truncated,
        'is_first': starts,
    }


def test_truncated_runs_are_worth_what_would_follow_and_terminated_ones_nothing_more():
    phase, data = make(**FAST), two_worlds()
    for _ in range(200):
        phase.update(data)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        posterior = phase.model.observe(data, None, noise).posterior
        value = phase.behavior.critic(phase.model.features(posterior)).mean()  # [B, T]
    endless, beginning = value[:4], value[4:, ::2]
    assert endless.mean().item() == pytest.approx(5.0, abs=0.5)
    assert beginning.mean().item() == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize(('gradient', 'num_updates'), [('reinforce', 350), ('pathwise', 200)])
def test_learns_to_drive_a_point_to_its_goal(gradient, num_updates):
    experience = Experience(point_contract(), 5000, seed=0)
    experience.append(episodes(60, seed=0), 'random')
    settings = {'batch_size': 16, 'length': 11, 'actor_gradient': gradient} | FAST
    phase = make(space=experience.space, **settings)
    for _ in range(num_updates):
        phase.update(experience.sample(phase.draws))
    standing, best = mean_reward(lambda place: 0.0), mean_reward(lambda place: -2 * place)
    assert drive_points(phase) > (standing + best) / 2


def test_the_recipe_fits_and_says_what_the_paper_says():
    config = load('dreamer').phase_config
    assert (config.batch_size, config.length, config.horizon) == (16, 64, 15)
    assert config.model.widths().deter == 512
