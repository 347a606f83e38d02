"""Log records: a sentence for people, keys for machines.

Everything that belongs to a session carries it: `logger.info("…", extra={"sid": sid})`, or a `SessionLogger` that does so by
itself; what only names one of its streams gets it here. Speech, transcripts and tokens never stand in a record. What other
libraries write may hold an address or a header with a token in it: whatever looks like one is blacked out in every line,
also in tracebacks.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import msgspec

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


_SECRETS = re.compile(
    r"((?:\b(?:token|ticket)(?:=|%3D)|openai-insecure-api-key\.)|\bBearer\s+(?=[\w.~+/=-]{8}))[\w.~+/=-]+", re.IGNORECASE
)
"""The characters are those that a token, a ticket or a key may have. A word behind "bearer" is a word if it is short."""


def without_secrets(line: str) -> str:
    """With `…` for each token, ticket and key."""
    return _SECRETS.sub(r"\1…", line)


_SID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
"""A session's id, as it stands in the names of its keys and tasks; nothing else in a line looks like one."""


class SessionNamed(logging.Filter):
    """Gives a record that speaks of a session, by the name of a stream or a task, that session's `sid`."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "sid") and (found := _SID.search(record.getMessage())) is not None:
            record.sid = found[0]
        return True


class SessionLogger(logging.LoggerAdapter[logging.Logger]):
    """Puts the session on every record of its own."""

    def __init__(self, logger: logging.Logger, sid: str) -> None:
        super().__init__(logger, {"sid": sid})

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **kwargs.get("extra", {})}
        return msg, kwargs


class TextFormatter(logging.Formatter):
    """`12:00:00.000 INFO  gateway.app · sentence · key=value`"""

    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-5s %(name)s · %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        line = super().formatMessage(record)
        extra = " ".join(f"{k}={v}" for k, v in vars(record).items() if k not in _STANDARD)
        return f"{line} · {extra}" if extra else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": record.created,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields.update((k, v) for k, v in vars(record).items() if k not in _STANDARD)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return without_secrets(msgspec.json.encode(fields, enc_hook=str).decode())


def configure(level: str, style: Literal["text", "json"]) -> None:
    """Send all records to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    handler.addFilter(SessionNamed())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
