"""Audio frames → PCM16 mono at one rate, the phase kept across frames."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from av import AudioFrame
from av.filter import Graph

from transcoder.decoded import BYTES_PER_SAMPLE, SAMPLE_RATE


class Resampler:
    """`resample(frame)` → PCM that is ready, `resample(None)` → the rest.

    N samples of one rate become round(N * `rate` / their rate), however they are cut into frames; PCM lags at most
    ~1 ms behind. Frames may change their rate, layout or format (HE-AAC turns up its extensions after the first
    frame): what the old settings still hold is flushed, and new ones are made.
    """

    def __init__(self, rate: int = SAMPLE_RATE) -> None:
        self._rate = rate
        self._settings: tuple[int, str, str] | None = None
        self._inner: _Graph | None = None
        self._taken = 0
        self._given = 0

    def resample(self, frame: AudioFrame | None) -> bytes:
        if frame is None:
            return self._flush()
        settings = (frame.sample_rate, frame.layout.name, frame.format.name)
        rest = b""
        if self._inner is None or settings != self._settings:
            rest = self._flush()
            self._inner = _Graph(frame, self._rate)
            self._settings = settings
            self._taken = self._given = 0
        frame.pts = None
        ready = _join(self._inner.resample(frame))
        self._taken += frame.samples
        self._given += len(ready) // BYTES_PER_SAMPLE
        return rest + ready

    def _flush(self) -> bytes:
        """Cut or filled up with silence, by the odd sample, to the length that is due.

        libswresample rounds its own way, and gives nothing at all for a handful of samples, fewer than its filter has.
        """
        if self._inner is None or self._settings is None:
            return b""
        rest = _join(self._inner.resample(None))
        self._inner = None
        source_rate = self._settings[0]
        total = (2 * self._taken * self._rate + source_rate) // (2 * source_rate)
        due = max(0, total - self._given) * BYTES_PER_SAMPLE
        return rest[:due].ljust(due, b"\x00")


class _Graph:
    """What `av.AudioResampler` is, without its threads: two each, with 8 MB of address space for the stack of each."""

    def __init__(self, frame: AudioFrame, rate: int) -> None:
        self._graph = Graph()
        self._graph.threads = 1
        source = self._graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=frame.layout.name,
            time_base=frame.time_base or Fraction(1, frame.sample_rate),
        )
        wanted = self._graph.add("aformat", f"sample_rates={rate}:sample_fmts=s16:channel_layouts=mono")
        sink = self._graph.add("abuffersink")
        source.link_to(wanted)
        wanted.link_to(sink)
        self._graph.configure()

    def resample(self, frame: AudioFrame | None) -> list[AudioFrame]:
        self._graph.push(frame)
        ready: list[AudioFrame] = []
        while True:
            try:
                made = self._graph.pull()
            except (BlockingIOError, EOFError):
                return ready
            assert isinstance(made, AudioFrame)
            ready.append(made)


def _join(frames: Iterable[AudioFrame]) -> bytes:
    """The samples alone: a plane may be longer than they are."""
    return b"".join(bytes(memoryview(frame.planes[0])[: frame.samples * BYTES_PER_SAMPLE]) for frame in frames)
