"""Whether recorded data mean what a contract says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robot_learning.contract import RobotContract
from robot_learning.errors import ContractError


def check_contract(path: Path, stored: dict[str, Any], contract: RobotContract) -> None:
    """Compare the contract that data name with the one they shall be used with.

    Args:
        path: of the data, for the error.
        stored: plain data of the contract that they were recorded with.
        contract: what they are used with; fields that it does not have may differ.

    Raises:
        ContractError: names every observation field and action that means something else.
    """
    plain = contract.to_dict()
    differing = [
        f'{kind}.{name}'
        for kind in ('observation', 'actions')
        for name, spec in plain[kind].items()
        if not _agree(kind, stored.get(kind, {}).get(name), spec)
    ]
    if differing:
        raise ContractError(
            f'{path}: was recorded with another contract ({stored.get("robot")!r}) than '
            f'{contract.robot!r}; they differ in {", ".join(differing)}. Choose the contract '
            f'of the robot that recorded it.'
        )


def _agree(kind: str, stored: dict[str, Any] | None, spec: dict[str, Any]) -> bool:
    if stored is None:
        return False
    keys = ('shape', 'part', 'dtype', 'unit') if kind == 'observation' else ('components', 'unit')
    return all(stored.get(key) == spec[key] for key in keys)
