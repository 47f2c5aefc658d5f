import math

import pytest
import torch
from robot_learning.phases.nsca_augmentation import (
    ImageAugmentationConfig,
    SoundAugmentationConfig,
    augment_images,
    augment_sounds,
    equalised,
    loudest_pieces,
    masked,
    pink_noise,
    pitch_shift,
    time_shift,
    time_stretch,
    with_background,
)

RATE = 16_000


def seeded():
    return torch.Generator().manual_seed(0)


def tone(frequency, seconds=1.0):
    time = torch.arange(round(seconds * RATE)) / RATE
    return torch.sin(2 * math.pi * frequency * time).unsqueeze(0)


def loudest(sound):
    spectrum = torch.fft.rfft(sound * torch.hann_window(sound.shape[1])).abs()
    return float(spectrum.argmax()) * RATE / sound.shape[1]


def test_without_any_change_a_picture_stays_what_it_is():
    config = ImageAugmentationConfig(
        smallest_crop=1.0, most_stretch=1.0, flip=0, jitter=0, grayscale=0
    )
    images = torch.rand(3, 3, 16, 16, generator=seeded())
    torch.testing.assert_close(augment_images(images, 16, config, seeded()), images)


def test_a_flip_is_a_mirror():
    config = ImageAugmentationConfig(
        smallest_crop=1.0, most_stretch=1.0, flip=1, jitter=0, grayscale=0
    )
    images = torch.rand(2, 3, 16, 16, generator=seeded())
    torch.testing.assert_close(augment_images(images, 16, config, seeded()), images.flip(3))


def test_gray_pictures_have_one_colour_and_a_hue_turn_keeps_gray_gray():
    images = torch.rand(4, 3, 8, 8, generator=seeded())
    gray = augment_images(images, 8, ImageAugmentationConfig(grayscale=1.0), seeded())
    torch.testing.assert_close(gray[:, 0], gray[:, 1])
    plain = ImageAugmentationConfig(
        jitter=1, brightness=0, balance=0, contrast=0, saturation=0, hue=0.5, grayscale=0
    )
    turned = augment_images(torch.full((4, 3, 8, 8), 0.3), 8, plain, seeded())
    torch.testing.assert_close(turned, torch.full((4, 3, 8, 8), 0.3))


def test_looks_differ_between_draws_stay_in_range_and_repeat_from_a_seed():
    images = torch.rand(4, 3, 20, 24, generator=seeded())
    generator = seeded()
    first = augment_images(images, 16, ImageAugmentationConfig(), generator)
    second = augment_images(images, 16, ImageAugmentationConfig(), generator)
    assert first.shape == (4, 3, 16, 16) and not torch.equal(first, second)
    assert float(first.min()) >= 0 and float(first.max()) <= 1
    torch.testing.assert_close(
        augment_images(images, 16, ImageAugmentationConfig(), seeded()), first
    )


def test_a_stretched_tone_keeps_its_pitch_and_changes_its_length():
    slow = time_stretch(tone(500), 0.8)
    assert slow.shape[1] == pytest.approx(RATE / 0.8, rel=0.1)
    assert loudest(slow) == pytest.approx(500, abs=20)


def test_a_shifted_tone_changes_its_pitch_and_keeps_its_length():
    high = pitch_shift(tone(500), 1.5)
    assert high.shape[1] == RATE
    assert loudest(high) == pytest.approx(750, abs=10)


def test_a_shifted_sound_is_a_piece_of_the_sound():
    sound = torch.arange(100.0).unsqueeze(0)
    piece = time_shift(sound, 30, seeded())[0]
    assert torch.equal(piece.diff(), torch.ones(29))
    assert time_shift(sound, 250, seeded()).shape == (1, 250)  # Repeats.


def test_the_background_lies_as_far_below_the_sound_as_asked():
    config = SoundAugmentationConfig(noise=1.0, quietest_noise_db=20.0, loudest_noise_db=20.0)
    sounds = torch.cat([tone(400), tone(700)])
    added = with_background(sounds, sounds, config, seeded()) - sounds
    ratio = added.square().mean(1) / sounds.square().mean(1)
    torch.testing.assert_close(10 * ratio.log10(), torch.full((2,), -20.0), atol=0.05, rtol=0)


def test_pink_noise_has_equal_energy_in_each_octave():
    power = torch.fft.rfft(pink_noise(32, 1 << 14, torch.device('cpu'), seeded())).abs().square()
    octaves = [float(power[:, 1 << k : 2 << k].sum()) for k in range(6, 12)]
    assert max(octaves) < 1.2 * min(octaves)


def test_of_several_pieces_each_sound_keeps_its_loudest():
    first = torch.stack([torch.ones(8), torch.zeros(8)])
    second = torch.full((2, 8), 0.5)
    torch.testing.assert_close(loudest_pieces([first, second]), torch.stack([first[0], second[1]]))


def test_a_mask_silences_one_span_no_longer_than_asked():
    sounds = masked(torch.ones(200, 1000), 0.3, seeded())
    silent = (sounds == 0).sum(1)
    assert 250 < int(silent.max()) <= 301 and float(silent.float().mean()) == pytest.approx(
        150, 0.1
    )
    edges = (sounds[:, 1:] != sounds[:, :-1]).sum(1)
    assert int(edges.max()) == 2, 'one span, so silence begins and ends once'


def test_an_equaliser_changes_tones_by_no_more_than_asked_and_each_sound_its_own_way():
    sounds = torch.cat([tone(300), tone(3000)]).repeat(50, 1)
    found = equalised(sounds, 6.0, seeded())
    gain_db = 20 * torch.log10(found.square().mean(1).sqrt() / sounds.square().mean(1).sqrt())
    assert float(gain_db.abs().max()) < 6.01 and float(gain_db.std()) > 1
    torch.testing.assert_close(equalised(sounds, 0.0, seeded()), sounds, atol=1e-4, rtol=0)


def test_hearings_have_the_asked_length_whatever_the_sound_is_long():
    config = SoundAugmentationConfig(window_s=0.5)
    for seconds in (0.3, 2.0):
        heard = augment_sounds(tone(300, seconds).repeat(3, 1), RATE, config, seeded())
        assert heard.shape == (3, 8000) and bool(heard.isfinite().all())


def test_rows_of_a_batch_change_pitch_differently():
    time = torch.arange(RATE) / RATE
    tones = torch.sin(2 * torch.pi * 400 * time).repeat(16, 1)
    still = {'most_stretch': 1.0, 'noise': 0.0, 'most_gain_db': 0.0}
    config = SoundAugmentationConfig(window_s=0.5, pitch_semitones=4.0, **still)
    found = augment_sounds(tones, RATE, config, torch.Generator().manual_seed(0))
    pitches = torch.fft.rfft(found).abs().argmax(1) / 0.5
    assert len(pitches.unique()) == 8
    assert 400 * 2 ** (-4 / 12) - 4 <= float(pitches.min()) < float(pitches.max()) <= 508
