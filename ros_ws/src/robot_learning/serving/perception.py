"""A published NSCA model at work: what the senses say together, and how far to trust each."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from robot_learning.errors import MessageError, ModelRefusedError
from robot_learning.models.nsca.config import MODALITIES, PROPERTIES
from robot_learning.models.nsca.perception import Moment
from robot_learning.models.nsca.published import Published

Array = np.ndarray[Any, Any]


class Senses(NamedTuple):
    """What is fresh; None: absent or stale."""

    image: Array | None  # [H, W, 3] uint8.
    sound: Array | None  # [N] float32, the newest sample last.
    reading: Array | None  # [P] float32, of the body.


class WorldEstimate(NamedTuple):
    """What the senses say together."""

    state: Array  # [S]
    confidences: dict[str, float]  # By sense, 0 to 1; 0: absent.
    novelty: float  # 0 to 1.
    properties: dict[str, float]  # 0 to 1; NaN: the model does not know.


class WorldPerception:
    """Fuses what comes in, and remembers the last states for the temporal model."""

    def __init__(self, published: Published):
        """Begin without a past.

        Raises:
            ModelRefusedError: the version does not fuse senses to states.
        """
        if published.kind != 'nsca_full':
            raise ModelRefusedError(
                f'{published.where}: is of {published.kind}, expected nsca_full. Train phase '
                f'full, or name another version.'
            )
        self.published = published
        config = published.config
        self.num_sound_samples = round(published.window.heard_s * config.sample_rate)
        self._readings: deque[Array] = deque(maxlen=published.window.felt_steps)
        self._states: deque[Tensor] = deque(maxlen=config.temporal_length)
        self._actions: deque[Tensor] = deque(maxlen=config.temporal_length)

    @torch.no_grad()
    def observe(self, senses: Senses, last_action: Array | None = None) -> WorldEstimate:
        """Return the world state of now.

        Args:
            senses: of which at least one is there.
            last_action: [A], taken since the state before; None: nothing was done.

        Raises:
            MessageError: no sense is there, or one has another size than the model's.
        """
        moment = self._moment(senses)
        model = self.published.model
        sensed = model.perception.sense(moment)
        state = model.perception.fusion(*sensed)
        if self._actions:
            self._actions[-1] = self._action(last_action)
        self._states.append(state[0])
        self._actions.append(self._action(None))
        confidences = self._confidences(sensed.latents, sensed.is_there)
        return WorldEstimate(
            state[0].numpy(),
            confidences,
            float(model.novelty(state)[0]),
            self._properties(),
        )

    @property
    def past(self) -> tuple[Tensor, Tensor] | None:
        """States [1, T, S] and actions [1, T, A] up to now; None: nothing was observed yet."""
        if not self._states:
            return None
        return torch.stack(list(self._states))[None], torch.stack(list(self._actions))[None]

    def _moment(self, senses: Senses) -> Moment:
        used, config = self.published.senses, self.published.config
        images, sounds, readings = None, None, None
        if senses.image is not None and 'vision' in used:
            images = torch.from_numpy(np.moveaxis(senses.image, 2, 0).copy()).float()[None] / 255
        if senses.sound is not None and 'audio' in used:
            sound = senses.sound[-self.num_sound_samples :]
            sounds = torch.from_numpy(np.asarray(sound, np.float32).copy())[None]
        if senses.reading is not None and 'proprioception' in used:
            reading = np.asarray(senses.reading, np.float32)
            if reading.shape != (config.proprioception_size,) or not np.isfinite(reading).all():
                raise MessageError(
                    f'proprioception: {reading.shape[0]} numbers, '
                    f'{int((~np.isfinite(reading)).sum())} of them not finite; expected '
                    f'{config.proprioception_size} finite ones. Choose the fields it learned from.'
                )
            self._readings.append(reading)
            missing = self._readings.maxlen or 1
            rows = [self._readings[0]] * (missing - len(self._readings)) + list(self._readings)
            readings = torch.from_numpy(np.stack(rows))[None]
        if images is None and sounds is None and readings is None:
            raise MessageError(
                f'senses: none is fresh, expected one of {", ".join(used)}. Start a camera, a '
                f'microphone or the body.'
            )
        return Moment(images, sounds, readings)

    def _action(self, action: Array | None) -> Tensor:
        size = self.published.config.action_size
        padded = torch.zeros(size)
        if action is not None:
            given = torch.from_numpy(np.asarray(action, np.float32)[:size].copy())
            padded[: len(given)] = given
        return padded

    def _confidences(self, latents: Tensor, is_there: Tensor) -> dict[str, float]:
        """Return how well the other senses foretell each; one that is alone gets 0.5."""
        model = self.published.model
        there = [index for index in range(len(MODALITIES)) if bool(is_there[0, index])]
        found = dict.fromkeys(MODALITIES, 0.0)
        scaled = model.perception.scale(latents)
        for index in there:
            others = is_there.clone()
            others[:, index] = False
            if not others.any():
                found[MODALITIES[index]] = 0.5
                continue
            predicted = model.predictor(model.perception.fusion(latents, others))[0, index]
            agreement = F.cosine_similarity(predicted, scaled[0, index], dim=0)
            found[MODALITIES[index]] = 0.5 * (1 + float(agreement))
        return found

    def _properties(self) -> dict[str, float]:
        past = self.past
        assert past is not None, 'called after a state was added'
        world = self.published.model.world
        context = world.temporal(world.scaled(past[0]), past[1])[:, -1]
        values = self.published.model.properties(context)[0]
        return dict(zip(PROPERTIES, values.tolist(), strict=True))
