"""The frames of a video at a steady rate, decoded one after the other in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from refkd.errors import DataError
from refkd.video import require

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

LONGEST_STILL = 3600.0
"""Seconds from one frame to the next at most: more are a damaged timestamp."""
Image = NDArray[np.uint8]
"""(H, W, 3) red, green, blue, as it is to be seen."""


class Frames:
    """The frames of a video file, of which one is shown at the middle of each 1 / fps seconds.

    Time is that of the frames themselves, so that a variable frame rate does no harm. Iterating
    decodes the file; `duration` is known at its end.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self._fps = path, fps
        self.duration = 0.0
        """Seconds from the first frame to the end of the last."""

    def __iter__(self) -> Iterator[Image]:
        """Yield the frames; `DataError` names what is wrong with the file."""
        require("av")
        import av

        taken, image = 0, None
        try:
            with _opened(self.path) as (container, stream):
                shown: VideoFrame | None = None
                for frame in container.decode(stream):
                    begins = self._begins(frame, stream)
                    while shown is not None and self._time(taken) < begins:
                        image = _image(shown) if image is None else image
                        yield image
                        taken += 1
                    shown, image = frame, None
                    self.duration = begins + _length(frame, stream)
                if shown is None:
                    raise DataError(f"{self.path}: holds no frame; make the file again")
                image = _image(shown)
                while taken == 0 or self._time(taken) < self.duration:
                    yield image
                    taken += 1
        except (av.FFmpegError, MemoryError) as error:
            after = f" after {self.duration:.1f} s" if self.duration else ""
            raise DataError(
                f"{self.path}: cannot be decoded{after} ({_reason(error)}); get it "
                f"again, or convert it"
            ) from None

    def _time(self, taken: int) -> float:
        return (taken + 0.5) / self._fps

    def _begins(self, frame: VideoFrame, stream: VideoStream) -> float:
        """Return when a frame is shown, in seconds from the first; never before the last one."""
        first = (stream.start_time or 0) * float(stream.time_base or 0)
        begins = self.duration if frame.time is None else frame.time - first
        if begins - self.duration > LONGEST_STILL:
            raise DataError(
                f"{self.path}: its timestamps jump from {self.duration:.1f} to {begins:.1f} s; "
                f"convert it"
            )
        return max(begins, self.duration - _length(frame, stream))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    import av
    from av.stream import Disposition

    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty; get the file again")
    with av.open(path) as container:
        pictures = Disposition.attached_pic | Disposition.timed_thumbnails
        streams = [s for s in container.streams.video if not s.disposition & pictures]
        if not streams:
            held = "sound alone" if container.streams.audio else "no video stream"
            raise DataError(f"{path}: holds {held}; give a file with pictures")
        streams[0].thread_type = "AUTO"
        yield container, streams[0]


def _length(frame: VideoFrame, stream: VideoStream) -> float:
    """Return for how many seconds a frame is shown, as far as the file says it."""
    if frame.duration and frame.time_base:
        return float(frame.duration * frame.time_base)
    return float(1 / stream.average_rate) if stream.average_rate else 0.0


def _image(frame: VideoFrame) -> Image:
    """Return a frame as it is to be seen: a telephone held upright says so beside the picture."""
    image: Any = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).partition("\n")[0]
