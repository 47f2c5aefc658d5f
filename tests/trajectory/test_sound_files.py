import io
import wave

import numpy as np
import pytest
from paired_files import tone
from robot_learning.errors import DataError
from robot_learning.trajectory.sound_files import (
    decode_sound,
    encode_wav,
    read_sound,
    resampled,
)

INSIDE = slice(200, -200)  # The ends of resampled sounds ring.


def wav(sound, rate_hz, channels=1):
    content = io.BytesIO()
    with wave.open(content, 'wb') as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        numbers = np.round(np.asarray(sound) * 32767).astype('<i2')
        file.writeframes(np.repeat(numbers, channels).tobytes())
    return content.getvalue()


def test_a_wav_keeps_every_sample(tmp_path):
    sound = (np.arange(-32768, 32768, 7) / 32768).astype(np.float32)
    (tmp_path / 'a.wav').write_bytes(encode_wav(sound))
    found = read_sound(tmp_path / 'a.wav')
    np.testing.assert_array_equal(found.array, sound)
    assert found.array.dtype == np.float32
    assert found.converted == ''


def test_a_wav_that_was_streamed_is_the_same_sound():
    content = encode_wav(tone(440, 0.5))
    at = content.index(b'data') + 4
    streamed = content[:at] + b'\xff\xff\xff\xff' + content[at + 4 :]
    np.testing.assert_array_equal(
        decode_sound(streamed, 'a').array, decode_sound(content, 'a').array
    )


def test_samples_beyond_full_scale_are_clipped():
    found = decode_sound(encode_wav(np.asarray([-2.0, 2.0])), 'a').array
    np.testing.assert_allclose(found, [-1, 1], atol=1e-4)


@pytest.mark.parametrize('rate_hz', [8000, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled_and_that_is_said(rate_hz):
    found = decode_sound(wav(tone(440, 0.5, rate_hz), rate_hz), 'a')
    assert found.converted == f'sound {rate_hz} Hz -> 16000 Hz'
    assert abs(len(found.array) - 8000) <= 1
    np.testing.assert_allclose(
        found.array[:7999][INSIDE], tone(440, 0.5)[:7999][INSIDE], atol=2e-3
    )


def test_what_16_khz_cannot_hold_is_filtered_out():
    found = decode_sound(wav(tone(11_000, 0.5, 48_000), 48_000), 'a').array
    assert np.abs(found[INSIDE]).max() < 0.01  # It would be heard at 5 kHz.


def test_channels_are_averaged_and_that_is_said():
    content = io.BytesIO()
    with wave.open(content, 'wb') as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.asarray([[8000, 0], [-4000, 2000]], '<i2').tobytes())
    found = decode_sound(content.getvalue(), 'a')
    np.testing.assert_allclose(found.array * 32768, [4000, -1000], atol=1e-2)
    assert found.converted == 'sound 2 channels -> 1'


def test_arrays_are_resampled_like_files():
    found = resampled(np.stack([tone(300, 0.5, 8000)] * 2), 8000)
    np.testing.assert_allclose(found[INSIDE], tone(300, 0.5)[INSIDE], atol=2e-3)


def test_a_rate_that_is_none_is_named():
    with pytest.raises(DataError, match='rate of 0 Hz'):
        resampled(tone(), 0)


@pytest.mark.parametrize(
    ('content', 'found'),
    [
        (b'', 'is no whole sound file'),
        (b'RIFF\0\0\0\0WAVEfmt ', 'without sound'),
        (b'no sound', 'is no whole sound file'),
        (wav(tone(), 16_000)[:1000], r'cut off: 956 of 6400 bytes'),
        (wav([], 16_000), 'no sound'),
    ],
)
def test_what_is_no_whole_sound_is_named(content, found):
    with pytest.raises(DataError, match=found) as caught:
        decode_sound(content, 'bell/a.wav')
    assert str(caught.value).startswith('bell/a.wav: ')


def flac(sound):
    import av

    content = io.BytesIO()
    with av.open(content, 'w', format='flac') as container:
        stream = container.add_stream('flac', rate=16_000)
        stream.layout = 'mono'
        numbers = np.round(sound * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(numbers[None], format='s16', layout='mono')
        frame.sample_rate = 16_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return content.getvalue()


def test_flac_is_read():
    found = decode_sound(flac(tone()), 'a.flac').array
    np.testing.assert_allclose(found, tone(), atol=1e-4)


def test_flac_that_is_cut_off_is_named():
    noise = np.random.default_rng(0).uniform(-1, 1, 32_000)
    content = flac(noise)
    for length in (100, len(content) // 3, len(content) // 2):
        with pytest.raises(DataError, match=r'a\.flac: is '):
            decode_sound(content[:length], 'a.flac')
