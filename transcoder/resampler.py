"""Audio frames → PCM16 mono at one rate, the phase kept across frames."""

from __future__ import annotations

from av import AudioFrame
from av.error import BlockingIOError as NothingReady
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
        self._graph: Graph | None = None
        """None: nothing was fed, or there is nothing to do"""
        self._taken = 0
        self._given = 0

    def resample(self, frame: AudioFrame | None) -> bytes:
        if frame is None:
            return self._flush()
        settings = (frame.sample_rate, frame.layout.name, frame.format.name)
        rest = b""
        if settings != self._settings:
            rest = self._flush()
            self._settings = settings
            self._graph = None if settings == (self._rate, "mono", "s16") else _graph(settings, self._rate)
            self._taken = self._given = 0
        frame.pts = None
        ready = _samples(frame) if self._graph is None else _through(self._graph, frame)
        self._taken += frame.samples
        self._given += len(ready) // BYTES_PER_SAMPLE
        return rest + ready

    def _flush(self) -> bytes:
        """Cut or filled up with silence, by the odd sample, to the length that is due.

        libswresample rounds its own way, and gives nothing at all for a handful of samples, fewer than its filter has.
        """
        graph, settings = self._graph, self._settings
        self._graph = self._settings = None
        if graph is None or settings is None:
            return b""
        rest = _through(graph, None)
        source_rate = settings[0]
        total = (2 * self._taken * self._rate + source_rate) // (2 * source_rate)
        due = max(0, total - self._given) * BYTES_PER_SAMPLE
        return rest[:due].ljust(due, b"\x00")


def _graph(settings: tuple[int, str, str], rate: int) -> Graph:
    """What `av.AudioResampler` makes, too; but that one starts a thread for each processor, with a stack of 8 MB each."""
    sample_rate, layout, form = settings
    graph = Graph()
    graph.threads = 1
    source = graph.add("abuffer", sample_rate=str(sample_rate), sample_fmt=form, channel_layout=layout)
    wanted = graph.add("aformat", sample_rates=str(rate), sample_fmts="s16", channel_layouts="mono")
    graph.link_nodes(source, wanted, graph.add("abuffersink")).configure()
    return graph


def _through(graph: Graph, frame: AudioFrame | None) -> bytes:
    graph.push(frame)
    ready: list[bytes] = []
    while True:
        try:
            made = graph.pull()
        except (NothingReady, EOFError):
            return b"".join(ready)
        assert isinstance(made, AudioFrame)
        ready.append(_samples(made))


def _samples(frame: AudioFrame) -> bytes:
    """The samples alone: a plane may be longer than they are."""
    return bytes(memoryview(frame.planes[0])[: frame.samples * BYTES_PER_SAMPLE])
