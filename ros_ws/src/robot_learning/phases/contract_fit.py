"""What a robot's contract means for learning: the ends of its policies, and which data fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError, DataError
from robot_learning.features import FeatureBuilder
from robot_learning.phases.phase import PolicySpace


def policy_space(
    contract: RobotContract, builder: FeatureBuilder, images: Sequence[str] = ()
) -> PolicySpace:
    """Return the ends of a policy for a robot.

    Raises:
        ConfigError: one of `images` is not an image [H, W, C] of bytes.
    """
    shapes = {}
    for name in images:
        field = contract.observation.get(name)
        if field is None or field.dtype != 'uint8' or len(field.shape) != 3:
            found = 'not there' if field is None else f'{field.dtype} {list(field.shape)}'
            raise ConfigError(
                f'images: {name!r} is {found} in the contract of {contract.robot}, expected '
                f'uint8 [H, W, C]. Name a field with pictures.'
            )
        shapes[name] = tuple(field.shape)
    return PolicySpace(
        builder.size, contract.action_low, contract.action_high, builder.blocks, shapes
    )


def check_compatible(
    recorded: RobotContract, contract: RobotContract, fields: Iterable[str], where: str
) -> None:
    """Check that data of one contract means the same under another.

    Raises:
        DataError: names every needed field or action that differs.
    """
    differences = []
    for name in fields:
        theirs, ours = recorded.observation.get(name), contract.observation[name]
        for key in ('type', 'part', 'shape', 'unit'):
            found, expected = getattr(theirs, key, None), getattr(ours, key)
            if found != expected:
                differences.append(f'field {name}: {key} is {found!r}, expected {expected!r}')
    found_actions = [(a.components, a.unit) for a in recorded.learned_actions.values()]
    expected_actions = [(a.components, a.unit) for a in contract.learned_actions.values()]
    if found_actions != expected_actions:
        differences.append(f'actions are {found_actions}, expected {expected_actions}')
    if differences:
        raise DataError(
            f'{where}: was recorded for robot {recorded.robot!r}, which does not fit '
            f'{contract.robot!r}: {"; ".join(differences)}. Choose data of this robot.'
        )
