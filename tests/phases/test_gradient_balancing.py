import math

import pytest
import torch
from robot_learning.errors import TrainingError
from robot_learning.phases.gradient_balancing import (
    GradientBalancer,
    GradientBalancingConfig,
    projected,
    rotated,
    summed,
)

CONFLICT = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])  # 135 degrees apart.


def at(degrees, length=1.0):
    angle = math.radians(degrees)
    return [length * math.cos(angle), length * math.sin(angle)]


def test_projection_by_hand():
    # (1, 0) + 1/2 (-1, 1) and (-1, 1) + (1, 0).
    assert projected(CONFLICT).tolist() == pytest.approx([0.5, 1.5])


def test_one_step_of_the_angles_by_hand():
    # Unit gradients at -60 and 60 degrees, consensus at 0: both turn by the same angle a, and
    # loss is (1 - cos(120 - 2 a)) / 2 + (1 - cos a) / 2. Its slope for one angle at 0 is
    # -sin(120 degrees) / 2.
    gradients = torch.tensor([at(-60), at(60)], dtype=torch.float64)
    config = GradientBalancingConfig(angle_steps=1, angle_learning_rate=0.2)
    angle = rotated(gradients, torch.tensor([3.0, 0.0]).double(), config).angle
    expected = 0.2 * math.sin(math.radians(120)) / 2
    assert angle.tolist() == pytest.approx([expected, expected])


def test_many_steps_find_the_least_loss_of_a_search():
    gradients = torch.tensor([at(-70), at(50, 4.0)], dtype=torch.float64)
    config = GradientBalancingConfig(angle_steps=400, proximity=2.0)
    found = rotated(gradients, torch.tensor([1.0, 0.0]).double(), config).angle
    grid = torch.linspace(0, math.radians(70), 701, dtype=torch.float64)
    first, second = torch.meshgrid(grid, grid[grid <= math.radians(50)], indexing='ij')
    between = math.radians(120) - first - second
    loss = (1 - between.cos()) / 2
    loss = loss + 2.0 * (2 * (1 - first.cos()) + 2 * (1 - second.cos())) / 8
    best = loss.argmin()
    assert found[0].item() == pytest.approx(first.flatten()[best].item(), abs=2e-3)
    assert found[1].item() == pytest.approx(second.flatten()[best].item(), abs=2e-3)


def test_each_gradient_keeps_its_length_and_turns_towards_the_consensus():
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(3, 50, generator=generator, dtype=torch.float64)
    gradients *= torch.tensor([[1.0], [20.0], [0.3]])
    consensus = torch.nn.functional.normalize(gradients, dim=1).mean(0)
    config = GradientBalancingConfig()
    every = rotated(gradients, consensus, config)
    total = torch.zeros(50, dtype=torch.float64)
    for gradient, angle in zip(gradients, every.angle, strict=True):
        own = gradient / gradient.norm()
        side = consensus - (consensus @ own) * own
        turned = angle.cos() * own + angle.sin() * side / side.norm()
        assert 0 < angle < math.pi / 2 and turned.norm() == pytest.approx(1.0)
        assert turned @ consensus > own @ consensus
        total += gradient.norm() * turned
    torch.testing.assert_close(every.gradient, total)
    assert every.cosine_after > every.cosine_before


@pytest.mark.parametrize(
    'gradients',
    [
        [[3.0, 4.0]],
        [[3.0, 4.0], [6.0, 8.0]],
        [[0.0, 0.0], [3.0, 4.0]],
        [[1.0, 0.0], [-1.0, 0.0]],
    ],
    ids=['one task', 'agreement', 'a task that is silent', 'straight against each other'],
)
def test_where_nothing_can_be_balanced_the_sum_stays(gradients):
    gradients = torch.tensor(gradients)
    balancer = GradientBalancer(GradientBalancingConfig(), [torch.zeros(2)])
    torch.testing.assert_close(balancer.balance(gradients).gradient, summed(gradients))


def test_no_gradient_turns_past_the_consensus():
    gradients = torch.tensor([at(-1), at(80)], dtype=torch.float64)
    config = GradientBalancingConfig(proximity=0.0, angle_steps=100)
    angle = rotated(gradients, torch.tensor([1.0, 0.0]).double(), config).angle
    assert angle[0].item() == pytest.approx(math.radians(1))


def two_tasks(method, steps=100):
    """Descend two losses whose gradients always stand at 37 or 143 degrees; both are 0 at once.

    The first is ten times as steep.
    """
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([-0.8, 0.6])
    x = torch.nn.Parameter(torch.zeros(2))
    balancer = GradientBalancer(GradientBalancingConfig(), [x])
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        losses = [10 * (first @ x - 1).square(), (second @ x - 1).square()]
        rows = torch.stack([torch.autograd.grad(loss, x)[0] for loss in losses])
        if method == 'rotation':
            total = balancer.balance(rows).gradient
        else:
            total = summed(rows) if method == 'sum' else projected(rows, generator)
        with torch.no_grad():
            x -= 0.02 * total
    return [float(loss.detach()) for loss in losses]


def test_two_tasks_in_conflict_get_on_better_than_by_summing_as_with_projection():
    plain, rotation, projection = (two_tasks(m) for m in ('sum', 'rotation', 'projection'))
    assert plain[1] > 0.15  # The steep one has drowned it.
    assert rotation[1] < 0.4 * plain[1] and projection[1] < 0.4 * plain[1]
    assert rotation[0] < plain[0] and rotation[1] < projection[1]


def test_a_gradient_that_is_against_all_hurts_the_weak_less_than_in_the_sum():
    rows = torch.tensor([at(0, 10.0), at(130, 1.0)])
    balancer = GradientBalancer(GradientBalancingConfig(), [torch.zeros(2)])
    for _ in range(5):
        found = balancer.balance(rows).gradient
    harm = [float(rows[1] @ total) for total in (summed(rows), found)]
    assert harm[0] < harm[1]
    # Longer than what is left of the sum's own length: nothing is thrown away.
    assert found.norm() > summed(rows).norm()


def test_shared_parameters_get_the_balanced_gradient_and_others_the_sum():
    shared, own = torch.zeros(2, 2), torch.zeros(3)
    gradients = {
        'first': [torch.tensor([[5.0, 0.0], [1.0, 0.0]]), torch.tensor([1.0, 2.0, 3.0])],
        'second': [torch.tensor([[-1.0, 1.0], [0.0, 0.0]]), torch.tensor([0.0, 0.0, 1.0])],
    }
    balancer = GradientBalancer(GradientBalancingConfig(), [shared, own], [True, False])
    found, metrics = balancer.combined(gradients)
    rows = torch.stack([parts[0].flatten() for parts in gradients.values()])
    again = GradientBalancer(GradientBalancingConfig(), [shared]).balance(rows)
    assert balancer.consensus.shape == (4,)
    torch.testing.assert_close(found[0], again.gradient.reshape(2, 2))
    assert found[1].tolist() == [1.0, 2.0, 4.0]
    assert set(metrics) == {
        'balancing/cosine_before',
        'balancing/cosine_after',
        'balancing/angle_first',
        'balancing/angle_second',
    }


def test_resumed_it_is_the_same():
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(6, 2, 8, generator=generator)
    whole, resumed = (GradientBalancer(GradientBalancingConfig(), [torch.zeros(8)]) for _ in 'ab')
    for each in rows[:3]:
        whole.balance(each)
    resumed.consensus.copy_(whole.consensus)
    for each in rows[3:]:
        assert torch.equal(whole.balance(each).gradient, resumed.balance(each).gradient)


def test_a_gradient_that_is_not_finite_is_named_and_forgotten():
    balancer = GradientBalancer(GradientBalancingConfig(), [torch.ones(2)])
    with pytest.raises(TrainingError, match="gradient of 'sick' is not finite"):
        balancer.combined({'well': [torch.ones(2)], 'sick': [torch.tensor([1.0, torch.nan])]})
    assert balancer.consensus.tolist() == [0, 0]
