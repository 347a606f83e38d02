"""Spans by OpenTelemetry's SDK, for `runtime.traces`; imported only where traces are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from runtime.traces import ROOT, Value

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class _Ids(RandomIdGenerator):
    """Random ones, but for a session's own span."""

    root: tuple[int, int] | None = None

    def generate_trace_id(self) -> int:
        return super().generate_trace_id() if self.root is None else self.root[0]

    def generate_span_id(self) -> int:
        return super().generate_span_id() if self.root is None else self.root[1]


class Exporter:
    """Of one process. Batches are sent by a thread of the SDK's, by the standard OTEL_EXPORTER_OTLP_… variables."""

    def __init__(self, service: str, path: Path | None) -> None:
        """`path`: write JSON there, a span a line, and send nothing."""
        self._file = (
            None if path is None else path.open("a", buffering=1, encoding="utf-8")
        )  # several processes may write it
        self._ids = _Ids()
        resource = Resource.create({"service.name": f"parley-{service}"})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        if self._file is None:
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        else:
            lines = ConsoleSpanExporter(out=self._file, formatter=lambda span: f"{span.to_json(indent=None)}\n")
            self._provider.add_span_processor(BatchSpanProcessor(lines))
        self._tracer = self._provider.get_tracer("parley")

    def span(
        self, sid: str, name: str, begun_ms: float, ended_ms: float, attributes: Mapping[str, Value], parent: int | None
    ) -> int:
        """See `runtime.traces.span`."""
        trace_id, root_id = int(sid, 16), int(sid[:16], 16) or 1
        context = set_span_in_context(trace.INVALID_SPAN)
        if parent == ROOT:
            self._ids.root = trace_id, root_id
        else:
            above = SpanContext(trace_id, parent or root_id, is_remote=True, trace_flags=_SAMPLED)
            context = set_span_in_context(NonRecordingSpan(above))
        try:
            begun = self._tracer.start_span(
                name, context, attributes={**attributes, "parley.sid": sid}, start_time=round(begun_ms * 1_000_000)
            )
        finally:
            self._ids.root = None
        begun.end(round(ended_ms * 1_000_000))
        return begun.get_span_context().span_id

    def close(self) -> None:
        """Send the last ones, and wait for that: a few seconds at most."""
        self._provider.shutdown()
        if self._file is not None:
            self._file.close()
