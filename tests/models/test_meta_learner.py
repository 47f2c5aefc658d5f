import pytest
import torch
from robot_learning.models.meta_learner import Examples, MetaLearner, MetaLearnerConfig, MetaShape
from torch.func import vmap

NUMBERS = MetaShape((1,), 1)


def line(rate=0.1, steps=1, **settings):
    """Answer w x + b, with w and b 0."""
    config = MetaLearnerConfig(hidden=(), inner_steps=steps, inner_rate=rate, **settings)
    learner = MetaLearner(config, NUMBERS)
    with torch.no_grad():
        learner.head.weight.zero_()
        learner.head.bias.zero_()
    return learner


def points(inputs, targets):
    return Examples(torch.tensor(inputs)[:, None], torch.tensor(targets)[:, None])


def query_loss(learner, weights, query):
    return learner.loss(learner.outputs(weights, query.inputs), query.targets)


def outer(learner, support, query, first_order=False, num_classes=0):
    adapted = learner.adapt(
        learner.weights(), learner.rates, support, num_classes, first_order=first_order
    )
    return query_loss(learner, adapted, query)


def test_one_step_by_hand():
    # (w + b - 1)^2 has slope -2 in both: each becomes 0.2, and 2 w + b is 0.6.
    learner = line()
    adapted = learner.adapt(learner.weights(), learner.rates, points([1.0], [1.0]))
    assert adapted['head.weight'].item() == pytest.approx(0.2)
    assert adapted['head.bias'].item() == pytest.approx(0.2)
    assert query_loss(learner, adapted, points([2.0], [1.0])).item() == pytest.approx(0.16)


def test_the_outer_gradient_by_hand_is_of_second_order():
    # w' = w - 0.2 (w + b - 1), so d(2 w' + b')/dw = 2 * 0.8 - 0.2; times 2 * (0.6 - 1).
    learner = line()
    support, query = points([1.0], [1.0]), points([2.0], [1.0])
    outer(learner, support, query).backward()
    assert learner.head.weight.grad.item() == pytest.approx(-0.8 * 1.4)
    assert learner.head.bias.grad.item() == pytest.approx(-0.8 * (0.8 - 0.4))
    # d(2 w' + b') / d rate is the step itself: 2 * 2 for w, 2 for b.
    assert learner.rates.grad[0].tolist() == pytest.approx([-0.8 * 4, -0.8 * 2])


def test_first_order_takes_the_step_for_a_constant():
    learner = line()
    outer(learner, points([1.0], [1.0]), points([2.0], [1.0]), first_order=True).backward()
    assert learner.head.weight.grad.item() == pytest.approx(-0.8 * 2)
    assert learner.head.bias.grad.item() == pytest.approx(-0.8)


CASES = {
    'numbers': (MetaLearnerConfig(hidden=(4, 3), inner_steps=2, inner_rate=0.2), NUMBERS, 0),
    'only the last layer': (
        MetaLearnerConfig(hidden=(4,), inner_steps=2, inner_rate=0.2, adapts='head'),
        NUMBERS,
        0,
    ),
    'pictures by class means': (
        MetaLearnerConfig(channels=2, blocks=2, inner_steps=2, inner_rate=0.3),
        MetaShape((1, 5, 5), 0),
        2,
    ),
    'pictures, only the last layer': (
        MetaLearnerConfig(channels=2, blocks=2, inner_rate=0.3, adapts='head'),
        MetaShape((1, 5, 5), 0),
        2,
    ),
    'pictures by a learned last layer': (
        MetaLearnerConfig(channels=2, blocks=2, inner_rate=0.3, head='learned'),
        MetaShape((1, 5, 5), 0, 2),
        2,
    ),
}


def case(name, num_tasks=1):
    """Return a learner in double precision and examples [num_tasks, N, ...]."""
    config, shape, num_classes = CASES[name]
    torch.manual_seed(3)
    learner = MetaLearner(config, shape).double()
    parts = []
    for count in (4, 6):
        inputs = torch.randn(num_tasks, count, *shape.inputs, dtype=torch.float64)
        targets = torch.arange(count).remainder(2).expand(num_tasks, -1)
        if shape.num_targets:
            targets = torch.randn(num_tasks, count, 1, dtype=torch.float64)
        parts.append(Examples(inputs, targets))
    return learner, *parts, num_classes


@pytest.mark.parametrize('name', CASES)
def test_the_outer_gradient_equals_finite_differences(name):
    learner, support, query, classes = case(name)
    support, query = (Examples(*(part[0] for part in each)) for each in (support, query))
    parameters = list(learner.parameters())
    loss = outer(learner, support, query, num_classes=classes)
    found = torch.autograd.grad(loss, parameters)
    first = torch.autograd.grad(
        outer(learner, support, query, first_order=True, num_classes=classes), parameters
    )
    assert any(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(found, first, strict=True))
    for parameter, slope in zip(parameters, found, strict=True):
        direction = torch.randn(
            parameter.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
        )
        at = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                parameter += step * direction
            at.append(outer(learner, support, query, num_classes=classes).item())
            with torch.no_grad():
                parameter -= step * direction
        expected = (at[0] - at[1]) / 2e-6
        assert (slope * direction).sum().item() == pytest.approx(expected, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize('name', CASES)
def test_all_tasks_at_once_equal_one_after_the_other(name):
    learner, support, query, classes = case(name, num_tasks=3)

    def one(si, st, qi, qt):
        return outer(learner, Examples(si, st), Examples(qi, qt), num_classes=classes)

    together = vmap(one)(*support, *query)
    apart = torch.stack([one(*task) for task in zip(*support, *query, strict=True)])
    torch.testing.assert_close(together, apart)
    parameters = list(learner.parameters())
    for a, b in zip(
        torch.autograd.grad(together.mean(), parameters),
        torch.autograd.grad(apart.mean(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('name', CASES)
def test_gradients_reach_every_parameter(name):
    learner, support, query, classes = case(name)
    outer(
        learner,
        Examples(*(p[0] for p in support)),
        Examples(*(p[0] for p in query)),
        num_classes=classes,
    ).backward()
    assert [n for n, p in learner.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_class_means_by_hand():
    # Means are 1 and 5, so logits at x are 2 m x - m^2, and 3 is between the two.
    learner = MetaLearner(MetaLearnerConfig(hidden=()), MetaShape((1,), 0))
    support = Examples(torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([0, 0, 1]))
    weights = learner.begin(learner.weights(), support, 2)
    logits = learner.outputs(weights, torch.tensor([[3.0], [4.0]]))
    assert logits.tolist() == [[5.0, 5.0], [7.0, 15.0]]


def test_class_means_take_any_number_of_classes():
    learner, support, _, _ = case('pictures by class means')
    labels = torch.tensor([0, 1, 2, 3])
    examples = Examples(support.inputs[0], labels)
    adapted = learner.adapt(learner.weights(), learner.rates, examples, 4)
    assert learner.outputs(adapted, support.inputs[0]).argmax(-1).tolist() == [0, 1, 2, 3]


def test_a_query_says_nothing_about_another():
    learner, support, query, _ = case('pictures by class means')
    adapted = learner.adapt(
        learner.weights(), learner.rates, Examples(*(p[0] for p in support)), 2
    )
    whole = learner.outputs(adapted, query.inputs[0])
    torch.testing.assert_close(learner.outputs(adapted, query.inputs[0][:1]), whole[:1])


def test_only_the_last_layer_changes_where_that_is_asked_for():
    learner, support, _, _ = case('only the last layer')
    before = learner.weights()
    after = learner.adapt(before, learner.rates, Examples(*(p[0] for p in support)))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {'head.weight', 'head.bias'}


def test_more_steps_than_in_training_take_the_last_rate():
    learner = line(rate=0.25, steps=1)
    support = points([1.0], [1.0])  # A step takes 2 * 2 * 0.25 of the error: all of it.
    adapted = learner.adapt(learner.weights(), learner.rates, support, num_steps=2)
    assert query_loss(learner, adapted, support).item() == pytest.approx(0.0)
    none = learner.adapt(learner.weights(), learner.rates, support, num_steps=0)
    assert query_loss(learner, none, support).item() == pytest.approx(1.0)


def test_rates_that_are_not_learned_are_no_parameters_and_are_saved():
    learner = line(learns_rates=False)
    assert 'rates' not in dict(learner.named_parameters())
    assert learner.state_dict()['rates'][0].tolist() == pytest.approx([0.1, 0.1])


def test_targets_are_learned_in_their_own_scale():
    learner = line(rate=0.5, steps=1)
    learner.target_mean.fill_(100.0)
    learner.target_std.fill_(10.0)
    learner.input_mean.fill_(4.0)
    support = points([4.0], [110.0])  # Input 0, target 1 in the normalised scale; only b moves.
    adapted = learner.adapt(learner.weights(), learner.rates, support)
    answer = learner.answers(learner.outputs(adapted, support.inputs))
    assert answer.item() == pytest.approx(110.0)
