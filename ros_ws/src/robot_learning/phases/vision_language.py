"""Learns what words say about pictures, and where in them the things are that phrases name.

Three losses: pictures and captions find each other (symmetric InfoNCE); on pictures whose objects
are known, a phrase's probability lies on the cells of what it means, or on nowhere; and cells of
objects know the box. Where no objects are known, the last two are silent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from robot_learning.config import STRICT
from robot_learning.language.tokens import Vocabulary
from robot_learning.models.dual_encoder import DualEncoder, DualEncoderConfig
from robot_learning.models.image_encoder import ConvEncoder, ImageFeatures
from robot_learning.phases.grounding_scores import GroundedBatch, Scores, best_boxes, scores_of
from robot_learning.phases.image_text_data import Texts
from robot_learning.phases.image_text_losses import box_loss, info_nce, region_loss
from robot_learning.phases.passes import Losses, summed_gradients
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.phases.phase import Batch
from robot_learning.phases.state import Part

CHOICES = 50  # Pictures, or captions, that retrieval chooses from.
_TEMPERATURES = np.geomspace(0.3, 5.0, 41)


@dataclass(frozen=True, config=STRICT)
class VisionLanguageConfig:
    """The network, its losses, and how passes are made."""

    model: DualEncoderConfig = field(default_factory=DualEncoderConfig)
    passes: PassesConfig = field(default_factory=PassesConfig)
    contrast_weight: NonNegativeFloat = 1.0
    region_weight: NonNegativeFloat = 1.0
    box_weight: NonNegativeFloat = 0.5
    phrases: PositiveInt = 4  # Of a picture, drawn anew each time it comes.
    min_count: PositiveInt = 2  # Rarer words are known by their pieces only.
    num_buckets: PositiveInt = 1024  # Of pieces of words.
    max_tokens: PositiveInt = 64  # Longer texts are cut.
    # Changes of a picture while learning; in units of 1, and of its side.
    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.15
    shift: Annotated[float, Field(ge=0, lt=0.5)] = (
        0.0  # And zoom; objects would move: captions only.
    )


class VisionLanguage:
    """What `Passes` needs to train a dual encoder.

    Args:
        config: of the phase.
        vocabulary: words known.
        texts: every caption and phrase of the data.
        seed: of the weights.
        image: another image encoder; None: the project's own.
        image_description: what the manifest says about that one.
    """

    def __init__(
        self,
        config: VisionLanguageConfig,
        vocabulary: Vocabulary,
        texts: Texts,
        seed: int,
        image: nn.Module | None = None,
        image_description: Mapping[str, Any] | None = None,
    ):
        self.config, self.vocabulary = config, vocabulary
        self._texts = texts
        self._image_description = image_description
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = DualEncoder(
                config.model, len(vocabulary), vocabulary.num_buckets, vocabulary.max_tokens, image
            )
        self.temperature = 1.0  # Of the cells' scores, see `measure`.

    @property
    def parts(self) -> Mapping[str, Part]:
        """Nothing beside the module."""
        return {}

    def losses(self, batch: Batch, done: float) -> Losses:
        """Return contrast, region and box loss of a batch; see `ImageTextData.read`."""
        config, model = self.config, self.module
        features = model.see(self._changed(batch['image']))
        caption = _chosen(batch['captions'], 1)[0].squeeze(1)  # [B]
        text = model.text(*self._texts.read(caption))
        is_same = batch['group'][:, None] == batch['group']
        is_same |= caption[:, None] == caption
        contrast = info_nce(
            model.image_embedding(features), model.text_embedding(text), model.scale, is_same
        )
        total = config.contrast_weight * contrast
        metrics = {'vision_language/contrast': contrast, 'vision_language/scale': model.scale}
        is_known = (batch['phrases'] >= 0).any(1) if batch['phrases'].shape[1] else None
        if is_known is not None and bool(is_known.any()):
            region, box = self._grounded(batch, features, is_known)
            total = total + config.region_weight * region + config.box_weight * box
            metrics |= {'vision_language/region': region, 'vision_language/box': box}
        return Losses(
            {'vision_language': total}, {name: each.detach() for name, each in metrics.items()}
        )

    def combined(self, gradients: Mapping[str, Sequence[Tensor]]) -> Sequence[Tensor]:
        """Sum; there is one task."""
        return summed_gradients(gradients)

    @torch.no_grad()
    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Score held-out pictures, and find the temperature that makes confidence true.

        Half of the phrases choose the temperature (Guo et al. 2017); the calibration is measured
        on the others.
        """
        embedded: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        grounded: list[GroundedBatch] = []
        for batch in batches:
            features = self.module.see(batch['image'].permute(0, 3, 1, 2).float() / 255)
            caption = batch['captions'][:, 0]
            embedded.append(
                (
                    self.module.image_embedding(features),
                    self.module.text_embedding(self.module.text(*self._texts.read(caption))),
                    batch['group'],
                    caption,
                )
            )
            if batch['phrases'].shape[1] and bool((batch['phrases'] >= 0).any()):
                grounded.append(self._ground(batch, features))
        columns = [torch.cat(column) for column in zip(*embedded, strict=True)]
        metrics = _retrieval(columns[0], columns[1], columns[2], columns[3])
        if grounded:
            whole = GroundedBatch(*(torch.cat(c).cpu() for c in zip(*grounded, strict=True)))
            self.temperature = _best_temperature(whole.every_other(0))
            metrics |= _named(scores_of(whole.every_other(1), self.temperature))
            metrics['held_out/temperature'] = self.temperature
        return metrics

    def score(self, metrics: Mapping[str, float]) -> float:
        """Return the mean of retrieval and, where objects are known, grounding accuracy."""
        names = ('held_out/recall_at_1', 'held_out/grounding_accuracy')
        return float(np.mean([metrics[name] for name in names if name in metrics]))

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors to serve, batch normalisation folded in, and their description."""
        model = self.config.model
        state = {name: tensor.detach() for name, tensor in self.module.state_dict().items()}
        description: dict[str, Any] = {
            'kind': 'dual_encoder',
            'height': model.height,
            'width': model.width,
            'embedding': model.embedding,
            'text': {
                'layers': model.text.layers,
                'heads': model.text.heads,
                'width': model.text.width,
                'feedforward': model.text.feedforward,
            },
            'words': list(self.vocabulary.words),
            'num_buckets': self.vocabulary.num_buckets,
            'max_tokens': self.vocabulary.max_tokens,
            'temperature': self.temperature,
        }
        if self._image_description is not None:
            description |= {'kind': 'dual_encoder_clip', 'clip': dict(self._image_description)}
        else:
            assert isinstance(self.module.image, ConvEncoder)
            state = {n: t for n, t in state.items() if not n.startswith('image.')}
            state |= {f'image.{n}': t.detach() for n, t in self.module.image.folded().items()}
            image = model.image
            description['image'] = {
                'channels': list(image.channels),
                'blocks': image.blocks,
                'features': image.features,
                'pool': list(image.pool),
            }
        return {name: tensor.clone().contiguous() for name, tensor in state.items()}, description

    def _grounded(
        self, batch: Batch, features: ImageFeatures, is_known: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return region and box loss of the pictures whose objects are known."""
        cells = features.cells[is_known]
        phrases, chosen = _chosen(batch['phrases'][is_known], self.config.phrases)
        rows, count = phrases.shape
        text = self.module.text(*self._texts.read(phrases.flatten())).view(rows, count, -1)
        found = self.module.head(cells, text)
        target = batch['cells'][is_known]
        target = target.gather(1, chosen[..., None].expand(-1, -1, target.shape[2]))
        boxes = self.module.head.boxes(cells)
        box = box_loss(boxes, batch['box'][is_known], batch['object'][is_known])
        return region_loss(found.log_share, target), box

    def _ground(self, batch: Batch, features: ImageFeatures) -> GroundedBatch:
        """Return what is found for every phrase of a batch, one row each."""
        picture, place = (batch['phrases'] >= 0).nonzero().T
        numbers = batch['phrases'][picture, place]
        text = self.module.text(*self._texts.read(numbers)).unsqueeze(1)  # [R, 1, W]
        cells = features.cells[picture]
        log_share = self.module.head(cells, text).log_share.squeeze(1)
        boxes = self.module.head.boxes(cells)
        box, is_inside = best_boxes(log_share, boxes, *cells.shape[2:])
        return GroundedBatch(
            log_share,
            batch['cells'][picture, place],
            batch['meant'][picture, place],
            box,
            is_inside,
        )

    def _changed(self, image: Tensor) -> Tensor:
        """Return pictures [B, 3, H, W] in 0 to 1, changed as the settings say."""
        x = image.permute(0, 3, 1, 2).float() / 255
        batch, device = len(x), x.device
        config = self.config
        if config.shift:
            zoom = 1 - config.shift * torch.rand(batch, device=device)
            offset = (2 * torch.rand(batch, 2, device=device) - 1) * (1 - zoom)[:, None]
            theta = torch.zeros(batch, 2, 3, device=device)
            theta[:, 0, 0] = theta[:, 1, 1] = zoom
            theta[:, :, 2] = offset
            grid = nn.functional.affine_grid(theta, list(x.shape), align_corners=False)
            x = nn.functional.grid_sample(x, grid, align_corners=False, padding_mode='border')
        if config.brightness:
            spread = 2 * torch.rand(2, batch, 1, 1, 1, device=device) - 1
            x = x * (1 + config.brightness * spread[0]) + config.brightness * spread[1] / 2
        return x.clamp(0, 1)


def _chosen(numbers: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw `count` of each row's numbers that are not -1; also where they stand. Both [B, count].

    Rows that hold fewer repeat theirs.
    """
    weight = (numbers >= 0).float()
    is_few = bool((weight.sum(1) < count).any())
    chosen = torch.multinomial(weight, count, replacement=is_few)
    return numbers.gather(1, chosen), chosen


def _retrieval(image: Tensor, text: Tensor, group: Tensor, caption: Tensor) -> dict[str, float]:
    """Return how often the right caption is among the best, of CHOICES each; both ways, mean."""
    hits = [0, 0]
    total = 0
    for start in range(0, len(image), CHOICES):
        rows = slice(start, start + CHOICES)
        similarity = image[rows] @ text[rows].T
        is_same = group[rows, None] == group[rows]
        is_same |= caption[rows, None] == caption[rows]
        for matrix in (similarity, similarity.T):
            right = matrix.masked_fill(~is_same, -torch.inf).amax(1, keepdim=True)
            rank = ((matrix > right) & ~is_same).sum(1)
            hits = [hits[0] + int((rank < 1).sum()), hits[1] + int((rank < 5).sum())]
            total += len(matrix)
    return {
        'held_out/recall_at_1': hits[0] / max(total, 1),
        'held_out/recall_at_5': hits[1] / max(total, 1),
    }


def _best_temperature(grounded: GroundedBatch) -> float:
    """Return the temperature at which what is meant is most likely."""
    losses = [
        float(region_loss((grounded.log_share / t).log_softmax(-1), grounded.is_target))
        for t in _TEMPERATURES
    ]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def _named(scores: Scores) -> dict[str, float]:
    return {
        f'held_out/{name}': value
        for name, value in scores._asdict().items()
        if math.isfinite(value)
    }
