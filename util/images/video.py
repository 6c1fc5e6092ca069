"""Videos as upright RGB frames, by PyAV (FFmpeg's libraries); ``video_writer`` makes videos of them.

    source = read_video("in.mp4")
    for frame in source.frames():
        ...  # frame.image

Colours: 8-bit RGB of full range, as displays take them. The matrix and the range that the file says decide how its
YCbCr numbers become RGB; where it says nothing, BT.709 holds from 720 lines or 1280 columns on and BT.601 below, of
limited range. ``VideoSource.colours`` tells which.

Needs the package av, which is imported when a video is opened.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from util.packages import needs

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

RGB = NDArray[np.uint8]
"""``[H, W, 3]``."""

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv"),
    *(".3gp", ".ogv"),
)


# FFmpeg's AVColorSpace -> its name, and the number that libswscale has for the same matrix.
_MATRICES = {
    1: ("BT.709", 1),
    4: ("FCC", 4),
    5: ("BT.601", 5),
    6: ("BT.601", 5),
    7: ("SMPTE 240M", 7),
    9: ("BT.2020", 9),
    10: ("BT.2020", 9),
}
_UNSPECIFIED_MATRIX, BT709 = 2, 1
LIMITED, FULL = 1, 2  # AVColorRange
_HDR = {16: "PQ", 18: "HLG"}  # AVColorTransferCharacteristic


@dataclass(frozen=True)
class Frame:
    """One picture of a video.

    Attributes:
        image: upright.
        number: in the video, from 0.
        pts: when it is shown, in ``VideoSource.time_base`` from the start.
    """

    image: RGB
    number: int
    pts: int


@dataclass(frozen=True)
class VideoSource:
    """A video that can be read, several times if need be.

    Attributes:
        path: of the file.
        width: of the upright frames.
        height: of the upright frames.
        frame_rate: mean frames per second; with a variable frame rate each frame has its own time all the same.
        time_base: seconds that 1 of ``Frame.pts`` stands for.
        count: of the frames, as the file says; 0 if it does not.
        duration: seconds, as the file says; 0 if it does not.
        pixel_aspect: width of a pixel by its height, of the upright frames.
        colours: matrix and range that the frames are read with, and what of it was assumed.
        has_sound: whether there is anything to hear.
        notes: what a user should know of it: interlaced, HDR.
    """

    path: Path
    width: int
    height: int
    frame_rate: Fraction
    time_base: Fraction
    count: int
    duration: float
    pixel_aspect: Fraction
    colours: str
    has_sound: bool
    notes: tuple[str, ...]

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Frames 0, ``every``, 2 * ``every``, ... in order.

        Raises:
            ValueError: the file is damaged, ends early, or its frames change their size.
        """
        with opened(self.path) as container:
            stream = _picture_stream(container, self.path)
            start, last, number = start_of(container), -1, -1
            # AVI has one frame rate and no times; those that FFmpeg makes up are not even in order.
            timed = container.format.name != "avi"
            for number, frame in enumerate(_decoded(container, stream, self.path)):
                pts = self._pts(frame.pts if timed else None, number, start)
                last = pts = max(pts, last + 1)  # some files repeat a time; no player or muxer takes that
                if number % every:
                    continue
                image = upright_rgb(frame, self.path)
                if image.shape[:2] != (self.height, self.width):
                    raise ValueError(
                        f"{self.path}: frame {number} has {image.shape[1]}x{image.shape[0]} pixels, those before "
                        f"{self.width}x{self.height}; cut the video where its size changes"
                    )
                yield Frame(image, number, pts)

    def span(self) -> tuple[float, float]:
        """Seconds from the start to the first and to the last frame, read without decoding.

        Raises:
            ValueError: the file is damaged.
        """
        with opened(self.path) as container:
            stream = _picture_stream(container, self.path)
            with named_errors(self.path, ""):
                times = [packet.pts for packet in container.demux(stream) if packet.size]
            start = start_of(container)
        known = [pts for pts in times if pts is not None]
        if not known:
            return 0.0, float((len(times) - 1) / self.frame_rate)
        first, last = (float(pts * self.time_base - start) for pts in (min(known), max(known)))
        return first, last

    def _pts(self, pts: int | None, number: int, start: Fraction) -> int:
        if pts is None:  # raw streams have no times either
            return round(number / self.frame_rate / self.time_base)
        return pts - round(start / self.time_base)


def is_video(name: str) -> bool:
    """Whether a file name has the suffix of a video and is not hidden."""
    return name.lower().endswith(VIDEO_SUFFIXES) and not Path(name).name.startswith(".")


def read_video(path: str | os.PathLike[str]) -> VideoSource:
    """Look into a video: the header and the first frame.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged or no video, or the package av is missing.
    """
    file = Path(path)
    with opened(file) as container:
        stream = _picture_stream(container, file)
        frame = next(_decoded(container, stream, file), None)
        if frame is None:
            raise ValueError(f"{file}: there is no frame in it")
        image = upright_rgb(frame, file)
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
        time_base = stream.time_base or 1 / rate
        aspect = stream.sample_aspect_ratio or Fraction(1)
        turned = abs(_display_matrix(frame)[0]) < 0.5
        duration = float(stream.duration * time_base) if stream.duration else (container.duration or 0) / 1e6
        return VideoSource(
            path=file,
            width=image.shape[1],
            height=image.shape[0],
            frame_rate=rate,
            time_base=time_base,
            count=stream.frames,
            duration=duration,
            pixel_aspect=1 / aspect if turned else aspect,
            colours=_colours(frame)[2],
            has_sound=bool(container.streams.audio),
            notes=tuple(_notes(frame)),
        )


def upright_rgb(frame: VideoFrame, path: Path) -> RGB:
    """The picture as people see it: turned and mirrored as the file says, converted by its own matrix and range.

    Raises:
        ValueError: no way to RGB is known for its colours.
    """
    from av.video.reformatter import Interpolation

    exact = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
    how: dict[str, Any] = {}
    if not frame.format.is_rgb:
        matrix, range_, _ = _colours(frame)
        how = {"src_colorspace": matrix, "src_color_range": range_, "dst_color_range": FULL}
    with named_errors(path, "its colours cannot be converted to RGB"):
        array = frame.to_ndarray(format="rgb24", interpolation=Interpolation.BICUBIC | exact, **how)

    # [x'; y'] = [[a, c], [b, d]] [x; y], of which phones use turns by 90 degrees and mirrors.
    a, b, c, d = _display_matrix(frame)
    if abs(a) >= 0.5:
        flip_x, flip_y = a < 0, d < 0
    else:
        array, flip_x, flip_y = array.swapaxes(0, 1), c < 0, b < 0
    return np.ascontiguousarray(array[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def _display_matrix(frame: VideoFrame) -> tuple[float, float, float, float]:
    """a, b, c, d of the frame's display matrix; without one that of an upright picture.

    ``VideoFrame.rotation`` does not do: it is the same for a mirror and for a turn by 180 degrees.
    """
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is not None:
        a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5] / 65536  # fixed point with 16 bits
        return float(a), float(b), float(c), float(d)
    return 1.0, 0.0, 0.0, 1.0


def _colours(frame: VideoFrame) -> tuple[int, int, str]:
    """Matrix (libswscale's number), range, and both in words."""
    if frame.format.is_rgb:
        return BT709, FULL, "RGB"
    said = int(frame.colorspace)
    if said in _MATRICES:
        name, matrix = _MATRICES[said]
        words = name
    else:
        name, matrix = _MATRICES[BT709 if frame.height >= 720 or frame.width >= 1280 else 6]
        words = f"{name} (assumed: the file does not say)"
        if said != _UNSPECIFIED_MATRIX:
            words = f"{name} (assumed: the file names a matrix that cannot be converted, number {said})"
    range_ = int(frame.color_range)
    full = range_ == FULL or frame.format.name.startswith("yuvj")
    assumed = "" if full or range_ == LIMITED else " (assumed: the file does not say)"
    return matrix, FULL if full else LIMITED, f"{words}, {'full' if full else 'limited'} range{assumed}"


def _notes(frame: VideoFrame) -> Iterator[str]:
    if frame.interlaced_frame:
        yield "it is interlaced: each frame shows two moments, as combs where something moves; deinterlace it first"
    if kind := _HDR.get(int(frame.color_trc)):
        yield f"it is HDR ({kind}): it is read without tone mapping and looks pale; convert it to SDR first"


def import_av() -> Any:
    """The package.

    Raises:
        ValueError: it is not installed.
    """
    with needs("videos need", "av"):
        import av
    return av


@contextlib.contextmanager
def named_errors(path: Path, what: str) -> Iterator[None]:
    """FFmpeg's errors with the file's name; ValueError, but OSError for those of the disk.

    Args:
        path: of the file.
        what: happened.
    """
    av = import_av()
    try:
        yield
    except av.FFmpegError as error:
        reason = (error.strerror or "unknown error").lower()
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise OSError(error.errno, f"{path}: {what} ({reason})") from error
        raise ValueError(f"{path}: {what} ({reason})" if what else f"{path}: damaged ({reason})") from error


@contextlib.contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Raises FileNotFoundError, ValueError."""
    av = import_av()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    if not path.stat().st_size:
        raise ValueError(f"{path}: the file is empty (0 bytes)")
    with contextlib.ExitStack() as stack:
        with named_errors(path, "cannot be read as a video"):
            # A playlist that is called .mp4 must not reach into the network.
            container = stack.enter_context(av.open(f"file:{path}", options={"protocol_whitelist": "file"}))
        yield container


def _picture_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first stream of moving pictures; covers of music are none. Raises ValueError."""
    for stream in container.streams.video:
        if "attached_pic" not in str(stream.disposition.name):
            stream.thread_type = "AUTO"
            return stream
    raise ValueError(f"{path}: there are no moving pictures in it")


def start_of(container: InputContainer) -> Fraction:
    """Seconds on the file's clock that become 0."""
    return Fraction(max(container.start_time or 0, 0), 1_000_000)


def _decoded(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[VideoFrame]:
    """Raises ValueError for damaged data, with the number of the frame."""
    _check_length(stream, path)
    packets = container.demux(stream)
    number = 0
    while True:
        with named_errors(path, f"damaged after frame {number}"):
            packet = next(packets, None)
            if packet is None:
                return
            if packet.is_corrupt:
                raise ValueError(f"{path}: damaged after frame {number} (cut short, or bytes are missing)")
            frames = packet.decode()
        number += len(frames)
        yield from frames


def _check_length(stream: VideoStream, path: Path) -> None:
    """Refuse a file that its own index goes beyond: FFmpeg reads such a one without a complaint."""
    size = path.stat().st_size
    entries = stream.index_entries
    last = [entries[index] for index in range(max(len(entries) - 100, 0), len(entries))]
    if any(entry.pos + entry.size > size for entry in last):
        raise ValueError(f"{path}: cut short: it has {size} bytes, and its index goes on beyond them; copy it again")
