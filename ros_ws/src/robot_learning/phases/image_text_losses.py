"""Losses of pictures beside words: which belong together, and where a phrase's thing is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(image: Tensor, text: Tensor, scale: Tensor, is_same: Tensor) -> Tensor:
    """Return the symmetric contrastive loss (CLIP, arXiv 2103.00020, figure 3).

    Pairs that say the same as another pair are not its negatives: they are left out of its sum.

    Args:
        image: [B, E], unit vectors; row i belongs to row i of `text`.
        text: [B, E], likewise.
        scale: one over the temperature.
        is_same: [B, B] bool, symmetric, True where row j's text is right for row i's picture;
            the diagonal does not matter.
    """
    logits = scale * image @ text.T
    others = is_same & ~torch.eye(len(image), dtype=torch.bool, device=image.device)
    logits = logits.masked_fill(others, -torch.inf)
    target = torch.arange(len(image), device=image.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def region_loss(log_share: Tensor, is_target: Tensor) -> Tensor:
    """Return -log of the probability that lies on what is meant, mean over phrases.

    Args:
        log_share: [..., N + 1], log probabilities of the cells and of nowhere.
        is_target: [..., N + 1] bool, at least one True each; the last where nothing is meant.
    """
    return -log_share.masked_fill(~is_target, -torch.inf).logsumexp(-1).mean()


def box_loss(box: Tensor, target: Tensor, is_object: Tensor) -> Tensor:
    """Return 1 - IoU plus the edges' mean absolute error, mean over cells on objects.

    Args:
        box: [B, 4, N], left, upper, right, lower edge.
        target: [B, 4, N], likewise.
        is_object: [B, N] bool; other cells do not count, and where there is none, the loss is 0.
    """
    error = 1 - overlap(box, target) + (box - target).abs().mean(1)  # [B, N]
    return (error * is_object).sum() / is_object.sum().clamp(min=1)


def overlap(box: Tensor, target: Tensor) -> Tensor:
    """Return intersection over union of boxes [B, 4, N], [B, N]."""
    upper_left = torch.maximum(box[:, :2], target[:, :2])
    lower_right = torch.minimum(box[:, 2:], target[:, 2:])
    both = (lower_right - upper_left).clamp(min=0).prod(1)
    areas = [(each[:, 2:] - each[:, :2]).clamp(min=0).prod(1) for each in (box, target)]
    return both / (areas[0] + areas[1] - both).clamp(min=1e-9)
