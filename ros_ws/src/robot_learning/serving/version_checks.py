"""A model version is loaded and proves itself before it may drive."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from robot_learning import contract as contracts
from robot_learning.contract import RobotContract
from robot_learning.errors import ContractError, ModelRefusedError, StoreError
from robot_learning.features import FeatureBuilder
from robot_learning.serving.policy import Policy, build_policy

Array = np.ndarray[Any, Any]

_NUM_PROBES = 64  # Observations on which a new version must behave before it serves.
_LIMIT_TOLERANCE = 1e-5  # Contract units; limits go through float32 and JSON.
_MAX_TICK_SHARE = 0.25  # Of the control period that one decision may take.
_NUM_TIMED = 5  # Decisions after which a version is too slow; the fastest counts.


class WeightSource(Protocol):
    """Where versions lie; the model store is one."""

    def load(self, name: str, version: int) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return tensors and manifest of a version whose checksum is right."""


class Served(NamedTuple):
    """A version that passed its checks."""

    policy: Policy
    model: str
    version: int
    update: int
    environment_step: int
    sha256: str


def load_version(
    store: WeightSource,
    name: str,
    version: int,
    contract: RobotContract,
    probes: Array | None = None,
    images: Collection[str] | None = None,
) -> Served:
    """Load one version and check everything that can be checked before it drives.

    Args:
        store: where it lies; checks the checksum.
        name: of the model.
        version: its number.
        contract: of the robot it is to drive.
        probes: [N, D] observations as features on which its actions are tried; None: random
            ones out of the contract's ranges.
        images: picture fields that it can be given; None: all of the contract.

    Raises:
        ModelRefusedError: names the version and what is wrong with it.
        StoreError: there is no such version.
    """
    where = f'{name}@{version}'
    try:
        tensors, manifest = store.load(name, version)
        policy = build_policy(tensors, manifest, where)
        _check_contract(policy, manifest, contract, where)
        _check_images(policy, contract.observation if images is None else images, where)
        probes = random_features(contract) if probes is None else probes
        _check_speed(policy, probes[:_NUM_TIMED], contract.control_period_ns, where)
        _check_actions(policy, probes, where)
        policy.reset()  # It remembers no probe.
    except StoreError:
        raise
    except ModelRefusedError as error:
        text = str(error)
        raise ModelRefusedError(text if text.startswith(where) else f'{where}: {text}') from error
    except Exception as error:  # Whatever a broken file does to us, the robot drives on.
        raise ModelRefusedError(
            f'{where}: cannot be used ({type(error).__name__}: {error}). Publish it anew or '
            f'serve another version.'
        ) from error
    provenance = manifest.get('provenance') or {}
    return Served(
        policy,
        name,
        version,
        int(provenance.get('update') or 0),
        int(provenance.get('environment_step') or 0),
        str(manifest.get('sha256', '')),
    )


def random_features(contract: RobotContract, count: int = _NUM_PROBES, seed: int = 0) -> Array:
    """Return [N, D] features of observations drawn from wide but possible ranges."""
    builder = FeatureBuilder(contract)
    rng = np.random.default_rng(seed)
    fields = {}
    for name in builder.fields:
        field = contract.observation[name]
        low = -math.pi if field.range_min is None else field.range_min
        high = math.pi if field.range_max is None else field.range_max
        fields[name] = rng.uniform(low, high, (count, *field.shape)).astype(field.dtype)
    return builder.build_batch(fields)


def _check_contract(
    policy: Policy, manifest: Mapping[str, Any], contract: RobotContract, where: str
) -> None:
    spec, problems = policy.spec, []
    size = FeatureBuilder(contract).size
    if spec.input_size != size:
        problems.append(f'takes {spec.input_size} features, {contract.robot} gives {size}')
    if spec.action_size != contract.action_size:
        problems.append(
            f'gives {spec.action_size} action components, {contract.robot} takes '
            f'{contract.action_size}'
        )
    elif np.any(np.subtract(spec.action_low, contract.action_low) < -_LIMIT_TOLERANCE) or np.any(
        np.subtract(spec.action_high, contract.action_high) > _LIMIT_TOLERANCE
    ):
        problems.append(
            f'acts between {list(spec.action_low)} and {list(spec.action_high)}, '
            f'{contract.robot} allows {contract.action_low.tolist()} to '
            f'{contract.action_high.tolist()}'
        )
    for name, shape in spec.image_shapes().items():
        field = contract.observation.get(name)
        if field is None or tuple(field.shape) != tuple(shape):
            found = 'no such field' if field is None else f'{list(field.shape)}'
            problems.append(
                f'looks at pictures {name} {list(shape)}, {contract.robot} has {found}'
            )
    if manifest.get('contract_hash') != contract.hash and not problems:
        problems += _contract_differences(manifest, contract)
    if problems:
        raise ModelRefusedError(
            f'{where}: was made for another robot contract: {"; ".join(problems)}. Serve it with '
            f'its own contract or train it for this one.'
        )


def _check_images(policy: Policy, given: Collection[str], where: str) -> None:
    absent = sorted(set(policy.spec.image_shapes()) - set(given))
    if absent:
        raise ModelRefusedError(
            f'{where}: looks at pictures {", ".join(absent)}, which it is not given here. Name '
            f'them in the setting images, or serve a version without pictures.'
        )


def _contract_differences(manifest: Mapping[str, Any], contract: RobotContract) -> list[str]:
    """List what makes observations or actions mean something else than in training."""
    data = manifest.get('contract')
    if not isinstance(data, Mapping):
        return ['its manifest holds no contract, and no contract hash that equals ours']
    try:
        theirs = contracts.from_dict(dict(data), 'its contract')
    except ContractError as error:
        return [str(error)]
    differences = []
    if manifest.get('contract_hash') != theirs.hash:
        differences.append(
            f'its contract hash is {manifest.get("contract_hash")!r}, its contract gives '
            f'{theirs.hash!r}'
        )
    if theirs.features != contract.features:
        differences.append('its features are computed differently')
    for name in FeatureBuilder(contract).fields:
        ours = contract.observation[name]
        field = theirs.observation.get(name)
        if field is None or (field.shape, field.unit, field.part) != (
            ours.shape,
            ours.unit,
            ours.part,
        ):
            differences.append(f'observation field {name} differs in shape, unit or part')
    for name, action in contract.learned_actions.items():
        spec = theirs.actions.get(name)
        if spec is None or (spec.components, spec.unit) != (action.components, action.unit):
            differences.append(f'action field {name} differs in components or unit')
    if not math.isclose(theirs.control_rate_hz, contract.control_rate_hz):
        differences.append(
            f'it was trained at {theirs.control_rate_hz} Hz, this robot runs at '
            f'{contract.control_rate_hz} Hz'
        )
    return differences


def _check_speed(policy: Policy, probes: Array, period_ns: int, where: str) -> None:
    """Refuse what would make ticks late, in shadow already."""
    durations_ns = []
    images = next(_random_images(policy))
    with np.errstate(all='ignore'):
        for features in probes:
            started_ns = time.thread_time_ns()  # Being interrupted does not count.
            policy.act(features, images=images)
            durations_ns.append(time.thread_time_ns() - started_ns)
    if min(durations_ns) > _MAX_TICK_SHARE * period_ns:
        raise ModelRefusedError(
            f'{where}: takes {min(durations_ns) * 1e-6:.1f} ms for one decision, expected at '
            f'most {_MAX_TICK_SHARE:.0%} of the control period of {period_ns * 1e-6:.1f} ms. '
            f'Train a smaller network.'
        )


def _check_actions(policy: Policy, probes: Array, where: str) -> None:
    noise = np.zeros(policy.spec.action_size)
    low = [limit - _LIMIT_TOLERANCE for limit in policy.spec.action_low]
    high = [limit + _LIMIT_TOLERANCE for limit in policy.spec.action_high]
    with np.errstate(all='ignore'):  # What overflows shows in the result.
        for i, (features, images) in enumerate(zip(probes, _random_images(policy), strict=False)):
            output = policy.act(features, noise, images)
            action = output.action.tolist()
            # Plain floats: this thread keeps the interpreter from the control thread.
            is_inside = all(map(operator.le, low, action)) and all(map(operator.le, action, high))
            if not (is_inside and math.isfinite(output.log_prob)):
                raise ModelRefusedError(
                    f'{where}: answers {action} (log-probability {output.log_prob}) to stored '
                    f'observation {i}, expected finite actions between {low} and {high}. Serve '
                    f'another version.'
                )


def _random_images(policy: Policy, seed: int = 0) -> Iterator[dict[str, Array]]:
    """Yield pictures of noise, for as long as somebody asks."""
    rng = np.random.default_rng(seed)
    shapes = policy.spec.image_shapes()
    while True:
        yield {name: rng.integers(0, 256, shape, np.uint8) for name, shape in shapes.items()}
