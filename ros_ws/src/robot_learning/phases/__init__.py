"""One learning update each, and the loop that runs them.

Importing this package registers every phase; a new one adds its line here.
"""

from robot_learning.phases import (
    behavior_cloning,
    dreamer,
    ppo,
    sac,
    sequence_cloning,
    world_model,
)

__all__ = ['behavior_cloning', 'dreamer', 'ppo', 'sac', 'sequence_cloning', 'world_model']
