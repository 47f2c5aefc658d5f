"""Processes that take every gradient step together, over torch.distributed.

Alone, everything here does nothing. Numbers on the processor travel by gloo, those on GPUs by
nccl; who waits for another process learns of its end at once.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from robot_learning.errors import ConfigError, TrainingError
from robot_learning.phases.devices import CPU

Store = Any  # torch.distributed.Store; builds for some small boards come without it.

LOST = 'another one that learns with this one is gone'
_ARRIVAL_S = 300.0  # Until all processes are here; each loads torch first.
_PATIENCE = timedelta(days=1)  # Of those who wait while the first one measures.
_POLL_S = 0.05


class Place(NamedTuple):
    """Which process this is."""

    rank: int = 0  # The first one publishes, saves and reports.
    size: int = 1  # Processes in all.
    local_rank: int = 0  # Among those on this machine.
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this one speaks for all."""
        return self.rank == 0


def place_in(environment: Mapping[str, str]) -> Place | None:
    """Return the place that torchrun, or who does like it, wrote there; None: nobody did.

    Raises:
        ConfigError: it is incomplete.
    """
    if 'RANK' not in environment or 'WORLD_SIZE' not in environment:
        return None
    missing = [name for name in ('MASTER_ADDR', 'MASTER_PORT') if name not in environment]
    if missing:
        raise ConfigError(
            f'environment: RANK and WORLD_SIZE are set, {" and ".join(missing)} not. Start with '
            f'torchrun or --processes, or unset them.'
        )
    rank, size = int(environment['RANK']), int(environment['WORLD_SIZE'])
    local_rank = int(environment.get('LOCAL_RANK', rank))
    return Place(rank, size, local_rank, int(environment.get('LOCAL_WORLD_SIZE', size)))


def meeting_point(environment: Mapping[str, str]) -> Store:
    """Return where the processes of `place_in` find each other."""
    place = place_in(environment)
    assert place is not None, 'asked only where there is one'
    # torchrun keeps a store of its own, and starts all anew when one fails.
    is_kept = environment.get('TORCHELASTIC_USE_AGENT_STORE') == 'True'
    store = dist.TCPStore(  # type: ignore[attr-defined]
        environment['MASTER_ADDR'],
        int(environment['MASTER_PORT']),
        place.size,
        place.is_first and not is_kept,
        timedelta(seconds=_ARRIVAL_S),
        wait_for_workers=False,
    )
    attempt = environment.get('TORCHELASTIC_RESTART_COUNT', '0')
    return dist.PrefixStore(f'robot_learning/{attempt}', store)  # type: ignore[attr-defined]


def new_meeting_point(size: int) -> tuple[Store, dict[str, str]]:
    """Make one that only this machine reaches; return it and the environment for others."""
    listener = socket.create_server(('127.0.0.1', 0))
    port = listener.getsockname()[1]
    store = dist.TCPStore(  # type: ignore[attr-defined]
        '127.0.0.1',
        port,
        size,
        True,
        timedelta(seconds=_ARRIVAL_S),
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )
    environment = {
        'MASTER_ADDR': '127.0.0.1',
        'MASTER_PORT': str(port),
        'WORLD_SIZE': str(size),
        'LOCAL_WORLD_SIZE': str(size),
    }
    return dist.PrefixStore('robot_learning/0', store), environment  # type: ignore[attr-defined]


@contextlib.contextmanager
def joined(
    store: Store,
    place: Place,
    device: torch.device,
    check: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Be one of the processes within the block.

    Args:
        store: where they meet.
        place: of this one.
        device: of this one.
        check: called while others are awaited; raises to give up.

    Raises:
        TrainingError: others did not come.
    """
    backend = 'gloo'
    if device != CPU:
        torch.cuda.set_device(device)
        backend = 'cpu:gloo,cuda:nccl'
    try:
        store.set(f'here/{place.rank}', '')
        _await_all(store, place.size, check)
        dist.init_process_group(
            backend, store=store, rank=place.rank, world_size=place.size, timeout=_PATIENCE
        )
    except RuntimeError as error:
        raise _lost(error) from error
    try:
        yield
    finally:
        dist.destroy_process_group()


def is_shared() -> bool:
    """Whether this process learns together with others."""
    return dist.is_available() and dist.is_initialized()


def averaged(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return each tensor's mean over all processes, of which every one must ask for the same."""
    if not is_shared():
        return tensors
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])  # One message for all.
    with _others_needed():
        dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = torch.split_with_sizes(flat, [tensor.numel() for tensor in tensors])
    return [
        part.view(tensor.shape).to(tensor.dtype)
        for part, tensor in zip(parts, tensors, strict=True)
    ]


def summed(numbers: Sequence[int]) -> list[int]:
    """Return each number's sum over all processes."""
    total = torch.tensor(numbers)
    with _others_needed():
        dist.all_reduce(total)
    found: list[int] = total.tolist()
    return found


def told(data: bytes, rank: int) -> bytes:
    """Return the `data` of one process to all; that of others is not read."""
    is_mine = dist.get_rank() == rank
    size = torch.tensor([len(data)])
    with _others_needed():
        dist.broadcast(size, rank)
        content = torch.empty(int(size), dtype=torch.uint8)
        if is_mine:
            content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        dist.broadcast(content, rank)
    return data if is_mine else content.numpy().tobytes()


def _await_all(store: Store, size: int, check: Callable[[], None]) -> None:
    deadline = time.monotonic() + _ARRIVAL_S
    while not store.check([f'here/{rank}' for rank in range(size)]):
        check()
        if time.monotonic() > deadline:
            absent = [rank for rank in range(size) if not store.check([f'here/{rank}'])]
            raise TrainingError(
                f'processes: {absent} of 0 to {size - 1} did not come within {_ARRIVAL_S:.0f} s. '
                f'See what they say, and start all again.'
            )
        time.sleep(_POLL_S)


@contextlib.contextmanager
def _others_needed() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise _lost(error) from error


def _lost(error: RuntimeError) -> TrainingError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return TrainingError(
        f'processes: {LOST} ({reason}). The last version and checkpoint stay. See what it said, '
        f'and start all again.'
    )
