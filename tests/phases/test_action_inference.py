import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from robot_learning.models.aime.config import AimeModelConfig
from robot_learning.models.aime.dpgmm import Gaussian, Mixture
from robot_learning.models.aime.model import AimeModel
from robot_learning.models.aime.policy import LatentActor, LatentPolicy, load_actor
from robot_learning.phases.action_inference import ActionInference, ActionInferenceConfig
from robot_learning.trajectory.dmc_video import Bounds

BOUNDS = Bounds(np.array([-1.0], np.float32), np.array([1.0], np.float32))


class Brightness(torch.nn.Module):
    """A world in closed form: the state is a brightness to which the action is added."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(hidden=1, latent=1)
        self.action_size = 1
        self.scale = torch.nn.Parameter(torch.ones(()))  # Must never be trained.
        self.recurrent = SimpleNamespace(
            begin=lambda batch: torch.full((batch, 1), 0.2),
            see=lambda deter, embedding: Gaussian(deter * 0, deter * 0 + 0.1),
            advance=lambda carry, action: carry.deter + action,
        )

    def embed(self, frames):
        return (frames.mean((-3, -2, -1))[..., None],)

    def see(self, frames):
        embedding = self.embed(frames)[0]
        return SimpleNamespace(embedding=embedding, context=embedding)

    def prior(self, condition):
        mean = condition[..., :1, None] * 0
        none = condition[..., :0]
        return Mixture(Gaussian(mean, mean + 0.1), none, none)

    def draw(self, deter, stoch):
        return self.scale * deter[..., None, None].expand(*deter.shape[:-1], 3, 4, 4)


def brighter(step=0.1, length=5):
    """Frames that get brighter by the same amount each step."""
    levels = 0.2 + step * torch.arange(length)
    return levels[None, :, None, None, None].expand(3, length, 3, 4, 4).contiguous()


def inference(**config):
    made = ActionInferenceConfig(hidden=16, **config)
    return ActionInference(Brightness(), BOUNDS, {}, made, seed=0)


def test_the_evidence_by_hand():
    objective = inference()
    objective.module.eval()
    with torch.no_grad():
        for parameter in objective.module.output.parameters():
            parameter.zero_()  # The policy does nothing: brightness stays at 0.2.
    reconstruction, kl = objective.evidence(brighter())
    # Four frames of 48 values that are 0.1, 0.2, 0.3 and 0.4 away, std 0.1.
    squares = 48 * (0.01 + 0.04 + 0.09 + 0.16) / 4
    expected = squares / 0.02 + 48 * math.log(0.1 * math.sqrt(2 * math.pi))
    assert reconstruction.item() == pytest.approx(expected, rel=1e-4)
    assert kl.item() == pytest.approx(0, abs=1e-6)  # Posterior and prior are the same.


def test_actions_that_explain_the_frames_are_found_without_seeing_them():
    torch.manual_seed(0)
    objective = inference()
    optimizer = torch.optim.Adam(objective.module.parameters(), 1e-2)
    batch = {'observations': brighter(), 'actions': torch.full((3, 5, 1), torch.nan)}
    for _ in range(200):
        loss = objective.losses(batch, 0.0).tasks['evidence']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    objective.module.eval()
    watched = objective.watch(objective.model.embed(brighter())[0])
    levels = 0.2 + 0.1 * torch.arange(5.0)
    assert (watched.actions[:, :4] > 0.02).all()
    torch.testing.assert_close(watched.deter[..., 0], levels.expand(3, 5), atol=0.08, rtol=0)
    assert objective.model.scale.item() == 1


def test_only_the_policy_learns():
    objective = inference()
    loss = objective.losses({'observations': brighter(), 'actions': torch.zeros(3, 5, 1)}, 0.0)
    loss.tasks['evidence'].backward()
    assert all(parameter.grad is not None for parameter in objective.module.parameters())
    assert objective.model.scale.grad is None and not objective.model.scale.requires_grad


SIZES = AimeModelConfig(
    image_size=32, depth=4, hidden=16, latent=5, components=3, slot_size=8, codes=16, code_size=8,
    context_frames=2, context_latents=3, context_size=8, context_heads=2, context_layers=1,
)  # fmt: skip


@pytest.fixture
def cloning():
    torch.manual_seed(0)
    model = AimeModel(SIZES, action_size=1)
    config = ActionInferenceConfig(learns_from='actions', hidden=16)
    return ActionInference(model, BOUNDS, {'camera': 'eye'}, config)


def window():
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(2, 5, 3, 32, 32, generator=generator)
    return {'observations': frames, 'actions': torch.full((2, 5, 1), 0.4)}


def test_cloning_learns_the_true_actions(cloning):
    optimizer = torch.optim.Adam(cloning.module.parameters(), 1e-2)
    for _ in range(60):
        torch.manual_seed(0)
        loss = cloning.losses(window(), 0.0).tasks['cloning']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01


def test_what_is_measured_says_how_far_actions_are_off(cloning):
    cloning.module.eval()
    with torch.no_grad():
        for parameter in cloning.module.output.parameters():
            parameter.zero_()
        found = cloning.measure([window()])
    assert found['held_out/action_error'] == pytest.approx(0.16)
    assert found['held_out/mean_action_error'] == pytest.approx(0.16)
    assert cloning.score(found) == -found['held_out/action_error']


def test_a_published_policy_acts_like_the_one_that_learned(cloning):
    tensors, description = cloning.policy()
    assert description['camera'] == 'eye' and description['kind'] == 'aime_policy'
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    actor = load_actor(arrays, {'policy': description}, 'apprentice@1')
    frames = (window()['observations'][0] * 255).byte().permute(0, 2, 3, 1).numpy()
    policy = cloning.module
    assert isinstance(policy, LatentPolicy)
    own = LatentActor(cloning.model, policy, actor.action_range)
    answers = [(actor.act(frame), own.act(frame)) for frame in frames]
    assert all(np.array_equal(a, b) for a, b in answers)
    actor.begin()
    assert np.array_equal(actor.act(frames[0]), answers[0][0])
    assert not np.array_equal(actor.act(frames[0]), answers[0][0])  # It remembers.
