import numpy as np
import pytest
from robot_learning import log_mel as features
from robot_learning.log_mel import hz_to_mel, log_mel, mel_filterbank, mel_to_hz, onset


def tone(hertz, seconds=0.5, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * 16_000)) / 16_000)


def test_mels_are_those_of_slaney():
    # 200/3 Hz per mel up to 1 kHz, which is 15 mel; 27 more mels are a factor of 6.4.
    np.testing.assert_allclose(hz_to_mel([0, 200, 1000, 6400]), [0, 3, 15, 42])
    np.testing.assert_allclose(
        mel_to_hz(hz_to_mel([50.0, 999, 1001, 7999])), [50, 999, 1001, 7999]
    )


def test_each_band_weighs_white_noise_alike():
    """Triangles of equal area: the sum over bins times the width of a bin is about 1."""
    area = mel_filterbank(20).sum(axis=1) * 40
    np.testing.assert_allclose(area, 1, atol=0.06)


def test_the_filterbank_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match='read-only'):
        mel_filterbank()[0, 0] = 1


@pytest.mark.parametrize('hertz', [300, 1000, 3000, 6000])
def test_a_tone_is_loudest_in_its_own_band(hertz):
    bands = log_mel(tone(hertz)).mean(axis=0)
    centres = mel_to_hz(np.linspace(0, float(hz_to_mel(8000)), 82))[1:-1]
    assert abs(centres[bands.argmax()] - hertz) < 0.04 * hertz + 20


def test_there_is_a_frame_every_ten_milliseconds():
    assert log_mel(np.zeros(16_000)).shape == (101, 80)
    assert log_mel(np.zeros(16_000)).max() == pytest.approx(np.log(features.FLOOR))


def test_twice_the_amplitude_is_four_times_the_power():
    quiet, loud = log_mel(tone(1000, amplitude=0.2)), log_mel(tone(1000, amplitude=0.4))
    band = quiet.mean(axis=0).argmax()
    np.testing.assert_allclose(loud[:, band] - quiet[:, band], np.log(4), atol=1e-4)


def test_a_frame_is_what_a_slow_transform_gives():
    sound = np.random.default_rng(0).normal(size=1600) * 0.1
    start = 5 * features.HOP - features.FFT_SIZE // 2
    n = np.arange(features.FFT_SIZE)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / features.FFT_SIZE)
    piece = sound[start : start + features.FFT_SIZE] * hann
    k = np.arange(features.FFT_SIZE // 2 + 1)[:, None]
    power = np.abs((piece * np.exp(-2j * np.pi * k * n / features.FFT_SIZE)).sum(axis=1)) ** 2
    np.testing.assert_allclose(log_mel(sound)[5], np.log(mel_filterbank() @ power), rtol=1e-4)


def test_an_onset_is_where_sound_begins_and_not_where_it_ends():
    fading = tone(800, 0.3) * np.linspace(1, 0, 4800)
    found = onset(log_mel(np.concatenate([np.zeros(8000), fading, np.zeros(8000)])))
    assert abs(int(found.argmax()) - 50) <= 2
    assert found[60:].max() < 0.1 * found.max()
    assert found[0] == 0
