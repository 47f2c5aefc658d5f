"""How far the nodes of a system are seen: this machine unless somebody says otherwise.

ROS takes it from the environment. Whoever reaches the topics of a robot can command it, so
nothing here opens them without being told to, and what is open is said.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from robot_learning.errors import ConfigError

RANGE, PEERS = 'ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_STATIC_PEERS'
_PROFILE = 'FASTRTPS_DEFAULT_PROFILES_FILE'
_LOCAL = ('LOCALHOST', 'OFF')
_OLD = 'ROS_LOCALHOST_ONLY'  # Where it is 1, ROS ignores the other two.
_ADDRESS = re.compile(r'[A-Za-z0-9](?:[A-Za-z0-9_.:-]{0,253}[A-Za-z0-9])?')


def environment(
    network: str, peers: str, inherited: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the variables that a process gets.

    Args:
        network: 'localhost', 'subnet', or 'environment' for what is inherited, which is
            'localhost' where nothing is.
        peers: addresses of hosts to look for besides, separated by ';' or ','.
        inherited: variables of this process; None takes them.

    Raises:
        ConfigError: an address is none, or an older variable contradicts.
    """
    inherited = os.environ if inherited is None else inherited
    chosen = {'localhost': 'LOCALHOST', 'subnet': 'SUBNET'}
    variables = {RANGE: chosen.get(network) or inherited.get(RANGE) or 'LOCALHOST'}
    addresses = [address.strip() for address in re.split('[;,]', peers) if address.strip()]
    for address in addresses:
        if not _ADDRESS.fullmatch(address):
            raise ConfigError(
                f'argument peers: found {address!r}, expected the address or name of a host. '
                f'Write for example 192.168.1.20;learner.local.'
            )
    if addresses:
        variables[PEERS] = ';'.join(addresses)
        variables.update(_profile(variables[RANGE], inherited))
    if (network == 'subnet' or addresses) and inherited.get(_OLD) == '1':
        raise ConfigError(
            f'environment: {_OLD} is 1, which keeps ROS on this machine whatever else is asked '
            f'for. Unset it.'
        )
    return variables


def _profile(reach: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return our Fast DDS profile for peers, unless the user has another one."""
    profile = Path(inherited.get(_PROFILE) or 'none')
    other = profile.with_name('fastdds_peers.xml')
    if reach in _LOCAL and profile.name == 'fastdds.xml' and other.is_file():
        return {_PROFILE: str(other)}
    return {}


def described(variables: Mapping[str, str], inherited: Mapping[str, str] | None = None) -> str:
    """Say whom the nodes are open to; '' when it is this machine only."""
    inherited = os.environ if inherited is None else inherited
    places = []
    if variables.get(RANGE, '') not in _LOCAL:
        places.append(f'the network ({RANGE}={variables.get(RANGE, "")})')
    peers = variables.get(PEERS) or inherited.get(PEERS, '')
    if peers:
        places.append(f'the hosts {peers.replace(";", ", ")}')
    if not places:
        return ''
    return (
        f'nodes are open to {" and ".join(places)}: whoever reaches their topics can command the '
        f'robot'
    )
