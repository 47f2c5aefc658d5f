import numpy as np
import pytest
import torch
from robot_learning.errors import ModelRefusedError
from robot_learning.models.categorical import CategoricalPolicy
from robot_learning.serving.choice_policy import build_choice_policy

LABELS = ['back', 'left', 'right']


def version(labels=LABELS, **changes):
    torch.manual_seed(0)
    network = CategoricalPolicy(4, 3, (16, 8), 'silu')
    network.input_mean.fill_(2.0)
    network.input_std.fill_(0.5)
    tensors, spec = network.published()
    arrays = {name: value.numpy() for name, value in tensors.items()}
    return network, arrays, {'policy': spec | {'labels': labels} | changes}


def test_equals_the_torch_module():
    network, tensors, manifest = version()
    policy = build_choice_policy(tensors, manifest, 'x@1')
    states = np.random.default_rng(0).normal(2, 1, (50, 4)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(states)).softmax(-1).numpy()
    for state, shares in zip(states, expected, strict=True):
        choice = policy.choose(state)
        np.testing.assert_allclose(choice.probabilities, shares, atol=1e-6)
        assert choice.label == LABELS[shares.argmax()]
        assert choice.probability == pytest.approx(shares.max(), abs=1e-6)


def test_without_labels_it_answers_numbers():
    _, tensors, manifest = version(labels=[])
    policy = build_choice_policy(tensors, manifest, 'x@1')
    assert policy.choose(np.zeros(4, np.float32)).label in (0, 1, 2)


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({'kind': 'gaussian_tanh_mlp'}, "x@1: kind of policy is 'gaussian_tanh_mlp', expected"),
        ({'labels': ['left', 'left', 'right']}, 'labels are 2 different ones, expected 3'),
        ({'num_choices': 4}, r'logits.weight has shape \[3, 8\], expected \[4, 8\]'),
        ({'hidden': [0]}, 'x@1: manifest: policy: hidden'),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes, text):
    _, tensors, manifest = version(**changes)
    with pytest.raises(ModelRefusedError, match=text):
        build_choice_policy(tensors, manifest, 'x@1')


def test_a_version_without_a_policy_is_refused():
    with pytest.raises(ModelRefusedError, match='x@1: kind of policy is None'):
        build_choice_policy({}, {}, 'x@1')
