import dataclasses

import numpy as np
import policies
import pytest
from policies import CONTRACT
from robot_learning import contract as contracts
from robot_learning.errors import ModelRefusedError, StoreError
from robot_learning.model_store import MANIFEST, WEIGHTS, ModelStore
from robot_learning.serving.version_checks import load_version, random_features


def load(root, version, contract=CONTRACT):
    return load_version(ModelStore(root), 'navigator', version, contract)


def test_a_sound_version_comes_with_what_is_behind_it(tmp_path):
    version = policies.publish(tmp_path, CONTRACT)
    served = load(tmp_path, version)
    assert (served.model, served.version) == ('navigator', version)
    assert (served.update, served.environment_step) == (120, 60)
    assert len(served.sha256) == 64


def test_a_flipped_byte_is_refused_by_name(tmp_path):
    version = policies.publish(tmp_path, CONTRACT)
    path = tmp_path / 'navigator' / f'{version:06d}' / WEIGHTS
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelRefusedError, match=rf'navigator@{version}: .*SHA-256'):
        load(tmp_path, version)


def test_a_truncated_file_is_refused_by_name(tmp_path):
    version = policies.publish(tmp_path, CONTRACT)
    path = tmp_path / 'navigator' / f'{version:06d}' / WEIGHTS
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelRefusedError, match=rf'navigator@{version}: .*has 100 bytes'):
        load(tmp_path, version)


def test_a_damaged_manifest_is_refused_by_name(tmp_path):
    version = policies.publish(tmp_path, CONTRACT)
    (tmp_path / 'navigator' / f'{version:06d}' / MANIFEST).write_text('{"policy": ')
    with pytest.raises(ModelRefusedError, match=rf'navigator@{version}: .*not JSON'):
        load(tmp_path, version)


def test_wrong_shapes_are_refused_by_name(tmp_path):
    tensors = policies.tensors_for(policies.spec_for(CONTRACT, hidden=[32, 8]))
    version = policies.publish(tmp_path, CONTRACT, tensors)
    with pytest.raises(ModelRefusedError, match=rf'navigator@{version}: tensor trunk.0.weight'):
        load(tmp_path, version)


def test_weights_that_overflow_on_an_observation_are_refused(tmp_path):
    tensors = policies.tensors_for(policies.spec_for(CONTRACT))
    tensors['trunk.0.weight'] += np.float32(1e38)
    tensors['trunk.1.weight'] *= np.float32(1e38)
    version = policies.publish(tmp_path, CONTRACT, tensors)
    with pytest.raises(ModelRefusedError, match=rf'navigator@{version}: answers .*nan'):
        load(tmp_path, version)


def test_a_version_too_slow_for_the_control_rate_is_refused(tmp_path):
    fast = contracts.from_dict({**policies.ROBOT, 'control_rate_hz': 1000.0})
    spec = policies.spec_for(fast, hidden=[1024] * 16)  # 16 million weights, 0.25 ms allowed.
    manifest = policies.manifest_for(fast, spec)
    version = ModelStore(tmp_path).publish('navigator', policies.tensors_for(spec), manifest)
    with pytest.raises(ModelRefusedError, match=r'ms for one decision, expected at most 25%'):
        load(tmp_path, version, fast)
    assert load(tmp_path, policies.publish(tmp_path, CONTRACT))


def test_a_hash_that_is_not_that_of_its_contract_is_refused(tmp_path):
    version = policies.publish(tmp_path, CONTRACT, contract_hash='0123456789abcdef')
    with pytest.raises(ModelRefusedError, match="hash is '0123456789abcdef', its contract gives"):
        load(tmp_path, version)


def test_a_version_for_more_features_is_refused(tmp_path):
    spec = policies.spec_for(CONTRACT, input_size=50)
    tensors = policies.tensors_for(spec)
    version = policies.publish(tmp_path, CONTRACT, tensors, policy=spec)
    with pytest.raises(ModelRefusedError, match='takes 50 features, rover gives 16'):
        load(tmp_path, version)


def test_a_version_that_would_drive_faster_than_allowed_is_refused(tmp_path):
    version = policies.publish(tmp_path, CONTRACT)
    base = dataclasses.replace(CONTRACT.actions['base'], high=(0.2, 1.5))
    slow = dataclasses.replace(CONTRACT, actions={'base': base})
    with pytest.raises(ModelRefusedError, match=r'rover allows .*its own contract'):
        load(tmp_path, version, slow)


def test_a_contract_that_differs_only_in_what_policies_do_not_see_is_accepted(tmp_path):
    version = policies.publish(tmp_path, CONTRACT)
    assert load(tmp_path, version, dataclasses.replace(CONTRACT, description='repainted'))


def test_features_computed_differently_are_refused(tmp_path):
    version = policies.publish(tmp_path, CONTRACT)
    feature = dataclasses.replace(CONTRACT.features[0], parameters={'rim_m': 0.3})
    other = dataclasses.replace(CONTRACT, features=(feature, *CONTRACT.features[1:]))
    with pytest.raises(ModelRefusedError, match='its features are computed differently'):
        load(tmp_path, version, other)


def test_another_control_rate_is_refused(tmp_path):
    version = policies.publish(tmp_path, CONTRACT)
    with pytest.raises(ModelRefusedError, match=r'trained at 5\.0 Hz, this robot runs at 20'):
        load(tmp_path, version, dataclasses.replace(CONTRACT, control_rate_hz=20.0))


def test_a_version_without_a_contract_is_refused(tmp_path):
    version = policies.publish(tmp_path, CONTRACT, contract=None, contract_hash='')
    with pytest.raises(ModelRefusedError, match='holds no contract'):
        load(tmp_path, version)


def test_a_version_that_is_not_there_is_no_refusal(tmp_path):
    policies.publish(tmp_path, CONTRACT)
    with pytest.raises(StoreError, match='version 7 is not in'):
        load(tmp_path, 7)


def test_probes_are_finite_and_repeatable():
    probes = random_features(CONTRACT)
    assert probes.shape == (64, 16)
    assert np.isfinite(probes).all()
    np.testing.assert_array_equal(probes, random_features(CONTRACT))


def test_noise_that_would_overflow_on_some_observation_is_refused(tmp_path):
    spec = policies.spec_for(CONTRACT, log_std_bounds=[-5, 1000])
    version = policies.publish(tmp_path, CONTRACT, policy=spec)
    with pytest.raises(ModelRefusedError, match=rf'navigator@{version}: .*log_std_bounds'):
        load(tmp_path, version)
