"""`python -m runtime.healthcheck TARGET`: exit code 0, or 1 and a sentence. For images that have no curl.

TARGET is an address that should answer 200 (`http://127.0.0.1:8000/readyz`), or the file of a worker's heartbeat. It is
started every few seconds, so it imports next to nothing.
"""

from __future__ import annotations

import http.client
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

ANSWER_WITHIN_S = 4.0
"""A gateway gives Redis 2 s before it says that it is not ready."""

STALE_AFTER_S = 15.0
"""A worker beats every 1.3 s, and waits up to 5 s for each of Redis's answers."""


def trouble(target: str, now: float) -> str | None:
    """What is wrong, in a sentence; None when nothing is. `now`: Unix time, in seconds."""
    if target.startswith("http://"):
        return _of_address(target)
    return _of_file(Path(target), now)


def _of_address(url: str) -> str | None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=ANSWER_WITHIN_S)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        body = answer.read(1000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"{url} does not answer: {str(error) or type(error).__name__}."
    finally:
        connection.close()
    return None if answer.status == 200 else f"{url} answers {answer.status}: {body}"


def _of_file(path: Path, now: float) -> str | None:
    try:
        age_s = now - path.stat().st_mtime
    except FileNotFoundError:
        return f"{path} is not there: the worker has not yet had an answer from Redis."
    return (
        None if age_s < STALE_AFTER_S else f"{path} is {age_s:.0f} s old: the worker is stuck, or Redis does not answer it."
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m runtime.healthcheck http://HOST:PORT/PATH | HEARTBEAT_FILE")
    sys.exit(trouble(sys.argv[1], time.time()))
