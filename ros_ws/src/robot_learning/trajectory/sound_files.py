"""Sound files of any format into mono at 16 kHz; whatever is wrong with one is one `DataError`."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np

from robot_learning import foreign_files
from robot_learning.errors import DataError
from robot_learning.foreign_files import Refusal, printable
from robot_learning.sense_formats import SAMPLE_RATE_HZ
from robot_learning.trajectory.image_files import Decoded

Array = np.ndarray[Any, Any]

SUFFIXES = ('.wav', '.flac', '.mp3', '.ogg', '.opus', '.m4a', '.aiff')
_LARGEST_FILE = 500 << 20  # Bytes.
_LONGEST_S = 3600.0  # Decoded; a file that unpacks to more is refused.
_FULL_SCALE = 32768
_UNKNOWN_SIZE = 0xFFFFFFFF  # Of a WAV file that was streamed.
# PCM, one channel, rate, bytes a second, bytes a sample, bits a sample.
_OWN_HEADER = struct.pack('<HHIIHH', 1, 1, SAMPLE_RATE_HZ, 2 * SAMPLE_RATE_HZ, 2, 16)
_REFUSE = Refusal(DataError, 'Replace it by a sound file that is whole, or remove it.')


def read_sound(path: Path) -> Decoded:
    """Read a sound file; see `decode_sound`."""
    return decode_sound(foreign_files.read(path, _LARGEST_FILE, _REFUSE), path)


def decode_sound(content: bytes, where: Path | str) -> Decoded:
    """Return the sound [N] float32, mono at 16 kHz, full scale 1.

    Other rates are resampled (with a low-pass filter), channels are averaged; `converted` says so.

    Args:
        content: of the file.
        where: what to call it in errors.

    Raises:
        DataError: it is no sound, shorter than its header says, empty, or not finite.
    """
    try:
        own = _own_format(_wav_chunks(content))
        if own is not None:
            return Decoded(own, '')
        with av.open(io.BytesIO(content)) as container:
            if not container.streams.audio:
                raise ValueError('holds no sound')
            stream = container.streams.audio[0]
            rate, channels = int(stream.rate), int(stream.codec_context.channels)
            expected_s = float((stream.duration or 0) * (stream.time_base or 0))
            sound, num_decoded = _decoded(container, stream)
    except (av.error.FFmpegError, OSError, ValueError, EOFError, MemoryError) as error:
        raise _REFUSE(where, f'is no whole sound file ({_reason(error)})') from error
    _check(sound, num_decoded / rate, expected_s, where)
    changes = []
    if rate != SAMPLE_RATE_HZ:
        changes.append(f'{rate} Hz -> {SAMPLE_RATE_HZ} Hz')
    if channels != 1:
        changes.append(f'{channels} channels -> 1')
    return Decoded(sound, f'sound {", ".join(changes)}' if changes else '')


def encode_wav(sound: Array) -> bytes:
    """Return a WAV file, 16 bit mono at 16 kHz, of a sound [N] with full scale 1."""
    content = io.BytesIO()
    with wave.open(content, 'wb') as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        numbers = np.round(np.asarray(sound) * _FULL_SCALE)
        numbers = np.clip(numbers, -_FULL_SCALE, _FULL_SCALE - 1).astype('<i2')
        file.writeframes(numbers.tobytes())
    return content.getvalue()


def resampled(sound: Array, rate_hz: int) -> Array:
    """Return a sound [N] float32 or [channels, N] at `rate_hz` as mono at 16 kHz.

    Raises:
        DataError: the rate is none.
    """
    if rate_hz <= 0:
        raise _REFUSE('sound', f'has a rate of {rate_hz} Hz, expected more than 0')
    mono = np.asarray(sound, np.float32)
    if mono.ndim == 2:
        mono = mono.mean(axis=0)
    if rate_hz == SAMPLE_RATE_HZ or not mono.size:
        return np.ascontiguousarray(mono)
    frame = av.AudioFrame.from_ndarray(mono[None], format='flt', layout='mono')
    frame.sample_rate = int(rate_hz)
    return np.concatenate(list(_resampled([frame])))


def _decoded(container: Any, stream: Any) -> tuple[Array, int]:
    """Return the sound and how many samples per channel were decoded before resampling."""
    count = 0

    def counted() -> Iterator[Any]:
        nonlocal count
        for frame in container.decode(stream):
            count += frame.samples
            if count > _LONGEST_S * stream.rate:
                raise ValueError(f'lasts longer than {_LONGEST_S:g} s')
            yield frame

    parts = list(_resampled(counted()))
    return (np.concatenate(parts) if parts else np.zeros(0, np.float32)), count


def _resampled(frames: Any) -> Iterator[Array]:
    """Yield float32 mono at 16 kHz; channels are averaged here, as FFmpeg would weigh them."""
    resampler = None
    for frame in frames:
        frame.pts = None
        if resampler is None:
            layout = frame.layout.name if frame.layout.nb_channels > 1 else 'mono'
            resampler = av.AudioResampler(format='fltp', layout=layout, rate=SAMPLE_RATE_HZ)
        for part in resampler.resample(frame):
            yield part.to_ndarray().mean(axis=0)
    if resampler is not None:
        for part in resampler.resample(None):
            yield part.to_ndarray().mean(axis=0)


def _wav_chunks(content: bytes) -> dict[bytes, bytes]:
    """Return the chunks of a WAV file up to its sound; none of other files, or of streams.

    Refuses one that is shorter than it says; FFmpeg reads such files without a word.
    """
    if content[:4] != b'RIFF' or content[8:12] != b'WAVE':
        return {}
    at, chunks = 12, {}
    while at + 8 <= len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], 'little')
        if name == b'data' and size in (0, _UNKNOWN_SIZE):
            return {}
        found = len(content) - at - 8
        if name == b'data' and found < size:
            raise ValueError(f'cut off: {found} of {size} bytes of sound')
        chunks[name] = content[at + 8 : at + 8 + size]
        if name == b'data':
            return chunks
        at += 8 + size + size % 2
    raise ValueError('a WAV file without sound')


def _own_format(chunks: Mapping[bytes, bytes]) -> Array | None:
    """Return the sound of a WAV file as `encode_wav` writes it; FFmpeg takes ten times as long."""
    header, data = chunks.get(b'fmt ', b''), chunks.get(b'data', b'')
    if header[:16] != _OWN_HEADER or not data or len(data) % 2:
        return None
    return np.frombuffer(data, '<i2').astype(np.float32) / _FULL_SCALE


def _check(sound: Array, lasts_s: float, expected_s: float, where: Path | str) -> None:
    if not sound.size:
        raise _REFUSE(where, 'holds no sound, expected one sample or more')
    if lasts_s < 0.98 * expected_s - 0.1:
        raise _REFUSE(
            where,
            f'is cut off: {lasts_s:.2f} s of sound, expected {expected_s:.2f} s by its header',
        )
    if not np.isfinite(sound).all():
        raise _REFUSE(where, 'holds a sample that is not finite, expected finite numbers')


def _reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)
    return printable(text or type(error).__name__)
