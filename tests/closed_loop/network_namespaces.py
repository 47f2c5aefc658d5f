"""Two hosts on one machine: network namespaces joined by a cable, each with its own /dev/shm.

Processes of different namespaces share neither network nor shared memory, so that what passes
between them has gone through the cable.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import pytest

_OWN_MEMORY = 'mount -t tmpfs tmpfs /dev/shm && exec "$@"'


class Cable:
    """Joins the namespaces of two hosts; can be cut.

    Attributes:
        hosts: names of the two network namespaces.
        addresses: IPv4 address of each.
    """

    def __init__(self) -> None:
        mark = uuid.uuid4().hex[:6]
        self.hosts = (f'rl{mark}a', f'rl{mark}b')
        self.addresses = ('10.231.7.1', '10.231.7.2')

    def lay(self) -> None:
        """Make both namespaces and join them."""
        first, second = self.hosts
        for host in self.hosts:
            _ip('netns', 'add', host)
            _ip('-n', host, 'link', 'set', 'lo', 'up')
        _ip('link', 'add', first, 'netns', first, 'type', 'veth', 'peer', second, 'netns', second)
        for host, address in zip(self.hosts, self.addresses, strict=True):
            _ip('-n', host, 'address', 'add', f'{address}/24', 'dev', host)
            _ip('-n', host, 'link', 'set', host, 'up', 'multicast', 'on')
            _ip('-n', host, 'route', 'add', '224.0.0.0/4', 'dev', host)
        subprocess.run([*self._inside(0), 'true'], check=True, capture_output=True)

    def cut(self) -> None:
        """Let nothing pass any more, until `mend`."""
        _ip('-n', self.hosts[0], 'link', 'set', self.hosts[0], 'down')

    def mend(self) -> None:
        """Join both again."""
        _ip('-n', self.hosts[0], 'link', 'set', self.hosts[0], 'up')
        _ip('-n', self.hosts[0], 'route', 'replace', '224.0.0.0/4', 'dev', self.hosts[0])

    def sent_bytes(self, index: int) -> int:
        """Return how many bytes the host with this index has put on the cable."""
        host = self.hosts[index]
        path = f'/sys/class/net/{host}/statistics/tx_bytes'
        command = ['ip', 'netns', 'exec', host, 'cat', path]
        return int(subprocess.run(command, check=True, capture_output=True).stdout)

    def start(
        self,
        index: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        output: IO[Any],
    ) -> subprocess.Popen[bytes]:
        """Start a process on the host with this index; its id is that of the process itself."""
        return subprocess.Popen(
            [*self._inside(index), *command],
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def _inside(self, index: int) -> list[str]:
        unshare = ['ip', 'netns', 'exec', self.hosts[index], 'unshare', '--mount']
        return [*unshare, 'sh', '-c', _OWN_MEMORY, 'sh']

    def remove(self) -> None:
        """Take everything away, also what is only half there."""
        for host in self.hosts:
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip('netns', 'delete', host)


@contextlib.contextmanager
def cable() -> Iterator[Cable]:
    """Lay a cable between two new hosts; skip the test where that is not allowed."""
    if os.geteuid() != 0 or not shutil.which('ip') or not shutil.which('unshare'):
        pytest.skip('network namespaces: needs root, ip and unshare')
    laid = Cable()
    try:
        try:
            laid.lay()
        except subprocess.CalledProcessError as error:
            pytest.skip(f'network namespaces: {error.stderr.decode().strip()}')
        yield laid
    finally:
        laid.remove()


def _ip(*arguments: str) -> None:
    subprocess.run(['ip', *arguments], check=True, capture_output=True)
