"""Traces that nobody has asked for cost nothing; those that somebody has are one a session."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from pydantic import ValidationError

from runtime import traces
from runtime.errors import SettingsError
from runtime.settings import Settings

SID = "89e0ab0ac030d6efdb1c461337ebdf98"


@pytest.fixture(autouse=True)
def _nobody_else_is_told() -> Iterator[None]:
    yield
    traces.close()


def test_without_the_setting_nobody_is_told() -> None:
    """And no service imports what tells of them (redis-py imports OpenTelemetry's metrics where they are installed)."""
    traces.configure("test", None)
    assert traces.span(SID, "turn", 1_000, 2_000) is None
    services = "import gateway.app, transcoder.service, realtime_bridge.service, runtime.service, sys"
    ours = "('runtime.otel', 'opentelemetry.sdk.trace', 'opentelemetry.exporter')"
    loaded = f"{services}; print([name for name in sys.modules if name.startswith({ours})])"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_spans_of_a_session_are_written_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    traces.configure("test", f"file:{path}")
    turn = traces.span(SID, "turn", 1_000, 2_500, {"outcome": "heard"})
    traces.span(SID, "model", 1_200, 2_400, parent=turn)
    traces.span(SID, "session", 0, 9_000, parent=traces.ROOT)
    traces.close()
    of_turn, of_model, of_session = [msgspec.json.decode(line) for line in path.read_text().splitlines()]
    assert {span["context"]["trace_id"] for span in (of_turn, of_model, of_session)} == {f"0x{SID}"}
    assert of_session["context"]["span_id"] == f"0x{SID[:16]}" == of_turn["parent_id"]
    assert of_model["parent_id"] == of_turn["context"]["span_id"] == f"0x{turn:016x}"
    assert of_session["parent_id"] is None
    assert (of_turn["start_time"], of_turn["end_time"]) == ("1970-01-01T00:00:01.000000Z", "1970-01-01T00:00:02.500000Z")
    assert of_turn["attributes"] == {"outcome": "heard", "parley.sid": SID}
    assert of_turn["resource"]["attributes"]["service.name"] == "parley-test"


@pytest.mark.parametrize(("sid", "begun_ms", "ended_ms"), [("ab12", 1_000, 2_000), (SID, 2_000, 1_000)])
def test_what_cannot_be_a_span_is_none(tmp_path: Path, sid: str, begun_ms: int, ended_ms: int) -> None:
    """Clocks that differ make some that end before they begin."""
    traces.configure("test", f"file:{tmp_path / 'spans.jsonl'}")
    assert traces.span(sid, "turn", begun_ms, ended_ms) is None


def test_without_the_extra_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "runtime.otel", raising=False)
    with pytest.raises(SettingsError, match=r"pip install -e '\.\[otel\]'"):
        traces.configure("test", "otlp")


def test_a_file_that_cannot_be_written_is_told() -> None:
    with pytest.raises(SettingsError, match="cannot be written"):
        traces.configure("test", "file:/nowhere/at/all/spans.jsonl")


@pytest.mark.parametrize("value", ["yes", "file:", "file:here.jsonl", "http://collector:4318"])
def test_what_is_neither_a_file_nor_otlp_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="must be"):
        Settings(PARLEY_TRACES=value)
