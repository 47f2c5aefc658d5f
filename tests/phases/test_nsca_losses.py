import math

import pytest
import torch
from robot_learning.errors import TrainingError
from robot_learning.models.nsca.heads import Outcomes
from robot_learning.phases.nsca_losses import (
    Spread,
    cross_modal_nt_xent,
    dynamics_loss,
    gaussian_score,
    latent_prediction_loss,
    nt_xent,
    outcome_loss,
    refuse_collapse,
    spread_of,
    variance_loss,
)


def test_nt_xent_of_two_orthogonal_pairs_is_what_the_equation_gives_by_hand():
    views = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # Each view: its partner at similarity 1, two others at 0, and temperature 0.5.
    expected = math.log(math.e**2 + 2) - 2
    assert float(nt_xent(3 * views, views, 0.5)) == pytest.approx(expected, rel=1e-6)


def test_nt_xent_does_not_care_about_lengths_and_falls_when_partners_agree():
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(8, 5, generator=generator)
    other = torch.randn(8, 5, generator=generator)
    assert nt_xent(first, 7 * other, 0.2) == pytest.approx(float(nt_xent(first, other, 0.2)))
    assert nt_xent(first, first, 0.2) < nt_xent(first, other, 0.2)


def test_variance_term_is_zero_where_the_spread_suffices_and_pushes_where_it_does_not():
    wide = torch.tensor([[-2.0], [2.0]])
    same = torch.zeros(4, 1)
    assert float(variance_loss(wide)) == 0
    assert float(variance_loss(same)) == pytest.approx(1 - math.sqrt(1e-4), rel=1e-5)


def test_cross_modal_loss_of_two_pairs_is_what_the_equation_gives_by_hand():
    rows, itself = torch.eye(2), torch.eye(2, dtype=torch.bool)
    assert float(cross_modal_nt_xent(rows, rows, itself, 1.0)) == pytest.approx(
        math.log(math.e + 1) - 1, rel=1e-6
    )
    everything = torch.ones(2, 2, dtype=torch.bool)  # Both right answers count half each.
    assert float(cross_modal_nt_xent(rows, rows, everything, 1.0)) == pytest.approx(
        math.log(math.e + 1) - 0.5, rel=1e-6
    )


def test_latent_prediction_counts_only_what_was_sensed():
    predicted = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    sensed = torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]])
    is_there = torch.tensor([[True, False]])
    assert float(latent_prediction_loss(predicted, sensed, is_there)) == pytest.approx(1.0)
    both = torch.tensor([[True, True]])
    assert float(latent_prediction_loss(predicted, sensed, both)) == pytest.approx(1.5)


def test_the_score_is_proper_the_true_spread_scores_best():
    errors = 0.5 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    scores = {
        std: float(gaussian_score(torch.zeros(()), torch.tensor(std).log(), errors).mean())
        for std in (0.25, 0.4, 0.5, 0.6, 1.0)
    }
    assert min(scores, key=scores.__getitem__) == 0.5


def test_dynamics_loss_by_hand_and_over_known_steps_only():
    mean = torch.zeros(1, 2, 1)
    log_std = torch.full((1, 2, 1), math.log(2.0))
    target = torch.tensor([[[2.0], [100.0]]])
    loss = dynamics_loss(mean, log_std, target, torch.tensor([[True, False]]))
    assert float(loss.error) == pytest.approx(4.0)
    assert float(loss.calibration) == pytest.approx(0.5 + math.log(2.0))


def test_calibration_moves_the_uncertainty_and_leaves_the_prediction_alone():
    mean = torch.zeros(1, 1, 1, requires_grad=True)
    log_std = torch.zeros(1, 1, 1, requires_grad=True)
    known = torch.ones(1, 1, dtype=torch.bool)
    loss = dynamics_loss(mean, log_std, torch.ones(1, 1, 1), known)
    moved = torch.autograd.grad(
        loss.calibration, [mean, log_std], retain_graph=True, allow_unused=True
    )
    assert moved[0] is None and moved[1] is not None
    moved = torch.autograd.grad(loss.error, [mean, log_std], allow_unused=True)
    assert moved[0] is not None and moved[1] is None


def test_effective_rank_counts_independent_directions():
    generator = torch.Generator().manual_seed(0)
    full = torch.randn(2000, 4, generator=generator)
    line = torch.randn(2000, 1, generator=generator) * torch.ones(1, 4)
    assert spread_of(full).effective_rank == pytest.approx(4, abs=0.05)
    assert spread_of(line).effective_rank == pytest.approx(1, abs=0.05)


def test_collapse_stops_with_advice():
    with pytest.raises(TrainingError, match=r'nsca_vision.*effective rank 1.*lower the rate'):
        refuse_collapse('nsca_vision', Spread(0.5, 1.0, 50), 0.01, 2.0, 'lower the rate.')
    refuse_collapse('nsca_vision', Spread(0.5, 3.0, 50), 0.01, 2.0, 'lower the rate.')
    few = Spread(0.5, 1.0, 3)  # Three points span a plane at most.
    refuse_collapse('nsca_vision', few, 0.01, 2.0, 'lower the rate.')


def test_outcome_loss_of_an_end_and_a_truncation_is_what_the_equation_gives_by_hand():
    nothing = torch.zeros(1, 3)
    known = [[math.e - 1, 1.0, 0.0], [math.nan, 0.0, 1.0], [math.nan] * 3]
    # symlog(e - 1) is 1, and a logit of 0 gives both answers half of the belief.
    found = outcome_loss(Outcomes(nothing, nothing), torch.tensor([known]))
    assert float(found) == pytest.approx(1 + math.log(2), rel=1e-6)


def test_only_what_terminated_teaches_an_end_and_what_is_unknown_teaches_nothing():
    reward, logit = (torch.zeros(1, 3, requires_grad=True) for _ in range(2))
    known = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [math.nan] * 3]
    outcome_loss(Outcomes(reward, logit), torch.tensor([known])).backward()
    assert logit.grad[0].tolist() == pytest.approx([-0.25, 0.25, 0.0])  # Up, down, not at all.
    assert reward.grad[0, 2] == 0
