import dataclasses
import math

import numpy as np
import pytest
import torch
from nsca_samples import TINY
from pydantic import ValidationError
from robot_learning.log_mel import log_mel
from robot_learning.models.nsca.audio import AudioEncoder, LogMel, change_rates
from robot_learning.models.nsca.calibration import best_scale, reliability
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.models.nsca.front_end import FrontEnd, colour_shares, gabor_filters
from robot_learning.models.nsca.novelty import Novelty
from robot_learning.models.nsca.perception import Moment, Perception
from robot_learning.models.nsca.proprioception import ProprioceptionEncoder
from robot_learning.models.nsca.vision import VisionEncoder
from robot_learning.models.nsca.whole import NscaModel
from robot_learning.models.nsca.world import WorldDynamics


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_the_defaults_are_the_guides():
    config = NscaModelConfig()
    assert (config.latent_size, config.state_size, config.action_size) == (256, 128, 16)
    assert (config.image_size, config.base_channels) == (64, 32)
    assert (config.fusion_heads, config.fusion_layers) == (8, 4)
    assert (config.temporal_heads, config.temporal_layers, config.temporal_length) == (8, 4, 32)
    assert (config.sample_rate, config.mel_bands) == (16_000, 80)


def test_a_width_that_heads_cannot_share_is_refused_by_name():
    with pytest.raises(ValidationError, match='latent_size is 20, expected a multiple of 8 heads'):
        NscaModelConfig(latent_size=20)


def test_gabor_filters_are_blind_to_flat_light_and_see_their_own_orientation():
    assert float(gabor_filters()[:8].sum((1, 2, 3)).abs().max()) < 1e-5
    stripes = (torch.arange(64) // 3 % 2).float().view(1, 1, 1, 64).expand(1, 3, 64, 64)
    energy = FrontEnd()(stripes)[0, 3:].mean((1, 2)).view(2, 4)
    assert int(energy[1].argmax()) == 0  # Vertical stripes of period 6: the first orientation.


def test_colour_shares_say_how_much_is_red():
    images = torch.zeros(1, 3, 16, 16)
    images[:, 0, :, :4] = 1.0  # A quarter is red, none of it in the middle.
    shares = colour_shares(images)[0].square().view(2, 5, 5, 5)
    assert float(shares[0, 4, 0, 0]) == pytest.approx(0.25)
    assert float(shares[1, 4, 0, 0]) == 0 and float(shares[1, 0, 0, 0]) == pytest.approx(1)


@pytest.mark.parametrize('front_end', [True, False])
def test_vision_encodes_pictures_of_any_size(front_end):
    config = NscaModelConfig(base_channels=4, blocks_per_stage=1, front_end=front_end)
    encoder = VisionEncoder(config).eval()
    assert encoder(torch.rand(2, 3, 64, 64)).shape == (2, 256)
    assert encoder(torch.rand(2, 3, 48, 80)).shape == (2, 256)


def test_log_mel_is_the_one_of_all_rooms():
    sound = 0.1 * np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    found = LogMel(NscaModelConfig())(torch.from_numpy(sound)[None])[0, 0]
    torch.testing.assert_close(
        4.0 * found.T - 4.0, torch.from_numpy(log_mel(sound)), atol=2e-3, rtol=0
    )


def test_audio_does_not_care_how_loud_a_sound_is_and_takes_the_shortest():
    encoder = AudioEncoder(TINY).eval()
    sound = torch.randn(1, 8000) * torch.linspace(1, 0.3, 8000)
    torch.testing.assert_close(encoder(sound), encoder(0.5 * sound), atol=1e-3, rtol=1e-3)
    assert encoder(torch.randn(2, 10)).shape == (2, TINY.latent_size)


def test_rates_are_heard_where_they_are_asked_for():
    flutter = torch.sin(40 * torch.arange(16_000) / 16_000).abs() * torch.randn(1, 16_000)
    sizes = {}
    for rates in (0, 7):
        encoder = AudioEncoder(dataclasses.replace(TINY, audio_rates=rates)).eval()
        assert encoder(flutter).shape == (1, TINY.latent_size)
        sizes[rates] = encoder.output.in_features
    assert sizes[7] - sizes[0] == 7 * (TINY.mel_bands // 4)


def test_the_rate_that_bands_change_at_stands_out_whatever_the_length():
    for octave in (1, 3, 5):
        period = 2.7 * 2**octave  # Where a Haar wavelet of this width answers most.
        for num_frames in (256, 500):
            wave = torch.sin(2 * math.pi * torch.arange(num_frames) / period)
            bands = wave.expand(1, 8, num_frames)
            rates = change_rates(bands, 7).view(7, 2)  # [rate, F // 4]
            assert rates[:, 0].argmax() == octave
            torch.testing.assert_close(rates[:, 0], rates[:, 1])


def test_sounds_too_short_for_a_rate_repeat_the_next_faster():
    rates = change_rates(torch.randn(3, 8, 50), 7).view(3, 7, 2)
    torch.testing.assert_close(rates[:, 5], rates[:, 4])
    torch.testing.assert_close(rates[:, 6], rates[:, 4])
    assert not torch.allclose(rates[:, 4], rates[:, 3])


def test_the_body_is_scaled_by_what_it_was_fitted_to():
    encoder = ProprioceptionEncoder(TINY).eval()
    readings = torch.randn(5, 4, 3)
    before = encoder(readings)
    encoder.fit(torch.randn(1000, 3))
    torch.testing.assert_close(before, encoder(readings), atol=0.3, rtol=0.3)
    constant = torch.cat([torch.randn(50, 2), torch.full((50, 1), 7.0)], dim=1)
    encoder.fit(constant)
    assert float(encoder.scale[2]) == 1 and float(encoder.mean[2]) == 7


def test_absent_senses_change_nothing():
    perception = Perception(TINY).eval()
    latents = torch.randn(2, 3, TINY.latent_size)
    there = torch.tensor([[True, False, True]]).expand(2, -1)
    other = latents.clone()
    other[:, 1] = float('nan')
    torch.testing.assert_close(perception.fusion(latents, there), perception.fusion(other, there))


def test_a_state_comes_from_any_sense_alone():
    perception = Perception(TINY).eval()
    images, sounds, readings = torch.rand(2, 3, 32, 32), torch.randn(2, 4000), torch.randn(2, 4, 3)
    for moment in (
        Moment(images, None, None),
        Moment(None, sounds, None),
        Moment(None, None, readings),
        Moment(images, sounds, readings),
    ):
        state = perception(moment)
        assert state.shape == (2, TINY.state_size) and bool(state.isfinite().all())


def test_the_past_does_not_know_the_future():
    world = WorldDynamics(TINY).eval()
    states, actions = torch.randn(1, 6, 16), torch.randn(1, 6, 16)
    before = world.temporal(states, actions)
    states[:, 4:], actions[:, 3:] = 9.0, 9.0  # Action 3 is seen by context 4.
    after = world.temporal(states, actions)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4], after[:, 4])


def test_dynamics_begins_as_persistence_and_learns_from_actions():
    world = WorldDynamics(TINY).eval()
    states, actions = torch.randn(2, 3, 16), torch.randn(2, 4, 16)
    future = world.imagine(states, torch.randn(2, 3, 16), actions)
    torch.testing.assert_close(future.mean, states[:, -1:].expand(-1, 4, -1))
    torch.nn.init.normal_(world.dynamics.change.weight)
    moved = world.imagine(states, torch.zeros(2, 3, 16), actions)
    assert not torch.allclose(
        moved.mean, world.imagine(states, torch.zeros(2, 3, 16), 0 * actions).mean
    )


def test_the_scale_of_uncertainty_multiplies_it_step_by_step():
    world = WorldDynamics(TINY).eval()
    states, actions = torch.randn(1, 2, 16), torch.zeros(1, 3, 16)
    before = world.imagine(states, torch.zeros(1, 2, 16), actions)
    world.set_std_scale(torch.tensor([2.0, 3.0]))
    grown = (world.imagine(states, torch.zeros(1, 2, 16), actions).log_std - before.log_std).exp()
    torch.testing.assert_close(grown[0, :, 0], torch.tensor([2.0, 3.0, 3.0]))


def test_recomputing_layers_changes_no_gradient():
    world = WorldDynamics(TINY).train()
    states, actions = torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    parameters = list(world.temporal.parameters())
    plain = torch.autograd.grad(world.temporal(states, actions).square().sum(), parameters)
    world.temporal.is_checkpointed = True
    again = torch.autograd.grad(world.temporal(states, actions).square().sum(), parameters)
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(one, other)


def test_reliability_of_honest_errors_is_near_perfect_and_a_scale_repairs_dishonest_ones():
    errors = np.random.default_rng(0).standard_normal(20_000)
    assert reliability(errors).error < 0.01
    assert reliability(3 * errors).error > 0.2
    assert best_scale(3 * errors) == pytest.approx(3, rel=0.06)


def test_strange_states_are_novel_and_usual_ones_are_not():
    novelty = Novelty(8)
    states = torch.randn(2000, 8)
    novelty.fit(states)
    assert float(novelty(states).median()) < 0.05
    assert float(novelty(10 * torch.ones(8))) == 1.0


def test_saved_weights_give_the_same_model():
    model, other = NscaModel(TINY).eval(), NscaModel(TINY).eval()
    other.load_state_dict(model.state_dict())
    moment = Moment(torch.rand(1, 3, 32, 32), torch.randn(1, 3000), torch.randn(1, 2, 3))
    torch.testing.assert_close(model.perception(moment), other.perception(moment), rtol=0, atol=0)


def test_whitened_latents_have_no_direction_that_drowns_the_others():
    fusion = Perception(TINY).fusion
    width = TINY.latent_size
    latents = torch.randn(400, 3, width) @ torch.randn(width, width) + 5.0
    assert torch.equal(fusion.whitening(latents), latents)
    fusion.whitening.fit(latents, [0, 1], shrinkage=0.0)
    white = fusion.whitening(latents)
    for sense in (0, 1):
        covariance = white[:, sense].T @ white[:, sense] / 400
        torch.testing.assert_close(covariance, torch.eye(width), rtol=0.0, atol=2e-3)
    torch.testing.assert_close(white[:, 2], latents[:, 2])


def test_shrunk_whitening_of_two_latents_by_hand():
    # Correlation 0.6: variances 1.6 and 0.4 along (1, 1) and (1, -1), each with 0.65 added.
    whitening = Perception(TINY).fusion.whitening
    first = torch.tensor([1.0, 1.0, -1.0, -1.0])
    second = torch.tensor([1.0, -1.0, 1.0, -1.0])
    latents = torch.zeros(4, 3, TINY.latent_size)
    latents[:, 0, 0] = 3.0 * first
    latents[:, 0, 1] = 0.6 * first + 0.8 * second
    whitening.fit(latents, [0], shrinkage=0.65)
    along = torch.zeros(1, 3, TINY.latent_size)
    along[0, 0, :2] = torch.tensor([3.0, 1.0])
    found = whitening(along)[0, 0, :2]
    torch.testing.assert_close(found, torch.full((2,), 2.25**-0.5), rtol=1e-5, atol=1e-5)
