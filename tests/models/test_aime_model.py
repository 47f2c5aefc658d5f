import pytest
import torch
from pydantic import ValidationError
from robot_learning.errors import ModelRefusedError
from robot_learning.models.aime.config import AimeModelConfig
from robot_learning.models.aime.decoder import FrameDecoder
from robot_learning.models.aime.frames import FrameEncoder, FrameScale
from robot_learning.models.aime.measures import foresight, mean_squared_error, psnr
from robot_learning.models.aime.model import AimeModel, load_model
from robot_learning.models.aime.vrnn import Carry, Vrnn

SIZES = {
    'image_size': 32, 'depth': 4, 'hidden': 16, 'latent': 5, 'components': 3, 'slot_size': 8,
    'codes': 16, 'code_size': 8, 'context_frames': 2, 'context_latents': 3, 'context_size': 8,
    'context_heads': 2, 'context_layers': 1, 'context_every': 4,
}  # fmt: skip


@pytest.fixture
def model():
    torch.manual_seed(0)
    return AimeModel(AimeModelConfig(**SIZES), action_size=2)


@pytest.fixture
def window():
    generator = torch.Generator().manual_seed(0)
    return (
        torch.rand(2, 8, 3, 32, 32, generator=generator),
        torch.randn(2, 8, 2, generator=generator),
    )


def test_the_guides_sizes_are_the_default():
    config = AimeModelConfig()
    assert (config.components, config.latent, config.hidden, config.slots) == (15, 36, 512, 4)
    assert (config.image_size, config.places) == (64, 64)


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValidationError, match='context_size 10 is no multiple of context_heads 4'):
        AimeModelConfig(context_size=10)
    with pytest.raises(ValidationError, match='slots'):
        AimeModelConfig(slots=1)


def test_shapes(model, window):
    output = model(*window)
    assert output.reconstruction.shape == (2, 8, 3, 32, 32)
    assert output.observed.stoch.shape == (2, 8, 5)
    assert output.prior.components.mean.shape == (2, 8, 3, 5)
    assert output.attention_prior.shape == output.seen.slots.attention.shape == (2, 8, 4, 16)
    assert output.code_logits.shape == (2, 8, 16, 16)
    assert output.seen.tokens.reconstruction.shape == (16, 3, 32, 32)
    assert output.seen.context.shape == (2, 8, 8)


def test_parts_alone():
    assert FrameEncoder(4)(torch.rand(3, 3, 64, 64)).shape == (3, 16, 8, 8)
    assert FrameDecoder(7, 4, 8)(torch.randn(2, 3, 7)).shape == (2, 3, 3, 64, 64)


def test_a_new_model_draws_nearly_the_mean_frame(model, window):
    scale = FrameScale(32)
    scale.mean.copy_(torch.linspace(0, 1, 32).expand(3, 32, 32))
    scale.spread.fill_(0.1)
    torch.testing.assert_close(scale.restored(scale.normalised(window[0])), window[0])
    assert scale.normalised(scale.mean + 0.1).mean().item() == pytest.approx(1)
    model.scale.load_state_dict(scale.state_dict())
    drawn = model.draw(torch.randn(7, 16), torch.randn(7, 5))
    assert (drawn - scale.mean).square().mean().sqrt().item() < 0.1


def test_the_prior_of_a_step_knows_neither_its_frame_nor_its_action(model, window):
    frames, actions = window
    model.eval()

    def priors(frames, actions):
        torch.manual_seed(1)
        output = model(frames, actions)
        return output.prior.components.mean, output.attention_prior, output.code_logits

    before = priors(frames, actions)
    later_frames, later_actions = frames.clone(), actions.clone()
    later_frames[:, 5:] = 0
    later_actions[:, 5:] = 9
    for old, new in zip(before, priors(later_frames, later_actions), strict=True):
        torch.testing.assert_close(old[:, :6], new[:, :6])
        assert not torch.allclose(old[:, 6:], new[:, 6:])


def test_a_context_is_kept_for_some_steps(model, window):
    context = model.see(window[0]).context
    torch.testing.assert_close(context[:, 4], context[:, 7])
    assert not torch.allclose(context[:, 3], context[:, 4])


def test_the_imagined_future_depends_on_actions_and_not_on_frames(model, window):
    frames, actions = window
    model.eval()

    def future(frames, actions):
        torch.manual_seed(1)
        return model.open_loop(frames, actions, 3)

    first = future(frames, actions)
    assert first.shape == (2, 5, 3, 32, 32)
    unseen = frames.clone()
    unseen[:, 3:] = 0
    torch.testing.assert_close(first, future(unseen, actions))
    other = actions.clone()
    other[:, 4] += 5  # Leads to step 5, the third that is imagined.
    changed = future(frames, other)
    torch.testing.assert_close(first[:, :2], changed[:, :2])
    assert not torch.allclose(first[:, 2:], changed[:, 2:])
    model.imagine(Carry(torch.zeros(2, 16), torch.zeros(2, 5)), torch.zeros(2, 8), actions, True)


def test_the_mean_of_futures_that_cannot_differ_is_the_one_future(window):
    torch.manual_seed(0)
    model = AimeModel(AimeModelConfig(**{**SIZES, 'components': 1, 'min_std': 1e-6}), 2).eval()
    with torch.no_grad():
        model.prior.gaussians.weight[5:].zero_()  # Spreads, after the means of 5 numbers.
        model.prior.gaussians.bias[5:].fill_(-30)
        torch.manual_seed(1)
        one = model.open_loop(*window, 3)
        torch.manual_seed(1)
        several = model.open_loop(*window, 3, num_draws=4)
    torch.testing.assert_close(several, one, atol=1e-4, rtol=0)


def test_the_mean_of_many_futures_is_closer_than_one_of_them(model, window):
    frames, actions = window
    with torch.no_grad():
        model.prior.gaussians.bias[15:].fill_(3)  # Futures differ much.
        one, several = (foresight(model.eval(), frames, actions, 3, n).model for n in (1, 32))
    assert bool((several < one).all())


def test_the_recurrent_part_runs_step_by_step_as_in_windows():
    torch.manual_seed(0)
    network = Vrnn(6, 2, 8, 3, 0.05)
    embeddings, actions = torch.randn(2, 4, 6), torch.randn(2, 4, 2)
    observed = network.observe(embeddings, actions)
    deter = network.begin(2)
    for t in range(4):
        torch.testing.assert_close(observed.deter[:, t], deter)
        posterior = network.see(deter, embeddings[:, t])
        torch.testing.assert_close(observed.posterior.mean[:, t], posterior.mean)
        deter = network.advance(observed.carry_at(t), actions[:, t])


def test_a_model_comes_back_from_its_tensors(model, window):
    manifest = {
        'policy': {
            'kind': 'aime', 'model': SIZES, 'action_low': [-1, -2], 'action_high': [1, 2],
        },
    }  # fmt: skip
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    again, bounds = load_model(tensors, manifest, 'aime@1')
    assert bounds.high.tolist() == [1, 2]
    torch.testing.assert_close(again.see(window[0]).latents, model.eval().see(window[0]).latents)
    with pytest.raises(ModelRefusedError, match="aime@1: is of kind 'sac', expected 'aime'"):
        load_model(tensors, {'policy': {'kind': 'sac'}}, 'aime@1')
    manifest['policy']['model'] = {**SIZES, 'hidden': 17}
    with pytest.raises(ModelRefusedError, match='tensors do not fit'):
        load_model(tensors, manifest, 'aime@1')


def test_psnr_by_hand():
    frames = torch.zeros(1, 3, 8, 8)
    error = mean_squared_error(torch.full_like(frames, 0.1), frames)
    assert psnr(error).tolist() == pytest.approx([20])
    assert mean_squared_error(frames - 3, frames).item() == 0  # Cut to what can be shown.


def test_persistence_is_the_last_frame_seen(model, window):
    frames, actions = window
    seen = foresight(model.eval(), frames, actions, 3)
    expected = (frames[:, 7] - frames[:, 2]).square().mean((1, 2, 3))
    torch.testing.assert_close(seen.persistence[:, -1], expected)
    assert seen.model.shape == (2, 5)
