"""What the releases of Gazebo call things: plugins, messages, tags and commands."""

from __future__ import annotations

from typing import NamedTuple

from robot_learning.errors import ConfigError

WORLD_NAME = 'learning_arena'
ROBOT_NAME = 'robot'  # Of the robot's model in the world, whatever robot it is.


class GazeboRelease(NamedTuple):
    """One naming scheme; Ignition became Gazebo with the release Garden."""

    name: str
    command: str  # Of the command-line tool.
    library: str  # Prefix of plugin file names.
    namespace: str  # Of plugin classes.
    messages: str  # Package of message types.
    prefix: str  # Of tags that SDFormat does not define.

    def plugin(self, file: str, class_name: str, content: str = '') -> str:
        """Write the element of a system, for example `plugin('diff-drive', 'DiffDrive')`."""
        head = (
            f'<plugin filename="{self.library}-{file}-system" '
            f'name="{self.namespace}::systems::{class_name}"'
        )
        return f'{head}>{content}</plugin>' if content else f'{head}/>'

    def frame(self, name: str) -> str:
        """Write the element that names the frame of a sensor's messages."""
        return f'<{self.prefix}_frame_id>{name}</{self.prefix}_frame_id>'

    def message(self, name: str) -> str:
        """Return the full name of a message type."""
        return f'{self.messages}.{name}'


HARMONIC = GazeboRelease('harmonic', 'gz', 'gz-sim', 'gz::sim', 'gz.msgs', 'gz')
FORTRESS = GazeboRelease(
    'fortress', 'ign', 'ignition-gazebo', 'ignition::gazebo', 'ignition.msgs', 'ignition'
)
RELEASES = {release.name: release for release in (HARMONIC, FORTRESS)}


def release_of(name: str) -> GazeboRelease:
    """Return the naming scheme of a release.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in RELEASES:
        raise ConfigError(
            f'Gazebo release: found {name!r}, expected one of {", ".join(RELEASES)}. Garden and '
            f'all later ones have the names of harmonic.'
        )
    return RELEASES[name]
