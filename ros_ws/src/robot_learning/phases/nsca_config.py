"""Settings of all NSCA phases, in one file."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.phases.nsca_audio import AudioPhaseConfig
from robot_learning.phases.nsca_dynamics import DynamicsPhaseConfig
from robot_learning.phases.nsca_full import FullPhaseConfig
from robot_learning.phases.nsca_fusion import FusionPhaseConfig
from robot_learning.phases.nsca_vision import VisionPhaseConfig

PHASES = ('vision', 'audio', 'fusion', 'dynamics', 'full')  # In the order of `--phase all`.


@dataclass(frozen=True, config=STRICT)
class NscaConfig:
    """Below `config:` of the file; every key has the guide's value unless given."""

    model: NscaModelConfig = NscaModelConfig()
    vision: VisionPhaseConfig = VisionPhaseConfig()
    audio: AudioPhaseConfig = AudioPhaseConfig()
    fusion: FusionPhaseConfig = FusionPhaseConfig()
    dynamics: DynamicsPhaseConfig = DynamicsPhaseConfig()
    full: FullPhaseConfig = FullPhaseConfig()
