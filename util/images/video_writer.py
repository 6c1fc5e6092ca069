"""Videos written with the frame rate, the times and the sound of another, by PyAV (FFmpeg's libraries).

    source = read_video("in.mp4")
    with write_video(Path("out.mp4"), source) as output:
        for frame in source.frames():
            output.write(frame.image, frame.pts)

Files are BT.709 of limited range, and say so. The sound is copied, or encoded again where the container cannot hold it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from util.files import replacing
from util.images.video import BT709, FULL, LIMITED, RGB, VideoSource, import_av, named_errors, opened, start_of

if TYPE_CHECKING:
    import av
    from av.container import OutputContainer
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class _Container:
    """A kind of file that can be written.

    Attributes:
        muxer: FFmpeg's name of it.
        codecs: for the pictures, the first that is there is used.
        sound: codecs of sound that players expect in it; others are encoded again.
        sound_encoder: for those.
    """

    muxer: str
    codecs: tuple[str, ...]
    sound: frozenset[str]
    sound_encoder: str = "aac"


_H264 = ("libx264", "libopenh264", "mpeg4")
_COMPRESSED = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"})
_PCM = frozenset({"pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le"})
_MP4 = _Container("mp4", _H264, _COMPRESSED)
_WRITTEN = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": _Container("mov", _H264, frozenset({"aac", "mp3", "ac3", "eac3", "alac"}) | _PCM),
    ".mkv": _Container("matroska", _H264, _COMPRESSED | _PCM | {"vorbis"}),
    ".webm": _Container("webm", ("libvpx-vp9", "libvpx"), frozenset({"opus", "vorbis"}), "libopus"),
}
WRITTEN_SUFFIXES = tuple(_WRITTEN)


def check_output(path: Path, flag: str = "--output") -> None:
    """Refuse a name that says no kind of video that can be written.

    Raises:
        ValueError: with the kinds.
    """
    if path.suffix.lower() not in _WRITTEN:
        raise ValueError(f"{flag} {path}: videos are written as {', '.join(_WRITTEN)}; end its name with one of these")
    import_av()


@contextlib.contextmanager
def write_video(path: Path, like: VideoSource, *, crf: int = 18, sound: bool = True) -> Iterator[VideoWriter]:
    """A video with the frame rate, the times and the sound of another; it appears whole at the end of the context.

    Args:
        path: of the file; its suffix decides the container, see ``WRITTEN_SUFFIXES``.
        like: where frame rate, shape of the pixels and sound come from.
        crf: constant rate factor of H.264 and VP9: 0 best, 18 hardly to be told from the input, 51 worst. MPEG-4 gets
            the quantizer that stands for it; OpenH264 has no such setting.
        sound: take over the sound, as it is where the container can hold it.

    Raises:
        ValueError: the suffix is unknown, there is no encoder, or no frame was written.
        OSError: the disk is full or the folder cannot be written. An older file of that name is then untouched.
    """
    check_output(path)
    with replacing(path) as draft, VideoWriter(draft, path, like, crf=crf, sound=sound) as writer:
        yield writer
        writer.finish()


class VideoWriter:
    """Takes frames for ``write_video``.

    Attributes:
        notes: what a user should know of the file: sound that was encoded again, a pixel format of odd sizes.
    """

    def __init__(self, draft: Path, path: Path, like: VideoSource, *, crf: int, sound: bool) -> None:
        av = import_av()
        self.notes: list[str] = []
        self._path, self._like, self._crf = path, like, crf
        self._kind = _WRITTEN[path.suffix.lower()]
        self._stream: VideoStream | None = None
        self._size = (0, 0)
        options = {"movflags": "faststart"} if self._kind.muxer in ("mp4", "mov") else {}
        with named_errors(path, "cannot be written"):
            self._output: OutputContainer = av.open(str(draft), "w", format=self._kind.muxer, container_options=options)
        self._with_sound = sound and like.has_sound
        self._sound: _Sound | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._sound is not None:
            self._sound.close()
        with contextlib.suppress(import_av().FFmpegError):  # of a file that was given up
            self._output.close()

    def write(self, image: RGB, pts: int) -> None:
        """The next frame.

        Args:
            image: all of one size.
            pts: when it is shown, in the ``time_base`` of the source; rising.
        """
        av = import_av()
        height, width = image.shape[:2]
        with named_errors(self._path, f"cannot be written with frames of {width}x{height}"):
            if self._stream is None:
                self._stream = self._begin(width, height)
                if self._with_sound:  # after the pictures, so that these are the first stream
                    self._sound = _Sound(self._like, self._path, self._output, self.notes)
            elif self._size != (width, height):
                raise ValueError(f"{self._path}: a frame of {width}x{height} after frames of {self._size}")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            pictures = frame.reformat(
                format=self._stream.pix_fmt,
                src_color_range=FULL,
                dst_colorspace=BT709,
                dst_color_range=LIMITED,
                interpolation=_interpolation(),
            )
            pictures.pts, pictures.time_base = pts, self._like.time_base
            pictures.color_trc = pictures.color_primaries = BT709
            self._output.mux(self._stream.encode(pictures))
        if self._sound is not None:
            self._sound.write(until=pts * self._like.time_base)

    def finish(self) -> None:
        """Write what the encoder holds back, the rest of the sound, and the index.

        Raises:
            ValueError: there was no frame.
        """
        if self._stream is None:
            raise ValueError(f"{self._path}: not written, as there is no frame for it")
        with named_errors(self._path, "cannot be written"):
            self._output.mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.write(until=None)
        with named_errors(self._path, "cannot be written"):
            self._output.close()

    def _begin(self, width: int, height: int) -> VideoStream:
        odd = bool(width % 2 or height % 2)
        codec = _first_codec(self._kind.codecs, odd, self._path)
        stream: VideoStream = self._output.add_stream(codec, rate=self._like.frame_rate)  # type: ignore[assignment]
        stream.width, stream.height = self._size = width, height
        stream.pix_fmt = "yuv420p"  # what every player takes; half as many colours a side as pixels
        if odd and codec == "libx264":
            stream.pix_fmt = "yuv444p"
            self.notes.append(
                f"{width}x{height} is odd, so that H.264 has to be 4:4:4, which phones and some browsers cannot show; "
                "a .webm has no such limit"
            )
        if codec in ("libx264", "libvpx-vp9", "libvpx"):
            stream.options = {"crf": str(self._crf)}
        if codec.startswith("libvpx"):
            stream.options |= {"deadline": "good", "cpu-used": "4", "row-mt": "1"}
            stream.bit_rate = 0 if codec == "libvpx-vp9" else 4_000_000  # 0: the factor alone decides
        if codec == "mpeg4":
            stream.options = {"qscale": str(_mpeg4_quantizer(self._crf))}
            stream.codec_context.qscale = True
        context = stream.codec_context
        # MPEG-4 stores the denominator in 16 bits.
        base = self._like.time_base
        context.time_base = base if codec != "mpeg4" or base.denominator < 65536 else Fraction(1, 60000)
        context.sample_aspect_ratio = self._like.pixel_aspect
        context.color_range, context.colorspace = LIMITED, BT709
        context.color_primaries = context.color_trc = BT709
        return stream


def _mpeg4_quantizer(crf: int) -> int:
    """3, which looks like a factor of 18, twice as coarse with every 6 more as in H.264; MPEG-4 has 1 to 31."""
    return min(max(round(3 * 2 ** ((crf - 18) / 6)), 1), 31)


def _interpolation() -> int:
    from av.video.reformatter import Interpolation

    return int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP)


def _first_codec(names: tuple[str, ...], odd: bool, path: Path) -> str:
    """The first encoder that this build of FFmpeg has. Raises ValueError."""
    av = import_av()
    for name in names:
        if odd and name == "libopenh264":
            continue
        with contextlib.suppress(av.codec.codec.UnknownCodecError):
            av.Codec(name, "w")
            return name
    raise ValueError(f"{path}: this build of av has none of the encoders {', '.join(names)}; try another suffix")


class _Sound:
    """The sound of a video on its way into another file: all of its tracks."""

    def __init__(self, source: VideoSource, target: Path, output: OutputContainer, notes: list[str]) -> None:
        kind = _WRITTEN[target.suffix.lower()]
        self._path, self._output = source.path, output
        self._open = contextlib.ExitStack()
        self._container = self._open.enter_context(opened(source.path))
        self._start = start_of(self._container)
        self._tracks: dict[int, Any] = {}  # index in the source -> stream of the output
        self._copied: set[int] = set()
        streams = list(self._container.streams.audio)
        for stream in streams:
            name = stream.codec_context.codec.canonical_name  # not mp3float, which decodes mp3
            if name in kind.sound:
                self._tracks[stream.index] = output.add_stream_from_template(stream)
                self._copied.add(stream.index)
            else:
                self._tracks[stream.index] = output.add_stream(kind.sound_encoder, rate=_rate(kind, stream))
                notes.append(f"{name} sound is encoded again as {kind.sound_encoder}: {target.suffix} does not hold it")
        self._packets = self._container.demux(streams)
        self._ended = False

    def write(self, until: Fraction | None) -> None:
        """Take over what is to be heard up to a moment, in seconds; None: all of it."""
        with named_errors(self._path, "its sound is damaged"):
            while not self._ended:
                packet = next(self._packets, None)
                if packet is None:
                    self._ended = True
                    for index in self._tracks.keys() - self._copied:
                        self._output.mux(self._tracks[index].encode(None))
                    return
                time = None if packet.pts is None else packet.pts * packet.time_base - self._start
                self._take(packet)
                if until is not None and time is not None and time > until:
                    return

    def _take(self, packet: av.Packet) -> None:
        index = packet.stream.index
        if index in self._copied:
            if packet.dts is None:  # the empty packet at the end
                return
            shift = round(self._start / packet.time_base)
            packet.dts -= shift
            packet.pts = packet.dts if packet.pts is None else packet.pts - shift
            packet.stream = self._tracks[index]
            self._output.mux(packet)
            return
        for frame in packet.decode():
            if frame.pts is not None and frame.time_base:
                frame.pts -= round(self._start / frame.time_base)
            self._output.mux(self._tracks[index].encode(frame))

    def close(self) -> None:
        self._open.close()


def _rate(kind: _Container, stream: Any) -> int:
    """Samples per second; Opus has few rates, of which 48000 fits all."""
    return 48000 if kind.sound_encoder == "libopus" else min(int(stream.rate), 48000)
