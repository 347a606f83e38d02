"""Spans reach a collector over OTLP, as `PARLEY_TRACES=otlp` and OpenTelemetry's own variables say."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from runtime import traces

SID = "89e0ab0ac030d6efdb1c461337ebdf98"


@contextmanager
def collecting() -> Iterator[tuple[str, list[tuple[str, ExportTraceServiceRequest]]]]:
    """A collector's address, and what it was sent."""
    got: list[tuple[str, ExportTraceServiceRequest]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
            got.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", got
        finally:
            server.shutdown()
            thread.join()


def test_a_collector_gets_one_trace_of_all_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sends what it has when it stops, by the session's own id."""
    with collecting() as (url, got):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        for service, name in (("gateway", "connection"), ("transcoder", "transcode"), ("realtime_bridge", "bridge")):
            traces.configure(service, "otlp")
            traces.span(SID, name, 1_000, 2_000)
            traces.close()
    assert {path for path, _ in got} == {"/v1/traces"}
    found = {}
    for _, request in got:
        for resource in request.resource_spans:
            about = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (SID, SID[:16])
                    found[about["service.name"]] = span.name
    assert found == {"parley-gateway": "connection", "parley-transcoder": "transcode", "parley-realtime_bridge": "bridge"}
