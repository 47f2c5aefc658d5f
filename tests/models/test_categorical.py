import torch
from robot_learning.models.categorical import CategoricalPolicy


def test_logits_are_those_of_normalised_features():
    policy = CategoricalPolicy(3, 4, (8, 8))
    policy.input_mean.fill_(2.0)
    policy.input_std.fill_(4.0)
    features = torch.randn(5, 3)
    torch.testing.assert_close(policy(features), policy.from_normalised((features - 2) / 4))
    assert policy(features).shape == (5, 4)


def test_what_is_published_makes_an_equal_policy():
    policy, features = CategoricalPolicy(3, 4, (8, 8), 'silu'), torch.randn(5, 3)
    tensors, description = policy.published()
    other = CategoricalPolicy(
        description['input_size'],
        description['num_choices'],
        description['hidden'],
        description['activation'],
    )
    other.load_state_dict(tensors)
    assert description['kind'] == 'categorical_mlp'
    assert torch.equal(policy(features), other(features))
    with torch.no_grad():
        policy.logits.bias += 1.0
    assert not torch.equal(policy(features), other(features))
