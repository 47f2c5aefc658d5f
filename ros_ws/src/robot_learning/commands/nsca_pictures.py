"""Pictures for the report of an NSCA training, of its newest version on held-out data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robot_learning.commands.train_imagination import Imagination
from robot_learning.errors import RobotLearningError
from robot_learning.evaluation.nsca_drawings import drawn
from robot_learning.evaluation.training_report import Picture
from robot_learning.model_store import ModelStore
from robot_learning.models.nsca.published import load_published

if TYPE_CHECKING:
    from robot_learning.phases.nsca_preparation import Data
    from robot_learning.phases.training_session import Destination

_CAPTIONS = {
    'map_vision.png': 'Held-out pictures on the two main axes of their latents, by class.',
    'map_audio.png': 'Held-out sounds on the two main axes of their latents, by class.',
    'map_proprioception.png': 'What the body felt, on the two main axes of its latents.',
    'retrieval.png': 'Pictures found by sounds: first the true one; green: of the right class.',
    'reliability.png': 'How many truths lie inside intervals that should hold a given share.',
    'errors.png': 'Error of imagined states by horizon.',
    'imagined.png': 'Numbers of a held-out state as they went, and as they were imagined.',
}


def pictures_of(phase: str, data: Data, destination: Destination) -> Imagination:
    """Draw a version; what cannot be drawn is said instead.

    Args:
        phase: 'vision' and the like.
        data: whose held-out part is shown.
        destination: where the version is.
    """
    if phase == 'dynamics':
        return Imagination(
            missing='The dynamics alone draws nothing; the report of phase full shows futures.'
        )
    store = ModelStore(destination.models)
    number = store.newest_good(destination.model_name)
    if number is None:
        return Imagination(missing='No version was published, so there is nothing to show.')
    where = f'{destination.model_name}@{number}'
    try:
        tensors, manifest = store.load(destination.model_name, number)
        files = drawn(load_published(tensors, manifest, where), data.held_out)
    except RobotLearningError as error:
        return Imagination(missing=f'Pictures are missing: {error}')
    pictures = [Picture(_CAPTIONS[name], content) for name, content in files.items()]
    return Imagination(note=f'{where} on held-out samples.', pictures=pictures)
