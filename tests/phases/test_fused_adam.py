import torch
from robot_learning.phases.fused_adam import FusedAdam


def vectors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=generator, requires_grad=True) for size in (7, 1)]


def groups(parameters):
    return [{'params': [v], 'lr': rate} for v, rate in zip(parameters, (0.1, 0.02), strict=True)]


def test_advancing_is_stepping_with_each_groups_rate():
    ours, theirs = vectors(), vectors()
    groups = [
        [{'params': [v], 'lr': lr} for v, lr in zip(x, (0.1, 0.02), strict=True)]
        for x in (ours, theirs)
    ]
    optimizer, peer = FusedAdam(groups[0], eps=1e-5), torch.optim.Adam(groups[1], eps=1e-5)
    for number in range(5):
        optimizer.param_groups[0]['lr'] = peer.param_groups[0]['lr'] = 0.1 / (1 + number)
        for vector in (*ours, *theirs):
            vector.grad = torch.sin(vector.detach() * 3)
        optimizer.advance()
        peer.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_it_goes_on_from_a_stored_state():
    straight, stopped = vectors(), vectors()
    optimizers = [FusedAdam([{'params': each, 'lr': 0.1}]) for each in (straight, stopped)]
    for number in range(4):
        if number == 2:
            state = optimizers[1].state_dict()
            optimizers[1] = FusedAdam([{'params': stopped, 'lr': 0.1}])
            optimizers[1].load_state_dict(state)
        for vector in (*straight, *stopped):
            vector.grad = torch.cos(vector.detach())
        for optimizer in optimizers:
            optimizer.advance()
    for one, other in zip(straight, stopped, strict=True):
        assert torch.equal(one, other)
