import torch
from robot_learning.models.aime.perceiver import CodePredictor, Perceiver


def perceiver(frames=2):
    torch.manual_seed(0)
    return Perceiver(
        code_size=3, places=4, frames=frames, latents=5, size=8, heads=2, layers=1
    ).eval()


def test_a_context_for_every_step():
    assert perceiver()(torch.randn(2, 6, 4, 3)).shape == (2, 6, 5, 8)


def test_a_context_sees_only_the_frames_before_its_step():
    network, codes = perceiver(), torch.randn(1, 6, 4, 3)
    before = network(codes)
    for changed in range(6):
        other = codes.clone()
        other[:, changed] += 1
        differs = (network(other) - before).abs().amax((0, 2, 3)) > 1e-6
        # It looks back on two frames, and a step's own frame is not among them.
        assert differs.nonzero().flatten().tolist() == [
            step for step in (changed + 1, changed + 2) if step < 6
        ]


def test_it_knows_the_age_of_a_frame():
    network, codes = perceiver(), torch.randn(1, 3, 4, 3)
    swapped = codes[:, [1, 0, 2]]
    assert not torch.allclose(network(codes)[:, 2], network(swapped)[:, 2], atol=1e-5)


def test_windows_do_not_see_each_other():
    network, codes = perceiver(), torch.randn(2, 5, 4, 3)
    torch.testing.assert_close(network(codes)[1:], network(codes[1:]))


def test_codes_are_predicted_from_context_and_action():
    torch.manual_seed(0)
    network = CodePredictor(size=8, heads=2, action_size=2, places=4, codes=16)
    latents, actions = torch.randn(3, 5, 8), torch.randn(3, 2)
    logits = network(latents, actions)
    assert logits.shape == (3, 4, 16)
    assert not torch.allclose(logits, network(latents, actions + 1))
    assert not torch.allclose(logits, network(latents + torch.randn(8), actions))
