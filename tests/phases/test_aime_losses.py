import dataclasses
import math

import pytest
import torch
from robot_learning.models.aime.config import AimeModelConfig
from robot_learning.models.aime.model import AimeModel
from robot_learning.phases.aime_losses import (
    TASKS,
    AimeLossConfig,
    AimeTerms,
    Answers,
    aggregate,
    beta_at,
    cluster_entropy,
    metrics_of,
    pixel_nll,
    terms_of,
)

SIZES = AimeModelConfig(
    image_size=32, depth=4, hidden=16, latent=5, components=3, slot_size=8, codes=16, code_size=8,
    context_frames=2, context_latents=3, context_size=8, context_heads=2, context_layers=1,
    context_every=4,
)  # fmt: skip


@pytest.fixture(scope='module')
def made():
    torch.manual_seed(0)
    model = AimeModel(SIZES, action_size=2)
    frames = torch.rand(2, 6, 3, 32, 32)
    return model, terms_of(model(frames, torch.randn(2, 6, 2)), frames, 2.0, 0.1)


def test_the_density_of_pixels_by_hand():
    # One frame of 3 x 2 x 2 values, each 0.3 away, std 0.5: 12 log N(0.3; 0, 0.5).
    frames = torch.zeros(1, 1, 3, 2, 2)
    expected = 12 * (0.5 * (0.3 / 0.5) ** 2 + math.log(0.5 * math.sqrt(2 * math.pi)))
    assert pixel_nll(frames + 0.3, frames, 0.5).item() == pytest.approx(expected, rel=1e-5)


def test_cluster_entropy_by_hand():
    sure = torch.eye(4)
    assert cluster_entropy(sure).item() == pytest.approx(-math.log(4))
    one = torch.tensor([[1.0, 0, 0, 0]] * 4)
    assert cluster_entropy(one).item() == pytest.approx(0)
    assert cluster_entropy(torch.full((4, 4), 0.25)).item() == pytest.approx(0, abs=1e-6)
    # Two sure steps of one kind, one of another: -(H(2/3, 1/3)).
    uneven = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    entropy = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert cluster_entropy(uneven).item() == pytest.approx(-entropy)


def test_beta_rises_over_ten_passes():
    config = AimeLossConfig()
    assert [beta_at(epoch, config) for epoch in (0, 2.5, 10, 30)] == [0, 0.25, 1, 1]
    assert beta_at(0, dataclasses.replace(config, beta_epochs=0, beta=0.5)) == 0.5


def terms(**changed):
    """All terms are 0 but those that are named."""
    zeros = {name: torch.zeros(()) for name in AimeTerms._fields}
    return AimeTerms(**{**zeros, **{name: torch.tensor(v) for name, v in changed.items()}})


def test_the_aggregate_by_hand():
    config = AimeLossConfig(elbo_scale=0.01, cluster_entropy=30.0)
    found = aggregate(
        terms(
            reconstruction=100.0, kl=20.0, stick_kl=4.0, cluster_entropy=-1.0, commitment=2.0,
            token_reconstruction=0.1, context_prediction=5.0, attention_kl=0.3,
            attention_dynamics=0.2, slot_diversity=0.5,
        ),
        config,
        beta=0.5,
    )  # fmt: skip
    assert tuple(found) == TASKS
    assert found['elbo'].item() == pytest.approx(0.01 * (100 + 0.5 * 24 - 30))
    assert found['perceiver'].item() == pytest.approx(0.25 * 2 + 10 * 0.1 + 0.1 * 5)
    assert found['predictive'].item() == pytest.approx(0.3 + 0.2 + 0.1 * 0.5)


def test_answers_change_the_weights_they_are_meant_for():
    config = AimeLossConfig(elbo_scale=1.0, cluster_entropy=30.0)
    answers = Answers(beta=0.5, cluster_entropy=2.0, slot_diversity=4.0)
    found = aggregate(
        terms(kl=8.0, cluster_entropy=-1.0, slot_diversity=1.0), config, 1.0, answers
    )
    assert found['elbo'].item() == pytest.approx(4 - 60)
    assert found['predictive'].item() == pytest.approx(0.4)


@pytest.mark.parametrize('name', AimeTerms._fields)
def test_every_term_is_in_exactly_one_task(name):
    weights = AimeLossConfig()
    found = aggregate(terms(**{name: 1.0}), weights, 1.0)
    assert sum(value.item() != 0 for value in found.values()) == 1


def trained_by(model, loss):
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return {
        name.split('.')[0]
        for name, g in zip(names, found, strict=True)
        if g is not None and g.any()
    }


REACH = {
    'reconstruction': {'encoder', 'slots', 'summary', 'recurrent', 'decoder'},
    'kl': {'encoder', 'slots', 'summary', 'recurrent', 'prior', 'perceiver'},
    'stick_kl': {'encoder', 'slots', 'summary', 'recurrent', 'prior', 'perceiver'},
    'cluster_entropy': {'encoder', 'slots', 'summary', 'recurrent', 'prior', 'perceiver'},
    'commitment': {'encoder', 'tokenizer'},
    'token_reconstruction': {'encoder', 'tokenizer'},
    'context_prediction': {'perceiver', 'code_predictor'},
    'attention_kl': {'encoder', 'slots', 'summary', 'recurrent', 'attention_prior'},
    'attention_dynamics': {'encoder', 'slots', 'summary', 'recurrent', 'attention_prior'},
    'slot_diversity': {'encoder', 'slots'},
}


@pytest.mark.parametrize('name', AimeTerms._fields)
def test_gradients_reach_exactly_the_parts_a_term_is_meant_to_train(made, name):
    model, found = made
    assert trained_by(model, getattr(found, name)) == REACH[name]


def test_the_attention_of_a_frame_is_not_drawn_to_its_prediction(made):
    model, _ = made
    own = [model.slots.query.weight]
    frames = torch.rand(1, 1, 3, 32, 32)  # A single step: nothing was held before.
    output = model(frames, torch.zeros(1, 1, 2))
    first = terms_of(output, frames, 2.0, 0.1)
    for loss in (first.attention_kl, first.attention_dynamics):
        assert torch.autograd.grad(loss, own, retain_graph=True, allow_unused=True)[0] is None


def test_what_is_reported_has_no_gradient(made):
    _, found = made
    reported = metrics_of(found, aggregate(found, AimeLossConfig(), 1.0))
    assert {'task_elbo', 'task_perceiver', 'task_predictive', 'negative_elbo'} <= set(reported)
    assert not any(value.requires_grad for value in reported.values())
    total = found.reconstruction + found.kl + found.stick_kl
    assert reported['negative_elbo'].item() == pytest.approx(total.item())
