import numpy as np
import pytest
from point_mass import point_contract
from robot_learning.errors import ModelRefusedError
from robot_learning.evaluation.offline_policy import OfflinePolicy
from robot_learning.models.actor_critic import GaussianClippedPolicy, GaussianTanhPolicy
from robot_learning.serving.policy import build_policy

LIMIT = np.array([2.0], np.float32)


@pytest.mark.parametrize('kind', [GaussianTanhPolicy, GaussianClippedPolicy])
def test_many_steps_at_once_are_answered_as_one_by_one_on_the_robot(kind):
    network = kind(1, 1, (8,), log_std_bounds=(-1.0, 1.0))
    tensors, description = network.published(-LIMIT, LIMIT)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    offline = OfflinePolicy(arrays, {'policy': description}, point_contract())
    served = build_policy(arrays, {'policy': description}, 'x')
    rng = np.random.default_rng(0)
    place = rng.normal(size=(60, 1)).astype(np.float32)
    noise = rng.normal(size=(60, 1))
    drawn = [served.act(*each) for each in zip(place, noise, strict=True)]
    action = np.stack([each.action for each in drawn])
    fields, first = {'place': place}, np.zeros(60, bool)
    np.testing.assert_allclose(
        offline.mode(fields, first, action), [served.act(each).action for each in place], atol=1e-5
    )
    found = offline.log_prob(fields, first, action)
    inner = np.abs(action[:, 0]) < 1.99  # Closer, float32 has lost what tanh squashed.
    counts = inner if kind is GaussianTanhPolicy else np.ones(60, bool)
    np.testing.assert_allclose(
        found[counts], np.array([each.log_prob for each in drawn])[counts], atol=5e-3
    )


def test_another_kind_is_refused_beside_those_there_are():
    with pytest.raises(ModelRefusedError, match=r"'table', expected one of gaussian_tanh_mlp, ga"):
        OfflinePolicy({}, {'policy': {'kind': 'table'}}, point_contract())
