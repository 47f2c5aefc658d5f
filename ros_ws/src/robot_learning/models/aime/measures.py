"""How good pictures are, and how well a model foresees them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robot_learning.models.aime.model import AimeModel

_LEAST_ERROR = 1e-10  # 100 dB.


class Foresight(NamedTuple):
    """Squared errors of windows by steps ahead, means over pixels: [B, H] each."""

    model: Tensor  # Imagined from the actions.
    persistence: Tensor  # The last frame seen, for ever.


def mean_squared_error(prediction: Tensor, frames: Tensor) -> Tensor:
    """Error of each frame, [..., 3, S, S] twice to [...]; predictions are cut to [0, 1]."""
    return (prediction.float().clamp(0, 1) - frames).square().mean((-3, -2, -1))


def psnr(error: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of mean squared errors, where white is 1."""
    return -10 * error.clamp_min(_LEAST_ERROR).log10()


@torch.no_grad()
def foresight(
    model: AimeModel, frames: Tensor, actions: Tensor, num_context: int, num_draws: int = 16
) -> Foresight:
    """Compare the mean of imagined futures after `num_context` frames with what was, [B, T, ...].

    A single future, drawn or of the heaviest component, is another sharp picture than the one
    that comes, and so further from it than a still picture is.
    """
    imagined = model.open_loop(frames, actions, num_context, num_draws)
    future = frames[:, num_context:]
    last = frames[:, num_context - 1 : num_context].expand_as(future)
    return Foresight(mean_squared_error(imagined, future), mean_squared_error(last, future))
