"""Videos as columns of images, with PyAV: frames at given times, and the encoder of `rllib dataset export`."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_scoreflow.data.schema import UInt8
from rllib_scoreflow.data.validation import first_sentence
from rllib_scoreflow.errors import InputError, shorten

# What lies further ahead is looked for; what lies nearer is decoded on the way.
_SEEK_SECONDS = 5.0
# Every second frame is whole, so that any is found at once; quality 18 of x264 can hardly be told from the original.
_ENCODER = "libx264"
_ENCODER_OPTIONS = {"g": "2", "crf": "18", "bf": "0", "preset": "fast"}


def import_av() -> Any:
    """Return the package PyAV.

    Raises:
        InputError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise InputError("videos need PyAV: pip install 'rllib-scoreflow[lerobot]'") from None
    return av


class VideoReader:
    """Reads frames out of one video file after another; a context manager.

    Args:
        size: (H, W) that every frame must have.
        tolerance: seconds by which a frame's time may differ from the one that is asked for.
        remedy: what the user can do about a damaged video.
    """

    def __init__(self, size: tuple[int, int], tolerance: float, remedy: str) -> None:
        self._av = import_av()
        self._size, self._tolerance, self._remedy = size, tolerance, remedy
        self._path: Path | None = None
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())
        self._frame: Any = None

    def frames(self, path: Path, times: NDArray[np.float64]) -> Iterator[UInt8]:
        """Yield the frames at increasing times.

        Args:
            path: the video.
            times: seconds from its start.

        Returns:
            for each time the nearest frame, uint8 [H, W, 3], RGB.

        Raises:
            InputError: the video is missing or damaged, has frames of another size, or none at a time.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such file; {self._remedy}")
        try:
            self._go_to(path, float(times[0]))
            for time in times.tolist():
                yield self._nearest(path, time)
        except InputError:
            raise
        # What a damaged video makes FFmpeg raise has dozens of classes.
        except Exception as error:
            reason = shorten(first_sentence(error), 120)
            raise InputError(f"{path}: not a readable video ({reason}); {self._remedy}") from error

    def _go_to(self, path: Path, time: float) -> None:
        here = None if self._frame is None else self._time_of(self._frame)
        if path != self._path or here is None or here > time + self._tolerance:
            self._close()
            self._path, self._container = path, self._av.open(str(path), mode="r")
            if not self._container.streams.video:
                raise InputError(f"{path}: holds no video; {self._remedy}")
            self._frames = self._container.decode(video=0)
            here = 0.0
        if time - here > _SEEK_SECONDS:
            stream = self._container.streams.video[0]
            # To the last whole frame before that time.
            self._container.seek(max(0, int((time - self._tolerance) / stream.time_base)), stream=stream)
            self._frames = self._container.decode(video=0)
            self._frame = None

    def _nearest(self, path: Path, time: float) -> UInt8:
        while self._frame is None or self._time_of(self._frame) < time - self._tolerance:
            self._frame = next(self._frames, None)
            if self._frame is None:
                raise InputError(f"{path}: ends before {time:.3f} s, of which it should hold a frame; {self._remedy}")
        frame, found = self._frame, self._time_of(self._frame)
        if abs(found - time) > self._tolerance:
            raise InputError(
                f"{path}: holds no frame at {time:.3f} s, the nearest one is at {found:.3f} s; {self._remedy}"
            )
        if (frame.height, frame.width) != self._size:
            raise InputError(
                f"{path}: has frames of {frame.height} x {frame.width} and not {self._size[0]} x {self._size[1]}; "
                f"{self._remedy}"
            )
        image: UInt8 = frame.to_ndarray(format="rgb24")
        return image

    @staticmethod
    def _time_of(frame: Any) -> float:
        if frame.pts is None:
            raise ValueError("a frame without a time")
        return float(frame.pts * frame.time_base)

    def _close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._path = self._container = self._frame = None

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()


class VideoWriter:
    """Writes one video file, which `close` ends.

    Attributes:
        frames: how many frames were added.
        size_bytes: bytes that were encoded so far.

    Args:
        path: a new .mp4 file.
        size: (H, W) of the frames, both even.
        fps: frames per second.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: int) -> None:
        self.frames = self.size_bytes = 0
        self._container = import_av().open(str(path), mode="w")
        self._stream = self._container.add_stream(_ENCODER, rate=fps, options=dict(_ENCODER_OPTIONS))
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, fps)
        self._time_base = Fraction(1, fps)

    def add(self, images: Sequence[UInt8] | UInt8) -> None:
        """Add frames, uint8 [n, H, W, 3], RGB."""
        av = import_av()
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = self.frames, self._time_base
            self._mux(self._stream.encode(frame))
            self.frames += 1

    def _mux(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            self.size_bytes += packet.size
            self._container.mux(packet)

    def close(self) -> None:
        """Write what the encoder still holds, and close the file."""
        self._mux(self._stream.encode())
        self._container.close()
