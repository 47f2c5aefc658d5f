"""Model versions that must not drive, each bad in one way; put into a store in one step.

The benchmark swap_campaign uses them as well.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import policies
from robot_learning import contract as contracts
from robot_learning import model_files
from robot_learning.contract import RobotContract
from robot_learning.model_store import MANIFEST, WEIGHTS, ModelStore
from safetensors.numpy import load, save

Array = np.ndarray[Any, Any]
NAME = 'navigator'
_HUGE = 1e38


class _Staging(ModelStore):
    """A store beside the real one that counts on where that one stands."""

    def __init__(self, root: Path, live: ModelStore):
        super().__init__(root)
        self._live = live

    def newest(self, name: str) -> int | None:
        return self._live.newest(name)


def publish_spoiled(
    models: Path,
    tensors: dict[str, Array],
    manifest: dict[str, Any],
    spoil: Callable[[Path], None] = lambda folder: None,
) -> int:
    """Publish a version whose folder `spoil` has changed before anybody could see it."""
    staging = models.with_name(f'{models.name}.staging')
    version = _Staging(staging, ModelStore(models)).publish(NAME, tensors, manifest)
    folder = staging / NAME / f'{version:06d}'
    spoil(folder)
    (models / NAME).mkdir(parents=True, exist_ok=True)
    folder.rename(models / NAME / folder.name)
    shutil.rmtree(staging)
    return version


def sometimes_nan(
    spec: dict[str, Any], feature: int, low: float, high: float, u: tuple[float, ...]
) -> dict[str, Array]:
    """Return weights, all finite, that answer tanh(u) unless a feature lies in a narrow band.

    There two hidden units overflow and the heads take their difference: NaN.
    """
    tensors = policies.constant_tensors(spec, u)
    first, second = tensors['trunk.0.weight'], tensors['trunk.1.weight']
    first[:2, feature] = 1.0
    tensors['trunk.0.bias'][:2] = -low, -high
    second[:2, 0], second[:2, 1] = 1e36, -1e38  # Below zero again above the band.
    tensors['mean.weight'][:, 0], tensors['mean.weight'][:, 1] = _HUGE, -_HUGE
    return tensors


def _with_nan(folder: Path) -> None:
    tensors = load((folder / WEIGHTS).read_bytes())
    tensors['mean.weight'][0, 0] = np.nan
    _forge(folder, tensors)


def _forge(folder: Path, tensors: dict[str, Array]) -> None:
    """Replace the weights and make all checksums right."""
    data = save(tensors)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest.update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    (folder / WEIGHTS).write_bytes(data)
    (folder / MANIFEST).write_bytes(model_files.encode_manifest(manifest, str(folder)))


def _truncated(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flipped(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-5] ^= 64
    (folder / WEIGHTS).write_bytes(data)


def _half_manifest(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


class BadVersions:
    """Publishes versions that the load checks, the canary or the watch must catch."""

    def __init__(
        self, models: Path, contract: RobotContract, hidden: list[int], u: tuple[float, ...]
    ):
        """Prepare.

        Args:
            models: the store.
            contract: of the robot.
            hidden: sizes of layers, as good versions have them.
            u: what good versions answer, before tanh.
        """
        self._models = models
        self._contract = contract
        self._u = u
        self._spec = policies.spec_for(contract, hidden=hidden)
        self.load_kinds: dict[str, Callable[[], int]] = {
            'NaN weight': lambda: self._publish(spoil=_with_nan),
            'overflow': self._overflow,
            'wrong shape': self._wrong_shape,
            'other control rate': self._other_rate,
            'foreign contract hash': lambda: self._publish(contract_hash='0123456789abcdef'),
            'beyond limits': self._beyond_limits,
            'truncated': lambda: self._publish(spoil=_truncated),
            'flipped bit': lambda: self._publish(spoil=_flipped),
            'half a manifest': lambda: self._publish(spoil=_half_manifest),
        }

    def opposite(self) -> int:
        """Publish a version that wants the contrary of the others, at full scale."""
        u = tuple(-50.0 if value >= 0 else 50.0 for value in self._u)
        return self._publish(policies.constant_tensors(self._spec, u))

    def sometimes_nan(self, feature: int, low: float, high: float) -> int:
        """Publish a version that answers NaN where a feature lies in a band."""
        return self._publish(sometimes_nan(self._spec, feature, low, high, self._u))

    def _publish(
        self,
        tensors: dict[str, Array] | None = None,
        spec: dict[str, Any] | None = None,
        spoil: Callable[[Path], None] = lambda folder: None,
        **manifest: Any,
    ) -> int:
        spec = spec or self._spec
        tensors = policies.constant_tensors(spec, self._u) if tensors is None else tensors
        content = policies.manifest_for(self._contract, spec, **manifest)
        return publish_spoiled(self._models, tensors, content, spoil)

    def _overflow(self) -> int:
        tensors = policies.tensors_for(self._spec)
        tensors['trunk.0.weight'] += np.float32(1e38)
        tensors['trunk.1.weight'] *= np.float32(1e38)
        return self._publish(tensors)

    def _wrong_shape(self) -> int:
        hidden = [size + 1 for size in self._spec['hidden']]
        wider = policies.spec_for(self._contract, hidden=hidden)
        return self._publish(policies.tensors_for(wider), self._spec)

    def _other_rate(self) -> int:
        data = {**self._contract.to_dict(), 'control_rate_hz': 2 * self._contract.control_rate_hz}
        other = contracts.from_dict(data)
        return self._publish(contract=other.to_dict(), contract_hash=other.hash)

    def _beyond_limits(self) -> int:
        high = (2 * self._contract.action_high).tolist()
        return self._publish(spec={**self._spec, 'action_high': high})
