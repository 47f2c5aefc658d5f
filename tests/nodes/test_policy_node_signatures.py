import contextlib

import pytest
from robot_learning.model_signatures import generate_key
from robot_learning.model_store import ModelStore
from robot_learning.trusted_keys import TrustedKeys
from robot_learning_interfaces.msg import ModelVersion
from robot_learning_interfaces.srv import LoadModel
from rover import (
    FULL_SPEED,
    LEFT,
    STOPPED,
    LockStep,
    Rover,
    call,
    policy_node,
    publish_constant,
    wait_until,
    write_robot,
)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp('signed')
    signer = generate_key(folder / 'keys' / 'maker.pem')
    TrustedKeys(folder / 'trusted' / 'keys.json').add(signer.public_key, 'maker')
    version = publish_constant(folder / 'models')
    ModelStore(folder / 'models').sign('navigator', version, signer)
    return folder, signer


@pytest.fixture(scope='module')
def world(place):
    folder, _ = place
    rules = {'require_signature': True, 'trusted_keys': folder / 'trusted' / 'keys.json'}
    with (
        contextlib.closing(Rover('/signed')) as rover,
        policy_node(
            '/signed',
            write_robot(folder),
            folder / 'models',
            mode='lock_step',
            poll_s=0.05,
            **rules,
        ),
    ):
        rover.wait_for_policy(has_outcome=True)
        stepped = LockStep(rover)
        stepped.begin()
        yield stepped


def wait_for_version(world, version):
    def drives():
        world.step()
        return world.rover.action_for(world.stamp).version == version

    wait_until(drives, f'version {version} to drive')


def test_an_unsigned_version_is_passed_over_and_refused_by_name(world, place):
    folder, signer = place
    store = ModelStore(folder / 'models')
    unsigned = publish_constant(folder / 'models', LEFT)
    told = ModelVersion(model='navigator', version=unsigned, state=ModelVersion.PUBLISHED)
    world.rover.notices.publish(told)
    request = LoadModel.Request(version=unsigned)
    answer = call(world.rover, LoadModel, 'policy/load_model', request)
    assert (answer.success, answer.version) == (False, 1)
    assert f'navigator@{unsigned}: is not signed' in answer.message
    assert './run models sign' in answer.message
    assert store.refusal('navigator', unsigned) is None  # Others may serve it.
    for _ in range(10):
        assert world.step() == FULL_SPEED
        assert world.rover.action_for(world.stamp).version == 1
    store.sign('navigator', unsigned, signer)
    wait_for_version(world, unsigned)


def test_a_key_that_is_no_longer_trusted_stops_what_it_signed(world, place):
    folder, _ = place
    TrustedKeys(folder / 'trusted' / 'keys.json').remove('maker')
    wait_for_version(world, -1)
    assert world.step() == STOPPED


def test_evaluate_demands_signatures_when_told(place, capsys):
    from robot_learning.commands import evaluate

    folder, signer = place
    arguments = ['--model', 'navigator@1', '--models', str(folder / 'models')]
    keys = ['--require-signature', '--trusted-keys', str(folder / 'trusted' / 'other.json')]
    assert evaluate.main([*arguments, *keys]) == 2
    assert (
        f'signed by key {signer.identity}, which is not trusted here (trusted: nobody)'
        in capsys.readouterr().err
    )
