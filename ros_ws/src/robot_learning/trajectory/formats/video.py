"""Pictures into mp4 files and back. Videos lose detail; how much is measured while writing."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import av
import numpy as np
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.errors import DataError, EnvironmentSetupError, StoreError
from robot_learning.trajectory.episode import Array
from robot_learning.trajectory.formats.lerobot_layout import FILES_PER_CHUNK, VIDEO_PATH
from robot_learning.trajectory.formats.lerobot_statistics import FrameSample

_SMALLEST_AV1 = 64  # Pixels; the AV1 encoder takes no smaller pictures.
_ENCODERS = {'av1': 'libsvtav1', 'h264': 'libx264'}
_PEAK = 255.0
_NUM_SAMPLES = 64  # Frames of a camera that are compared with the video.


Codec = Literal['auto', 'av1', 'h264']
Crf = Annotated[int, Field(ge=0, le=63)]  # Quality, 0 is the finest.


@dataclass(frozen=True, config=STRICT)
class VideoConfig:
    """How pictures become video. The defaults are LeRobot's."""

    codec: Codec = 'auto'  # AV1 where it can be encoded.
    crf: Crf | None = None  # Unset: 30 for AV1, 23 for H.264.
    keyframe_interval: PositiveInt = 2  # Short, as learners read frames in random order.
    max_file_bytes: PositiveInt = 200 << 20


class VideoPlace(NamedTuple):
    """Where an episode stands in the files of its camera."""

    chunk_index: int
    file_index: int
    from_timestamp: float
    to_timestamp: float


class CameraVideo:
    """Writes the episodes of one camera one after the other, on a thread of its own."""

    def __init__(
        self, root: Path, key: str, shape: tuple[int, ...], fps: float, config: VideoConfig
    ):
        self._root = root
        self._key = key
        self._shape = shape
        self._fps = Fraction(fps).limit_denominator(1000)
        self._config = config
        self._codec = _choose_codec(config.codec, shape)
        self._number = -1  # Of the open file.
        self._frame = 0  # Of the next frame in it.
        self._first = 0  # Frame with which the open episode begins.
        self._num_bytes = config.max_file_bytes  # Of the open file; so much opens the first.
        self._container: Any = None
        self._stream: Any = None
        self._sample = FrameSample(_NUM_SAMPLES)
        self._starts: list[tuple[int, int, int]] = []  # First number, file, first frame.
        self._count = 0
        self._executor = ThreadPoolExecutor(1, f'encode_{key}')
        self._running: Future[None] | None = None

    def begin(self) -> None:
        """Begin an episode, in a new file if the last one is large."""
        self._wait()
        if self._num_bytes >= self._config.max_file_bytes:
            self._finish_file()
            self._open_file()
        self._first = self._frame
        self._starts.append((self._count, self._number, self._frame))

    def add(self, frames: Array) -> None:
        """Take frames [T, H, W, C] uint8; they are encoded while the caller goes on."""
        self._wait()
        self._sample.take(frames)
        self._count += len(frames)
        self._running = self._executor.submit(self._encode, frames)

    def end(self) -> VideoPlace:
        """End the episode."""
        self._wait()
        chunk_index, file_index = divmod(self._number, FILES_PER_CHUNK)
        return VideoPlace(
            chunk_index,
            file_index,
            float(self._first / self._fps),
            float(self._frame / self._fps),
        )

    def close(self) -> dict[str, Any]:
        """Complete the files; return codec and quality as `video.*` facts."""
        self._wait()
        self._executor.shutdown()
        self._finish_file()
        mean_db, worst_db = self._measure()
        return {
            'codec': self._codec,
            'crf': self._crf,
            'psnr_db': round(mean_db, 1),
            'worst_frame_psnr_db': round(worst_db, 1),
            'frames_compared': len(self._sample.frames),
        }

    def abort(self) -> None:
        """Give up; the files are worthless."""
        self._executor.shutdown(cancel_futures=True)
        if self._container is not None:
            self._container.close()
            self._container = None

    @property
    def description(self) -> dict[str, Any]:
        """What LeRobot's info.json says about the video."""
        return {
            'video.height': self._shape[0],
            'video.width': self._shape[1],
            'video.codec': self._codec,
            'video.pix_fmt': 'yuv420p',
            'video.is_depth_map': False,
            'video.fps': int(self._fps) if self._fps.denominator == 1 else float(self._fps),
            'video.channels': 3,
            'has_audio': False,
        }

    @property
    def _crf(self) -> int:
        default = 30 if self._codec == 'av1' else 23
        return default if self._config.crf is None else self._config.crf

    def _wait(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def _path(self, number: int) -> Path:
        chunk_index, file_index = divmod(number, FILES_PER_CHUNK)
        name = VIDEO_PATH.format(
            video_key=self._key, chunk_index=chunk_index, file_index=file_index
        )
        return self._root / name

    def _open_file(self) -> None:
        os.environ.setdefault('SVT_LOG', '1')  # The AV1 encoder would print its settings.
        self._number += 1
        path = self._path(self._number)
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {'g': str(self._config.keyframe_interval), 'crf': str(self._crf)}
        options |= {'preset': '12'} if self._codec == 'av1' else {'preset': 'veryfast', 'bf': '0'}
        self._container = av.open(str(path), 'w')
        stream = self._container.add_stream(_ENCODERS[self._codec], self._fps, options=options)
        stream.height, stream.width = self._shape[:2]
        stream.pix_fmt = 'yuv420p'
        self._stream = stream
        self._frame = self._num_bytes = 0

    def _encode(self, frames: Array) -> None:
        for pixels in frames:
            rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format='rgb24')
            frame.pts = self._frame
            self._frame += 1
            self._mux(self._stream.encode(frame))

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            self._num_bytes += packet.size
            self._container.mux(packet)

    def _finish_file(self) -> None:
        if self._container is None:
            return
        self._mux(self._stream.encode())
        self._container.close()
        self._container = None

    def _measure(self) -> tuple[float, float]:
        """Compare sampled frames with the video: PSNR of all, and of the worst one."""
        errors = []
        pixels = self._shape[0] * self._shape[1]
        readers: dict[int, VideoReader] = {}
        starts = iter([*self._starts, (self._count + 1, 0, 0)])
        here, following = next(starts), next(starts)
        for number, expected in self._sample.frames:
            while number >= following[0]:
                here, following = following, next(starts)
            first, file, frame = here
            reader = readers.setdefault(file, VideoReader(self._path(file), pixels))
            stamp_s = float((frame + number - first) / self._fps)
            (found,) = reader.frames([stamp_s], float(0.5 / self._fps))
            difference = found.astype(np.float64) - expected  # Grey widens to RGB.
            errors.append(float(np.mean(difference**2)))
        for reader in readers.values():
            reader.close()
        return _decibel(float(np.mean(errors))), _decibel(max(errors))


class VideoReader:
    """Reads frames of one file by their time, in the order in which they are asked for.

    Args:
        path: of the file.
        most_pixels: larger frames are refused.
    """

    def __init__(self, path: Path, most_pixels: int):
        self._path = path
        self._most_pixels = most_pixels
        self._container: Any = None
        self._decoded: Iterator[Any] = iter(())
        self._newest: Any = None  # The newest decoded frame.
        self._newest_s = -math.inf

    def frames(self, stamps_s: list[float], tolerance_s: float) -> Iterator[Array]:
        """Yield the frame [H, W, 3] nearest to each moment; moments increase.

        Raises:
            DataError: the file is damaged, or holds no frame near such a moment.
        """
        try:
            for stamp_s in stamps_s:
                yield self._nearest(stamp_s, tolerance_s)
        except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
            raise DataError(
                f'{self._path}: is no readable video ({error}). Copy it again from its source.'
            ) from error

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _nearest(self, stamp_s: float, tolerance_s: float) -> Array:
        if self._container is None:
            self._container = av.open(str(self._path))
            stream = self._container.streams.video[0]
            self._check_size(stream.width, stream.height)
            stream.thread_type = 'AUTO'
        is_far = stamp_s > self._newest_s + 5.0 or stamp_s < self._newest_s - tolerance_s
        if self._newest is None or is_far:
            self._seek(stamp_s)
        while self._newest_s < stamp_s - tolerance_s:
            frame = next(self._decoded, None)
            if frame is None:
                break
            self._newest, self._newest_s = frame, float(frame.time)
        if self._newest is None or abs(self._newest_s - stamp_s) > tolerance_s:
            raise DataError(
                f'{self._path}: holds no frame at {stamp_s:.4f} s, the nearest is at '
                f'{self._newest_s:.4f} s. The episode table contradicts the video; write the '
                f'data set again.'
            )
        self._check_size(self._newest.width, self._newest.height)
        pixels: Array = self._newest.to_ndarray(format='rgb24')
        return pixels

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._most_pixels:
            raise DataError(
                f'{self._path}: has frames of {width}x{height}, which are larger than the data '
                f'set says. Copy it again from its source.'
            )

    def _seek(self, stamp_s: float) -> None:
        stream = self._container.streams.video[0]
        self._container.seek(int(max(stamp_s, 0.0) / stream.time_base), stream=stream)
        self._decoded = self._container.decode(stream)
        self._newest, self._newest_s = None, -math.inf


def _choose_codec(wanted: str, shape: tuple[int, ...]) -> str:
    is_small = min(shape[:2]) < _SMALLEST_AV1
    order = {'auto': ['h264'] if is_small else ['av1', 'h264']}.get(wanted, [wanted])
    if wanted == 'av1' and is_small:
        raise StoreError(
            f'video: pictures of {shape[1]}x{shape[0]} are too small for AV1, expected at least '
            f'{_SMALLEST_AV1} pixels. Choose codec auto or h264.'
        )
    for name in order:
        try:
            av.codec.Codec(_ENCODERS[name], 'w')
        except av.codec.codec.UnknownCodecError:
            continue
        return name
    raise EnvironmentSetupError(
        f'video: no encoder for {" or ".join(order)} is installed. Run: pip install av, or '
        f'export images instead of videos.'
    )


def _decibel(squared_error: float) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures; 99 stands for no difference."""
    return min(99.0, 10 * math.log10(_PEAK**2 / squared_error)) if squared_error else 99.0
