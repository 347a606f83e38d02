"""OpenTelemetry traces: one session is one trace, in all services. Off unless PARLEY_TRACES is set.

Nothing has to be handed from service to service: a session's id is 128 random bits, as a trace's is, and is the trace's
id; the id of its root span is the first half of it. Spans are told when they are over, with both their times: none is made
for a frame, and without PARLEY_TRACES a span is one call that returns at once, and OpenTelemetry is not even imported here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from runtime.errors import SettingsError

Value = str | int | float | bool

_SID = re.compile(r"[0-9a-f]{32}")


class _Exporter(Protocol):
    def span(
        self, sid: str, name: str, begun_ms: float, ended_ms: float, attributes: Mapping[str, Value], parent: int | None
    ) -> int: ...

    def close(self) -> None: ...


_exporter: _Exporter | None = None

ROOT: Literal[0] = 0
"""The parent of the span that is the session itself."""


def configure(service: str, where: str | None) -> None:
    """From now on tell of spans: `where` is `otlp`, or `file:` and a path, and None tells nobody. Raises SettingsError."""
    global _exporter
    close()
    if where is not None:
        try:
            from runtime.otel import Exporter
        except ImportError as error:
            raise SettingsError(
                f"PARLEY_TRACES is {where}, but OpenTelemetry is not installed ({error.name}). In Parley's folder run"
                " .venv/bin/pip install -e '.[otel]', or unset PARLEY_TRACES."
            ) from error
        path = Path(where.removeprefix("file:")) if where.startswith("file:") else None
        try:
            _exporter = Exporter(service, path)
        except OSError as error:
            raise SettingsError(f"PARLEY_TRACES is not usable: {path} cannot be written: {error.strerror}.") from error


def close() -> None:
    """Send what is not sent yet."""
    global _exporter
    exporter, _exporter = _exporter, None
    if exporter is not None:
        exporter.close()


def span(
    sid: str,
    name: str,
    begun_ms: float,
    ended_ms: float,
    attributes: Mapping[str, Value] | None = None,
    parent: int | None = None,
) -> int | None:
    """Tell of what a session has had done for it: Unix time in ms. Attributes are no speech, and nothing that is secret.

    `parent`: what this gave for another span; None: the session's own; ROOT: this is the session's own. None when nobody is
    told.
    """
    if _exporter is None or ended_ms < begun_ms or not _SID.fullmatch(sid):
        return None
    return _exporter.span(sid, name, begun_ms, ended_ms, attributes or {}, parent)
