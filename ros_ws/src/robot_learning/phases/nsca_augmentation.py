"""Two looks at one picture, two hearings of one sound: whole batches at once, on tensors.

Chen et al. 2020, "A Simple Framework for Contrastive Learning" (pictures), and after Fonseca et
al. 2021, "Unsupervised Contrastive Learning of Sound Event Representations" (sounds).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from robot_learning.config import STRICT

Share = Annotated[float, Field(ge=0, le=1)]
_HOP = 512  # Samples between two grains of a stretched sound.
_NUM_NOISES = 8  # Different noises in a batch.
_NUM_PLACES = 2  # Pieces of which the loudest is heard.
_NUM_VOICES = 8  # Changes of pitch and pace in a batch.
_NUM_TONES = 8  # Points of an equaliser, evenly over the logarithm of frequency.
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, config=STRICT)
class ImageAugmentationConfig:
    """How different two looks at one picture are."""

    smallest_crop: Annotated[float, Field(gt=0, le=1)] = 0.2  # Share of the area that is kept.
    most_stretch: Annotated[float, Field(ge=1)] = 4 / 3  # Of a crop's sides.
    flip: Share = 0.5  # Probabilities.
    jitter: Share = 0.8
    brightness: NonNegativeFloat = 0.4  # Factors lie within 1 plus or minus this.
    contrast: NonNegativeFloat = 0.4
    saturation: NonNegativeFloat = 0.4
    balance: NonNegativeFloat = 0.1  # Of red, green and blue for themselves: other lamps.
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1  # Turns of the colour circle.
    grayscale: Share = 0.2


@dataclass(frozen=True, config=STRICT)
class SoundAugmentationConfig:
    """How different two hearings of one sound are."""

    window_s: Annotated[float, Field(gt=0)] = 2.0  # What one hearing is long.
    pitch_semitones: NonNegativeFloat = 2.0  # Up or down, at most.
    most_stretch: Annotated[float, Field(ge=1)] = 1.25  # Faster or slower, at most.
    noise: Share = 0.5  # Probability of something in the background.
    quietest_noise_db: float = 30.0  # How far it lies below the sound.
    loudest_noise_db: float = 5.0
    most_gain_db: NonNegativeFloat = 6.0
    most_tone_db: NonNegativeFloat = 0.0  # Of a random equaliser: other microphones and rooms.
    mask: Annotated[float, Field(ge=0, lt=1)] = 0.0  # Longest part of a hearing that is silenced.


def augment_images(
    images: Tensor,
    size: int,
    config: ImageAugmentationConfig,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return another look at each picture.

    Args:
        images: [B, 3, H, W], 0 to 1.
        size: side of what is returned.
        config: how different.
        generator: of the randomness; None: torch's own.

    Returns:
        [B, 3, size, size], 0 to 1.
    """
    looks = _cropped(images, size, config, generator)
    is_jittered = _chance(images, config.jitter, generator)
    looks = torch.where(is_jittered, _jittered(looks, config, generator), looks)
    gray = _gray(looks).expand_as(looks)
    return torch.where(_chance(images, config.grayscale, generator), gray, looks)


def augment_sounds(
    sounds: Tensor,
    sample_rate: int,
    config: SoundAugmentationConfig,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return another hearing of each sound: a piece of it, changed in pitch, pace and loudness.

    The piece is stretched in time, then played faster or slower, an eighth of the batch alike. The
    background is another sound of the batch or pink noise.

    Args:
        sounds: [B, N].
        sample_rate: Hz.
        config: how different.
        generator: of the randomness; None: torch's own.

    Returns:
        [B, window_s * sample_rate].
    """
    length = round(config.window_s * sample_rate)
    pieces = loudest_pieces(
        [time_shift(sounds, length, generator) for _ in range(_NUM_PLACES)]
    )  # Nobody recognises silence.
    pieces = _other_voices(pieces, config, generator)
    if config.mask > 0:
        pieces = masked(pieces, config.mask, generator)
    pieces = with_background(pieces, sounds, config, generator)
    if config.most_tone_db > 0:
        pieces = equalised(pieces, config.most_tone_db, generator)
    gain = _between(
        len(sounds), -config.most_gain_db, config.most_gain_db, sounds.device, generator
    )
    return pieces * 10 ** (gain.unsqueeze(1) / 20)


def _other_voices(
    pieces: Tensor, config: SoundAugmentationConfig, generator: torch.Generator | None
) -> Tensor:
    """Change pitch and pace, of some rows drawn at random alike; as long as before."""
    octaves, most = config.pitch_semitones / 12, math.log(config.most_stretch)
    order = torch.randperm(len(pieces), generator=generator, device=pieces.device)
    changed = torch.empty_like(pieces)
    for rows in order.chunk(_NUM_VOICES):
        pitch = 2 ** float(_between(1, -octaves, octaves, pieces.device, generator))
        pace = math.exp(float(_between(1, -most, most, pieces.device, generator)))
        voice = pitch_shift(time_stretch(pieces[rows], pace), pitch)
        changed[rows] = _fitted(voice, pieces.shape[1])
    return changed


def time_shift(sounds: Tensor, length: int, generator: torch.Generator | None = None) -> Tensor:
    """Return `length` samples of each sound from a random place on; it repeats at its end."""
    batch, count = sounds.shape
    start = torch.randint(count, (batch, 1), generator=generator, device=sounds.device)
    if count > length:
        start = start % (count - length + 1)
    index = (start + torch.arange(length, device=sounds.device)) % count
    return sounds.gather(1, index)


def loudest_pieces(pieces: Sequence[Tensor]) -> Tensor:
    """Return of each sound the loudest of several pieces, [B, N] each."""
    stacked = torch.stack(list(pieces))  # [K, B, N]
    choice = stacked.square().mean(2).argmax(0)
    return stacked[choice, torch.arange(stacked.shape[1], device=stacked.device)]


def masked(sounds: Tensor, longest: float, generator: torch.Generator | None = None) -> Tensor:
    """Return the sounds with a part of each silenced (SpecAugment, Park et al. 2019).

    Args:
        sounds: [B, N].
        longest: share of the length that is silenced at most.
        generator: of the randomness.
    """
    batch, count = sounds.shape
    width = _between(batch, 0, longest * count, sounds.device, generator)
    start = _between(batch, 0, 1, sounds.device, generator) * (count - width)
    place = torch.arange(count, device=sounds.device)
    is_masked = (place >= start.unsqueeze(1)) & (place < (start + width).unsqueeze(1))
    return sounds.masked_fill(is_masked, 0.0)


def equalised(sounds: Tensor, most_db: float, generator: torch.Generator | None = None) -> Tensor:
    """Return the sounds through filters that raise and lower frequencies smoothly.

    Args:
        sounds: [B, N].
        most_db: of gain at each of eight points, up or down.
        generator: of the randomness.
    """
    batch, count = sounds.shape
    drawn = _between(batch * _NUM_TONES, -most_db, most_db, sounds.device, generator)
    spectra = torch.fft.rfft(sounds)
    bins = torch.arange(spectra.shape[1], device=sounds.device).clamp(min=1)
    place = (bins.log2() - math.log2(count / 2) + _NUM_TONES - 1).clamp(0, _NUM_TONES - 1)
    below = place.long().clamp(max=_NUM_TONES - 2)
    rest = place - below
    points = drawn.view(batch, _NUM_TONES)
    gain_db = points[:, below] * (1 - rest) + points[:, below + 1] * rest
    filtered: Tensor = torch.fft.irfft(spectra * 10 ** (gain_db / 20), n=count)
    return filtered


def time_stretch(sounds: Tensor, pace: float) -> Tensor:
    """Return the sounds `pace` times as fast at the same pitch, by overlapping grains of 64 ms.

    Grains are not aligned in phase (as WSOLA does, Verhelst & Roelands 1993): a tone trembles a
    little, which is one more thing to learn to overlook, and it costs a tenth of a phase vocoder.
    """
    grain = 2 * _HOP
    sounds = F.pad(sounds, (0, max(grain - sounds.shape[1], 0)))
    starts = torch.arange(0, sounds.shape[1] - grain + 1, pace * _HOP, device=sounds.device)
    inside = torch.arange(grain, device=sounds.device)
    grains = sounds[:, starts.long()[:, None] + inside]  # [B, K, grain]
    window = torch.hann_window(grain, device=sounds.device)
    early, late = torch.split(grains * window, _HOP, dim=2)  # Rises of grains and their falls.
    return (F.pad(early, (0, 0, 0, 1)) + F.pad(late, (0, 0, 1, 0))).flatten(1)


def pitch_shift(sounds: Tensor, factor: float) -> Tensor:
    """Return the sounds with all frequencies times `factor`, as long as before.

    Played `factor` times as fast, then repeated or cut to the old length.
    """
    count = sounds.shape[1]
    resampled = max(round(count / factor), 2)
    played = F.interpolate(
        sounds.unsqueeze(1), size=resampled, mode='linear', align_corners=True
    ).squeeze(1)
    return _fitted(played, count)


def with_background(
    pieces: Tensor,
    others: Tensor,
    config: SoundAugmentationConfig,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the pieces over something quieter: another sound of the batch, or pink noise."""
    if config.noise == 0:
        return pieces
    batch, length = pieces.shape
    heard = time_shift(others.roll(1, 0), length, generator)
    noise = pink_noise(min(batch, _NUM_NOISES), length, pieces.device, generator)
    noise = noise.repeat(-(-batch // len(noise)), 1)[:batch]
    is_noise = torch.rand(batch, 1, generator=generator, device=pieces.device) < 0.5
    background = torch.where(is_noise, noise, heard)
    below = _between(
        batch, config.loudest_noise_db, config.quietest_noise_db, pieces.device, generator
    )
    level = _rms(pieces) / _rms(background) * 10 ** (-below.unsqueeze(1) / 20)
    is_there = torch.rand(batch, 1, generator=generator, device=pieces.device) < config.noise
    return pieces + torch.where(is_there, level * background, torch.zeros_like(pieces))


def pink_noise(
    batch: int, length: int, device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """Return noise with equal energy in each octave; [B, N], about unit spread."""
    white = torch.randn(batch, length, generator=generator, device=device)
    spectra = torch.fft.rfft(white)
    rise = torch.arange(spectra.shape[1], device=white.device).clamp(min=1).rsqrt()
    noise = torch.fft.irfft(spectra * rise, n=length)
    found: Tensor = noise / _rms(noise)
    return found


def _cropped(
    images: Tensor,
    size: int,
    config: ImageAugmentationConfig,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Crop, resize and flip by one sampling of the picture."""
    batch = len(images)
    device = images.device
    area = _between(batch, config.smallest_crop, 1.0, device, generator)
    most = math.log(config.most_stretch)
    stretch = torch.exp(_between(batch, -most, most, device, generator))
    height = (area / stretch).sqrt().clamp(max=1)
    width = (area * stretch).sqrt().clamp(max=1)
    down = _between(batch, -1, 1, device, generator) * (1 - height)
    right = _between(batch, -1, 1, device, generator) * (1 - width)
    is_flipped = torch.rand(batch, generator=generator, device=images.device) < config.flip
    zero = torch.zeros_like(width)
    across = torch.where(is_flipped, -width, width)
    matrix = torch.stack([across, zero, right, zero, height, down], dim=1).view(batch, 2, 3)
    grid = F.affine_grid(matrix, [batch, 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode='reflection', align_corners=False)


def _jittered(
    images: Tensor, config: ImageAugmentationConfig, generator: torch.Generator | None = None
) -> Tensor:
    """Change brightness, colour of the light, contrast, saturation and hue."""

    def factors(most: float, channels: int = 1) -> Tensor:
        count, low = len(images) * channels, max(1 - most, 0.0)
        drawn = _between(count, low, 1 + most, images.device, generator)
        return drawn.view(-1, channels, 1, 1)

    images = images * factors(config.brightness) * factors(config.balance, channels=3)
    mean = _gray(images).mean((2, 3), keepdim=True)
    images = mean + (images - mean) * factors(config.contrast)
    gray = _gray(images)
    images = gray + (images - gray) * factors(config.saturation)
    turn = 2 * math.pi * _between(len(images), -config.hue, config.hue, images.device, generator)
    return torch.einsum('boc,bchw->bohw', _hue_turn(turn), images).clamp(0, 1)


def _hue_turn(angle: Tensor) -> Tensor:
    """Return turns around the gray axis (Rodrigues' formula); [B] radians to [B, 3, 3]."""
    cross = angle.new_tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    cos, sin = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    unit = torch.eye(3, device=angle.device)
    return cos * unit + sin * cross / math.sqrt(3) + (1 - cos) / 3


def _gray(images: Tensor) -> Tensor:
    return torch.einsum('c,bchw->bhw', images.new_tensor(_LUMA), images).unsqueeze(1)


def _chance(
    images: Tensor, probability: float, generator: torch.Generator | None = None
) -> Tensor:
    drawn = torch.rand(len(images), generator=generator, device=images.device)
    return (drawn < probability).view(-1, 1, 1, 1)


def _between(
    count: int, low: float, high: float, device: torch.device, generator: torch.Generator | None
) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator, device=device)


def _fitted(sounds: Tensor, length: int) -> Tensor:
    """Repeat or cut [B, N] to [B, length]."""
    repeats = -(-length // sounds.shape[1])
    return sounds.repeat(1, repeats)[:, :length]


def _rms(sounds: Tensor) -> Tensor:
    return sounds.square().mean(1, keepdim=True).sqrt().clamp(min=1e-6)
